#!/bin/sh
# comments.sh ROOT - each function, macro, type and constant of the public headers of C has
# a comment of its own, which editors show where it is used: right above it, or behind it in
# the same line. Not what only the headers themselves use: include guards, HAK_ATTR_* and
# names within a macro's body.
set -eu
root=$1

[ -f "$root/include/hakmem/hakmem.h" ] || {
  echo "FAIL: comments: no public header under $root"
  exit 1
}
cd "$root"
# shellcheck disable=SC2046
awk '
  function check(name) {
    count++
    if (commented || $0 ~ /\/\*|\/\//) return
    printf "FAIL: comments: %s:%d: %s has no comment of its own\n", FILENAME, FNR, name
    failed = 1
  }
  FNR == 1 { commented = within = in_enum = continued = inside = 0 }
  # The lines that go on a macro or a declaration.
  continued { continued = ($0 ~ /\\$/); commented = 0; next }
  inside { if ($0 ~ /\*\//) { inside = 0; commented = 1 } next }
  /^[ \t]*\/\*/ { if ($0 !~ /\*\//) inside = 1; else commented = 1; next }
  /^#[ \t]*define[ \t]+HAK/ {
    name = $2
    sub(/\(.*/, "", name)
    continued = ($0 ~ /\\$/)
    # Defined a second time, for another compiler, it has one comment.
    if (name !~ /_H(PP)?$|^HAK_ATTR_|^HAK_HOOKS?_?(END)?$|^HAK_JE|^HAK_OPTION$/ && !(name in seen)) check(name)
    seen[name] = 1
    commented = 0
    next
  }
  /^#/ { continued = ($0 ~ /\\$/); next }
  /^typedef enum/ { check($3); in_enum = 1; commented = 0; next }
  in_enum && /^}/ { in_enum = 0 }
  in_enum && match($0, /^ *HAK_[A-Z_0-9]+/) && $0 !~ /_COUNT|HAK_OPTION/ {
    check(substr($0, RSTART, RLENGTH))
    commented = 0
    next
  }
  /^typedef/ { name = $0; check(name) }
  !within && /^[a-z]/ && !/^(typedef|struct|enum|static|extern)/ && match($0, /hak_[a-z0-9_]+\(/) {
    check(substr($0, RSTART, RLENGTH - 1))
  }
  /^[^ \t#]/ && !/;[ \t]*(\/\*.*)?$/ && !/\{/ { within = 1 }
  /;[ \t]*(\/\*.*)?$/ { within = 0 }
  { commented = 0 }
  END {
    if (count == 0) { print "FAIL: comments: nothing found"; exit 1 }
    if (!failed) print "ok: comments: " count " names"
    exit failed
  }' $(find include/hakmem -name '*.h' ! -name new_delete.h ! -name sites.h ! -name je.h)
