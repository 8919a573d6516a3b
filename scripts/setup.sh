#!/usr/bin/env bash
# Installs the Debian packages that the project needs and that are missing. Says what it installs; without root or
# sudo it prints the one line to type and stops.  Usage: scripts/setup.sh [build|develop]
set -euo pipefail

build=(g++ cmake make ninja-build pkg-config python3-minimal libhwy-dev libeigen3-dev libdnnl-dev ocl-icd-opencl-dev
       libcli11-dev nlohmann-json3-dev libfmt-dev libxxhash-dev libpcre2-dev libdlpack-dev libgtest-dev libgmock-dev
       librapidcheck-dev libbenchmark-dev)
develop=(git clang-19 libclang-rt-19-dev clang-format-19 clang-tidy-19 doxygen)

wanted=("${build[@]}")
[ "${1:-build}" = develop ] && wanted+=("${develop[@]}")

if ! command -v dpkg-query >/dev/null; then
  echo "setup: this is not a Debian system; install the equivalents of: ${wanted[*]}" >&2
  exit 4
fi
missing=()
for package in "${wanted[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

install="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
echo "setup: installing ${missing[*]}" >&2
if [ "$(id -u)" -eq 0 ]; then
  run=(bash -c)
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  run=(sudo bash -c)
else
  echo "setup: root is needed for that; type this line, then try again:" >&2
  echo "  su -c '$install'" >&2
  exit 4
fi
log=$(mktemp)
if ! DEBIAN_FRONTEND=noninteractive "${run[@]}" "$install" >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "setup: the packages could not be installed (log: $log)" >&2
  exit 4
fi
rm -f "$log"
