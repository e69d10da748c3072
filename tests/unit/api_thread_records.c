/* api_thread_records.c - what threads and their caches of heaps had goes back when they
 * are gone, and serves again. */
#include "child.h"
#include "records.h"
#include "threads.h"

enum {
  THREADS = 100,
  HEAPS = 24
};

static hak_heap_t *g_heaps[HEAPS];
static pthread_barrier_t g_met, g_over;

static void heaps_make(void) {
  for (size_t i = 0; i < HEAPS; i++) CHECK((g_heaps[i] = hak_heap_create(NULL)) != NULL);
}
static void heaps_destroy(void) {
  for (size_t i = 0; i < HEAPS; i++) CHECK_EQ(hak_heap_destroy(g_heaps[i]), 0);
}

/* Enough blocks for a cache of each heap; all go. */
static void use_heaps(void) {
  for (size_t i = 0; i < HEAPS; i++) {
    for (int n = 0; n < 12; n++) {
      void *block = hak_heap_alloc(g_heaps[i], 64);
      CHECK(block != NULL && hak_heap_of(block) == g_heaps[i]);
      hak_free(block);
    }
  }
}

/* All threads are there at once. */
static void *live(void *ctx) {
  (void)ctx;
  void *block = hak_alloc(1000);
  CHECK(block != NULL);
  use_heaps();
  pthread_barrier_wait(&g_met);
  pthread_barrier_wait(&g_over);
  hak_free(block);
  return NULL;
}

static void run_threads(uint64_t *records) {
  pthread_t threads[THREADS];
  test_threads_begin(threads, THREADS, live, NULL);
  pthread_barrier_wait(&g_met);
  *records = test_record_bytes();
  pthread_barrier_wait(&g_over);
  test_threads_end(threads, THREADS);
}

static void collect_all(void) { (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); }

/* Under sanitizers and strict hooks records stay; see docs/MEMORY.md. */
static bool records_go(void) { return !TEST_TSAN && !test_is_strict(); }

static void ended_threads__leave_no_records(void **state) {
  (void)state;
  heaps_make();
  use_heaps();
  collect_all();
  uint64_t before = test_record_bytes(), live_bytes, left = 0;
  for (int round = 0; round < 4; round++) {
    run_threads(&live_bytes);
    hak_stats_t ended = test_stats();
    CHECK(live_bytes > before + (uint64_t)THREADS * HEAPS * 4096);
    collect_all();
    hak_stats_t collected = test_stats();
    uint64_t records = test_record_bytes();
    /* What is counted stays counted. */
    CHECK_EQ(collected.thread_attaches, ended.thread_attaches);
    CHECK_EQ(collected.slow_alloc, ended.slow_alloc);
    CHECK_EQ(collected.live_blocks, ended.live_blocks);
    if (records_go()) {
      CHECK_MSG(records < before + (uint64_t)THREADS * 72 * KIB,
                "%llu bytes of records, %llu before", (unsigned long long)records,
                (unsigned long long)before);
    }
    if (round > 0) CHECK(records <= left + MIB);
    left = records;
    CHECK_EQ(hak_check(NULL), 0);
  }
  heaps_destroy();
}

/* --- heaps that go while threads stay ----------------------------------------------- */

static void *stay(void *ctx) {
  (void)ctx;
  for (int round = 0; round < 3; round++) {
    pthread_barrier_wait(&g_met);
    use_heaps();
    pthread_barrier_wait(&g_over);
  }
  pthread_barrier_wait(&g_met);
  return NULL;
}

static void ended_heaps__leave_no_caches_with_threads(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  uint64_t before = 0;
  collect_all();
  test_threads_begin(threads, THREADS, stay, NULL);
  for (int round = 0; round < 3; round++) {
    heaps_make();
    if (before == 0) before = test_record_bytes();
    pthread_barrier_wait(&g_met);
    pthread_barrier_wait(&g_over);
    uint64_t full = test_record_bytes();
    if (records_go()) CHECK(full > before + (uint64_t)THREADS * HEAPS * 4096);
    heaps_destroy();
    collect_all();
    uint64_t left = test_record_bytes();
    /* The states of the threads themselves stay, and the places in them. */
    uint64_t states = (uint64_t)THREADS * (64 + 3 * HEAPS) * KIB;
    if (records_go()) {
      CHECK_MSG(left < before + states, "%llu of %llu bytes of records left",
                (unsigned long long)left, (unsigned long long)full);
    }
    CHECK_EQ(hak_check(NULL), 0);
  }
  pthread_barrier_wait(&g_met);
  test_threads_end(threads, THREADS);
}

/* --- address space -------------------------------------------------------------------
 */

static void *live_bare(void *ctx) {
  (void)ctx;
  void *block = hak_alloc(1000);
  CHECK(block != NULL);
  pthread_barrier_wait(&g_met);
  pthread_barrier_wait(&g_over);
  hak_free(block);
  return NULL;
}

/* One after the other: how many SuperSlabs are there depends on nothing else. */
static void begin_bare(pthread_t *threads) {
  for (int i = 0; i < THREADS; i++) {
    test_threads_begin(&threads[i], 1, live_bare, NULL);
    pthread_barrier_wait(&g_met);
  }
}

TEST_IN_CHILD(thread__takes_a_mebibyte_of_address_space, 60) {
  pthread_t first[THREADS], more[THREADS];
  /* One region more or less is to be small beside what threads take. */
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_BYTES, 4 * (int64_t)MIB), 0);
  pthread_barrier_init(&g_met, NULL, 2);
  pthread_barrier_init(&g_over, NULL, 2 * THREADS + 1);
  begin_bare(first);
  uint64_t before = test_stats().reserved_bytes;
  begin_bare(more);
  uint64_t each = (test_stats().reserved_bytes - before) / THREADS;
  /* 0.7 MiB, and what is reserved ahead for up to half as many again; how many that are
   * at either look depends on how many states former threads have left. */
  CHECK_MSG(each < MIB + MIB / 4, "%llu bytes for a thread", (unsigned long long)each);
  pthread_barrier_wait(&g_over);
  test_threads_end(first, THREADS);
  test_threads_end(more, THREADS);
}

enum {
  MANY_HEAPS = 40
};
static hak_heap_t *g_many[MANY_HEAPS];

static void *use_many(void *ctx) {
  (void)ctx;
  void *blocks[MANY_HEAPS];
  for (int round = 0; round < 30; round++) {
    for (size_t i = 0; i < MANY_HEAPS; i++) {
      blocks[i] = hak_heap_alloc(g_many[i], 32);
      CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == g_many[i]);
    }
    for (size_t i = 0; i < MANY_HEAPS; i++) hak_free(blocks[i]);
  }
  pthread_barrier_wait(&g_met);
  pthread_barrier_wait(&g_over);
  return NULL;
}

/* More heaps than have places. */
TEST_IN_CHILD(many_threads__share_the_places_for_heaps, 120) {
  pthread_t threads[THREADS];
  CHECK_EQ(hak_option_set(HAK_OPTION_THREAD_HEAPS, 16), 0);
  for (size_t i = 0; i < MANY_HEAPS; i++) g_many[i] = hak_heap_create(NULL);
  pthread_barrier_init(&g_met, NULL, THREADS + 1);
  pthread_barrier_init(&g_over, NULL, THREADS + 1);
  test_threads_begin(threads, THREADS, use_many, NULL);
  pthread_barrier_wait(&g_met);
  CHECK_EQ(hak_check(NULL), 0);
  pthread_barrier_wait(&g_over);
  test_threads_end(threads, THREADS);
  for (size_t i = 0; i < MANY_HEAPS; i++) CHECK_EQ(hak_heap_destroy(g_many[i]), 0);
  collect_all();
  CHECK_EQ(test_stats().live_blocks, 0);
}

/* --- all at once ----------------------------------------------------------------------
 */

static hak_heap_t *g_own;

static void *come_and_go(void *ctx) {
  (void)ctx;
  for (int i = 0; i < 20; i++) {
    void *block = hak_heap_alloc(g_own, 48);
    CHECK(block != NULL);
    hak_free(block);
  }
  hak_heap_t *heap = hak_heap_create(NULL);
  for (int i = 0; i < 20; i++) hak_free(hak_heap_alloc(heap, 100));
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return NULL;
}

static void *generations(void *ctx) {
  for (size_t n = test_scale(40); n > 0; n--) {
    pthread_t threads[6];
    test_threads_begin(threads, 6, come_and_go, ctx);
    test_threads_end(threads, 6);
  }
  return NULL;
}

static int use_in_child(void *ctx) {
  (void)come_and_go(ctx);
  collect_all();
  (void)come_and_go(ctx);
  return hak_check(NULL) == 0 ? 0 : 1;
}

static bool count_block(const hak_block_t *block, void *ctx) {
  (void)block;
  ++*(size_t *)ctx;
  return true;
}

static void collections_and_looks__beside_threads_that_come_and_go(void **state) {
  (void)state;
  pthread_t threads[2];
  hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 0);
  g_own = hak_heap_create(NULL);
  hak_heap_t *quiet = hak_heap_create(NULL);
  CHECK(hak_heap_alloc(quiet, 10) != NULL);
  test_threads_begin(threads, 2, generations, NULL);
  for (size_t n = test_scale(200); n > 0; n--) {
    collect_all();
    (void)test_stats();
    size_t blocks = 0;
    CHECK_EQ(hak_heap_visit(quiet, count_block, &blocks, 0), 0);
    CHECK_EQ(blocks, 1);
    if (n % 50 == 0 && !TEST_TSAN) test_child_must_succeed(use_in_child, NULL, 30);
  }
  test_threads_end(threads, 2);
  CHECK_EQ(hak_heap_destroy(g_own), 0);
  CHECK_EQ(hak_heap_destroy(quiet), 0);
  hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 8);
  CHECK_EQ(hak_check(NULL), 0);
}

static int setup(void **state) {
  (void)state;
  pthread_barrier_init(&g_met, NULL, THREADS + 1);
  pthread_barrier_init(&g_over, NULL, THREADS + 1);
  return 0;
}
static int teardown(void **state) {
  (void)state;
  pthread_barrier_destroy(&g_met);
  pthread_barrier_destroy(&g_over);
  return 0;
}

#define R(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN(R(ended_threads__leave_no_records),
          R(ended_heaps__leave_no_caches_with_threads),
          T(thread__takes_a_mebibyte_of_address_space),
          T(many_threads__share_the_places_for_heaps),
          R(collections_and_looks__beside_threads_that_come_and_go))
