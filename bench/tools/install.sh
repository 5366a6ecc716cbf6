#!/usr/bin/env bash
# Puts programs into CACHE/debian, out of Debian packages: without a name nginx, haproxy, caddy, wrk and h2load, the
# servers to compare with and the load generators. The packages are unpacked, not installed: the system stays
# as it is, no service is started, and no rights are needed. What is on the PATH already is taken as it is.
#
# Usage: install.sh CACHE [PROGRAM...]
set -euo pipefail

cache=$(mkdir -p "${1:?usage: install.sh CACHE [PROGRAM...]}" && cd "$1" && pwd)
tools=("${@:2}")
[ ${#tools[@]} -gt 0 ] || tools=(nginx haproxy caddy wrk h2load)

fail() {
  echo "install.sh: $*" >&2
  echo "install.sh: needed are ${tools[*]}; on Debian or Ubuntu this script unpacks them, elsewhere put them on the PATH" >&2
  exit 1
}

# has tells whether the program $1 is there. Servers live in sbin, which is not on every user's PATH.
has() { PATH="$cache/debian/usr/sbin:$cache/debian/usr/bin:$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null; }

# package prints the name of the one that holds the program $1.
package() { case $1 in h2load) echo nghttp2-client ;; certutil) echo libnss3-tools ;; *) echo "$1" ;; esac; }

missing=() wanted=()
for t in "${tools[@]}"; do has "$t" || { missing+=("$t"); wanted+=("$(package "$t")"); }; done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null && command -v dpkg >/dev/null || fail "missing: ${missing[*]}, and this system has no apt-get"

# A fresh container knows no packages yet; only root may ask for the lists.
if ! apt-cache show "${wanted[@]}" >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] || fail "missing: ${missing[*]}; the package lists are not there: run apt-get update as root"
  apt-get -q update >&2 || fail "missing: ${missing[*]}; apt-get update failed"
fi

# The packages, with the libraries they need that are not installed. ("Inst NAME [OLD] (NEW" is an upgrade of
# something that is there: not needed.)
plan=$(apt-get install --simulate --no-install-recommends "${wanted[@]}") || fail "missing: ${missing[*]}; apt-get sees no way to install them"
packages=$(awk '$1 == "Inst" && $3 !~ /^\[/ { print $2 }' <<<"$plan")

work=$cache/download
rm -rf "$work" && mkdir -p "$work"
# shellcheck disable=SC2086 # one word each
(cd "$work" && apt-get -q download $packages >&2) || fail "missing: ${missing[*]}; the download failed"
for deb in "$work"/*.deb; do dpkg --extract "$deb" "$cache/debian"; done
rm -rf "$work"

for t in "${missing[@]}"; do has "$t" || fail "$t is not in the package $(package "$t")"; done
