#!/bin/sh
# tls.sh ARCHIVE LIMIT - static TLS of an object that contains the whole library:
# at most LIMIT bytes. Surplus static TLS is what a dlopened object lives on, and
# there is little of it.
set -eu
archive=$1
limit=$2
readelf=${READELF:-readelf}
cc=${CC:-cc}

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem tls XXXXXX")
trap 'rm -rf "$work"' EXIT

"$cc" -shared -o "$work/whole.so" -Wl,--whole-archive "$archive" -Wl,--no-whole-archive \
  -lpthread
"$readelf" -lW "$work/whole.so" >"$work/headers"
if ! grep -q '^  LOAD' "$work/headers"; then
  echo "FAIL: tls: readelf shows no segments"
  exit 1
fi
# Offset VirtAddr PhysAddr FileSiz MemSiz
size=$(awk '$1 == "TLS" { print $6 }' "$work/headers")
if [ -z "$size" ]; then
  echo "FAIL: tls: the library has no thread-local data; is it complete?"
  exit 1
fi
size=$((size))
if [ "$size" -gt "$limit" ]; then
  echo "FAIL: tls: $size bytes of static TLS, more than $limit"
  exit 1
fi
echo "ok: tls: $size bytes of static TLS, at most $limit"
