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
  cp -R "$root/CMakeLists.txt" "$root/cmake" "$root/include" "$root/src" "$root/tools" \
    "$work/hakmem tree/"
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

# tools_work PREFIX: the tools find what they share, wherever they were put.
tools_work() {
  [ -f "$1/share/hakmem/gdb/hakmem.py" ] || fail "the commands for gdb are not installed"
  command -v python3 >/dev/null 2>&1 || return 0
  for tool in hakmem-view hakmem-report; do
    quiet "$1/bin/$tool" --help
  done
  if find "$1" -name __pycache__ | grep .; then
    fail "the tools leave files behind"
  fi
}

skip() {
  echo "SKIP: install: $how: $*"
  exit 77
}

# lto COMPILER [OPTION...]: the library and fibers.c in one shared object of the form
# that loads late, optimised as a whole, by a linker that inlines what it can; $inline
# makes it.
lto() {
  command -v "$1" >/dev/null 2>&1 || skip "$1 is not installed"
  mkdir "$work/objects"
  quiet env -C "$root" find src -name '*.c' -exec sh -c '
    objects=$1 file=$2
    shift 2
    exec "$@" -Isrc -Iinclude -D_GNU_SOURCE -std=c11 -fvisibility=hidden -c "$file" \
      -o "$objects/$(echo "$file" | tr / _).o"' sh "$work/objects" {} "$@" $lto_flags \;
  quiet "$@" $lto_flags -fno-stack-protector -std=gnu11 -Wall -Wextra -Werror \
    -I"$root/include" -c "$here/consumer/fibers.c" -o "$work/objects/fibers.o"
  quiet "$@" -O3 -flto -fPIC $inline -shared -o "$work/libfibers.so" "$work/objects"/*.o \
    -pthread
}
lto_flags='-O3 -DNDEBUG -flto -fPIC -ftls-model=global-dynamic'
inline=

# nothing_thread_local OBJDUMP PATTERN: where fibers switch, nothing may know the thread.
nothing_thread_local() {
  "$1" -d --no-show-raw-insn "$work/libfibers.so" |
    awk '/^[0-9a-f]+ <.*>:$/ { within = $2 ~ /^<fiber_/ } within' >"$work/code"
  grep -q '<hak_alloc' "$work/code" || fail "no call of hak_alloc is left in a fiber"
  if grep -E "$2" "$work/code"; then
    fail "a fiber keeps the address of thread-local data, or may"
  fi
}

# run_fibers: by a program that contains nothing of it.
run_fibers() {
  echo 'int fibers_main(void); int main(void) { return fibers_main(); }' >"$work/main.c"
  quiet "$CC" "$work/main.c" -o "$work/fibers" -L"$work" -lfibers -Wl,-rpath,"$work" -pthread
  "$work/fibers" || fail "the fibers failed"
}

case $how in
  lto_gcc)
    inline='-finline-limit=5000 --param=large-function-growth=1000'
    lto gcc
    run_fibers
    ;;
  lto_clang)
    inline=-Wl,-plugin-opt=-inline-threshold=5000
    lto clang
    run_fibers
    ;;
  # What cannot be run is looked at.
  lto_aarch64_gcc)
    inline='-finline-limit=5000 --param=large-function-growth=1000'
    lto aarch64-linux-gnu-gcc
    nothing_thread_local aarch64-linux-gnu-objdump 'tpidr_el0|tlsdesc'
    ;;
  lto_aarch64_clang)
    command -v ld.lld >/dev/null 2>&1 || skip "lld is not installed"
    command -v aarch64-linux-gnu-objdump >/dev/null 2>&1 || skip "no disassembler"
    inline='-fuse-ld=lld -Wl,-mllvm,-inline-threshold=5000'
    lto clang --target=aarch64-linux-gnu
    nothing_thread_local aarch64-linux-gnu-objdump 'tpidr_el0|tlsdesc'
    ;;
  find_package)
    quiet "$cmake" --install "$build" --prefix "$work/a prefix"
    # Moved after the installation: nothing in it may name the old place.
    mv "$work/a prefix" "$work/another prefix"
    tools_work "$work/another prefix"
    consumer -DCMAKE_PREFIX_PATH="$work/another prefix"
    ;;
  add_subdirectory | fetch_content)
    copy_tree
    # Warnings that are errors to the project, and of which the library's own code has some.
    consumer -DHAKMEM_TREE="$work/hakmem tree" \
      -DCMAKE_C_FLAGS='-Wall -Wextra -Wcast-qual -Wswitch-default -Werror' \
      -DCMAKE_CXX_FLAGS='-Wall -Wextra -Wcast-qual -Werror'
    # A part of somebody's project brings neither tests nor benchmarks, and installs
    # nothing with it.
    if grep -E '^HAKMEM_(BUILD_[A-Z]*|INSTALL):BOOL=ON' "$work/user build/CMakeCache.txt"; then
      fail "the options above are on although the project is not top-level"
    fi
    quiet "$cmake" --install "$work/user build" --prefix "$work/a prefix"
    [ -x "$work/a prefix/bin/use_c" ] || fail "the project's own program is not installed"
    if find "$work/a prefix" -name '*hakmem*' | grep .; then
      fail "the files above came into the project's installation unasked"
    fi
    quiet "$cmake" -DHAKMEM_INSTALL=ON "$work/user build"
    quiet "$cmake" --install "$work/user build" --prefix "$work/a prefix"
    find "$work/a prefix" -name libhakmem.a | grep -q . || fail "HAKMEM_INSTALL does nothing"
    ;;
  # Somebody's project that is being debugged: its allocator is not, and says so.
  debug)
    how=add_subdirectory
    copy_tree
    for type in Debug ''; do
      quiet "$cmake" -S "$here/consumer" -B "$work/$type build" -DCMAKE_BUILD_TYPE="$type" \
        -DHOW=add_subdirectory -DHAKMEM_TREE="$work/hakmem tree" \
        -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
      grep -q "hakmem: optimised (-O2) although the build's type is '$type'" "$work/log" ||
        fail "a build of type '$type' does not say that the library is optimised"
      grep '"command".*alloc\.c' "$work/$type build/compile_commands.json" | grep -q -- -O2 ||
        fail "the library is not optimised in a build of type '$type'"
      quiet "$cmake" -DHAKMEM_OPTIMIZE=OFF "$work/$type build"
      if grep '"command".*alloc\.c' "$work/$type build/compile_commands.json" |
        grep -- -O2; then
        fail "HAKMEM_OPTIMIZE=OFF does nothing in a build of type '$type'"
      fi
    done
    ;;
  # README's first screen, word by word, by somebody who has a C compiler and nothing else, and
  # whose clone lies in the home folder under the library's name.
  readme)
    copy_tree
    mkdir "$work/home"
    mv "$work/hakmem tree" "$work/home/hakmem"
    # shown LANGUAGE NUMBER: that block of the section.
    shown() {
      awk -v language="$1" -v number="$2" '
        /^## / { within = $0 == "## Install and link" }
        /^```/ { if (!shows && within && $0 == "```" language) { shows = ++seen == number; next }
                 shows = 0 }
        shows' "$root/README.md"
    }
    for part in "sh 1" "sh 2" "c 1"; do
      # shellcheck disable=SC2086
      shown $part >"$work/${part% *}${part#* }"
      [ -s "$work/${part% *}${part#* }" ] || fail "README has no block $part"
    done
    mkdir "$work/own program"
    mv "$work/c1" "$work/own program/program.c"
    ls "$work/home/hakmem" >"$work/before"
    unset CMAKE_GENERATOR
    export HOME="$work/home" CXX=/no/compiler
    quiet env -C "$HOME/hakmem" sh -eu "$work/sh1"
    quiet env -C "$work/own program" sh -eu "$work/sh2"
    "$work/own program/program" | grep -q '^[0-9]* usable bytes' || fail "the program failed"
    ls "$HOME/hakmem" | grep -v '^build$' | diff "$work/before" - ||
      fail "the installation came into the tree"
    grep -q '^CMAKE_BUILD_TYPE:[A-Z]*=Release' "$HOME/hakmem/build/CMakeCache.txt" ||
      fail "a build without a type is no release"
    # What the text beside it says.
    if "$cmake" --install "$HOME/hakmem/build" --prefix "$HOME/hakmem" >"$work/log" 2>&1; then
      fail "the tree can be its own prefix"
    fi
    grep -q "hakmem is the library's own tree" "$work/log" || fail "nothing says why"
    quiet env -C "$HOME/hakmem" sh -c "xargs -d '\\n' rm < build/install_manifest.txt"
    if find "$HOME/.local" -type f | grep .; then
      fail "these files stay"
    fi
    ;;
  # Two files in somebody's tree.
  amalgamation)
    command -v python3 >/dev/null 2>&1 || skip "python3 is not installed"
    quiet "$root/tools/amalgamate" "$work/hakmem"
    # The first platform that is not served gets one line, before anything else.
    if "$CC" -fsyntax-only -U__linux__ "$work/hakmem/hakmem.c" 2>"$work/log" ||
      ! grep -m 1 error: "$work/log" | grep -q 'hakmem: Linux on x86-64 or aarch64 only'; then
      cat "$work/log"
      fail "a platform that is not served is not told so first"
    fi
    # Compilers that inline more see more to warn of.
    for level in -O3 -O2; do
      # shellcheck disable=SC2086
      quiet "$CC" -std=c11 $level -fPIC -Wall -Wextra -Wpedantic -Wshadow -Werror ${KIND-} \
        -c "$work/hakmem/hakmem.c" -o "$work/hakmem.o"
    done
    ar rcs "$work/libone.a" "$work/hakmem.o"
    quiet sh "$root/tests/rules/symbols.sh" "$work/libone.a" initial-exec hakmem.o
    for archive in "$work/libone.a" "$build/libhakmem.a"; do
      "${NM:-nm}" -g --defined-only "$archive" | awk 'NF == 3 { print $3 }' |
        LC_ALL=C sort -u >"$work/symbols of $(basename "$archive")"
    done
    diff "$work/symbols of libhakmem.a" "$work/symbols of libone.a" ||
      fail "the symbols above are in one of the libraries only"
    # hakmem.h has it in it; examples name the installed one.
    printf '#include "hakmem.h"\n' >"$work/hakmem/hooks.h"
    cp "$root/include/hakmem/sites.h" "$work/hakmem/" # it changes what comes behind it
    for program in "$here/consumer/use.c" "$root"/examples/*.c; do
      quiet "$CC" -std=gnu11 -I"$work" -I"$root/examples" "$program" "$work/hakmem.o" \
        -o "$work/program" -pthread -lm
      quiet "$work/program"
    done
    quiet "$CXX" -std=c++11 -Wall -Wextra -Werror -I"$work" "$here/consumer/use.cpp" \
      "$work/hakmem.o" -o "$work/program" -pthread
    quiet "$work/program"
    ;;
  # The other C library, whose headers do not include the kernel's.
  musl)
    command -v python3 >/dev/null 2>&1 || skip "python3 is not installed"
    command -v musl-gcc >/dev/null 2>&1 || skip "musl-gcc is not installed"
    quiet "$root/tools/amalgamate" "$work/hakmem"
    # shellcheck disable=SC2086
    quiet musl-gcc -std=c11 -O2 -Wall -Wextra -Werror ${KIND-} -c "$work/hakmem/hakmem.c" \
      -o "$work/hakmem.o"
    for way in -pthread -static; do
      for program in "$here/consumer/use.c" "$root"/examples/frame_heap.c \
        "$root"/examples/plugin_memory.c "$root"/examples/server.c; do
        quiet musl-gcc "$way" -std=gnu11 -I"$root/include" -I"$root/examples" "$program" \
          "$work/hakmem.o" -o "$work/program" -pthread -lm
        quiet "$work/program"
      done
    done
    ;;
  # Somebody's project that is built in unity: the library is not.
  unity)
    how=add_subdirectory
    copy_tree
    consumer -DHAKMEM_TREE="$work/hakmem tree" -DCMAKE_UNITY_BUILD=ON
    how=unity
    # By itself too.
    quiet "$cmake" -S "$work/hakmem tree" -B "$work/alone" -DCMAKE_UNITY_BUILD=ON \
      -DHAKMEM_BUILD_TESTS=OFF
    quiet "$cmake" --build "$work/alone" --parallel 2
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
