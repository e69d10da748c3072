#!/bin/sh
# marks.sh ROOT - the comment beside a field says who may touch it by one of four words in
# brackets, [const], [owner], [lock] or [any], which src/base/lock.h explains. A name may
# follow a colon; that of a lock is the name of a rank, or of two: [lock: pool or regions].
# The comment at the definition of a lock says what the lock guards.
set -eu
root=$1
HAKMEM_ROOT=$root
. "$(dirname -- "$0")/../../tools/source-files.sh"

library_files marks c h

cd "$root"
# No file's name has a space in it.
# shellcheck disable=SC2086
awk '
  function fail(why) {
    print "FAIL: marks: " file ": " why
    failed = 1
  }
  function check_lock(name,    n, names, i) {
    n = split(name, names, " or ")
    for (i = 1; i <= n; i++) {
      if (!(names[i] in ranks)) fail("no lock is named \"" names[i] "\" in [lock: " name "]")
    }
  }
  function check_comment(text,    mark, word) {
    gsub(/\n[ \t]*\*?[ \t]*/, " ", text)
    while (match(text, /\[[^]]*\]/)) {
      mark = substr(text, RSTART + 1, RLENGTH - 2)
      text = substr(text, RSTART + RLENGTH)
      word = mark
      sub(/: .*/, "", word)
      marks++
      if (word !~ /^(const|owner|lock|any)$/) {
        fail("[" mark "] does not begin with one of the four words")
      } else if (mark ~ /^lock: /) {
        check_lock(substr(mark, 7))
      }
    }
  }
  # A comment begins on the line of the lock, or ends on the line before.
  function check_file(text,    rest, before, line, at, comment, guards) {
    rest = text
    while ((at = index(rest, "/*")) > 0) {
      rest = substr(rest, at + 2)
      at = index(rest, "*/")
      check_comment(substr(rest, 1, at - 1))
      rest = substr(rest, at + 2)
    }
    rest = text
    before = ""
    while (match(rest, /\n(static |  )hak_lock_t [a-z_]+( = [^;]*)?;[^\n]*/)) {
      locks++
      line = substr(rest, RSTART, RLENGTH)
      before = before substr(rest, 1, RSTART - 1)
      rest = substr(rest, RSTART + RLENGTH)
      guards = 0
      if (line ~ /\/\*/) {
        comment = line rest
        comment = substr(comment, index(comment, "/*"))
        comment = substr(comment, 1, index(comment, "*/"))
        guards = comment ~ /[Gg]uards/
      } else if (before ~ /\*\/$/) {
        comment = before
        while ((at = index(comment, "/*")) > 0) comment = substr(comment, at + 2)
        guards = comment ~ /[Gg]uards/
      }
      if (!guards) fail("no comment says what a lock guards:" substr(line, 2))
      before = before line
    }
  }
  FNR == 1 {
    if (NR > 1) check_file(all)
    file = FILENAME
    all = "\n"
  }
  { all = all $0 "\n" }
  FILENAME == "src/base/lock.h" && /^  HAK_RANK_/ {
    rank = $1
    sub(/^HAK_RANK_/, "", rank)
    sub(/,.*/, "", rank)
    gsub(/_/, " ", rank)
    ranks[tolower(rank)] = 1
  }
  END {
    check_file(all)
    if (failed) exit 1
    print "ok: marks: " marks " marks, " locks " locks"
  }' src/base/lock.h $(printf '%s\n' "$files" | grep -v '^src/base/lock\.h$') || {
  echo "FAIL: marks: see above"
  exit 1
}
