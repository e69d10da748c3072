#!/bin/sh
# slab_word.sh ROOT - a slab's word, its list and its counts are written in
# src/tiny/slab.h and slab.c only, and where whole heaps are cleared in
# src/superslab/slab.h. Lists of bins, which are named `bin`, are their owners'; a push
# onto a list that an entry names is src/tiny/bin.h's.
set -eu
root=$1
HAKMEM_ROOT=$root
. "$(dirname -- "$0")/../../tools/source-files.sh"

files=$(source_files c h | grep -E '^src/(superslab|external|tiny|pool|heap|api)/' |
  grep -vE '^src/(tiny/slab\.[ch]|superslab/slab\.h)$' || true)
if [ -z "$files" ]; then
  echo "FAIL: slab_word: no files under $root/src"
  exit 1
fi

cd "$root"
write='hak_(store|cas|exchange|add|sub|or|and|count)[a-z_]*\(&'
field='(->|\.)(word|held_back|carved)[,)]'
room='(->|\.)list\.room[,)]'
head='(->|\.)list\.head = '
printf '%s\n' "$files" | {
  count=0
  bad=0
  while IFS= read -r file; do
    count=$((count + 1))
    # A call that goes on in the next line is made one line.
    if sed -e ':a' -e '/($/{N;s/(\n */(/;ba' -e '}' "$file" | {
      grep -E "$write[^,]*$field|$write[^,]*$room|$head|(^|[^a-z_])list->head = |hak_slab_set_out\\(" ||
        true
    } | {
      grep -vE "(^|[^a-z_])(bin|bin->|to\\[cls\\])(->|\\.)?list\\.(head|room)" || true
    } | {
      if [ "$file" = src/tiny/bin.h ]; then grep -v 'list->head = block;' || true; else cat; fi
    } | sed "s|^ *|FAIL: slab_word: $file: |" | grep .; then
      bad=$((bad + 1))
    fi
  done
  if [ "$bad" -gt 0 ]; then
    echo "FAIL: slab_word: $bad of $count files change a slab; call what src/tiny/slab.h has"
    exit 1
  fi
  echo "ok: slab_word: $count files"
}
