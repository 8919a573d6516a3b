#!/usr/bin/env bash
# Builds and runs an outside project against an installed tree, by CMake package and by pkg-config.
set -euo pipefail
prefix=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake -S "$here/cmake" -B "$work/cmake" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/cmake" >/dev/null
"$work/cmake/consumer"

export PKG_CONFIG_PATH="$prefix/lib/pkgconfig:$prefix/lib/x86_64-linux-gnu/pkgconfig:$prefix/lib64/pkgconfig"
# The prefix is where the tree lies now, which need not be where it was configured to go.
flags=$(pkg-config --define-variable=prefix="$prefix" --cflags --libs veloxquant)
# shellcheck disable=SC2086
g++ -std=c++20 "$here/consumer.cpp" $flags -o "$work/consumer"
"$work/consumer"
