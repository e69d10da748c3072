#!/bin/sh
# reference.sh ROOT - each public function has its manual page, and groff has nothing to
# say about any of them; what is not installed is not asked.
set -eu
root=$1

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem reference XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAIL: reference: $*"
  exit 1
}

"$root/tools/reference" man "$work" >"$work/said" || { cat "$work/said"; fail "cannot be made"; }
sed -nE 's/^HAK_APART\((hak_[a-z0-9_]+)\);$/\1/p' "$root/src/base/public.h" >"$work/functions"
[ -s "$work/functions" ] || fail "no public functions"
while IFS= read -r name; do
  page=$work/man3/$name.3
  [ -f "$page" ] || fail "no page for $name"
  grep -q "^$name "'\\- .' "$page" || fail "the page of $name does not say what it does"
  grep -qF "$name(" "$page" || fail "the page of $name does not show how it is called"
done <"$work/functions"
# What a page of records and constants has to have.
grep -q 'hard_limit' "$work/man3/hak_heap_create.3" || fail "no records in the pages"
grep -q 'HAK_NO_GROW' "$work/man3/hak_allocx.3" || fail "no constants in the pages"
for of in 'int(hak_pressure_fn)(:hak_heap_create' 'HAK_PRESSURE_SOFT:hak_heap_create' \
  'heap_path;:hak_set_error_handler' 'HAK_ERROR_LEAK:hak_set_error_handler' \
  'hak_write_fn)(:hak_stats_print' 'hak_visit_fn)(:hak_heap_visit' 'void \*address;:hak_heap_visit'; do
  grep -q "${of%:*}" "$work/man3/${of##*:}.3" || fail "${of##*:} does not show ${of%:*}"
done
[ -f "$work/man3/HAK_CALLER.3" ] || fail "no page for a macro that is called"

if command -v groff >/dev/null 2>&1; then
  for page in "$work"/man3/*.3; do
    groff -man -ww -z "$page" >"$work/warnings" 2>&1 || true
    [ ! -s "$work/warnings" ] || { cat "$work/warnings"; fail "groff on $page"; }
  done
fi

"$root/tools/reference" page "$work/page.md" >"$work/said"
while IFS= read -r name; do
  grep -qx "### $name" "$work/page.md" || fail "the page has no $name"
done <"$work/functions"
echo "ok: reference: $(wc -l <"$work/functions") functions"
