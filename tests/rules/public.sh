#!/bin/sh
# public.sh ROOT - no public function may be inlined where it is called: fibers change
# threads between two calls. src/base/public.h says so of each function of the headers,
# and is the only file of the library that includes one.
set -eu
root=$1
header=$root/include/hakmem/hakmem.h
list=$root/src/base/public.h

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem public XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAIL: public: $*"
  exit 1
}

[ -f "$header" ] || fail "no $header"
[ -f "$list" ] || fail "no $list"

# Without comments; what begins in the first column and is neither a type nor a macro
# declares a function if a name and a parenthesis follow.
sed -e 's|/\*[^*]*\*/||g' "$root"/include/hakmem/*.h | awk '
  /\/\*/ { inside = 1 }
  !inside && /^[a-z]/ && !/^(typedef|struct|enum|static|extern) / &&
    match($0, /hak_[a-z0-9_]+\(/) { print substr($0, RSTART, RLENGTH - 1) }
  /\*\// { inside = 0 }' | sort -u >"$work/declared"
sed -nE 's/^HAK_APART\((hak_[a-z0-9_]+)\);$/\1/p' "$list" | sort -u >"$work/apart"
[ -s "$work/declared" ] || fail "no functions in $header"

missing=$(comm -23 "$work/declared" "$work/apart" | tr '\n' ' ')
[ -z "$missing" ] || fail "not in src/base/public.h: $missing"
unknown=$(comm -13 "$work/declared" "$work/apart" | tr '\n' ' ')
[ -z "$unknown" ] || fail "in src/base/public.h, but not in the header: $unknown"
grep -qE '^#define HAK_APART\(.*__attribute__\(\(noinline\)\)$' "$list" ||
  fail "HAK_APART does not say noinline"

others=$(cd "$root" && grep -lE '^[ \t]*#[ \t]*include[ \t]*<hakmem/[a-z]+\.h>' -r src |
  grep -v '^src/base/public\.h$' | tr '\n' ' ' || true)
[ -z "$others" ] || fail "include \"base/public.h\" instead of the header: $others"
echo "ok: public: $(wc -l <"$work/declared") functions"
