#!/bin/sh
# run.sh HOW ROOT BUILD - builds a project that uses the library in the way named,
# and runs its programs. ROOT is the library's tree, BUILD where it was built.
set -eu
how=$1
root=$2
build=$3
cmake=${CMAKE:-cmake}
export CC="${CC:-cc}" CXX="${CXX:-c++}"
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem user XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAIL: install: $how: $*"
  exit 1
}

# quiet COMMAND...: its output is shown only if it fails.
quiet() {
  if ! "$@" >"$work/log" 2>&1; then
    cat "$work/log"
    fail "$*"
  fi
}

# Only what a build needs, under a name with spaces.
copy_tree() {
  mkdir "$work/hakmem tree"
  cp -R "$root/CMakeLists.txt" "$root/cmake" "$root/include" "$root/src" "$work/hakmem tree/"
}

# consumer ARGUMENT...: configures, builds and tests the project beside this file.
consumer() {
  cp -R "$here/consumer" "$work/user project"
  quiet "$cmake" -S "$work/user project" -B "$work/user build" -DCMAKE_BUILD_TYPE=Release \
    -DHOW="$how" "$@"
  quiet "$cmake" --build "$work/user build" --parallel 2
  (cd "$work/user build" && "${cmake%cmake}ctest" --output-on-failure --no-tests=error) ||
    fail "the user's programs failed"
}

case $how in
  find_package)
    quiet "$cmake" --install "$build" --prefix "$work/a prefix"
    # Moved after the installation: nothing in it may name the old place.
    mv "$work/a prefix" "$work/another prefix"
    consumer -DCMAKE_PREFIX_PATH="$work/another prefix"
    ;;
  add_subdirectory | fetch_content)
    copy_tree
    consumer -DHAKMEM_TREE="$work/hakmem tree"
    # A part of somebody's project brings neither tests nor benchmarks.
    if grep -E '^HAKMEM_BUILD_[A-Z]*:BOOL=ON' "$work/user build/CMakeCache.txt"; then
      fail "the options above are on although the project is not top-level"
    fi
    ;;
  dlopen)
    copy_tree
    consumer -DHAKMEM_TREE="$work/hakmem tree"
    ;;
  pkg_config)
    if ! command -v pkg-config >/dev/null 2>&1; then
      echo "SKIP: pkg-config is not installed (tools/deps installs it)"
      exit 77
    fi
    quiet "$cmake" --install "$build" --prefix "$work/a prefix"
    pc=$(find "$work/a prefix" -name hakmem.pc)
    [ -f "$pc" ] || fail "no hakmem.pc installed"
    PKG_CONFIG_PATH=$(dirname -- "$pc")
    export PKG_CONFIG_PATH
    # pkg-config quotes for the shell, which must read its output as it reads a
    # command.
    eval "set -- $(pkg-config --cflags hakmem)"
    quiet "$CC" -std=c11 -Wall -Wextra -Werror "$@" -c "$here/consumer/use.c" -o "$work/use.o"
    eval "set -- $(pkg-config --static --libs hakmem)"
    quiet "$CC" "$work/use.o" -o "$work/use" "$@"
    "$work/use" || fail "the program failed"
    eval "set -- $(pkg-config --cflags hakmem)"
    quiet "$CXX" -std=c++11 -Wall -Wextra -Werror "$@" -c "$here/consumer/use.cpp" \
      -o "$work/use_cpp.o"
    eval "set -- $(pkg-config --static --libs hakmem)"
    quiet "$CXX" "$work/use_cpp.o" -o "$work/use_cpp" "$@"
    "$work/use_cpp" || fail "the program in C++ failed"
    pkg-config --modversion hakmem
    ;;
  *) fail "unknown" ;;
esac
echo "ok: install: $how"
