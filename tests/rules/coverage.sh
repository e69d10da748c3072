#!/bin/sh
# coverage.sh ROOT CMAKE - what the coverage preset builds can be linked: a library with
# counters, its tests in C++, and what tests/cxx compiles by hand.
set -eu
root=$1
cmake=$2

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem coverage XXXXXX")
trap 'rm -rf "$work"' EXIT

for tool in gcc g++ ninja; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "SKIP: coverage: $tool is not installed"
    exit 77
  fi
done

# quiet COMMAND...: its output is shown only if it fails.
quiet() {
  if ! "$@" >"$work/log" 2>&1; then
    cat "$work/log"
    echo "FAIL: coverage: $*"
    exit 1
  fi
}

cd "$root"
quiet "$cmake" --preset coverage -B "$work/build"
quiet "$cmake" --build "$work/build" --parallel 2 --target hakmem_cxx_containers_17
echo "ok: coverage: builds"
