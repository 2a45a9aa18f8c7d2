#!/usr/bin/env bash
# Everybody who might include canary: by package, as a subproject, fetched, and by -I alone, with every compiler here.
# Prints PASS, FAIL or SKIP per consumer.
. "$(dirname "$0")/../../scripts/lib.sh"

work="$ROOT/build/consume"
app="$ROOT/tests/consume/app"
rm -rf "$work"
mkdir -p "$work"
failed=0

# Runs a command with its output kept, shown on failure only; VERDICT, then the command.
pass() { echo "PASS consume: $1"; }
fail() { echo "FAIL consume: $1"; cat "$work/log"; failed=1; }
try() {
  local name="$1"
  shift
  if ("$@") >"$work/log" 2>&1 </dev/null; then pass "$name"; else fail "$name"; fi
}
# The command must fail, and say the words.
try_refused() {
  local name="$1" words="$2"
  shift 2
  if ("$@") >"$work/log" 2>&1 </dev/null; then fail "$name"
  elif tr -s ' \n' ' ' <"$work/log" | grep -qF -- "$words"; then pass "$name"
  else fail "$name"; fi
}

if have ccache; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
configure_app() { cmake -G Ninja -S "$app" -B "$work/$1" -DCMAKE_BUILD_TYPE=Debug "${@:2}"; }
build_app() { configure_app "$@" && cmake --build "$work/$1" && "$work/$1/app"; }
build_app_toml() { build_app "$@" -DCONSUME_COMPONENTS="core;canary;toml" && "$work/$1/app_toml"; }
build_app_http() { build_app "$@" -DCONSUME_COMPONENTS="core;canary;http" && "$work/$1/app_http"; }
build_app_json() { build_app "$@" -DCONSUME_COMPONENTS="core;canary;json" && "$work/$1/app_json"; }
# A Boost that core takes and that has no JSON, as Debian 11's is; nothing is compiled with it.
old_boost() {
  mkdir -p "$work/old-boost/include/boost"
  echo 'set(PACKAGE_VERSION 1.74.0)
if(NOT PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()' >"$work/old-boost/BoostConfigVersion.cmake"
  echo 'add_library(Boost::headers INTERFACE IMPORTED)
target_include_directories(Boost::headers INTERFACE "${CMAKE_CURRENT_LIST_DIR}/include")' >"$work/old-boost/BoostConfig.cmake"
}
build_app_sqlite() { build_app "$@" -DCONSUME_COMPONENTS="core;canary;sqlite" && "$work/$1/app_sqlite"; }

install_package() {
  cmake -G Ninja -S "$ROOT" -B "$work/build" -DCANARY_BUILD_TOOLS=OFF -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$work/first" &&
    cmake --build "$work/build" && cmake --install "$work/build" &&
    mv "$work/first" "$work/prefix"   # whatever it is used from next is not where it was installed to
}
no_path_of_this_machine() { [ -d "$work/prefix/include" ] && ! grep -rnF -e "$ROOT" -e "$work" "$work/prefix"; }
# Every header in the tree is one that CMake installs.
every_header_installed() { diff <(cd "$ROOT/include" && find . -name '*.hpp' | sort) <(cd "$work/prefix/include" && find . -name '*.hpp' | sort); }

try "install into a prefix" install_package
try "the installed files name no path of the build" no_path_of_this_machine
try "every public header is installed" every_header_installed
package=(-DCONSUME_BY=package -DCMAKE_PREFIX_PATH="$work/prefix")
version="$(sed -n 's/^inline constexpr std::string_view version = "\(.*\)";.*/\1/p' "$ROOT/include/canary/core/types.hpp")"
try "find_package, version $version, two translation units" build_app package "${package[@]}" -DCONSUME_VERSION="$version"
try "find_package with component toml" build_app_toml package-toml "${package[@]}"
try "find_package with component sqlite" build_app_sqlite package-sqlite "${package[@]}"
try "find_package with component http" build_app_http package-http "${package[@]}"
try "find_package with component json" build_app_json package-json "${package[@]}"
old_boost
try_refused "find_package with component json, with a Boost that has none" 'component `json` not found: it needs Boost >= 1.75' \
  configure_app no-json "${package[@]}" -DCONSUME_COMPONENTS=json -DBoost_DIR="$work/old-boost"
try_refused "find_package with component http, without libcurl" 'component `http` not found: it needs libcurl >= 7.68' \
  configure_app no-http "${package[@]}" -DCONSUME_COMPONENTS=http -DCMAKE_DISABLE_FIND_PACKAGE_CURL=ON
try_refused "find_package with component sqlite, without SQLite" 'component `sqlite` not found: it needs SQLite >= 3.37' \
  configure_app no-sqlite "${package[@]}" -DCONSUME_COMPONENTS=sqlite -DCMAKE_DISABLE_FIND_PACKAGE_SQLite3=ON
try_refused "find_package of a later version" 'compatible with requested version "99.0"' \
  configure_app later "${package[@]}" -DCONSUME_VERSION=99.0
try_refused "find_package with an unknown component" 'there is no such component (there are: core, canary, toml, sqlite, postgres, http, json)' \
  configure_app unknown "${package[@]}" -DCONSUME_COMPONENTS=sqlight
try_refused "find_package with component toml, without toml++" 'component `toml` not found: it needs toml++ >= 3.3' \
  configure_app no-toml "${package[@]}" -DCONSUME_COMPONENTS=toml -DCMAKE_DISABLE_FIND_PACKAGE_tomlplusplus=ON
try "add_subdirectory" build_app_toml subdirectory -DCONSUME_BY=subdirectory -DCONSUME_SOURCE="$ROOT"
try "add_subdirectory, without toml++" build_app subdirectory-core -DCONSUME_BY=subdirectory -DCONSUME_SOURCE="$ROOT" \
  -DCMAKE_DISABLE_FIND_PACKAGE_tomlplusplus=ON
try "add_subdirectory, with component sqlite" build_app_sqlite subdirectory-sqlite -DCONSUME_BY=subdirectory \
  -DCONSUME_SOURCE="$ROOT"
try "FetchContent" build_app_toml fetch -DCONSUME_BY=fetch -DCONSUME_SOURCE="$ROOT"

# The include alone: no CMake, no definitions, no exceptions, no RTTI; two translation units, run.
include_alone() {
  "$@" -std=c++20 -fno-exceptions -fno-rtti -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -O1 -pthread \
    -I"$ROOT/include" "$app/main.cpp" "$app/other.cpp" -o "$work/alone" && "$work/alone"
}
works() { echo '#include <version>
int main() {}' | "$@" -std=c++20 -x c++ - -o "$work/probe" >/dev/null 2>&1 && "$work/probe"; }

try "include alone, g++, no exceptions, no RTTI" include_alone g++
clang="$(llvm_tool clang++)"
if [ -n "$clang" ] && works "$clang"; then try "include alone, $clang, no exceptions, no RTTI" include_alone "$clang"
else echo "SKIP consume: include alone, clang: not installed"; fi

# libc++ belongs to one clang's version; the newest clang that finds it will do.
libcxx=''
for version in $LLVM_VERSIONS; do
  if [ -z "$libcxx" ] && have "clang++-$version" && works "clang++-$version" -stdlib=libc++; then libcxx="clang++-$version"; fi
done
if [ -n "$libcxx" ]; then try "include alone, $libcxx with libc++, no exceptions, no RTTI" include_alone "$libcxx" -stdlib=libc++
else echo "SKIP consume: include alone, clang with libc++: not installed"; fi

exit "$failed"
