/* api_memory_large.c - large blocks in memory of the caller's that has whole units of 2
 * MiB enough: how much of it serves as such, beside small blocks too, and that every
 * function works with them. */
#include "child.h"
#include "threads.h"
#include "visits.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
  UNIT = 2 << 20,
  MOST = 64 << 20,
  LEAST_LARGE = 57 * 1024 + 1,
  REFUSALS = 50
};

static _Alignas(UNIT) unsigned char g_buffer[MOST + UNIT];
static size_t g_at, g_size; /* of the heap's memory in it */

static hak_heap_t *make_at(size_t at, size_t size, uint32_t flags) {
  hak_heap_t *heap = test_heap_in(g_buffer + at, size, flags, NULL);
  CHECK(heap != NULL);
  g_at = at;
  g_size = size;
  return heap;
}

static hak_heap_t *make(size_t size) { return make_at(0, size, 0); }

/* ---- a heap's blocks, each with a pattern in every byte -----------------------------
 */

typedef struct held {
  unsigned char *block;
  size_t size;
} held_t;

static held_t g_held[MOST / (32 * 1024)];
static size_t g_count, g_live;

static void begin(void) { g_count = g_live = 0; }

static bool take(hak_heap_t *heap, size_t size) {
  unsigned char *block = hak_heap_alloc(heap, size);
  if (block == NULL) {
    CHECK_EQ(errno, ENOMEM);
    return false;
  }
  CHECK(test_is_within(block, g_buffer + g_at, g_size) &&
        test_is_within(block + hak_usable_size(block) - 1, g_buffer + g_at, g_size));
  CHECK(hak_usable_size(block) >= size && (uintptr_t)block % 4096 == 0);
  test_fill(block, size, size);
  CHECK(g_count < TEST_COUNT(g_held));
  g_held[g_count++] = (held_t){block, size};
  g_live += size;
  return true;
}

static void drop(size_t i) {
  CHECK(test_verify(g_held[i].block, g_held[i].size, g_held[i].size));
  hak_free(g_held[i].block);
  g_live -= g_held[i].size;
  g_held[i] = g_held[--g_count];
}

static void drop_to(test_rng_t *rng, size_t live) {
  while (g_live > live) drop(test_below(rng, g_count));
}

/* Sizes from the one to the other, as many of each number of bytes, or of each doubling.
 */
typedef struct sizes {
  size_t from, to;
  bool doublings;
} sizes_t;

static size_t size_of(const sizes_t *sizes, test_rng_t *rng) {
  size_t from = sizes->from, to = sizes->to, doublings = 0;
  if (from == to) return from;
  if (sizes->doublings) {
    while (from << (doublings + 1) <= to) doublings++;
    from <<= test_below(rng, doublings + 1);
    if (to > 2 * from) to = 2 * from;
  }
  return from + test_below(rng, to - from + 1);
}

static void fill(hak_heap_t *heap, const sizes_t *sizes, test_rng_t *rng) {
  for (int refused = 0; refused < REFUSALS;) {
    if (!take(heap, size_of(sizes, rng))) refused++;
  }
}

/* Blocks come and go at three quarters of the memory. */
static void churn(hak_heap_t *heap, const sizes_t *sizes, test_rng_t *rng) {
  for (size_t n = 0; n < test_scale(400); n++) {
    size_t size = size_of(sizes, rng), most = g_size / 4 * 3;
    drop_to(rng, most > size ? most - size : 0);
    (void)take(heap, size);
  }
}

/* ---- how much of it serves ----------------------------------------------------------
 */

static void check_share(size_t percent, const sizes_t *sizes) {
  CHECK_MSG(g_live * 100 >= g_size * percent, "%zu of %zu, sizes %zu to %zu", g_live,
            g_size, sizes->from, sizes->to);
}

/* Of one size as many fit as there is room for, but for one. */
static void check_blocks(const sizes_t *sizes) {
  size_t usable = (sizes->from + 4095) / 4096 * 4096, fit = g_size / usable;
  CHECK_MSG(g_count + 1 >= fit, "%zu blocks of %zu bytes in %zu", g_count, sizes->from,
            g_size);
}

static void serve(size_t at, size_t memory, const sizes_t *sizes, uint64_t salt) {
  test_rng_t rng = test_rng(test_seed(), salt);
  hak_heap_t *heap = make_at(at, memory, 0);
  begin();
  fill(heap, sizes, &rng);
  if (sizes->from == sizes->to) check_blocks(sizes);
  if (sizes->from != sizes->to) check_share(90, sizes);
  CHECK_EQ(hak_check(heap), 0);
  churn(heap, sizes, &rng);
  fill(heap, sizes, &rng);
  if (sizes->from == sizes->to) check_blocks(sizes);
  if (sizes->from != sizes->to) check_share(85, sizes);
  CHECK_EQ(hak_check(heap), 0);
  test_visit_live(heap, g_count);
  drop_to(&rng, 0);
  CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void blocks__of_one_size_take_all_but_one_of_what_fits(void **state) {
  (void)state;
  static const size_t sizes[] = {58000,  65536,   66000,   70000,   100000,  130000,
                                 520000, 1050000, 1500000, 2200000, 4200000, 7 * MIB};
  static const size_t memory[] = {8 * MIB, 16 * MIB, MOST};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (size_t m = 0; m < TEST_COUNT(memory); m++) {
      serve(0, memory[m], &(sizes_t){sizes[i], sizes[i], false}, i);
    }
  }
}

static void blocks__of_any_sizes_take_nine_tenths(void **state) {
  (void)state;
  static const sizes_t sizes[] = {{64 * KIB, 4 * MIB, false},
                                  {64 * KIB, 4 * MIB, true},
                                  {LEAST_LARGE, 1000000, true},
                                  {LEAST_LARGE, 16 * MIB, true}};
  static const size_t memory[] = {8 * MIB, 16 * MIB, MOST};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (size_t m = 0; m < TEST_COUNT(memory); m++) serve(0, memory[m], &sizes[i], 7 + i);
  }
}

/* In front of the first unit and behind the last one there are up to 4 MiB. */
static void blocks__take_what_is_no_whole_unit_too(void **state) {
  (void)state;
  static const size_t shifts[] = {1, 4096, MIB, UNIT - 1};
  for (size_t i = 0; i < TEST_COUNT(shifts); i++) {
    serve(shifts[i], 10 * MIB, &(sizes_t){66000, 66000, false}, i);
    serve(shifts[i], 12 * MIB - 7, &(sizes_t){64 * KIB, 4 * MIB, true}, i);
  }
}

static size_t fill_small(hak_heap_t *heap, size_t size) {
  size_t bytes = 0;
  for (void *block; (block = hak_heap_alloc(heap, size)) != NULL; bytes += size) {
    CHECK(test_is_within(block, g_buffer + g_at, g_size));
    memset(block, 0xa5, size);
  }
  return bytes;
}

/* What large blocks leave small ones can have, and the other way round. */
static void small_blocks__have_what_large_ones_leave(void **state) {
  (void)state;
  static const sizes_t sizes = {64 * KIB, 2 * MIB, true};
  static const size_t memory[] = {8 * MIB, 16 * MIB, MOST};
  for (size_t m = 0; m < TEST_COUNT(memory); m++) {
    test_rng_t rng = test_rng(test_seed(), 20 + m);
    hak_heap_t *heap = make_at(m == 1 ? 12345 : 0, memory[m], 0);
    begin();
    churn(heap, &sizes, &rng);
    size_t small = fill_small(heap, 1000);
    CHECK_MSG((g_live + small) * 100 >= (g_size - (m == 1 ? UNIT : 0)) * 85,
              "%zu large and %zu small of %zu", g_live, small, g_size);
    drop_to(&rng, g_live / 2);
    small += fill_small(heap, 1000);
    CHECK_MSG((g_live + small) * 100 >= (g_size - (m == 1 ? UNIT : 0)) * 85,
              "%zu large and %zu small of %zu", g_live, small, g_size);
    CHECK_EQ(hak_check(heap), 0);
    /* Of small blocks statistics count canaries, which a visit does not. */
    if (TEST_CHECKS < 3) test_visit_live(heap, g_count + small / 1000);
    CHECK_EQ(test_heap_stats(heap).live_blocks, g_count + small / 1000);
    for (size_t i = 0; i < g_count; i++) {
      CHECK(test_verify(g_held[i].block, g_held[i].size, g_held[i].size));
    }
    CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
    begin();
    CHECK(take(heap, memory[m] - 2 * MIB));
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void large_blocks__have_what_small_ones_leave(void **state) {
  (void)state;
  enum {
    SMALL = 4000,
    COUNT = 16 * MIB / SMALL
  };
  static void *blocks[COUNT];
  hak_heap_t *heap = make(16 * MIB);
  for (int round = 0; round < 3; round++) {
    size_t count = 0;
    while ((blocks[count] = hak_heap_alloc(heap, SMALL)) != NULL) count++;
    for (size_t i = 0; i < count; i++) {
      if (i % 300 >= 20) hak_free(blocks[i]);
    }
    begin();
    test_rng_t rng = test_rng(test_seed(), 30);
    fill(heap, &(sizes_t){66000, 130000, false}, &rng);
    CHECK_MSG(g_live * 100 >= g_size * 60, "%zu bytes", g_live);
    CHECK_EQ(hak_check(heap), 0);
    for (size_t i = 0; i < count; i++) {
      if (i % 300 < 20) hak_free(blocks[i]);
    }
    drop_to(&rng, 0);
    CHECK_EQ(test_heap_live_blocks(heap), 0);
  }
  begin();
  CHECK(take(heap, 16 * MIB)); /* nothing is kept from it */
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- every function ------------------------------------------------------------------
 */

static void realloc__stays_in_place_where_there_is_room(void **state) {
  (void)state;
  hak_heap_t *heap = make(8 * MIB);
  unsigned char *block = hak_heap_alloc(heap, 70000),
                *low = hak_heap_alloc(heap, 3 * MIB);
  CHECK(low + hak_usable_size(low) == block);
  test_fill(low, 3 * MIB, 1);
  unsigned char *same = hak_realloc(low, 100000);
  CHECK(same == low && hak_usable_size(low) < 100000 + 4096);
  CHECK(hak_resize_in_place(low, MIB, 2 * MIB) >= 2 * MIB);
  CHECK_EQ(hak_resize_in_place(low, 4 * MIB, 4 * MIB), 0);
  CHECK(test_verify(low, 1, 1) && hak_realloc(low, 3 * MIB) == low);
  unsigned char *moved = hak_realloc(low, 4 * MIB);
  CHECK(moved != NULL && moved != low && test_heap_stats(heap).large_blocks == 2);
  /* What is no large block any more lies with others of its size. */
  unsigned char *small = hak_realloc(block, 100);
  CHECK(small != NULL && hak_usable_size(small) < 200);
  CHECK_EQ(test_heap_stats(heap).large_blocks, 1);
  CHECK(hak_reallocx(NULL, moved, 100, 0, HAK_NO_MOVE, NULL) == moved);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void statistics__name_blocks_across_units(void **state) {
  (void)state;
  hak_heap_t *heap = make_at(MIB, 16 * MIB, 0);
  uint64_t before = test_stats().live_blocks, large = test_stats().large_blocks;
  begin();
  while (take(heap, 700000)) {}
  size_t crossing = 0;
  hak_block_t info = {.struct_size = sizeof info};
  for (size_t i = 0; i < g_count; i++) {
    unsigned char *last = g_held[i].block + g_held[i].size - 1;
    crossing += (uintptr_t)g_held[i].block / UNIT != (uintptr_t)last / UNIT;
    CHECK_EQ(hak_ptr_info(last, &info), 0);
    CHECK(info.address == g_held[i].block && info.heap == heap && !info.is_start);
  }
  CHECK(crossing >= 6);
  hak_stats_t stats = test_heap_stats(heap);
  CHECK_EQ(stats.large_blocks, g_count);
  CHECK(stats.large_bytes >= g_live && stats.large_bytes < g_live + g_count * 4096);
  CHECK_EQ(test_visit_live(heap, g_count), stats.large_bytes);
  CHECK_EQ(test_stats().live_blocks, before + g_count);
  CHECK_EQ(test_stats().large_blocks, large + g_count);
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK_EQ(test_heap_stats(heap).large_blocks, 0);
  CHECK_EQ(test_stats().live_blocks, before);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void misuse__is_named(void **state) {
  (void)state;
  hak_heap_t *heap = make(8 * MIB);
  char *one = hak_heap_alloc(heap, 70000), *two = hak_heap_alloc(heap, 3 * MIB);
  test_reports_begin();
  hak_free(two + 65536);
  test_reports_end_at(HAK_ERROR_INTERIOR_POINTER, two + 65536);
  hak_free(two);
  test_reports_begin();
  hak_free(two);
  test_reports_end_at(HAK_ERROR_DOUBLE_FREE, two);
  hak_free(one);
  /* A write to freed memory is found by whoever needs the place. */
  one = hak_heap_alloc(heap, 8 * MIB);
  hak_free(one);
  memset(one, 0x5a, 16);
  test_reports_begin();
  two = hak_heap_alloc(heap, 8 * MIB);
  test_reports_end_at(HAK_ERROR_CORRUPT_BLOCK, one);
  CHECK(two == one);
  hak_free(two);
  /* What was a block is for slabs now, whether one is there or not. */
  two = hak_heap_alloc(heap, 8 * MIB - 10 * 65536);
  hak_free(two);
  one = hak_heap_alloc(heap, 64);
  CHECK(two == (char *)g_buffer + 10 * 65536 && test_is_within(one, g_buffer, UNIT));
  test_reports_begin();
  hak_free(two);
  test_reports_end_at(HAK_ERROR_DOUBLE_FREE, two);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void release__ends_with_the_last_large_block(void **state) {
  (void)state;
  for (uint32_t flags = 0; flags <= HAK_HEAP_SERIAL; flags += HAK_HEAP_SERIAL) {
    hak_heap_t *heap = make_at(0, 8 * MIB, flags);
    void *a = hak_heap_alloc(heap, MIB), *b = hak_heap_alloc(heap, 100000);
    hak_free(hak_heap_alloc(heap, 100));
    CHECK_EQ(hak_heap_release(heap), 0);
    hak_thread_idle();
    hak_free(a);
    CHECK(test_heap_in(g_buffer, 8 * MIB, 0, NULL) == NULL);
    hak_free(b);
    heap = make(8 * MIB);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

/* ---- threads -------------------------------------------------------------------------
 */

enum {
  THREADS = 4,
  SHARED = 64
};
static _Atomic(void *) g_shared[SHARED];
static hak_heap_t *g_heap;
static atomic_bool g_stop;

static void end_block(void *block) {
  if (block == NULL) return;
  (void)test_check_noted(block);
  hak_free(block);
}

/* Large and small blocks of all threads, each freed by whichever comes by, until the
 * memory is full, and beyond. */
static void *mix(void *ctx) {
  test_rng_t rng = test_rng(test_seed(), 60 + (uint64_t)(uintptr_t)ctx);
  for (uint64_t n = 0; n < test_scale(20000) && !atomic_load(&g_stop); n++) {
    size_t size = 64 + test_random_size(&rng, test_below(&rng, 2) == 0 ? MIB : 20000);
    void *mine = hak_heap_alloc(g_heap, size);
    if (mine != NULL) (void)test_fill_noted(mine, size, n);
    end_block(atomic_exchange(&g_shared[test_below(&rng, SHARED)], mine));
  }
  return NULL;
}

static void end_shared(void) {
  for (size_t i = 0; i < SHARED; i++) end_block(atomic_exchange(&g_shared[i], NULL));
}

static void threads__share_large_and_small_blocks(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  g_heap = make_at(777, 12 * MIB, 0);
  test_threads_begin_numbered(threads, THREADS, mix);
  test_threads_end(threads, THREADS);
  CHECK_EQ(hak_check(g_heap), 0);
  end_shared();
  CHECK_EQ(test_heap_live_blocks(g_heap), 0);
  CHECK_EQ(hak_check(g_heap), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static void check_child(void) {
  CHECK_EQ(hak_check(NULL), 0);
  (void)fill_small(g_heap, 3000); /* beside what is in use, and not into it */
  end_shared();
  CHECK_EQ(hak_check(g_heap), 0);
  CHECK_EQ(hak_heap_reset(g_heap), 0);
  begin();
  CHECK(take(g_heap, 8 * MIB));
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

static void fork__beside_threads_leaves_the_child_a_whole_heap(void **state) {
  (void)state;
  if (TEST_TSAN) return; /* it does not follow forks of threaded programs */
  pthread_t threads[THREADS];
  g_heap = make_at(777, 12 * MIB, 0);
  atomic_store(&g_stop, false);
  test_threads_begin_numbered(threads, THREADS, mix);
  for (size_t i = 0; i < test_scale(40); i++) {
    pid_t child = test_fork();
    if (child == 0) {
      check_child();
      _exit(0);
    }
    test_fork_end(child);
  }
  atomic_store(&g_stop, true);
  test_threads_end(threads, THREADS);
  atomic_store(&g_stop, false);
  end_shared();
  CHECK_EQ(test_heap_live_blocks(g_heap), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

TEST_MAIN(T(blocks__of_one_size_take_all_but_one_of_what_fits),
          T(blocks__of_any_sizes_take_nine_tenths),
          T(blocks__take_what_is_no_whole_unit_too),
          T(small_blocks__have_what_large_ones_leave),
          T(large_blocks__have_what_small_ones_leave),
          T(realloc__stays_in_place_where_there_is_room),
          T(statistics__name_blocks_across_units), T(misuse__is_named),
          T(release__ends_with_the_last_large_block),
          T(threads__share_large_and_small_blocks),
          T(fork__beside_threads_leaves_the_child_a_whole_heap))
