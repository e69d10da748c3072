/* api_short_threads.c - threads that come after many short ones share slabs; others have
 * slabs of their own. */
#include "child.h"
#include "threads.h"

#include <pthread.h>
#include <string.h>

enum {
  SHORT = 16, /* threads, after which others share slabs */
  LONG = 3,   /* threads, after which they do not any more */
  AT_ONCE = 8,
  BLOCKS = 10 /* of a size */
};

/* Of as many classes. */
static const size_t g_sizes[] = {32, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512};
#define SIZES TEST_COUNT(g_sizes)

static pthread_barrier_t g_begun, g_over;

static size_t size_of(size_t i) { return g_sizes[i % SIZES]; }

static void *use_little(void *ctx) {
  (void)ctx;
  for (size_t i = 0; i < SIZES; i++) hak_free(hak_alloc(size_of(i)));
  return NULL;
}

/* A refill brings one or two of so large blocks. */
static void *use_much(void *ctx) {
  enum {
    COUNT = 512,
    SIZE = 8000
  };
  (void)ctx;
  void *blocks[COUNT];
  for (size_t i = 0; i < COUNT; i++) blocks[i] = hak_alloc(SIZE);
  for (size_t i = 0; i < COUNT; i++) hak_free(blocks[i]);
  return NULL;
}

static void use_little_often(void) {
  for (int i = 0; i < SHORT; i++) test_thread_run(use_little, NULL);
}

/* Keeps blocks of all sizes for as long as the others do. */
static void *keep_some(void *ctx) {
  size_t own = (size_t)(uintptr_t)ctx;
  void *blocks[SIZES * BLOCKS];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(size_of(i));
    test_fill(blocks[i], size_of(i), own + i);
  }
  pthread_barrier_wait(&g_begun);
  pthread_barrier_wait(&g_over);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK(test_verify(blocks[i], size_of(i), own + i));
    hak_free(blocks[i]);
  }
  return NULL;
}

/* Slabs that threads take which work at one time. */
static uint64_t slabs_of_some(void) {
  pthread_t threads[AT_ONCE];
  uint64_t before = test_stats().slabs_active;
  pthread_barrier_init(&g_begun, NULL, AT_ONCE + 1);
  pthread_barrier_init(&g_over, NULL, AT_ONCE + 1);
  test_threads_begin_numbered(threads, AT_ONCE, keep_some);
  pthread_barrier_wait(&g_begun);
  uint64_t slabs = test_stats().slabs_active - before;
  pthread_barrier_wait(&g_over);
  test_threads_end(threads, AT_ONCE);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  return slabs;
}

/* Two may find no slab of a class at the same moment. */
TEST_IN_CHILD(threads__share_slabs_after_short_ones, 60) {
  test_start();
  use_little_often();
  uint64_t slabs = slabs_of_some();
  CHECK_MSG(slabs < AT_ONCE * SIZES / 2, "%llu slabs", (unsigned long long)slabs);
}

TEST_IN_CHILD(threads__have_their_own_slabs_where_none_has_ended, 60) {
  test_start();
  CHECK_MSG(slabs_of_some() >= AT_ONCE * SIZES, "they share slabs");
}

TEST_IN_CHILD(threads__have_their_own_slabs_after_long_ones, 60) {
  test_start();
  use_little_often();
  for (int i = 0; i < LONG; i++) test_thread_run(use_much, NULL);
  CHECK_MSG(slabs_of_some() >= AT_ONCE * SIZES, "they share slabs");
}

/* --- many of them ------------------------------------------------------------------- */

enum {
  BATCH = 24,
  BATCHES = 40,
  OF_EACH = 200, /* blocks of a thread */
  LARGE = 20     /* one of so many is large */
};
static void *g_left[BATCH];

/* A third of them only frees what another one has left. */
static void *live_shortly(void *ctx) {
  void **left = ctx, *blocks[OF_EACH];
  size_t number = (size_t)(left - g_left), count = number % 3 == 0 ? 0 : OF_EACH;
  test_rng_t rng = test_rng(test_seed(), number);
  hak_free(*left);
  *left = NULL;
  for (size_t i = 0; i < count; i++) {
    size_t size = 16 + (size_t)test_below(&rng, i % LARGE == 0 ? 30000 : 700);
    blocks[i] = hak_alloc(size);
    memset(blocks[i], 1, size);
  }
  pthread_barrier_wait(&g_begun);
  pthread_barrier_wait(&g_over);
  for (size_t i = 1; i < count; i++) hak_free(blocks[i]);
  if (count > 0) *left = blocks[0];
  return NULL;
}

/* Bytes committed while all of them have all of their blocks. */
static uint64_t run_batch(size_t batch) {
  pthread_t threads[BATCH];
  for (size_t i = 0; i < BATCH; i++) {
    test_threads_begin(&threads[i], 1, live_shortly, &g_left[(i + batch) % BATCH]);
  }
  pthread_barrier_wait(&g_begun);
  uint64_t committed = test_stats().committed_bytes;
  pthread_barrier_wait(&g_over);
  test_threads_end(threads, BATCH);
  return committed;
}

/* 3 MiB of their blocks live at one time. With slabs of their own they would have
 * committed 20 MiB and more. */
TEST_IN_CHILD(memory__of_short_threads_is_little_more_than_their_blocks, 60) {
  test_start();
  pthread_barrier_init(&g_begun, NULL, BATCH + 1);
  pthread_barrier_init(&g_over, NULL, BATCH + 1);
  run_batch(0);
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  uint64_t most = 0;
  for (size_t i = 1; i < BATCHES; i++) {
    uint64_t now = run_batch(i);
    if (now > most) most = now;
  }
  CHECK_MSG(most < 16 * MIB, "%llu KiB committed", (unsigned long long)most / KIB);
  for (size_t i = 0; i < BATCH; i++) hak_free(g_left[i]);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN_FRESH(T(threads__share_slabs_after_short_ones),
                T(threads__have_their_own_slabs_where_none_has_ended),
                T(threads__have_their_own_slabs_after_long_ones),
                T(memory__of_short_threads_is_little_more_than_their_blocks))
