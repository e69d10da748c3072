/* api_budget_caches.c - what many threads cache of heaps with limits: the limits of all
 * levels hold at any moment, and threads that stand still keep a sixteenth at most. */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap.h"

enum {
  THREADS = 32
};

static hak_budget_t *budget_of(hak_heap_t *heap) {
  return &hak_heap_record(heap)->store->pool.budget;
}
static uint64_t cached_of(hak_heap_t *heap) {
  return hak_load_relaxed(&budget_of(heap)->cached);
}
static void check_level(hak_heap_t *heap, uint64_t limit) {
  CHECK(hak_load_relaxed(&budget_of(heap)->charged) <= limit);
  CHECK(cached_of(heap) <= limit / 16);
}

/* ---- threads that stand still ------------------------------------------------------ */

typedef struct sleeper {
  hak_heap_t *heap;
  pthread_barrier_t cached, done;
} sleeper_t;

/* Keeps every other block of many, then frees these too, and sleeps. */
static void *cache_and_sleep(void *arg) {
  sleeper_t *s = arg;
  enum {
    BLOCKS = 3000
  };
  static _Thread_local void *blocks[BLOCKS];
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = hak_heap_alloc(s->heap, 24 + i * 37 % 200);
      CHECK(blocks[i] != NULL);
    }
    for (size_t i = 0; i < BLOCKS; i += 2) hak_free(blocks[i]);
    for (size_t i = 1; i < BLOCKS; i += 2) hak_free(blocks[i]);
  }
  pthread_barrier_wait(&s->cached);
  pthread_barrier_wait(&s->done);
  return NULL;
}

static void limit__less_two_sixteenths_serves_one_thread_while_others_sleep(
    void **state) {
  (void)state;
  const size_t limit = 64 * MIB;
  sleeper_t s = {.heap = test_heap_make((hak_heap_config_t){.hard_limit = limit})};
  pthread_barrier_init(&s.cached, NULL, THREADS + 1);
  pthread_barrier_init(&s.done, NULL, THREADS + 1);
  pthread_t threads[THREADS];
  test_threads_begin(threads, THREADS, cache_and_sleep, &s);
  pthread_barrier_wait(&s.cached);
  CHECK(cached_of(s.heap) > 0);
  check_level(s.heap, limit);
  void *list = NULL;
  size_t count = 0;
  for (void **block; (block = hak_heap_alloc(s.heap, KIB)) != NULL; count++) {
    *block = list;
    list = block;
  }
  /* A sixteenth for what they cache, and as much for what is free beside it in the same
   * pages, which depends on how the threads took turns. */
  CHECK_MSG(count * KIB >= limit - 2 * (limit / 16), "%zu KiB", count);
  check_level(s.heap, limit);
  while (list != NULL) {
    void **block = list;
    list = *block;
    hak_free(block);
  }
  pthread_barrier_wait(&s.done);
  test_threads_end(threads, THREADS);
  CHECK_EQ(hak_check(s.heap), 0);
  (void)hak_collect(s.heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_heap_stats(s.heap).committed_bytes, 0);
  CHECK(cached_of(s.heap) <= limit / 16);
  CHECK_EQ(hak_heap_destroy(s.heap), 0);
  pthread_barrier_destroy(&s.cached);
  pthread_barrier_destroy(&s.done);
}

/* ---- threads at work -------------------------------------------------------------- */

enum {
  TOP_LIMIT = 48 << 20,
  CHILD_LIMIT = 20 << 20,
  SOFT = 16 << 20,
  CHILDREN = 3,
  SHELF = 64 /* blocks that callbacks may free */
};

typedef struct tree {
  hak_heap_t *top, *children[CHILDREN];
  _Atomic(void *) shelf[SHELF];
  atomic_uint calls;
} tree_t;

static tree_t g_tree;

static int shed(hak_heap_t *heap, size_t needed, int kind, void *ctx) {
  (void)heap, (void)needed, (void)kind, (void)ctx;
  atomic_fetch_add(&g_tree.calls, 1);
  int freed = 0;
  for (size_t i = 0; i < SHELF; i++) {
    void *block = atomic_exchange(&g_tree.shelf[i], NULL);
    freed |= block != NULL;
    hak_free(block);
  }
  return freed;
}

static void check_tree(void) {
  check_level(g_tree.top, TOP_LIMIT);
  for (size_t i = 0; i < CHILDREN; i++) check_level(g_tree.children[i], CHILD_LIMIT);
}

/* Frames of several lengths, and large blocks that are left to callbacks and to other
 * threads: as many of them as there are places come to more than the limits. */
static void *work(void *arg) {
  enum {
    ROUNDS = 12,
    BLOCKS = 4000
  };
  size_t me = (size_t)(uintptr_t)arg;
  void **blocks = calloc(BLOCKS, sizeof *blocks);
  CHECK(blocks != NULL);
  for (size_t round = 0; round < ROUNDS; round++) {
    hak_heap_t *heap =
        (me + round) % 4 == 0 ? g_tree.top : g_tree.children[(me + round) % CHILDREN];
    size_t count = (me + round) % 3 == 0 ? BLOCKS : BLOCKS / 8;
    for (size_t i = 0; i < count; i++) {
      blocks[i] = hak_heap_alloc(heap, 16 + (i * 61 + round) % 700); /* or NULL */
    }
    check_tree();
    void *large = hak_heap_alloc(heap, 3 * MIB / 2 + me * KIB);
    hak_free(atomic_exchange(&g_tree.shelf[(me * ROUNDS + round) % SHELF], large));
    for (size_t i = 0; i < count; i += 2) hak_free(blocks[i]);
    for (size_t i = 1; i < count; i += 2) hak_free(blocks[i]);
    check_tree();
  }
  free(blocks);
  return NULL;
}

static void limits__of_all_levels_hold_while_threads_come_near_them(void **state) {
  (void)state;
  g_tree.top = test_heap_make((hak_heap_config_t){.hard_limit = TOP_LIMIT});
  for (size_t i = 0; i < CHILDREN; i++) {
    g_tree.children[i] = test_heap_make((hak_heap_config_t){.parent = g_tree.top,
                                                            .soft_limit = SOFT,
                                                            .hard_limit = CHILD_LIMIT,
                                                            .on_pressure = shed});
  }
  pthread_t threads[THREADS];
  test_threads_begin_numbered(threads, THREADS, work);
  test_threads_end(threads, THREADS);
  check_tree();
  CHECK(atomic_load(&g_tree.calls) > 0);
  (void)shed(NULL, 0, 0, NULL);
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t i = 0; i < CHILDREN; i++) {
    CHECK_EQ(hak_check(g_tree.children[i]), 0);
    CHECK_EQ(hak_heap_destroy(g_tree.children[i]), 0);
  }
  CHECK_EQ(hak_heap_destroy(g_tree.top), 0);
}

static void *cache_and_end(void *arg) {
  hak_heap_t *heap = arg;
  for (int round = 0; round < 3; round++) {
    void *blocks[200];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_heap_alloc(heap, 100);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  }
  CHECK(cached_of(heap) > 0 && hak_load_relaxed(&budget_of(heap)->users) > 0);
  return NULL;
}

static void threads__that_ended_are_no_users_and_cache_nothing(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 64 * MIB});
  for (int i = 0; i < 8; i++) test_thread_run(cache_and_end, heap);
  CHECK_EQ(hak_load_relaxed(&budget_of(heap)->users), 0);
  CHECK_EQ(cached_of(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void reset__gives_back_what_threads_may_cache(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 64 * MIB});
  for (int round = 0; round < 20; round++) {
    (void)cache_and_end(heap);
    CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK_EQ(cached_of(heap), 0);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(threads__that_ended_are_no_users_and_cache_nothing),
          T(reset__gives_back_what_threads_may_cache),
          T(limit__less_two_sixteenths_serves_one_thread_while_others_sleep),
          T(limits__of_all_levels_hold_while_threads_come_near_them))
