#!/bin/sh
# header.sh INCLUDE_DIR - each public header compiles alone, as each of C11, C++11
# and newer, with every compiler that is installed, without a warning; so it does in a
# program that has malloc and the like as macros; and needs nothing but <stddef.h>,
# <stdint.h> and <stdbool.h>.
set -eu
include=$1

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem header XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAIL: header: $*"
  exit 1
}

# compile NAME COMPILER STANDARD LANGUAGE HEADER
compiled=0
compile() {
  printf '#include <hakmem/%s>\n#include <hakmem/%s>\n%s\n' "$5" "$5" "$body" >"$work/use"
  if ! "$1" -x "$3" -std="$2" -O1 -Wall -Wextra -Wpedantic -Werror -I"$include" \
    -c "$work/use" -o "$work/use.o" 2>"$work/errors"; then
    cat "$work/errors"
    fail "$4: $5 does not compile with $1 as $2"
  fi
  compiled=$((compiled + 1))
}

# The macros are part of the header: they must be clean where they are used.
body='
void *use(void);
HAK_SITE(here);
void *use(void) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  hak_stats_t stats = HAK_STATS_INIT;
  if (config.struct_size == stats.struct_size) return 0;
  void *a = hak_alloc_at(16, &here);
  return a != 0 ? a : hak_alloc_at(16, HAK_CALLSITE());
}'
for compiler in gcc clang; do
  command -v "$compiler" >/dev/null 2>&1 || continue
  for standard in c11 c17 gnu11; do
    compile "$compiler" "$standard" c "C" hakmem.h
    compile "$compiler" "$standard" c "C" introspect.h
    compile "$compiler" "$standard" c "C" sites.h
    compile "$compiler" "$standard" c "C" je.h
    compile "$compiler" "$standard" c "C" hooks.h
  done
done
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null 2>&1 || continue
  for standard in c++11 c++14 c++17 c++20; do
    compile "$compiler" "$standard" c++ "C++" hakmem.h
    compile "$compiler" "$standard" c++ "C++" introspect.h
    compile "$compiler" "$standard" c++ "C++" sites.h
    compile "$compiler" "$standard" c++ "C++" je.h
    compile "$compiler" "$standard" c++ "C++" hooks.h
    compile "$compiler" "$standard" c++ "C++" new_delete.h
    if [ -f "$include/hakmem/hakmem.hpp" ]; then
      compile "$compiler" "$standard" c++ "C++" hakmem.hpp
    fi
  done
done
[ "$compiled" -gt 0 ] || fail "no compiler found"

# Programs send malloc here by macros, and have them in front of all includes or on the
# command line.
functions='
#include <stdlib.h>
#include <string.h>
#define malloc(size) hak_alloc(size)
#define calloc(count, size) hak_calloc(count, size)
#define realloc(ptr, size) hak_realloc(ptr, size)
#define free(ptr) hak_free(ptr)
#define strdup(text) hak_strdup(text)'
names='
#include <stdlib.h>
#include <string.h>
#define malloc hak_alloc
#define calloc hak_calloc
#define realloc hak_realloc
#define free hak_free
#define strdup hak_strdup
#define noreturn _Noreturn
#define unused
#define noinline'
for macros in "$functions" "$names"; do
  body='void *use(void);
void *use(void) { return malloc(10); }'
  for header in hakmem.h hooks.h je.h introspect.h; do
    for compiler in gcc clang; do
      command -v "$compiler" >/dev/null 2>&1 || continue
      printf '%s\n#include <hakmem/%s>\n%s\n' "$macros" "$header" "$body" >"$work/use"
      "$compiler" -x c -std=gnu11 -O1 -Wall -Wextra -Werror -I"$include" -c "$work/use" \
        -o "$work/use.o" 2>"$work/errors" || {
        cat "$work/errors"
        fail "$header does not compile with $compiler after macros $macros"
      }
    done
  done
done

others=$(grep -hE '^[ \t]*#[ \t]*include' "$include/hakmem/hakmem.h" |
  grep -vE '<(stddef|stdint|stdbool)\.h>|<hakmem/(options\.def|introspect\.h)>' || true)
[ -z "$others" ] || fail "hakmem.h includes more than it may: $others"
others=$(grep -hE '^[ \t]*#[ \t]*include' "$include/hakmem/introspect.h" |
  grep -vE '<hakmem/hakmem\.h>' || true)
[ -z "$others" ] || fail "introspect.h includes more than it may: $others"
echo "ok: header: $compiled compilations"
