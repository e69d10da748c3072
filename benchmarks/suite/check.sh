#!/bin/sh
# check.sh PROGRAM ARGUMENT... - one program of the suite runs everything it lists.
#
# Names are unique; each workload reports a figure or says why it was left out; the
# proof is the last line; what does not exist is refused.
set -eu
program=$1
shift

fail() {
  echo "FAIL: suite: $*"
  exit 1
}
work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem suite XXXXXX")
trap 'rm -rf "$work"' EXIT

"$program" "$@" --list >"$work/list" || fail "--list ends with status $?"
[ -s "$work/list" ] || fail "the list is empty"
cut -d ' ' -f 1 "$work/list" | sort >"$work/names"
twice=$(uniq -d "$work/names")
[ -z "$twice" ] || fail "more than once in the list: $twice"

"$program" "$@" >"$work/output" || fail "the run ends with status $?"
while IFS= read -r name; do
  grep -q -e "^result $name/" -e "^note skipped $name " "$work/output" ||
    fail "$name reports nothing"
done <"$work/names"
tail -n 1 "$work/output" | grep -q '^allocator .* proven$' || fail "no proof at the end"

if "$program" "$@" no_such_workload >"$work/output" 2>&1; then
  fail "a workload that does not exist is not refused"
fi
if grep -q proven "$work/output"; then fail "a run of nothing is proven"; fi
echo "ok: suite: $(wc -l <"$work/names") workloads"
