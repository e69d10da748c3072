#!/bin/sh
# symbols.sh ARCHIVE TLS_MODEL [MEMBER] - what the library defines and what it asks for.
#
# Every external symbol starts with hak_. It refers to nothing of libc that allocates, but
# for the one member of the archive that may call malloc (os/malloc.h): malloc_linux, or
# MEMBER. Linked with nothing but libc and threads it is complete. With the initial-exec
# model no access to thread-local data is a call.
#
# CC and NM name the tools.
set -eu
archive=$1
tls_model=$2
member=${3:-malloc_linux}
nm=${NM:-nm}
cc=${CC:-cc}

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem symbols XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAIL: symbols: $*"
  exit 1
}

"$nm" -P -g --defined-only "$archive" 2>/dev/null |
  awk 'NF >= 2 && $2 ~ /^[A-Za-z]$/ { print $1 }' | sort -u >"$work/defined"
[ -s "$work/defined" ] || fail "no symbols defined in $archive"
if grep -v '^hak_' "$work/defined"; then
  fail "the symbols above do not start with hak_"
fi

"$nm" -P -g --undefined-only "$archive" 2>/dev/null |
  awk 'NF >= 2 && $2 ~ /^[UwV]$/ { print $1 }' | sort -u >"$work/undefined"
# The last three lines are functions of libc that call malloc themselves.
cat >"$work/forbidden" <<'LIST'
malloc
calloc
realloc
reallocarray
free
cfree
aligned_alloc
posix_memalign
memalign
valloc
pvalloc
malloc_usable_size
malloc_trim
mallinfo
mallinfo2
mallopt
strdup
strndup
wcsdup
asprintf
vasprintf
getline
getdelim
fopen
fdopen
popen
opendir
open_memstream
realpath
qsort
setenv
putenv
LIST
"$nm" -P -A -g --undefined-only "$archive" 2>/dev/null |
  sed -n 's/^.*\[\([^]]*\)\]: \([^ ]*\) [UwV].*$/\1 \2/p' >"$work/undefined_of"
[ -s "$work/undefined_of" ] || fail "nm does not name members of $archive"
awk -v member="$member" 'index($1, member) == 0 { print $2 }' "$work/undefined_of" |
  sort -u >"$work/undefined_elsewhere"
[ -s "$work/undefined" ] || fail "no reference at all in $archive; nm does not work"
if grep -Fx -f "$work/forbidden" "$work/undefined_elsewhere"; then
  fail "the library refers to the functions above, which allocate"
fi
if grep -E '^_Zn[wa]|^_Zd[la]' "$work/undefined"; then
  fail "the library refers to C++'s operators above"
fi
if [ "$tls_model" = initial-exec ] && grep -Fx __tls_get_addr "$work/undefined"; then
  fail "thread-local data is reached by a call"
fi

# -z defs: what is missing is an error. Only libc and threads are offered, and what
# the compiler itself calls for operations that the processor lacks.
if ! "$cc" -shared -nodefaultlibs -o "$work/whole.so" -Wl,--whole-archive "$archive" \
  -Wl,--no-whole-archive -Wl,-z,defs "$("$cc" -print-libgcc-file-name)" \
  -lc -lpthread 2>"$work/errors"; then
  cat "$work/errors"
  fail "the library needs more than libc and threads"
fi

# What two copies in one process would share.
if "$nm" -D --defined-only "$work/whole.so" | grep ' hak_'; then
  fail "a shared object that contains the library exports the symbols above"
fi
echo "ok: symbols: $(wc -l <"$work/defined") defined, $(wc -l <"$work/undefined") asked for"
