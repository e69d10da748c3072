#!/bin/sh
# compilers.sh ROOT CMAKE - the library builds without a warning with gcc and with
# clang, optimised and not, with all checks and asserts and with none.
set -eu
root=$1
cmake=$2

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem compilers XXXXXX")
trap 'rm -rf "$work"' EXIT

built=0
for compiler in gcc clang; do
  if ! command -v "$compiler" >/dev/null 2>&1; then
    echo "note: compilers: $compiler is not installed"
    continue
  fi
  for kind in Release:default:off Release:off:off Debug:full:full; do
    IFS=: read -r type checks asserts <<KIND
$kind
KIND
    if ! {
      "$cmake" -S "$root" -B "$work/$compiler $kind" -DCMAKE_C_COMPILER="$compiler" \
        -DCMAKE_BUILD_TYPE="$type" -DHAKMEM_CHECKS="$checks" -DHAKMEM_ASSERTS="$asserts" \
        -DHAKMEM_WERROR=ON &&
        "$cmake" --build "$work/$compiler $kind" --target hakmem
    } >"$work/log" 2>&1; then
      cat "$work/log"
      echo "FAIL: compilers: $compiler, $type, checks $checks, asserts $asserts"
      exit 1
    fi
    built=$((built + 1))
  done
done
if [ "$built" -eq 0 ]; then
  echo "FAIL: compilers: neither gcc nor clang found"
  exit 1
fi
echo "ok: compilers: $built builds without a warning"
