#!/bin/sh
# pages.sh ROOT - what the pages name is there. ARCHITECTURE.md and docs/internals/*.md
# are for those who change the library: their files, functions, types, macros and options
# exist. Of other pages the functions of the library are looked up. Links lead to pages and
# headings in all of them; CHANGELOG.md may name what is gone.
set -eu
root=$1
HAKMEM_ROOT=$root
. "$(dirname -- "$0")/../../tools/source-files.sh"

cd "$root"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

pages=$(source_files md | grep -vE '^CHANGELOG\.md$' || true)
if [ -z "$pages" ]; then
  echo "FAIL: pages: no pages under $root"
  exit 1
fi
source_files c h hpp def cc txt json sh py md golden >"$tmp/files"
sed 's|.*/||' "$tmp/files" | LC_ALL=C sort -u >"$tmp/names"

# Every word of the sources and of the build.
grep -E '\.(c|h|hpp|def|cc|txt|json|sh)$' "$tmp/files" |
  xargs cat | grep -oE '[A-Za-z_][A-Za-z0-9_]*' | LC_ALL=C sort -u >"$tmp/words"

failed=0
fail() {
  echo "FAIL: pages: $*"
  failed=1
}

is_file() {
  case $1 in
    */*) [ -e "$1" ] || [ -e "src/$1" ] ;;
    *) grep -qxF -- "$1" "$tmp/names" ;;
  esac
}

for page in $pages; do
  case $page in
    ARCHITECTURE.md | docs/internals/*) checked='' ;;
    *) checked='^hak_' ;;
  esac
  : >"$tmp/quoted"
  [ -n "$checked" ] || grep -oE '`[^`]+`' "$page" | tr -d '`' | LC_ALL=C sort -u >"$tmp/quoted" || true
  while IFS= read -r text; do
    case $text in
      *\**|*' '*|*=*|*'<'*) continue ;;
      *.c|*.h|*.md|*.def|*/*.*)
        is_file "$text" || fail "$page names the file $text, which is not there"
        ;;
      */*)
        [ -e "$text" ] || [ -e "src/$text" ] ||
          fail "$page names the folder $text, which is not there"
        ;;
    esac
  done <"$tmp/quoted"
  # Words with an underscore, in drawings too.
  grep -vE '^https?:' "$page" | sed 's|[A-Za-z_.]*/[A-Za-z0-9_./]*||g' |
    grep -oE '[A-Za-z][A-Za-z0-9]*_[A-Za-z0-9_]*' | grep -e "$checked" | LC_ALL=C sort -u |
    LC_ALL=C comm -23 - "$tmp/words" >"$tmp/unknown"
  while IFS= read -r word; do
    # Names of files, with or without their ending.
    grep -qE "^$word(\.|$)" "$tmp/names" || fail "$page names $word, which is nowhere"
  done <"$tmp/unknown"
  # Links to files and headings.
  grep -oE '\]\([^)]+\)' "$page" | sed 's/^](//; s/)$//' >"$tmp/links" || true
  while IFS= read -r link; do
    case $link in http*) continue ;; esac
    target=${link%%#*}
    path=$page
    [ -z "$target" ] || path=$(dirname -- "$page")/$target
    if [ ! -e "$path" ]; then
      fail "$page links to $link, which is not there"
      continue
    fi
    case $link in
      *#*)
        sed -n 's/^##* //p' "$path" | tr '[:upper:]' '[:lower:]' |
          sed 's/[^a-z0-9 _-]//g; s/ /-/g' | grep -qxF -- "${link#*#}" ||
          fail "$page links to $link, which has no such heading"
        ;;
    esac
  done <"$tmp/links"
done
[ "$failed" -eq 0 ] || exit 1
echo "ok: pages: $(printf '%s\n' "$pages" | wc -l) pages"
