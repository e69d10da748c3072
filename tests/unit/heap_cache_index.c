/* heap_cache_index.c - cache indices when there are more heaps than indices: whose index
 * passes to another heap, and whose does not. */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "child.h"
#include "heap/cache_index.h"
#include "heap/thread_cache.h"
#include "heap/thread_state.h"

enum {
  HEAPS = HAK_CACHE_INDICES,
  OURS = HEAPS - 2, /* the last ones are the other thread's alone */
  OFTEN = 3000,     /* allocations, after which a heap has an index if it can have one */
  BLOCKS = 64,
  SEEKS = HAK_CHECKS < 3 /* a hardened build allocates past the indices, and seeks none */
};

/* While it is set memory for further indices is refused. */
static bool g_no_memory;
bool __real_hak_threads_commit_indices(uint32_t indices);
bool __wrap_hak_threads_commit_indices(uint32_t indices);
/* What other threads do while this one looks for an index, or waits for a heap's lease.
 */
static test_thread_fn *g_amid_search, *g_amid_lease;
static void amid(test_thread_fn **what, void *ctx) {
  test_thread_fn *now = *what;
  *what = NULL;
  if (now != NULL) test_thread_run(now, ctx);
}
bool __wrap_hak_threads_commit_indices(uint32_t indices) {
  amid(&g_amid_search, NULL);
  return !g_no_memory && __real_hak_threads_commit_indices(indices);
}
void __real_hak_heap_lease(hak_heap_t *heap);
void __wrap_hak_heap_lease(hak_heap_t *heap);
void __wrap_hak_heap_lease(hak_heap_t *heap) {
  amid(&g_amid_lease, heap);
  __real_hak_heap_lease(heap);
}

static hak_heap_t *g_heaps[HEAPS];
static char *g_blocks[HEAPS][BLOCKS];
static pthread_barrier_t g_met;

/* Enough blocks at once for a cache. */
static void use(hak_heap_t *heap, char **blocks) {
  for (int i = 0; i < BLOCKS; i++) {
    blocks[i] = hak_heap_alloc(heap, 48);
    CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == heap);
    test_fill(blocks[i], 48, (uintptr_t)heap);
  }
}

static void let_go(hak_heap_t *heap, char **blocks) {
  for (int i = 0; i < BLOCKS; i++) {
    CHECK(hak_heap_of(blocks[i]) == heap && test_verify(blocks[i], 48, (uintptr_t)heap));
    hak_free(blocks[i]);
  }
}

static uint32_t index_of(hak_heap_t *heap) {
  hak_thread_cache_t *cache = hak_cache_find(hak_thread_self, hak_heap_record(heap));
  return cache == NULL ? HAK_NO_INDEX : hak_load_relaxed(&cache->index);
}

static void ask_often(hak_heap_t *heap) {
  for (int i = 0; i < OFTEN; i++) {
    char *block = hak_heap_alloc(heap, 48);
    CHECK(block != NULL && hak_heap_of(block) == heap);
    hak_free(block);
  }
}

/* Another thread with a cache of the heaps from `from` on. */
static void *share(void *from) {
  static char *blocks[HEAPS][BLOCKS];
  for (size_t i = (size_t)(uintptr_t)from; i < HEAPS; i++) use(g_heaps[i], blocks[i]);
  pthread_barrier_wait(&g_met);
  pthread_barrier_wait(&g_met);
  for (size_t i = (size_t)(uintptr_t)from; i < HEAPS; i++) {
    CHECK(index_of(g_heaps[i]) != HAK_NO_INDEX);
    let_go(g_heaps[i], blocks[i]);
    use(g_heaps[i], blocks[i]);
    let_go(g_heaps[i], blocks[i]);
  }
  return NULL;
}

static void begin(pthread_t *thread, size_t alone) {
  CHECK_EQ(pthread_barrier_init(&g_met, NULL, 2), 0);
  for (int i = 0; i < HEAPS; i++) {
    g_heaps[i] = test_heap(0, NULL, NULL);
    if (i >= OURS) continue;
    use(g_heaps[i], g_blocks[i]);
    CHECK(index_of(g_heaps[i]) != HAK_NO_INDEX);
  }
  CHECK_EQ(pthread_create(thread, NULL, share, (void *)alone), 0);
  pthread_barrier_wait(&g_met);
}

static void end(pthread_t *thread) {
  CHECK_EQ(hak_check(NULL), 0);
  for (int i = 0; i < OURS; i++) let_go(g_heaps[i], g_blocks[i]);
  pthread_barrier_wait(&g_met);
  test_threads_end(thread, 1);
  for (int i = 0; i < HEAPS; i++) {
    CHECK_EQ(test_heap_live_blocks(g_heaps[i]), 0);
    CHECK_EQ(hak_heap_destroy(g_heaps[i]), 0);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(indices__of_heaps_that_others_use_stay_with_them, 60) {
  pthread_t thread;
  begin(&thread, 0);
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  ask_often(heap);
  CHECK_EQ(index_of(heap), HAK_NO_INDEX);
  for (int i = 0; i < OURS; i++) CHECK(index_of(g_heaps[i]) != HAK_NO_INDEX);
  end(&thread);
  /* Those whose heaps have gone are free. */
  ask_often(heap);
  CHECK((index_of(heap) != HAK_NO_INDEX) == SEEKS);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(indices__of_heaps_that_nobody_else_uses_pass_to_busy_ones, 60) {
  enum {
    ALONE = 3
  };
  pthread_t thread;
  begin(&thread, ALONE);
  hak_heap_t *busy[ALONE + 2];
  for (size_t i = 0; i < TEST_COUNT(busy); i++) {
    busy[i] = test_heap(0, NULL, NULL);
    ask_often(busy[i]);
    CHECK((index_of(busy[i]) != HAK_NO_INDEX) == SEEKS);
  }
  size_t without = 0;
  for (size_t i = 0; i < OURS; i++) {
    bool has = index_of(g_heaps[i]) != HAK_NO_INDEX;
    CHECK(has || i < ALONE);
    without += !has;
  }
  for (size_t i = 0; i < TEST_COUNT(busy); i++)
    without += index_of(busy[i]) == HAK_NO_INDEX;
  CHECK_EQ(without, TEST_COUNT(busy));
  end(&thread);
  for (size_t i = 0; i < TEST_COUNT(busy); i++) CHECK_EQ(hak_heap_destroy(busy[i]), 0);
}

/* It has the heap's index; this thread's cache of the heap was there before, without. */
static pthread_barrier_t g_other_met;
static void *use_meanwhile(void *heap) {
  static char *blocks[BLOCKS];
  use(heap, blocks);
  CHECK(index_of(heap) != HAK_NO_INDEX);
  pthread_barrier_wait(&g_other_met);
  pthread_barrier_wait(&g_other_met);
  CHECK(index_of(heap) != HAK_NO_INDEX);
  let_go(heap, blocks);
  ask_often(heap);
  return NULL;
}

TEST_IN_CHILD(indices__that_another_thread_alone_has_stay_with_it, 60) {
  static char *blocks[BLOCKS];
  pthread_t thread, other;
  begin(&thread, 1);
  CHECK_EQ(pthread_barrier_init(&g_other_met, NULL, 2), 0);
  hak_heap_t *heap = test_heap(0, NULL, NULL), *busy = test_heap(0, NULL, NULL);
  use(heap, blocks);
  CHECK_EQ(index_of(heap), HAK_NO_INDEX);
  let_go(g_heaps[0], g_blocks[0]);
  CHECK_EQ(hak_heap_destroy(g_heaps[0]), 0);
  CHECK_EQ(pthread_create(&other, NULL, use_meanwhile, heap), 0);
  pthread_barrier_wait(&g_other_met);
  ask_often(busy);
  CHECK_EQ(index_of(busy), HAK_NO_INDEX);
  pthread_barrier_wait(&g_other_met);
  test_threads_end(&other, 1);
  let_go(heap, blocks);
  g_heaps[0] = test_heap(0, NULL, NULL);
  use(g_heaps[0], g_blocks[0]);
  end(&thread);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(busy), 0);
}

TEST_IN_CHILD(indices__stay_with_their_heaps_in_the_child_of_a_fork, 60) {
  static char *first[BLOCKS], *second[BLOCKS];
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  use(heap, first);
  uint32_t index = index_of(heap);
  CHECK(index != HAK_NO_INDEX);
  pid_t child = test_fork();
  if (child == 0) {
    hak_heap_t *other = test_heap(0, NULL, NULL);
    use(other, second);
    CHECK(index_of(heap) == index && index_of(other) != index);
    let_go(heap, first);
    let_go(other, second);
    use(heap, first);
    use(other, second);
    CHECK_EQ(hak_heap_destroy(other), 0);
    let_go(heap, first);
    CHECK_EQ(hak_check(NULL), 0);
    _exit(0);
  }
  test_fork_end(child);
  let_go(heap, first);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static int free_it(hak_heap_t *heap, size_t needed, int level, void *block) {
  (void)needed, (void)level;
  CHECK(hak_heap_alloc(heap, 48) == NULL); /* not here */
  if (*(void **)block == NULL) return 0;
  hak_free(*(void **)block);
  *(void **)block = NULL;
  return 1;
}

/* They do all that others do. */
TEST_IN_CHILD(heaps__without_an_index_are_reset_and_released_in_a_fork_too, 60) {
  static char *blocks[BLOCKS];
  void *large;
  hak_heap_config_t config = {.struct_size = sizeof config,
                              .hard_limit = 2 * MIB,
                              .on_pressure = free_it,
                              .ctx = &large};
  g_no_memory = true;
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  use(heap, blocks);
  ask_often(heap);
  CHECK_EQ(index_of(heap), HAK_NO_INDEX);
  CHECK_EQ(test_heap_live_blocks(heap), BLOCKS);
  CHECK((large = hak_heap_alloc(heap, MIB)) != NULL);
  char *other = hak_heap_alloc(heap, MIB); /* the first one goes for it */
  CHECK(other != NULL && large == NULL);
  hak_free(other);
  pid_t child = test_fork();
  if (child == 0) {
    let_go(heap, blocks);
    use(heap, blocks);
    CHECK_EQ(index_of(heap), HAK_NO_INDEX);
    g_no_memory = false;
    ask_often(heap);
    CHECK((index_of(heap) != HAK_NO_INDEX) == SEEKS);
    let_go(heap, blocks);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK_EQ(hak_check(NULL), 0);
    _exit(0);
  }
  test_fork_end(child);
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK_EQ(test_heap_live_blocks(heap), 0);
  use(heap, blocks);
  CHECK_EQ(hak_heap_release(heap), 0);
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  hak_thread_idle();
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_check(NULL), 0);
  /* Nothing is amiss with the indices of others. */
  g_no_memory = false;
  hak_heap_t *next = test_heap(0, NULL, NULL);
  use(next, blocks);
  CHECK_EQ(index_of(next), 0);
  let_go(next, blocks);
  CHECK_EQ(hak_heap_destroy(next), 0);
}

/* --- what happens while a thread looks for an index ------------------------------ */

enum {
  FEW = 16 /* indices, beyond which there is no memory */
};
static hak_heap_t *g_busy; /* all indices are of other heaps */
static char *g_busy_blocks[BLOCKS];

static hak_thread_cache_t *cache_of(hak_heap_t *heap) {
  return hak_cache_find(hak_thread_self, hak_heap_record(heap));
}

static void begin_few(void) {
  for (int i = 0; i < FEW; i++) {
    g_heaps[i] = test_heap(0, NULL, NULL);
    use(g_heaps[i], g_blocks[i]);
    CHECK_EQ(index_of(g_heaps[i]), i);
    g_no_memory = true; /* there is some for so many at once */
  }
  g_busy = test_heap(0, NULL, NULL);
  use(g_busy, g_busy_blocks);
  CHECK_EQ(index_of(g_busy), HAK_NO_INDEX);
}

static void seek(hak_heap_t *heap) {
  hak_busy_begin(hak_thread_self);
  hak_cache_index_seek(hak_thread_self, cache_of(heap));
  hak_busy_end(hak_thread_self);
  CHECK(g_amid_search == NULL && g_amid_lease == NULL);
}

static void end_few(void) {
  CHECK_EQ(hak_check(NULL), 0);
  let_go(g_busy, g_busy_blocks);
  CHECK_EQ(hak_heap_destroy(g_busy), 0);
  for (int i = 0; i < FEW; i++) {
    if (g_heaps[i] == NULL) continue;
    let_go(g_heaps[i], g_blocks[i]);
    CHECK_EQ(hak_heap_destroy(g_heaps[i]), 0);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static void *end_first(void *unused) {
  CHECK_EQ(hak_heap_destroy(g_heaps[0]), 0);
  g_heaps[0] = NULL;
  return unused;
}

TEST_IN_CHILD(indices__that_become_free_amid_a_search_are_nobodys, 20) {
  begin_few();
  g_amid_search = end_first;
  seek(g_busy);
  CHECK_EQ(index_of(g_busy), 1);
  CHECK_EQ(index_of(g_heaps[1]), HAK_NO_INDEX);
  end_few();
}

/* Stays until the test lets it end. */
static pthread_t g_user;
static uint32_t g_user_index;
static void *use_until_met(void *heap) {
  static char *blocks[BLOCKS];
  use(heap, blocks);
  g_user_index = index_of(heap);
  pthread_barrier_wait(&g_met);
  pthread_barrier_wait(&g_met);
  CHECK_EQ(index_of(heap), g_user_index);
  let_go(heap, blocks);
  return NULL;
}

static void begin_user(hak_heap_t *heap) {
  CHECK_EQ(pthread_barrier_init(&g_met, NULL, 2), 0);
  CHECK_EQ(pthread_create(&g_user, NULL, use_until_met, heap), 0);
  pthread_barrier_wait(&g_met);
}
static void end_user(void) {
  pthread_barrier_wait(&g_met);
  test_threads_end(&g_user, 1);
}

static void *enter_first(void *record) {
  CHECK(record == hak_heap_record(g_heaps[0]));
  begin_user(g_heaps[0]);
  return NULL;
}

TEST_IN_CHILD(indices__that_another_thread_enters_amid_a_search_stay, 20) {
  begin_few();
  g_amid_lease = enter_first;
  seek(g_busy);
  CHECK_EQ(index_of(g_busy), HAK_NO_INDEX);
  CHECK_EQ(index_of(g_heaps[0]), 0);
  CHECK_EQ(g_user_index, 0);
  uint32_t at = hak_load_relaxed(&hak_heap_record(g_busy)->index_at);
  CHECK_EQ(at, hak_index_at(HAK_INDEX_NONE));
  end_user();
  end_few();
}

static void *end_second_for_busy(void *record) {
  CHECK(record == hak_heap_record(g_heaps[0]));
  CHECK_EQ(hak_heap_destroy(g_heaps[1]), 0);
  g_heaps[1] = NULL;
  begin_user(g_busy);
  return NULL;
}

/* The one that the search came by is free then. */
TEST_IN_CHILD(indices__that_heaps_get_amid_a_search_are_all_they_get, 20) {
  begin_few();
  g_amid_lease = end_second_for_busy;
  seek(g_busy);
  CHECK_EQ(g_user_index, 1);
  CHECK_EQ(index_of(g_busy), 1);
  CHECK_EQ(index_of(g_heaps[0]), HAK_NO_INDEX);
  seek(g_heaps[0]);
  CHECK_EQ(index_of(g_heaps[0]), 0);
  end_user();
  end_few();
}

/* What lies behind the words of the indices is not that of a cache that has none. */
TEST_IN_CHILD(caches__without_an_index_write_to_none, 20) {
  begin_few();
  hak_thread_t *me = hak_thread_self;
  hak_thread_cache_t *cache = cache_of(g_busy);
  _Atomic(int64_t) *behind =
      (_Atomic(int64_t) *)(void *)((char *)me + offsetof(hak_thread_t, bins_at) +
                                   sizeof me->bins_at);
  int64_t before = hak_load_relaxed(behind);
  hak_cache_index_hide(me, cache, false);
  CHECK_EQ(hak_load_relaxed(behind), before);
  hak_store_relaxed(behind, 1);
  hak_cache_index_hide(me, cache, true);
  hak_cache_index_clear(me, cache);
  CHECK_EQ(hak_load_relaxed(behind), 1);
  hak_store_relaxed(behind, before);
  end_few();
}

/* Nor what lies behind a state's bins, where the thread is lost. */
TEST_IN_CHILD(caches__without_an_index_drop_no_bins, 20) {
  begin_few();
  hak_thread_cache_t cache = {.heap = hak_heap_record(g_busy)};
  hak_store_relaxed(&cache.index, HAK_NO_INDEX);
  size_t bins = sizeof(hak_indexed_bins_t);
  char *lost = malloc(sizeof(hak_thread_state_t) + bins);
  CHECK(lost != NULL);
  char *behind = lost + sizeof(hak_thread_state_t);
  test_fill(behind, bins, 1);
  hak_cache_index_drop((hak_thread_t *)(void *)lost, &cache);
  CHECK(test_verify(behind, bins, 1));
  free(lost);
  end_few();
}

/* What an index is in every state is some 4 KiB. */
TEST_IN_CHILD(indices__have_memory_as_they_come_into_use, 60) {
  static char *blocks[BLOCKS];
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  size_t before = test_stats().committed_bytes;
  use(heap, blocks);
  CHECK_EQ(index_of(heap), 0);
  size_t more = test_stats().committed_bytes - before;
  CHECK_MSG(more < MIB, "%zu KiB", more >> 10);
  let_go(heap, blocks);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(indices__stay_with_heaps_that_are_reset, 60) {
  static char *blocks[BLOCKS];
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  use(heap, blocks);
  uint32_t index = index_of(heap);
  CHECK(index != HAK_NO_INDEX);
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK_EQ(index_of(heap), index);
  use(heap, blocks);
  let_go(heap, blocks);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(heaps__without_an_index_are_reset_and_released_in_a_fork_too),
          T(indices__have_memory_as_they_come_into_use),
          T(indices__stay_with_heaps_that_are_reset),
          T(indices__that_become_free_amid_a_search_are_nobodys),
          T(indices__that_another_thread_enters_amid_a_search_stay),
          T(indices__that_heaps_get_amid_a_search_are_all_they_get),
          T(caches__without_an_index_write_to_none),
          T(caches__without_an_index_drop_no_bins),
          T(indices__of_heaps_that_others_use_stay_with_them),
          T(indices__of_heaps_that_nobody_else_uses_pass_to_busy_ones),
          T(indices__that_another_thread_alone_has_stay_with_it),
          T(indices__stay_with_their_heaps_in_the_child_of_a_fork))
