#!/bin/sh
# layers.sh ROOT - a file of the library includes its own folder and folders to
# its left only, and says so with the folder's name:
#
#   base <- os <- pages <- {superslab, learn} <- external <- {tiny, pool} <- heap <- api
#
# The public header and the system's may be included everywhere.
#
# In the folders `checked`, two things more. A module is x.c and x.h, or one of them
# alone; it depends on what either includes. A file x.def is a module that includes
# nothing.
#
#   - No circle of modules: none depends on itself by way of others of its folder.
#   - Each header has one line ' * Depends on: LIST.', which may go on in the next lines
#     up to the full stop. LIST is 'nothing', or names with ', ' between them, in any
#     order and each once: the name of every other folder of which the module includes a
#     file, and the name of every other module of its own folder of which it includes
#     one. A .c file without a header has no such line.
#
# HAKMEM_CHECKED="tiny pool" in the environment checks these folders instead.
set -eu
root=$1
checked=${HAKMEM_CHECKED:-base os pages learn superslab external tiny pool heap api}
HAKMEM_ROOT=$root
. "$(dirname -- "$0")/../../tools/source-files.sh"

library_files layers c h def

cd "$root"
printf '%s\n' "$files" | {
  count=0
  bad=0
  while IFS= read -r file; do
    count=$((count + 1))
    awk -v file="$file" '
      function fail(why) {
        printf "FAIL: layers: %s:%d: %s\n", file, FNR, why
        failed = 1
      }
      BEGIN {
        rank["base"] = 1; rank["os"] = 2; rank["pages"] = 3; rank["superslab"] = 4
        rank["external"] = 5; rank["tiny"] = 6; rank["pool"] = 6; rank["heap"] = 7
        rank["api"] = 8; rank["learn"] = 4
        n = split(file, part, "/")
        own = part[2]
        if (n != 3 || !(own in rank)) fail("is not in a folder of a layer")
      }
      /^[ \t]*#[ \t]*include/ {
        line = $0
        sub(/^[ \t]*#[ \t]*include[ \t]*/, "", line)
        if (line ~ /^"/) {
          split(line, quoted, "\"")
          depth = split(quoted[2], path, "/")
          layer = path[1]
          if (depth != 2 || !(layer in rank)) {
            fail("\"" quoted[2] "\" is not of the form \"layer/file.h\"")
          } else if (path[2] !~ /\.(h|def)$/) {
            fail("\"" quoted[2] "\" is not a header")
          } else if (layer != own && rank[layer] >= rank[own]) {
            fail(own " may not include " layer " (" quoted[2] ")")
          }
        } else if (line ~ /^</) {
          split(line, angle, /[<>]/)
          if (angle[2] ~ /^(base|os|pages|learn|superslab|external|tiny|pool|heap|api)\//) {
            fail("<" angle[2] "> belongs in quotes")
          }
        } else {
          fail("an include that cannot be read: " line)
        }
      }
      END { exit failed }' "$file" || bad=$((bad + 1))
  done
  if [ "$bad" -gt 0 ]; then
    echo "FAIL: layers: $bad of $count files break the order of the layers"
    exit 1
  fi
}

# No file's name has a space in it.
# shellcheck disable=SC2086
awk -v checked="$checked" '
  function fail(why) {
    print "FAIL: layers: " why
    failed = 1
  }
  # insert NAME, LIST: the list, which is in order, with the name in it once.
  function insert(name, list,    n, names, i, out) {
    n = split(list, names, ", ")
    for (i = 1; i <= n && names[i] < name; i++) out = out ", " names[i]
    if (i > n || names[i] != name) out = out ", " name
    for (; i <= n; i++) out = out ", " names[i]
    return substr(out, 3)
  }
  # sorted LIST: the list in order; names that come twice stay.
  function sorted(list,    n, names, i, j, name) {
    n = split(list, names, ", ")
    for (i = 2; i <= n; i++) {
      name = names[i]
      for (j = i - 1; j > 0 && names[j] > name; j--) names[j + 1] = names[j]
      names[j + 1] = name
    }
    list = names[1]
    for (i = 2; i <= n; i++) list = list ", " names[i]
    return list
  }
  # compare HEADER: its line with what the files of its module include.
  function compare(header,    m, wanted) {
    m = headers[header]
    wanted = folders[m] (folders[m] != "" && within[m] != "" ? ", " : "") within[m]
    if (wanted == "") wanted = "nothing"
    if (!(header in said)) {
      fail(header ": no line \"Depends on: " wanted ".\"")
    } else if (sorted(said[header]) != sorted(wanted)) {
      fail(header ": says \"Depends on: " said[header] ".\", should be: " wanted ".")
    }
  }
  # Modules of a folder that depend on none that is left go, until none does: what stays
  # has a circle.
  function find_circle(own,    gone, m, n, i, at, path, met, steps) {
    split("", left)
    for (m in folder) if (folder[m] == own) left[m] = 1
    do {
      gone = ""
      for (m in left) if (next_left(m) == "") gone = m
      if (gone != "") delete left[gone]
    } while (gone != "")
    for (m in left) {
      # From any of them, by modules that are left, to one that was met before.
      at = m
      for (n = 0; !(at in met); n++) {
        met[at] = n
        path[n] = at
        at = next_left(at)
      }
      for (i = met[at]; i < n; i++) steps = steps path[i] " -> "
      fail("a circle of modules: " steps at)
      return
    }
  }
  function next_left(m,    n, names, i) {
    n = split(within[m], names, ", ")
    for (i = 1; i <= n; i++) {
      if ((folder[m] "/" names[i]) in left) return folder[m] "/" names[i]
    }
    return ""
  }
  BEGIN {
    count = split(checked, list, " ")
    for (i = 1; i <= count; i++) is_checked[list[i]] = 1
  }
  FNR == 1 {
    split(FILENAME, part, "/")
    own = part[2]
    on = own in is_checked
    module = FILENAME
    sub(/^src\//, "", module)
    sub(/\.[a-z]+$/, "", module)
    open_list = 0
    if (on) {
      folder[module] = own
      if (FILENAME ~ /\.h$/) headers[FILENAME] = module
    }
  }
  !on { next }
  open_list {
    line = $0
    sub(/^ \* */, " ", line)
    text = text line
  }
  /^ \* Depends on: / {
    if (FILENAME in said) fail(FILENAME ": two lines \"Depends on:\"")
    text = $0
    sub(/^ \* Depends on: /, "", text)
    open_list = 1
  }
  open_list && text ~ /\./ {
    sub(/\..*/, "", text)
    said[FILENAME] = text
    open_list = 0
  }
  /^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, quoted, "\"")
    split(quoted[2], path, "/")
    if (path[1] != own) {
      folders[module] = insert(path[1], folders[module])
    } else {
      sub(/\.[a-z]+$/, "", path[2])
      if (own "/" path[2] != module) within[module] = insert(path[2], within[module])
    }
  }
  END {
    for (header in headers) compare(header)
    for (i = 1; i <= count; i++) find_circle(list[i])
    exit failed
  }' $files || {
  echo "FAIL: layers: in the folders $checked"
  exit 1
}
echo "ok: layers: $(printf '%s\n' "$files" | wc -l) files; modules of $checked"
