#!/bin/sh
# leaks.sh INCLUDE ARCHIVE - a program built with AddressSanitizer, and the library as it
# is: LeakSanitizer reports what is lost, and nothing that blocks of hakmem's point to.
#
# CC names the compiler.
set -eu
include=$1
archive=$2
cc=${CC:-cc}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem leaks XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAIL: leaks: $*"
  exit 1
}

if ! echo 'int main(void) { return 0; }' |
  "$cc" -xc - -fsanitize=address -o "$work/empty" 2>/dev/null ||
  ! "$work/empty" 2>/dev/null; then
  echo "skipped: leaks: $cc has no AddressSanitizer that runs here"
  exit 77
fi

"$cc" -std=c11 -g -fsanitize=address -I"$include" "$here/leaks.c" "$archive" \
  -lpthread -o "$work/program"

# Lost blocks that the report names, of a run that loses so many.
count() {
  status=0
  "$work/program" "$1" >"$work/report" 2>&1 || status=$?
  if grep -q 'check failed' "$work/report"; then
    cat "$work/report"
    fail "the program could not do its work"
  fi
  if grep -q 'LeakSanitizer has encountered a fatal error' "$work/report"; then
    echo "skipped: leaks: LeakSanitizer does not work here (it must not be traced)"
    exit 77
  fi
  sed -n 's/^SUMMARY: AddressSanitizer: .* in \([0-9]*\) allocation.*/\1/p' \
    "$work/report" | grep . || echo 0
}

for lost in 0 7; do
  result=0
  found=$(count "$lost") || result=$?
  [ "$result" -eq 0 ] || { echo "$found" && exit "$result"; }
  [ "$found" -eq "$lost" ] || { cat "$work/report" && fail "$found reported, $lost lost"; }
done
echo "ok: leaks: what is lost is reported, and nothing else"
