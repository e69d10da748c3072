#!/bin/sh
# locked.sh ROOT - a function of the library whose name ends in _locked begins with the
# assertion that the calling thread holds its lock.
set -eu
root=$1
HAKMEM_ROOT=$root
. "$(dirname -- "$0")/../../tools/source-files.sh"

library_files locked c h

cd "$root"
printf '%s\n' "$files" | {
  bad=0
  count=0
  while IFS= read -r file; do
    found=$(awk -v file="$file" '
      # What begins in the first column with the name and an opening brace is a
      # definition; a semicolon before the brace makes it a declaration.
      state == 0 && /^[A-Za-z].*[a-z0-9]_locked\(/ && !/^#/ {
        name = $0
        sub(/_locked\(.*/, "_locked", name)
        sub(/.*[^A-Za-z0-9_]/, "", name)
        state = 1
      }
      state == 2 {
        print "definition"
        if ($0 !~ /^  hak_lock_assert_held\(/) {
          printf "FAIL: locked: %s:%d: %s does not begin with hak_lock_assert_held\n", \
                 file, FNR, name
        }
        state = 0
      }
      state == 1 && /;[ \t]*$/ { state = 0 }
      state == 1 && /\{/ {
        state = 2
        if ($0 !~ /\{[ \t]*$/) {
          printf "FAIL: locked: %s:%d: %s on one line\n", file, FNR, name
          state = 0
        }
      }' "$file")
    count=$((count + $(printf '%s\n' "$found" | grep -c '^definition$' || true)))
    if printf '%s\n' "$found" | grep '^FAIL'; then bad=$((bad + 1)); fi
  done
  if [ "$bad" -gt 0 ]; then
    echo "FAIL: locked: $bad files"
    exit 1
  fi
  echo "ok: locked: $count functions"
}
