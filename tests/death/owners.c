/* owners.c - misuse in processes whose handler returns: it is named, no block is given to
 * two owners, none lies in another, and the state stays whole, although the program
 * writes to no block that it is given.
 *
 * By default for blocks over 1 KiB but for what was never cut, in full checks for all.
 *
 *   owners [<kind> <size> <where>]   runs one case and shows what it says
 */
#include "child.h"
#include "threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef TEST_CHECKS
#define TEST_CHECKS \
  1 /* HAKMEM_CHECKS of the library: 0 off, 1 default, 2 full, 3 hardened */
#endif

typedef enum kind {
  TWICE,
  TWICE_ANOTHER_BETWEEN,
  TWICE_ALLOCATION_BETWEEN,
  TWICE_IDLE_BETWEEN,
  TWICE_ELSEWHERE_AND_HERE,
  TWICE_HERE_AND_ELSEWHERE,
  TWICE_BY_TWO_THREADS,
  TWICE_SECOND_WORD_WRITTEN,
  TWICE_AMONG_MANY,
  TWICE_AMONG_MANY_ELSEWHERE,
  REALLOC_FREED,
  INTERIOR,
  INTERIOR_ELSEWHERE,
  NEVER_CUT,
  SEEMS_EMPTY,
  KINDS
} kind_t;

static const char *const kind_names[KINDS] = {"twice",
                                              "twice, another between",
                                              "twice, an allocation between",
                                              "twice, idle between",
                                              "twice, elsewhere and here",
                                              "twice, here and elsewhere",
                                              "twice, by two threads",
                                              "twice, second word written",
                                              "twice, among many",
                                              "twice, among many, elsewhere",
                                              "realloc of a freed block",
                                              "interior pointer",
                                              "interior pointer, elsewhere",
                                              "a block never cut",
                                              "a slab that seems empty"};

typedef enum where {
  DEFAULT_HEAP,
  HEAP,
  SERIAL_HEAP,
  WHERES
} where_t;

static const size_t sizes[] = {24, 1000, 1200, 10000, 40000, 100000, 900000};

typedef struct misuse {
  int kind;
  size_t size;
  where_t where;
} misuse_t;

enum {
  AFTER = 1500,
  MOST_BYTES = 96 << 20
};

static hak_heap_t *g_heap;
static bool g_serial;

static char *get(size_t size) { return hak_heap_alloc(g_heap, size); }

static void put(void *block) {
  if (g_serial) {
    hak_heap_free(g_heap, block);
  } else {
    hak_free(block);
  }
}

static void *put_thread(void *block) {
  put(block);
  return NULL;
}

typedef struct many {
  char **blocks;
  size_t count;
} many_t;

/* Of the class this thread only frees, so blocks collect in magazines; two of them twice,
 * one at once and one after others. */
static void *put_many_thread(void *ctx) {
  const many_t *many = ctx;
  for (size_t i = 0; i < many->count; i++) {
    put(many->blocks[i]);
    if (i == many->count / 2) put(many->blocks[i]);
    if (i == many->count / 2 + 10) put(many->blocks[i - 7]);
  }
  return NULL;
}

static void elsewhere(void *block) { test_thread_run(put_thread, block); }

/* ---- Live blocks ------------------------------------------------------ */

typedef struct live {
  char *at;
  size_t size;
} live_t;

static live_t g_live[20000];
static size_t g_count;

static void keep(char *at, size_t size) {
  CHECK(at != NULL && g_count < TEST_COUNT(g_live));
  g_live[g_count++] = (live_t){at, size};
}

static int by_address(const void *a, const void *b) {
  const live_t *x = a, *y = b;
  return x->at < y->at ? -1 : x->at > y->at;
}

static void check_apart(void) {
  qsort(g_live, g_count, sizeof *g_live, by_address);
  for (size_t i = 1; i < g_count; i++) {
    CHECK_MSG(g_live[i - 1].at + g_live[i - 1].size <= g_live[i].at,
              "%p is given although %p is in use", (void *)g_live[i].at,
              (void *)g_live[i - 1].at);
  }
}

static size_t affordable(size_t count, size_t size) {
  size_t most = MOST_BYTES / size;
  return count < most ? count : most;
}

/* As programs do who fill in their blocks later. */
static void go_on(size_t size) {
  for (int round = 0; round < 2; round++) {
    size_t n = affordable(AFTER, size), from = g_count;
    static char *blocks[AFTER];
    for (size_t i = 0; i < n; i++) keep(blocks[i] = get(size), size);
    check_apart();
    if (round == 1) return;
    /* Those that have been since the beginning stay. */
    size_t kept = 0;
    for (size_t i = 0; i < g_count; i++) {
      bool is_new = false;
      for (size_t j = 0; j < n; j++) is_new = is_new || g_live[i].at == blocks[j];
      if (!is_new) g_live[kept++] = g_live[i];
    }
    CHECK_EQ(kept, from);
    g_count = from;
    for (size_t i = 0; i < n; i++) put(blocks[i]);
  }
}

/* ---- The misuse ------------------------------------------------------- */

/* An address where a block of the size would begin that was never given; NULL if there is
 * none in reach. */
static char *never_cut(char *block) {
  hak_block_t info = {.struct_size = sizeof info};
  CHECK_EQ(hak_ptr_info(block, &info), 0);
  for (char *at = info.address;; at += info.size) {
    hak_block_t there = {.struct_size = sizeof there};
    if (hak_ptr_info(at, &there) == 0) continue;
    char *end = (char *)((uintptr_t)block & ~(uintptr_t)0xffff) + 0x10000;
    return at + 2 * info.size <= end ? at + info.size : NULL;
  }
}

static void seem_empty(size_t size) {
  size_t n = affordable(4 * 65536 / size + 64, size);
  if (n > 12000) n = 12000;
  char **blocks = malloc(n * sizeof *blocks);
  for (size_t i = 0; i < n; i++) {
    blocks[i] = get(size);
    memset(blocks[i], 4, size < 64 ? size : 64);
  }
  char *victim = blocks[n / 2];
  test_fill(victim, size, 7);
  for (size_t i = 0; i < n; i++) {
    if (blocks[i] == victim) continue;
    if (i == n / 2 + 1) elsewhere(blocks[i]);
    put(blocks[i]);
  }
  free(blocks);
  hak_thread_idle();
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(test_verify(victim, size, 7));
  keep(victim, size);
  for (size_t i = 0; i < affordable(1000, 2 * size); i++) {
    size_t other = i % 2 == 0 ? 2 * size : size / 2 + 16;
    keep(get(other), other);
  }
  check_apart();
  CHECK(test_verify(victim, size, 7));
}

static void put_many_elsewhere(size_t size) {
  static char *blocks[1000];
  many_t many = {blocks, affordable(TEST_COUNT(blocks), size)};
  for (size_t i = 0; i < many.count; i++) blocks[i] = get(size);
  test_thread_run(put_many_thread, &many);
}

/* False if the case cannot be made. */
static bool commit(const misuse_t *m) {
  char *a = get(m->size), *b = get(m->size), *c = get(m->size), *x;
  memset(a, 1, m->size);
  memset(b, 2, m->size);
  memset(c, 3, m->size);
  keep(a, m->size);
  if (m->kind != TWICE_ANOTHER_BETWEEN) keep(c, m->size);
  switch (m->kind) {
    case TWICE:
      put(b);
      put(b);
      break;
    case TWICE_ANOTHER_BETWEEN:
      put(b);
      put(c);
      put(b);
      break;
    case TWICE_ALLOCATION_BETWEEN:
      put(b);
      x = get(m->size);
      keep(x, m->size);
      if (x == b) return false; /* then it is a block's only free */
      put(b);
      break;
    case TWICE_IDLE_BETWEEN:
      put(b);
      hak_thread_idle();
      put(b);
      break;
    case TWICE_ELSEWHERE_AND_HERE:
      if (g_serial) return false;
      elsewhere(b);
      put(b);
      break;
    case TWICE_HERE_AND_ELSEWHERE:
      if (g_serial) return false;
      /* This thread keeps it, and the other one, which ends, sends it home. */
      for (int i = 0; i < 20; i++) put(get(m->size));
      put(b);
      elsewhere(b);
      break;
    case TWICE_BY_TWO_THREADS:
      if (g_serial) return false;
      elsewhere(b);
      elsewhere(b);
      break;
    case TWICE_SECOND_WORD_WRITTEN:
      put(b);
      memset(b + 8, 0x41, 8);
      put(b);
      break;
    case TWICE_AMONG_MANY: {
      enum {
        MANY = 40
      };
      char *blocks[MANY];
      for (int i = 0; i < MANY; i++) blocks[i] = get(m->size);
      for (int i = 0; i < MANY; i++) put(blocks[i]);
      put(blocks[MANY / 2]);
      put(blocks[MANY / 3]);
      keep(b, m->size);
      break;
    }
    case TWICE_AMONG_MANY_ELSEWHERE:
      if (g_serial) return false;
      keep(b, m->size);
      put_many_elsewhere(m->size);
      break;
    case REALLOC_FREED:
      put(b);
      x = hak_heap_realloc(g_heap, b, 3 * m->size);
      if (x != NULL) keep(x, 3 * m->size);
      break;
    case INTERIOR:
      keep(b, m->size);
      put(b + 16);
      break;
    case INTERIOR_ELSEWHERE:
      if (g_serial) return false;
      keep(b, m->size);
      elsewhere(b + 16);
      break;
    case NEVER_CUT:
      keep(b, m->size);
      x = never_cut(a > b ? (a > c ? a : c) : (b > c ? b : c));
      if (x == NULL) return false;
      put(x);
      break;
    case SEEMS_EMPTY:
      if (g_serial) return false;
      keep(b, m->size);
      seem_empty(m->size);
      break;
    default:
      break;
  }
  return true;
}

static int child_of(void *ctx) {
  const misuse_t *m = ctx;
  test_start();
  g_serial = m->where == SERIAL_HEAP;
  if (m->where != DEFAULT_HEAP) {
    g_heap = test_heap(g_serial ? HAK_HEAP_SERIAL : 0, NULL, NULL);
  }
  test_reports_begin();
  if (!commit(m)) return 0;
  go_on(m->size);
  CHECK_EQ(hak_check(NULL), 0);
  if (g_heap != NULL) CHECK_EQ(hak_check(g_heap), 0);
  hak_thread_idle();
  if (g_heap != NULL) hak_collect(g_heap, SIZE_MAX, HAK_COLLECT_ALL);
  check_apart();
  CHECK_EQ(hak_check(NULL), 0);
  if (m->kind < KINDS) {
    CHECK(g_reports.count > 0);
    hak_error_t error = g_reports.last.error;
    CHECK(error == HAK_ERROR_DOUBLE_FREE || error == HAK_ERROR_INTERIOR_POINTER ||
          error == HAK_ERROR_CORRUPT_BLOCK);
  } else {
    CHECK_EQ(g_reports.count, 0);
  }
  return 0;
}

/* ---- All of it ---------------------------------------------------------- */

static bool is_promised(int kind, size_t size) {
  if (TEST_CHECKS != 1) return TEST_CHECKS >= 2;
  if (kind == NEVER_CUT) return false;
  if (kind == SEEMS_EMPTY) return size >= 256;
  return size > KIB || kind == TWICE;
}

static void misuse__is_named_and_gives_no_block_to_two_owners(void **state) {
  (void)state;
  static const char *const wheres[WHERES] = {"default heap", "heap", "serial heap"};
  unsigned bad = 0;
  for (int kind = 0; kind <= KINDS; kind++) {
    for (size_t s = 0; s < TEST_COUNT(sizes); s++) {
      for (int where = 0; where < WHERES; where++) {
        misuse_t m = {kind, sizes[s], (where_t)where};
        if (kind < KINDS && !is_promised(kind, sizes[s])) continue;
        test_child_t child = test_child_run(child_of, &m, 60);
        if (!child.timed_out && child.signal == 0 && child.status == 0) continue;
        bad++;
        printf("%s, %zu, %s: %s, signal %d, status %d: %s\n",
               kind == KINDS ? "nothing" : kind_names[kind], sizes[s], wheres[where],
               child.timed_out ? "hangs" : "ended", child.signal, child.status,
               child.output);
      }
    }
  }
  CHECK_EQ(bad, 0);
}

/* ---- Reports that are late ---------------------------------------------- */

static void *free_what_is_there(void *ctx) {
  char **blocks = ctx;
  hak_free(blocks[0]);
  hak_free(blocks[0]);
  return NULL;
}

static int exit_child(void *ctx) {
  (void)ctx;
  test_start();
  test_reports_begin();
  char *blocks[] = {hak_alloc(100)};
  test_thread_run(free_what_is_there, blocks);
  CHECK_EQ(g_reports.count, 1);
  CHECK_EQ(g_reports.last.error, HAK_ERROR_DOUBLE_FREE);
  CHECK(g_reports.last.address == blocks[0]);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void misuse__found_at_a_threads_end_is_named(void **state) {
  (void)state;
  if (TEST_CHECKS == 0) skip();
  test_child_must_succeed(exit_child, NULL, 20);
}

/* An address whose low eight bits no block of the class has is named by the free itself,
 * which changes nothing; by a thread that holds the slab no more than by another one. */
static void free_here(hak_heap_t *heap, char *at) {
  (void)heap;
  hak_free(at);
}
static void free_with_size(hak_heap_t *heap, char *at) {
  (void)heap;
  hak_free_sized(at, 1);
}
static void free_of_heap(hak_heap_t *heap, char *at) { hak_heap_free(heap, at); }
static void *free_at(void *at) {
  hak_free(hak_alloc(64)); /* the thread has a state */
  hak_free(at);
  return NULL;
}
static void free_elsewhere(hak_heap_t *heap, char *at) {
  (void)heap;
  test_thread_run(free_at, at);
}

typedef void(free_fn)(hak_heap_t *heap, char *at);

static void free_inside(hak_heap_t *heap, size_t size, free_fn *fn, size_t step) {
  char *before = hak_heap_alloc(heap, size), *block = hak_heap_alloc(heap, size);
  CHECK(before != NULL && block != NULL);
  hak_heap_free(heap, before); /* the slab is held, and partly free */
  size_t usable = hak_usable_size(block), power = usable & (~usable + 1);
  if (power > 256) power = 256;
  test_fill(block, usable, size);
  for (size_t offset = 1; offset < usable; offset += step) {
    if (TEST_CHECKS < 2 && offset % power == 0) continue;
    unsigned count = g_reports.count;
    fn(heap, block + offset);
    CHECK_MSG(g_reports.count == count + 1, "%zu bytes, at %zu", usable, offset);
    CHECK_EQ(g_reports.last.error, HAK_ERROR_INTERIOR_POINTER);
    CHECK(g_reports.last.address == block + offset);
    CHECK(test_verify(block, usable, size));
  }
  hak_heap_free(heap, block);
}

static int inside_child(void *ctx) {
  (void)ctx;
  static free_fn *const ways[] = {free_here, free_with_size, free_of_heap,
                                  free_elsewhere};
  test_start();
  test_reports_begin();
  hak_heap_t *heaps[] = {NULL, test_heap(0, "heap", NULL),
                         test_heap(HAK_HEAP_SERIAL, "serial", NULL)};
  for (size_t h = 0; h < TEST_COUNT(heaps); h++) {
    for (size_t w = 0; w < TEST_COUNT(ways); w++) {
      if (ways[w] == free_elsewhere && h == 2) continue; /* one thread at a time */
      size_t step = ways[w] == free_elsewhere ? 37 : 1;
      for (size_t size = 8; size <= 1024; size += size < 128 ? 8 : 64) {
        free_inside(heaps[h], size, ways[w], step);
      }
      free_inside(heaps[h], 3000, ways[w], 37);
      free_inside(heaps[h], 40000, ways[w], 1111);
    }
  }
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}
static void interior__address_is_named_by_the_free_and_changes_nothing(void **state) {
  (void)state;
  if (TEST_CHECKS == 0) skip();
  test_child_must_succeed(inside_child, NULL, 120);
}

int main(int argc, char **argv) {
  test_begin();
  if (argc == 4) {
    misuse_t m = {atoi(argv[1]), (size_t)atol(argv[2]), (where_t)atoi(argv[3])};
    return child_of(&m);
  }
  const struct CMUnitTest tests[] = {
      T(misuse__is_named_and_gives_no_block_to_two_owners),
      T(misuse__found_at_a_threads_end_is_named),
      T(interior__address_is_named_by_the_free_and_changes_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
