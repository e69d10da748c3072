#!/bin/sh
# analyzers.sh ROOT - compilers and analyzers see in programs what the header tells them,
# and find nothing in programs that are right. gcc: warnings and -fanalyzer, from version 11
# on; clang: warnings and --analyze.
set -eu
include=$1/include
[ -f "$include/hakmem/hakmem.h" ] || {
  echo "FAIL: analyzers: no public header under $1"
  exit 1
}

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem analyzers XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAIL: analyzers: $*"
  exit 1
}

# Each line is a program; `tools|NAME|CODE`, with those of g (gcc), a (its analyzer), c
# (clang), s (clang's) that have to find it.
cat >"$work/wrong" <<'CODE'
as|leak|int f(int n) { char *p = hak_alloc(100); if (p == NULL) return 0; p[0] = 1; if (n > 5) return 1; hak_free(p); return 2; }
as|leak of a string|int f(const char *s) { char *p = hak_strdup(s); return p != NULL; }
gas|double free|void f(void) { char *p = hak_alloc(5); hak_free(p); hak_free(p); }
gas|double free of other kinds|void f(void) { char *p = hak_calloc(5, 5); hak_free_sized(p, 25); hak_heap_free(NULL, p); }
gas|double free in a heap|void f(hak_heap_t *h) { char *p = hak_heap_alloc(h, 5); hak_free(p); hak_free(p); }
gas|use after free|int f(void) { int *p = hak_calloc(5, 5); if (p == NULL) return 0; hak_free(p); return p[1]; }
ga|free of a block|void f(void) { void *p = hak_aligned_alloc(64, 5); free(p); }
ga|hak_free of malloc|void f(void) { void *p = malloc(5); hak_free(p); }
g|past the end|void f(void (*g)(char *)) { char *p = hak_alloc(10); if (p == NULL) return; p[12] = 1; g(p); hak_free(p); }
gc|a result dropped|void f(void *p) { hak_realloc(p, 10); }
gc|a heap dropped|void f(void) { hak_heap_create(NULL); }
a|NULL not looked at|void f(void) { int *p = hak_alloc(40); p[3] = 1; hak_free(p); }
CODE
cat >"$work/right" <<'CODE'
a realloc that may fail|int *f(void) { int *p = hak_alloc(40); if (p == NULL) return NULL; int *q = hak_realloc(p, 80); if (q == NULL) { hak_free(p); return NULL; } q[15] = 1; return q; }
each way back|void f(void) { hak_free_usable(hak_aligned_alloc(0, 5)); hak_freex(hak_aligned_alloc(64, 5), HAK_NO_CACHE); hak_heap_free(hak_heap_default(), hak_strdup("a")); hak_free_aligned_sized(hak_aligned_alloc(64, 10), 64, 10); hak_free(hak_allocx(NULL, 5, 0, HAK_ZERO, NULL)); hak_free_sized(hak_alloc(5), 5); }
blocks that end with their heap|int f(hak_heap_t *h) { int *p = hak_heap_alloc(h, 10 * sizeof *p); if (p == NULL) return 1; p[3] = 2; return hak_heap_destroy(h); }
blocks that are stored|int f(void **at) { return (*at = hak_calloc(2, 3)) != NULL; }
resized at once|void f(void) { void *p = hak_realloc(hak_alloc(5), 10); hak_free(p); p = hak_aligned_realloc(NULL, 64, 10); hak_free(p); }
hooks|HAK_DEFINE_HOOKS(lib, NULL); void f(void) { lib_free(lib_malloc(5)); hak_free(lib_strdup("a")); }
records|int f(void) { hak_heap_config_t c = HAK_HEAP_CONFIG_INIT; hak_stats_t s = HAK_STATS_INIT; hak_block_t b = HAK_BLOCK_INIT; hak_os_t o = HAK_OS_INIT; hak_config_t i = HAK_CONFIG_INIT; hak_option_info_t n = HAK_OPTION_INFO_INIT; hak_error_info_t e = HAK_ERROR_INFO_INIT; return c.struct_size == sizeof c && s.struct_size == sizeof s && b.struct_size == sizeof b && o.struct_size == sizeof o && i.struct_size == sizeof i && n.struct_size == sizeof n && e.struct_size == sizeof e && c.flags == 0; }
CODE

# look TOOL: what it says of the program in $work/program.c.
warnings='-Wall -Wextra -Wpedantic'
look() {
  # shellcheck disable=SC2086
  case $1 in
    g) gcc -std=c11 -O2 $warnings "-I$include" -c "$work/program.c" -o "$work/program.o" ;;
    a) gcc -std=c11 -O1 $warnings -fanalyzer "-I$include" -c "$work/program.c" -o "$work/program.o" ;;
    c) clang -std=c11 -O2 $warnings "-I$include" -c "$work/program.c" -o "$work/program.o" ;;
    s) clang -std=c11 --analyze $warnings -Xclang -analyzer-config -Xclang \
      unix.DynamicMemoryModeling:Optimistic=true "-I$include" -c "$work/program.c" -o "$work/program.o" ;;
  esac 2>&1
}

tools=
if command -v gcc >/dev/null 2>&1 && [ "$(gcc -dumpversion | cut -d. -f1)" -ge 11 ]; then
  tools=ga
fi
if command -v clang >/dev/null 2>&1; then tools=${tools}cs; fi
[ -n "$tools" ] || {
  echo "SKIP: analyzers: neither gcc 11 nor clang is installed"
  exit 77
}

count=0
program() {
  printf '#include <hakmem/hooks.h>\n#include <stdlib.h>\n%s\n' "$1" >"$work/program.c"
  count=$((count + 1))
}
while IFS='|' read -r finders name code; do
  program "$code"
  for tool in g a c s; do
    case $tools in *$tool*) ;; *) continue ;; esac
    case $finders in *$tool*) ;; *) continue ;; esac
    look "$tool" >"$work/said" || { cat "$work/said"; fail "$name does not compile ($tool)"; }
    grep -q 'warning:' "$work/said" || fail "$name is not found ($tool): $code"
  done
done <"$work/wrong"
while IFS='|' read -r name code; do
  program "$code"
  for tool in g a c s; do
    case $tools in *$tool*) ;; *) continue ;; esac
    look "$tool" >"$work/said" || { cat "$work/said"; fail "$name does not compile ($tool)"; }
    if grep 'warning:' "$work/said"; then fail "$name is right ($tool): $code"; fi
  done
done <"$work/right"
echo "ok: analyzers: $count programs"
