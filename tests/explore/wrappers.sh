#!/bin/sh
# wrappers.sh ROOT - the explorer's atomic.h has the same names as the library's, so that
# no access goes past the explorer.
set -eu
root=$1

names() {
  { grep -oE '^#define hak_[a-z_]+\(' "$1" || true
    grep -oE '^HAK_HOT [a-z0-9_]+ hak_[a-z_]+\(' "$1" | sed 's/^HAK_HOT [a-z0-9_]* /#define /' || true
    grep -oE '^typedef .*;' "$1" || true; } | sort
}

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem wrappers XXXXXX")
trap 'rm -rf "$work"' EXIT
names "$root/src/base/atomic.h" | uniq >"$work/library"
names "$root/tests/explore/replaced/base/atomic.h" | uniq >"$work/explorer"
if ! [ -s "$work/library" ]; then
  echo "FAIL: wrappers: no names in src/base/atomic.h"
  exit 1
fi
if ! diff "$work/library" "$work/explorer"; then
  echo "FAIL: wrappers: the two files differ"
  exit 1
fi
echo "ok: wrappers: $(($(wc -l <"$work/library"))) names"
