#!/bin/sh
# security.sh ROOT PROGRAM - the table of SECURITY.md is what the test of each kind of
# misuse (tests/death/kinds.c) looks for. `security.sh ROOT PROGRAM --write` brings the
# page up to date.
set -eu
root=$1
program=$2
page=$root/SECURITY.md
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hakmem security XXXXXX")
trap 'rm -rf "$tmp"' EXIT

"$program" --table >"$tmp/table"
[ -s "$tmp/table" ] || { echo "FAIL: security: $program prints no table" && exit 1; }
awk -v table="$tmp/table" '
  /^<!-- table -->$/ { print; print "| Misuse | `default` | `full` | `hardened` |"; print "|---|---|---|---|"
                       while ((getline line < table) > 0) print line
                       inside = 1; next }
  /^<!-- end of the table -->$/ { inside = 0; ends++ }
  !inside { print }
  END { exit ends != 1 }' "$page" >"$tmp/page" ||
  { echo "FAIL: security: SECURITY.md has no marks of where the table is" && exit 1; }
if [ "${3:-}" = --write ]; then
  cat "$tmp/page" >"$page"
elif ! diff -u "$page" "$tmp/page"; then
  echo "FAIL: security: the table is not what the test looks for: security.sh --write"
  exit 1
fi
echo "ok: security: $(wc -l <"$tmp/table") kinds of misuse"
