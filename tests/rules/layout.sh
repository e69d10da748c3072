#!/bin/sh
# layout.sh ROOT ARCHIVE LIMIT - the functions that programs execute, as
# cmake/usual_functions.txt has them, are functions of the library, but for one in ten, and in
# a program that GNU ld linked they lie within LIMIT bytes.
set -eu
root=$1
archive=$2
limit=$3
cc=${CC:-cc}
nm=${NM:-nm}

fail() {
  echo "FAIL: layout: $1"
  exit 1
}
list=$root/cmake/usual_functions.txt
names=$(wc -l <"$list")
[ "$names" -gt 0 ] || fail "no names in $list"
missing=$(find "$root/src" -name '*.[ch]' -exec cat {} + | tr -c 'A-Za-z0-9_' '\n' |
  LC_ALL=C sort -u | LC_ALL=C comm -13 - "$list")
if [ -n "$missing" ]; then
  gone=$(printf '%s\n' "$missing" | wc -l)
  missing=$(printf '%s' "$missing" | tr '\n' ' ')
  [ "$gone" -le $((names / 10)) ] ||
    fail "no functions of the library (tools/usual-functions): $missing"
  echo "note: layout: no functions of the library (tools/usual-functions): $missing"
fi

"$cc" -Wl,--version 2>/dev/null | grep -q '^GNU ld' || {
  echo "SKIP: layout: $cc does not link with GNU ld"
  exit 77
}
work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem layout XXXXXX")
trap 'rm -rf "$work"' EXIT
cat >"$work/program.c" <<'PROGRAM'
#include <hakmem/hakmem.h>
int main(void) {
  hak_free(hak_alloc(16));
  return hak_heap_destroy(hak_heap_create(0));
}
PROGRAM
"$cc" -O2 -I"$root/include" -o "$work/program" "$work/program.c" "$archive" -lpthread
"$work/program" || fail "the program fails"
# A name that several files have, such as `get`, may stand for another function too: of all
# that are called so, nine in ten count.
"$nm" -n "$work/program" | awk -v names="$names" -v limit="$limit" -v list="$list" '
  function number(hex,    i, n) {
    for (i = 1; i <= length(hex); i++)
      n = n * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
    return n
  }
  BEGIN { while ((getline name <list) > 0) usual[name] = 1 }
  $2 ~ /^[tT]$/ {
    sub(/[.].*/, "", $3)
    if ($3 in usual) at[++found] = number($1)
  }
  END {
    if (found < names / 2) {
      print "FAIL: layout: only " found + 0 " of " names " functions are in a program"
      exit 1
    }
    most = 0
    for (first = last = 1; last <= found; last++) {
      while (at[last] - at[first] > limit) first++
      if (last - first + 1 > most) most = last - first + 1
    }
    if (most < found * 0.9) {
      print "FAIL: layout: of " found " functions only " most " lie within " limit " bytes"
      exit 1
    }
    print "ok: layout: " most " of " found " functions lie within " limit " bytes"
  }'
