#!/usr/bin/env bash
# Builds the applications of test/apps into CACHE/apps, each as its own tools publish it:
#   aspnetcore31   `dotnet publish`, with the web.config that the SDK writes
#   node           `npm ci`
#   go, rawbackend, grpc `go build`
#
# Usage: fixtures.sh CACHE
# What is up to date is kept. With CI set, a missing tool is an error; otherwise it is said, and the tests that
# need the application say so too.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
apps=$(dirname "$here")/apps
cache=$(mkdir -p "${1:?usage: fixtures.sh CACHE}/apps" && cd "$1" && pwd)

lack() {
  echo "fixtures: $*" >&2
  [ -z "${CI:-}" ] || exit 1
}

# sum names the state of some source folders: a fixture is made again when it differs.
sum() { (cd "$apps" && find "$@" -type f -not -path '*/node_modules/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum); }

# stale tells whether the fixture NAME has to be made.
stale() { [ "$(cat "$cache/apps/$1.sum" 2>/dev/null)" != "$(sum "$1")" ]; }
fresh() { sum "$1" >"$cache/apps/$1.sum"; }

# put moves a complete folder into the place of an older one.
put() { rm -rf "$2" && mv "$1" "$2"; }

make_aspnetcore31() {
  "$here/dotnet.sh" "$cache/dotnet"
  stale aspnetcore31 || return 0
  local work=$cache/build/aspnetcore31
  rm -rf "$work" && mkdir -p "$work" && cp -R "$apps/aspnetcore31" "$work/source"
  (
    set -a && . "$cache/dotnet/env"
    export DOTNET_CLI_HOME=$work NUGET_PACKAGES=$work/packages MSBUILDDISABLENODEREUSE=1
    cd "$work/source"
    "$DOTNET_ROOT/dotnet" publish --nologo -v quiet -c Release -o "$work/publish" -p:UseSharedCompilation=false >&2
  )
  put "$work/publish" "$cache/apps/aspnetcore31"
  rm -rf "$work"
  fresh aspnetcore31
}

make_node() {
  stale node || return 0
  local work=$cache/build/node
  rm -rf "$work" && mkdir -p "$work" && cp -R "$apps/node/." "$work"
  (cd "$work" && npm ci --silent --ignore-scripts --no-audit --no-fund >&2)
  put "$work" "$cache/apps/node"
  fresh node
}

# The tool chain knows itself what is up to date.
make_go() {
  local name
  for name in go rawbackend grpc; do
    mkdir -p "$cache/apps/$name"
    go -C "$apps/.." build -o "$cache/apps/$name/app" "./apps/$name"
  done
  cp "$apps/go/web.config" "$cache/apps/go/web.config"
}

# Called again by itself for one fixture, so that any failing command ends that one.
if [ $# -gt 1 ]; then
  "make_$2"
  exit
fi

command -v go >/dev/null || { echo "fixtures: go is needed" >&2; exit 1; }
"${BASH_SOURCE[0]}" "$cache" go
command -v npm >/dev/null || lack "node and npm are needed for the Node and .NET applications"
"${BASH_SOURCE[0]}" "$cache" node || lack "the Node application could not be made"
"${BASH_SOURCE[0]}" "$cache" aspnetcore31 || lack "the .NET application could not be made"
