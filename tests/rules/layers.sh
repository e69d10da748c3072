#!/bin/sh
# layers.sh ROOT - a file of the library includes its own folder and folders to
# its left only, and says so with the folder's name:
#
#   base <- os <- pages <- superslab <- external <- {tiny, pool} <- heap <- api
#
# The public header and the system's may be included everywhere.
set -eu
root=$1
HAKMEM_ROOT=$root
. "$(dirname -- "$0")/../../tools/source-files.sh"

files=$(source_files c h def | grep '^src/' || true)
if [ -z "$files" ]; then
  echo "FAIL: layers: no files under $root/src"
  exit 1
fi

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
        rank["api"] = 8
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
          if (angle[2] ~ /^(base|os|pages|superslab|external|tiny|pool|heap|api)\//) {
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
  echo "ok: layers: $count files"
}
