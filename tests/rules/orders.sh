#!/bin/sh
# orders.sh ROOT - memory orders are named in src/base/atomic.h only; everything
# else uses its wrappers, which carry the order in their names. There, each
# read-modify-write is one that can be counted.
set -eu
root=$1
HAKMEM_ROOT=$root
. "$(dirname -- "$0")/../../tools/source-files.sh"

files=$(source_files c h | grep '^src/' | grep -v '^src/base/atomic\.h$' || true)
if [ -z "$files" ]; then
  echo "FAIL: orders: no files under $root/src"
  exit 1
fi

cd "$root"
if [ -f src/base/atomic.h ] &&
  grep -nE 'atomic_(exchange|compare_exchange|fetch|flag)' src/base/atomic.h |
  grep -v 'HAK_LOCKED(' | sed 's|^|FAIL: orders: not in HAK_LOCKED: src/base/atomic.h:|' |
    grep .; then
  exit 1
fi
pattern='memory_order_|__ATOMIC_|__atomic_|__sync_|(^|[^a-z_])atomic_(load|store|exchange|compare_exchange|fetch|thread_fence|signal_fence|flag)'
printf '%s\n' "$files" | {
  count=0
  bad=0
  while IFS= read -r file; do
    count=$((count + 1))
    if grep -nE "$pattern" "$file" | sed "s|^|FAIL: orders: $file:|" | grep .; then
      bad=$((bad + 1))
    fi
  done
  if [ "$bad" -gt 0 ]; then
    echo "FAIL: orders: $bad of $count files name a memory order; use base/atomic.h"
    exit 1
  fi
  echo "ok: orders: $count files"
}
