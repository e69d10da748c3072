#!/bin/sh
# length.sh ROOT - a file past 500 lines has two subjects. 600 is where it fails,
# so that a small fix never has to split a file.
set -eu
root=$1
HAKMEM_ROOT=$root
. "$(dirname -- "$0")/../../tools/source-files.sh"

library_files length c h

cd "$root"
printf '%s\n' "$files" | {
  count=0
  bad=0
  while IFS= read -r file; do
    count=$((count + 1))
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 600 ]; then
      echo "FAIL: length: $file has $((lines)) lines, more than 600"
      bad=$((bad + 1))
    elif [ "$lines" -gt 500 ]; then
      echo "note: length: $file has $((lines)) lines, more than 500"
    fi
  done
  if [ "$bad" -gt 0 ]; then exit 1; fi
  echo "ok: length: $count files"
}
