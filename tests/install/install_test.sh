#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install_test.sh CMAKE BUILD_DIR CC CXX: installs into a new prefix, moves it elsewhere, and builds
# and runs a program against it, once found by find_package and once by pkg-config. Every public
# header must compile alone.
set -euo pipefail
cmake=$1 build=$2 cc=$3 cxx=$4

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$cmake" --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/prefix" # an installed tree may be moved
"$work/prefix/bin/skep" --help >/dev/null

consumer=$work/consumer
mkdir "$consumer"
headers=0
for header in "$work"/prefix/include/skep/*; do
  name=skep/${header##*/}
  printf '#include "%s"\n' "$name" | tee -a "$consumer/main.cpp" >"$work/alone.cpp"
  "$cxx" -std=c++23 -Wall -Wextra -Werror -fsyntax-only -I"$work/prefix/include" "$work/alone.cpp"
  if [[ $name == *.h ]]; then # those promise C, too
    cp "$work/alone.cpp" "$work/alone.c"
    "$cc" -std=c17 -Wall -Wextra -Werror -fsyntax-only -I"$work/prefix/include" "$work/alone.c"
  fi
  headers=$((headers + 1))
done
((headers > 0)) || { echo "install: no public headers were installed" >&2; exit 1; }
echo 'int main() { return 0; }' >>"$consumer/main.cpp"

cat >"$consumer/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES CXX)
find_package(Skep 0.1 REQUIRED)
add_executable(consumer main.cpp)
target_link_options(consumer PRIVATE -Wl,--no-as-needed)
target_link_libraries(consumer PRIVATE skep::skep)
END
"$cmake" -S "$consumer" -B "$work/build" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
"$cmake" --build "$work/build" >/dev/null
"$work/build/consumer"

pc=$(find "$work/prefix" -name skep.pc)
flags=$(PKG_CONFIG_PATH=${pc%/*} pkg-config --cflags --libs skep)
lib=$(PKG_CONFIG_PATH=${pc%/*} pkg-config --variable=libdir skep)
# shellcheck disable=SC2086 # several flags
"$cxx" -std=c++23 "$consumer/main.cpp" -o "$work/by_pkg_config" -Wl,--no-as-needed $flags \
  -Wl,-rpath,"$lib"
"$work/by_pkg_config"
