#!/bin/sh
# selftest.sh ROOT - proves that each rule can fail, and for the right reason: it
# is run on a small tree that keeps the rule, then on one that breaks it, then on
# an empty one.
set -eu
root=$1
rules=$root/tests/rules
cc=${CC:-cc}

work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem selftest XXXXXX")
trap 'rm -rf "$work"' EXIT

proved=0
failed=0

wrong() {
  failed=$((failed + 1))
  echo "FAIL: selftest: $1"
  sed 's/^/    /' "$work/output"
}

# passes WHAT COMMAND...
passes() {
  what=$1
  shift
  if "$@" >"$work/output" 2>&1 && grep -q '^ok:' "$work/output"; then
    proved=$((proved + 1))
  else
    wrong "$what: does not pass"
  fi
}

# fails WHAT TEXT COMMAND...: with a message that contains the text.
fails() {
  what=$1
  text=$2
  shift 2
  if "$@" >"$work/output" 2>&1; then
    wrong "$what: passes"
  elif ! grep -F -- "$text" "$work/output" | grep -q '^FAIL:'; then
    wrong "$what: does not say '$text'"
  else
    proved=$((proved + 1))
  fi
}

# A tree that keeps all rules.
fresh() {
  rm -rf "$work/tree"
  mkdir -p "$work/tree/include/hakmem" "$work/tree/docs"
  for layer in base os pages superslab external tiny pool heap api; do
    depends=nothing
    if [ "$layer" = heap ]; then depends='base, pool, tiny'; fi
    mkdir -p "$work/tree/src/$layer"
    printf '/* Made up.\n *\n * Depends on: %s.   Used by: all.\n */\nint hak_%s_value(void);\n' \
      "$depends" "$layer" >"$work/tree/src/$layer/$layer.h"
  done
  cat >"$work/tree/src/heap/heap.c" <<'CODE'
#include "heap/heap.h"

#include <stddef.h>

#include "base/base.h"
#include "pool/pool.h"
#include "tiny/tiny.h"

int hak_heap_value(void) { return 1; }
CODE
  cp "$root/.clang-format" "$work/tree/"
}

empty() {
  rm -rf "$work/tree"
  mkdir -p "$work/tree/src"
}

tree=$work/tree
add() { printf '%s\n' "$2" >>"$tree/src/$1"; }

# ---- Layers ----------------------------------------------------------------

layers() { "$rules/layers.sh" "$tree"; }
fresh
passes "layers, a tree in order" layers
add os/os.h '#include "heap/heap.h"'
fails "layers, an include to the right" "os may not include heap" layers
fresh
add tiny/tiny.h '#include "pool/pool.h"'
fails "layers, tiny includes pool" "tiny may not include pool" layers
fresh
add pool/pool.h '#  include "tiny/tiny.h"'
fails "layers, pool includes tiny" "pool may not include tiny" layers
fresh
add heap/heap.c '#include "../base/base.h"'
fails "layers, a relative include" 'is not of the form' layers
fresh
add heap/heap.c '#include "base.h"'
fails "layers, an include without its layer" 'is not of the form' layers
fresh
add heap/heap.c '#include "tiny/tiny.c"'
fails "layers, an included .c file" 'is not a header' layers
fresh
add base/base.h '#include <api/api.h>'
fails "layers, angle brackets" 'belongs in quotes' layers
fresh
mkdir "$tree/src/other"
add other/other.h 'int hak_other;'
fails "layers, an unknown folder" 'is not in a folder of a layer' layers
empty
fails "layers, an empty list" 'no files' layers

# ---- Modules: what they say they depend on, circles -------------------------

modules() { HAKMEM_CHECKED='base tiny' "$rules/layers.sh" "$tree"; }
# header_of FOLDER/NAME DEPENDS [INCLUDE]: a header with its line.
header_of() {
  printf '/* Made up.\n *\n * Depends on: %b.   Used by: all.\n */\n' "$2" >"$tree/src/$1.h"
  if [ $# -gt 2 ]; then add "$1.h" "#include \"$3.h\""; fi
}
fresh_modules() {
  fresh
  header_of tiny/one 'base, pages,\n * two'
  header_of tiny/two base base/base
  printf '#include "%s.h"\n' tiny/one base/base pages/pages tiny/two >"$tree/src/tiny/one.c"
}
fresh_modules
passes "modules, a tree in order" modules
header_of tiny/one 'base, two'
fails "modules, a folder is not named" 'tiny/one.h: says "Depends on: base, two."' modules
header_of tiny/one 'base, pages'
fails "modules, a module is not named" 'should be: base, pages, two.' modules
header_of tiny/one 'base, os, pages, two'
fails "modules, one too many" 'should be: base, pages, two.' modules
header_of tiny/one 'base, pages, two, two'
fails "modules, one twice" 'should be: base, pages, two.' modules
header_of tiny/one 'base, pages, one, two'
fails "modules, itself" 'should be: base, pages, two.' modules
header_of tiny/one 'two, pages, base'
passes "modules, another order" modules
header_of tiny/two nothing base/base
fails "modules, nothing is said" 'tiny/two.h: says "Depends on: nothing."' modules
header_of tiny/two everything base/base
fails "modules, a word that is no name" 'should be: base.' modules
echo '#include "base/base.h"' >"$tree/src/tiny/two.h"
fails "modules, no line" 'tiny/two.h: no line "Depends on: base."' modules
fresh_modules
echo '/* Depends on: nothing. */' >>"$tree/src/base/base.h"
passes "modules, a sentence that is no line" modules
printf ' * Depends on: nothing.\n' >>"$tree/src/base/base.h"
fails "modules, two lines" 'base.h: two lines "Depends on:"' modules
fresh_modules
echo '#include "tiny/one.h"' >"$tree/src/tiny/two.c"
header_of tiny/two 'base, one' base/base
fails "modules, a circle of two" 'a circle of modules: tiny/' modules
fresh_modules
header_of tiny/three one tiny/one
header_of tiny/two 'base, three' base/base
echo '#include "tiny/three.h"' >"$tree/src/tiny/two.c"
fails "modules, a circle of three" 'a circle of modules: tiny/' modules

# ---- Pages -----------------------------------------------------------------

pages() { "$rules/pages.sh" "$tree"; }
fresh_pages() {
  fresh
  printf '# Map\n\n`heap/heap.c` has `hak_heap_value`; see [why](README.md#some-reasons).\n' \
    >"$tree/ARCHITECTURE.md"
  printf '# A tree\n\n## Some reasons\n\n`my_own` calls `hak_os_value`.\n' >"$tree/README.md"
}
page() { printf '%s\n' "$2" >>"$tree/$1.md"; }
fresh_pages
passes "pages, a tree in order" pages
page ARCHITECTURE 'It calls `take_one`.'
fails "pages, a function that is gone" 'ARCHITECTURE.md names take_one' pages
fresh_pages
page ARCHITECTURE 'See `tiny/gone.h`.'
fails "pages, a file that is gone" 'names the file tiny/gone.h' pages
fresh_pages
page ARCHITECTURE 'See `src/gone`.'
fails "pages, a folder that is gone" 'names the folder src/gone' pages
fresh_pages
page README 'Call `hak_gone` first.'
fails "pages, a public function that is gone" 'README.md names hak_gone' pages
fresh_pages
page README 'See [there](docs/GONE.md).'
fails "pages, a link to no page" 'links to docs/GONE.md' pages
fresh_pages
page README 'See [there](ARCHITECTURE.md#territory).'
fails "pages, a link to no heading" 'has no such heading' pages
empty
fails "pages, an empty list" 'no pages' pages

# ---- CMake ------------------------------------------------------------------

cmake_files() { "$rules/cmake.sh" "$tree"; }
cmake_tree() {
  fresh
  printf 'cmake_minimum_required(VERSION 3.22)\n# block() is in a comment\n%s\n' "$1" \
    >"$tree/CMakeLists.txt"
}

cmake_tree 'add_library(hakmem a.c)'
passes "cmake, a tree in order" cmake_files
for newer in 'block(SCOPE_FOR VARIABLES)' 'target_sources(a PUBLIC FILE_SET HEADERS)' \
  'set(CMAKE_COMPILE_WARNING_AS_ERROR ON)' 'cmake_policy(SET CMP0135 NEW)' \
  'set(x $<COMPILE_ONLY:a>)' 'return(PROPAGATE x)' 'if("a" PATH_EQUAL "b")'; do
  cmake_tree "$newer"
  fails "cmake, $newer" 'CMakeLists.txt:3: ' cmake_files
done
cmake_tree 'cmake_minimum_required(VERSION 3.25)'
fails "cmake, another version" 'CMakeLists.txt:3: asks for another CMake' cmake_files
rm "$tree/CMakeLists.txt"
fails "cmake, an empty list" 'no files' cmake_files

# ---- The platform ----------------------------------------------------------

platform() { "$rules/platform.sh" "$tree"; }
fresh
add heap/heap.c '/* calls getpid(),
 * and malloc() */ const char *hak_text = "fork()";'
add heap/heap.c '// pthread_create()
void hak_none(void) { os->free(ctx); (*abort)(1); hak_heap_free(0); int free = 1; }'
add heap/heap.c '#include <hakmem/hakmem.h>
#include <stdio.h>'
printf '#include <pthread.h>\n' >"$tree/src/os/sys_linux.c"
printf '#include <sanitizer/lsan_interface.h>\n' >"$tree/src/os/leak.h"
passes "platform, a tree in order" platform
for header in pthread.h sched.h signal.h unistd.h sys/mman.h linux/futex.h time.h threads.h \
  windows.h mach/mach.h sanitizer/lsan_interface.h; do
  fresh
  add tiny/tiny.h "#  include <$header>"
  fails "platform, <$header>" "src/tiny/tiny.h:6: <$header> belongs in" platform
done
for use in 'syscall(1);' 'x = getpid ();' 'if (1) abort();' 'pthread_once(&once, f);' \
  'return free(p);' 'os->free(p); free(p);' 'char *p = malloc(8);' 'mmap(0, 1, 2, 3, 4, 5);' \
  '/* here */ getenv("X");' 'puts("a\"b"); atexit(f);' 'clock_gettime(0, &now);'; do
  fresh
  add tiny/tiny.h "$use"
  fails "platform, $use" 'src/tiny/tiny.h:6: ' platform
done
for use in 'extern char **environ;' '__attribute__((constructor)) void hak_start(void);' \
  '#if defined(__linux__)' '#ifdef _WIN32'; do
  fresh
  add base/base.h "$use"
  fails "platform, $use" 'src/base/base.h:6: ' platform
done
fresh
add os/os.h '#include <sys/mman.h>'
fails "platform, in a file of src/os for every system" 'src/os/os.h:6: <sys/mman.h>' platform
fresh
printf '#include <pthread.h>\n' >"$tree/src/heap/sys_linux.c"
fails "platform, in a file of a system elsewhere" 'src/heap/sys_linux.c:1: ' platform
empty
fails "platform, an empty list" 'no files' platform

# ---- Memory orders ---------------------------------------------------------

orders() { "$rules/orders.sh" "$tree"; }
fresh
add base/atomic.h 'int order = memory_order_relaxed;'
passes "orders, a tree in order" orders
for use in 'x = memory_order_acquire;' 'atomic_store(&x, 1);' ' __atomic_load_n(p, 0);' \
  'atomic_thread_fence(x);' '__sync_synchronize();'; do
  fresh
  add pool/pool.h "$use"
  fails "orders, $use" 'src/pool/pool.h:6' orders
done
fresh
add base/atomic.h '#define add(p) HAK_LOCKED(atomic_fetch_add(p, 1))'
passes "orders, a read-modify-write that is counted" orders
for use in 'atomic_fetch_add(p, 1)' 'atomic_exchange_explicit(p, 1, order)'; do
  add base/atomic.h "#define other(p) $use"
  fails "orders, $use is not counted" 'not in HAK_LOCKED' orders
done
empty
fails "orders, an empty list" 'no files' orders

# ---- A slab's word and list -----------------------------------------------------

slab_word() { "$rules/slab_word.sh" "$tree"; }
fresh
add tiny/slab.c '  hak_store_relaxed(&slab->word, 0);'
add superslab/slab.h '  hak_store_relaxed(&slab->word, 0);'
add tiny/bin.h '  list->head = block;'
add tiny/tiny.h '  bin->list.head = list;'
add tiny/tiny.h '  hak_store_relaxed(&bin->list.room, 0);'
add tiny/tiny.h '  if (slab->list.head == list) return hak_load_relaxed(&slab->word);'
passes "slab_word, a tree in order" slab_word
for use in 'hak_store_release(&slab->word, 0);' 'hak_cas_relaxed(&run.slab->word, &full, mine)' \
  'hak_exchange_acquire(&s->word, 0)' 'slab->list.head = list;' 'list->head = block;' \
  'hak_store_relaxed(&slab->list.room, 0);' 'hak_store_relaxed(&slab->held_back, 1);' \
  'hak_slab_set_out(slab, 0, 0);'; do
  fresh
  add heap/heap.h "$use"
  fails "slab_word, $use" 'src/heap/heap.h' slab_word
done
fresh
add pool/pool.h 'hak_store_relaxed('
add pool/pool.h '    &slab->word, 0);'
fails "slab_word, in two lines" 'src/pool/pool.h' slab_word
empty
fails "slab_word, an empty list" 'no files' slab_word

# ---- Functions under a lock ----------------------------------------------------

locked() { "$rules/locked.sh" "$tree"; }
fresh
add os/os.h 'void hak_os_take_locked(int a,
                        int b);'
add os/os.c 'void hak_os_take_locked(int a,
                        int b) {
  hak_lock_assert_held(&lock);
  take_locked(a);
}'
passes "locked, a tree in order" locked
add heap/heap.c 'static int *take_locked(int a) {
  int *b = more_locked(a);
  hak_lock_assert_held(&lock);'
fails "locked, without its assertion first" 'take_locked does not begin with' locked
fresh
add heap/heap.c 'static int take_locked(int a) { return a; }'
fails "locked, on one line" 'take_locked on one line' locked
empty
fails "locked, an empty list" 'no files' locked

# ---- Access marks ------------------------------------------------------------------

marks() { "$rules/marks.sh" "$tree"; }
fresh_marks() {
  fresh
  cat >"$tree/src/base/lock.h" <<'CODE'
typedef enum hak_rank {
  HAK_RANK_HEAPS = 1, /* [const] */
  HAK_RANK_POOL
} hak_rank_t;
CODE
  cat >"$tree/src/os/os.h" <<'CODE'
struct hak_os {
  hak_lock_t lock; /* of a list, which
                      it guards */
  int first[2];    /* [lock: pool or
                      heaps] */
  int second;      /* [owner: the holder] not [any] */
};
CODE
  printf '/* Guards all. */\nstatic hak_lock_t lock = INIT(1);\n' >"$tree/src/os/os.c"
}
fresh_marks
passes "marks, a tree in order" marks
for mark in 'holder' 'constant' 'lock pool' 'any of: these'; do
  fresh_marks
  add heap/heap.c "int x; /* [$mark] */"
  fails "marks, [$mark]" "[$mark] does not begin with" marks
done
fresh_marks
add heap/heap.c 'int x; /* [lock: pool or unknown] */'
fails "marks, a lock that there is not" 'no lock is named "unknown"' marks
fresh_marks
add heap/heap.c 'static hak_lock_t lock = INIT(2);'
fails "marks, a lock without a comment" 'says what a lock guards:static' marks
fresh_marks
add os/os.h '/* Guards nothing. */
int other;
  hak_lock_t other;'
fails "marks, a lock with a comment of another one" 'says what a lock guards:  hak' marks
empty
fails "marks, an empty list" 'no files' marks

# ---- Public functions ------------------------------------------------------

comments() { "$rules/comments.sh" "$tree"; }
fresh_comments() {
  fresh
  cat >"$tree/include/hakmem/hakmem.h" <<'CODE'
/* One. */
int hak_one(void);
/* Two, of
 * two lines. */
#define HAK_TWO(x) \
  ((x) + 1)
#define HAK_THREE 3 /* three */
/* Four. */
typedef enum hak_four {
  HAK_FIVE, /* five */
} hak_four_t;
CODE
}
fresh_comments
passes "comments, all have them" comments
echo 'int hak_six(void);' >>"$tree/include/hakmem/hakmem.h"
fails "comments, a function without" 'hak_six has no comment' comments
fresh_comments
echo '#define HAK_SIX 6' >>"$tree/include/hakmem/hakmem.h"
fails "comments, a flag without" 'HAK_SIX has no comment' comments
fresh_comments
sed 's|HAK_FIVE, .*|HAK_FIVE,|' "$tree/include/hakmem/hakmem.h" >"$work/other"
cp "$work/other" "$tree/include/hakmem/hakmem.h"
fails "comments, a constant without" 'HAK_FIVE has no comment' comments
cp "$root/include/hakmem/"* "$tree/include/hakmem/"

analyzers() { "$rules/analyzers.sh" "$tree"; }
if command -v gcc >/dev/null 2>&1 && command -v clang >/dev/null 2>&1; then
  passes "analyzers, the header as it is" analyzers
  sed 's/^#if !defined(__GNUC__) || defined(HAK_NO_ATTRIBUTES)/#if 1/' \
    "$root/include/hakmem/hakmem.h" >"$tree/include/hakmem/hakmem.h"
  fails "analyzers, told nothing" 'is not found' analyzers
  sed 's/\(void \*hak_heap_alloc(.*\)/HAK_ATTR_NEW \1/' "$root/include/hakmem/hakmem.h" \
    >"$tree/include/hakmem/hakmem.h"
  fails "analyzers, told too much" 'blocks that end with their heap is right' analyzers
fi
cp "$root/include/hakmem/"* "$tree/include/hakmem/"

public() { "$rules/public.sh" "$tree"; }
fresh_public() {
  fresh
  printf '/* int hak_no(void);\n   int hak_no(void); */\nint hak_one(void);\nchar *hak_two(int x,\n  int y);\n' \
    >"$tree/include/hakmem/hakmem.h"
  printf '%s\n' '#include <hakmem/hakmem.h>' \
    '#define HAK_APART(f) extern __typeof__(f) f __attribute__((noinline))' \
    'HAK_APART(hak_one);' 'HAK_APART(hak_two);' >"$tree/src/base/public.h"
}
fresh_public
passes "public, all of the header" public
printf 'int *hak_three(void);\n' >>"$tree/include/hakmem/hakmem.h"
fails "public, one is missing" 'not in src/base/public.h: hak_three' public
fresh_public
add base/public.h 'HAK_APART(hak_four);'
fails "public, one is unknown" 'not in the header: hak_four' public
fresh_public
sed 's/noinline/unused/' "$tree/src/base/public.h" >"$work/other"
cp "$work/other" "$tree/src/base/public.h"
fails "public, another attribute" 'does not say noinline' public
fresh_public
add os/os.h '#include <hakmem/hakmem.h>'
fails "public, a file that includes the header" 'instead of the header: src/os/os.h' public
fresh_public
printf 'int hak_five(void);\n' >"$tree/include/hakmem/introspect.h"
fails "public, one of another header" 'not in src/base/public.h: hak_five' public
empty
fails "public, an empty tree" 'no ' public

# ---- Length ----------------------------------------------------------------

length() { "$rules/length.sh" "$tree"; }
fresh
awk 'BEGIN { for (i = 0; i < 600; i++) print "" }' >"$tree/src/os/long.c"
passes "length, 600 lines" length
echo >>"$tree/src/os/long.c"
fails "length, 601 lines" 'src/os/long.c has 601 lines' length
empty
fails "length, an empty list" 'no files' length

# ---- Format ----------------------------------------------------------------

format() { HAKMEM_ROOT=$tree "$root/tools/format" --check; }
if command -v clang-format >/dev/null 2>&1; then
  fresh
  passes "format, a tree in order" format
  add os/os.h 'int  *hak_wide ( void );'
  fails "format, two spaces" 'src/os/os.h is not formatted' format
fi
empty
fails "format, an empty list" 'no source files' format

# ---- Options and their document --------------------------------------------

options() {
  HAKMEM_OPTIONS_DEF=$tree/options.def HAKMEM_OPTIONS_DOC=$tree/OPTIONS.md \
    "$root/tools/options-doc" "$@"
}
fresh
echo 'HAK_OPTION(ONE, "ONE", 1, 0, 2, "the first (1, 2); with | marks")' >"$tree/options.def"
fails "options, no document" 'is not what options.def says' options --check
options --write
passes "options, in step" options --check
echo 'HAK_OPTION(TWO, "TWO", 1, 0, 2, "the second")' >>"$tree/options.def"
fails "options, a new option" 'is not what options.def says' options --check
: >"$tree/options.def"
if options --check >"$work/output" 2>&1; then wrong "options, an empty list: passes"; fi

# ---- Compiled code ---------------------------------------------------------

# archive CODE: libtry.a of one file.
archive() {
  printf '%s\n' "$1" >"$work/try.c"
  rm -f "$work/libtry.a"
  "$cc" -O1 -fPIC -fvisibility=hidden ${2+"$2"} -c "$work/try.c" -o "$work/try.o"
  ar rcs "$work/libtry.a" "$work/try.o"
}
symbols() { "$rules/symbols.sh" "$work/libtry.a" initial-exec; }

good='#include <unistd.h>
static _Thread_local char bytes[16] __attribute__((tls_model("initial-exec")));
char *hak_try(int i) { return getpid() > i ? bytes + i : 0; }'
archive "$good"
passes "symbols, a clean archive" symbols
archive "$good
int other(void); int other(void) { return 1; }"
fails "symbols, a name without hak_" 'do not start with hak_' symbols
archive "$good
int hidden_table[4] = {1};"
fails "symbols, data without hak_" 'do not start with hak_' symbols
for call in 'malloc(8)' 'calloc(1, 8)' 'realloc(0, 8)' 'aligned_alloc(8, 8)' 'strdup("x")'; do
  archive "#include <stdlib.h>
#include <string.h>
void *hak_call(void); void *hak_call(void) { return $call; }"
  fails "symbols, $call" 'which allocate' symbols
done
passes "symbols, the member that may call malloc" \
  "$rules/symbols.sh" "$work/libtry.a" initial-exec try.o
archive 'extern int missing(void); int hak_call(void) { return missing(); }'
fails "symbols, a function that is nowhere" 'needs more than libc' symbols
archive '#include <math.h>
double hak_call(double x) { return pow(x, x); }'
fails "symbols, a function of libm" 'needs more than libc' symbols
archive "$good
_Thread_local int hak_counter; int *hak_count(void) { return &hak_counter; }"
fails "symbols, thread-local data behind a call" 'reached by a call' symbols
archive "$good" -fvisibility=default
fails "symbols, default visibility" 'exports the symbols above' symbols
archive 'typedef int hak_nothing;'
fails "symbols, an empty archive" 'no symbols defined' symbols

tls() { "$rules/tls.sh" "$work/libtry.a" 16; }
archive "$good"
passes "tls, 16 bytes" tls
archive "$good
static _Thread_local char more; char *hak_more(void) { return &more; }"
fails "tls, 17 bytes" 'more than 16' tls
archive 'int hak_try(void) { return 1; }'
fails "tls, none" 'no thread-local data' tls

size() { "$rules/size.sh" "$work/libtry.a" "$root/include" "$1"; }
archive '#include <hakmem/hakmem.h>
static char table[100000] = {1};
void *hak_alloc(size_t size) { return table + size; }
void hak_free(void *p) { *(char *)p = 1; }' "-I$root/include"
passes "size, below the limit" size 200000
fails "size, above the limit" 'more than 90000' size 90000

# A function of the list, and one that is far from the others.
layout() { "$rules/layout.sh" "$tree" "$work/libtry.a" 4096; }
usual='#include <hakmem/hakmem.h>
char hak_block[16];
void *hak_alloc(size_t size) { return hak_block + size % 16; }
void hak_free(void *p) { *(char *)p = 1; }
hak_heap_t *hak_heap_create(const hak_heap_config_t *c) { return (hak_heap_t *)c; }'
last='int hak_heap_destroy(hak_heap_t *h) { return h != 0; }'
layout_tree() {
  fresh
  mkdir -p "$tree/cmake"
  cp "$root/include/hakmem/"* "$tree/include/hakmem/"
  printf 'hak_%s\n' alloc free heap_create heap_destroy >"$tree/cmake/usual_functions.txt"
  printf '%s\n%s\n' "$usual" "$1" >"$tree/src/api/api.c"
  archive "$usual
$1" "-I$root/include"
}
layout_tree "$last"
if layout >"$work/output" 2>&1 || [ $? -ne 77 ]; then
  passes "layout, side by side" layout
  layout_tree "__asm__(\".section .text.startup.far,\\\"ax\\\"\\n.skip 100000\\n.text\");
__attribute__((section(\".text.unlikely.far\"))) $last"
  fails "layout, one far away" 'of 4 functions only 3 lie within' layout
fi
layout_tree "$last"
echo hak_zebra >>"$tree/cmake/usual_functions.txt"
fails "layout, a function that there is not" 'no functions of the library' layout
: >"$tree/cmake/usual_functions.txt"
fails "layout, an empty list" 'no names in' layout

header() { "$rules/header.sh" "$work/tree/include"; }
fresh
cp "$root/include/hakmem/"* "$tree/include/hakmem/"
passes "header, as it is" header
echo 'static inline long hak_bad(void) { return 1LL; }' >>"$tree/include/hakmem/hakmem.h"
echo 'static inline int *hak_worse(void *p) { int *q = p; return q; }' \
  >>"$tree/include/hakmem/hakmem.h"
fails "header, C that is not C++" 'does not compile' header
cp "$root/include/hakmem/"* "$tree/include/hakmem/"
echo '#include <stdio.h>' >>"$tree/include/hakmem/hakmem.h"
fails "header, an include too many" 'includes more than it may' header
cp "$root/include/hakmem/"* "$tree/include/hakmem/"
echo '#include <stdio.h>' >>"$tree/include/hakmem/introspect.h"
fails "header, an include too many in its part" 'introspect.h includes more' header

compilers() { "$rules/compilers.sh" "$tree" cmake; }
fresh
cat >"$tree/CMakeLists.txt" <<'CODE'
cmake_minimum_required(VERSION 3.25)
project(try LANGUAGES C)
add_library(hakmem STATIC src/heap/heap.c)
target_include_directories(hakmem PRIVATE src)
target_compile_options(hakmem PRIVATE -Wall -Werror)
CODE
passes "compilers, a clean tree" compilers
add heap/heap.c 'static int unused;'
fails "compilers, a warning" 'compilers:' compilers

if [ "$failed" -gt 0 ]; then
  echo "FAIL: selftest: $failed wrong, $proved right"
  exit 1
fi
echo "ok: selftest: $proved cases"
