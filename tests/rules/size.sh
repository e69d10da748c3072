#!/bin/sh
# size.sh ARCHIVE INCLUDE_DIR LIMIT - what the library adds to a static executable,
# tables included: at most LIMIT bytes more than the same program with malloc.
set -eu
archive=$1
include=$2
limit=$3
cc=${CC:-cc}
size=${SIZE:-size}

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem size XXXXXX")
trap 'rm -rf "$work"' EXIT

cat >"$work/program.c" <<'PROGRAM'
#ifdef USE_HAKMEM
#include <hakmem/hakmem.h>
#define allocate hak_alloc
#define release hak_free
#else
#include <stdlib.h>
#define allocate malloc
#define release free
#endif
int main(int argc, char **argv) {
  void *volatile block = allocate((unsigned)argc * 16u);
  (void)argv;
  if (block == 0) return 1;
  release(block);
  return 0;
}
PROGRAM

"$cc" -O2 -static -o "$work/plain" "$work/program.c" -lpthread
"$cc" -O2 -static -DUSE_HAKMEM -I"$include" -o "$work/hakmem" "$work/program.c" "$archive" \
  -lpthread
"$work/plain"
"$work/hakmem"

total() { "$size" "$1" | awk 'NR == 2 { print $4 }'; }
plain=$(total "$work/plain")
with=$(total "$work/hakmem")
added=$((with - plain))
if [ "$added" -le 0 ]; then
  echo "FAIL: size: the library adds $added bytes; the comparison does not work"
  exit 1
fi
if [ "$added" -gt "$limit" ]; then
  echo "FAIL: size: the library adds $added bytes, more than $limit"
  exit 1
fi
echo "ok: size: the library adds $added bytes to a static executable, at most $limit"
