#!/usr/bin/env bash
# Installs the Debian packages that the project needs and that are missing. Says what it installs; without root or
# sudo it prints the one line to type and stops.  Usage: scripts/setup.sh [build|develop|cross]
set -euo pipefail

build=(g++ cmake make ninja-build pkg-config python3-minimal libhwy-dev libeigen3-dev libdnnl-dev ocl-icd-opencl-dev
       libcli11-dev nlohmann-json3-dev libfmt-dev libxxhash-dev libpcre2-dev libdlpack-dev libgtest-dev libgmock-dev
       librapidcheck-dev libbenchmark-dev)
develop=(git clang-19 libclang-rt-19-dev clang-format-19 clang-tidy-19 doxygen chromium fonts-dejavu-core libopenmpi-dev
         openmpi-bin)
# 64-bit ARM: its libraries beside the native ones, and the emulator that runs the tests.
cross=(g++-aarch64-linux-gnu qemu-user libhwy-dev:arm64 libfmt-dev:arm64 libxxhash-dev:arm64 libgtest-dev:arm64
       libgmock-dev:arm64 librapidcheck-dev:arm64)

wanted=("${build[@]}")
case "${1:-build}" in
  build) ;;
  develop) wanted+=("${develop[@]}") ;;
  cross) wanted+=("${cross[@]}") ;;
  *) echo "setup: '$1' is none of build, develop, cross" >&2; exit 1 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "setup: this is not a Debian system; install the equivalents of: ${wanted[*]}" >&2
  exit 4
fi
# A package without an architecture in its name is wanted for this machine's, and may be there for others too.
installed() {
  local architecture="(all|$(dpkg --print-architecture))"
  [[ "$1" == *:* ]] && architecture="${1#*:}"
  dpkg-query -W -f='${db:Status-Status} ${Architecture}\n' "$1" 2>/dev/null | grep -qxE "installed $architecture"
}
missing=()
for package in "${wanted[@]}"; do
  installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

install="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
if [[ "${missing[*]}" == *:arm64* ]] && ! dpkg --print-foreign-architectures | grep -qx arm64; then
  install="dpkg --add-architecture arm64 && $install"
fi
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
