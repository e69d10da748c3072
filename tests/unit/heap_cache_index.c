/* heap_cache_index.c - cache indices when there are more heaps than indices: whose index
 * passes to another heap, and whose does not. */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <unistd.h>

#include "child.h"
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
bool __wrap_hak_threads_commit_indices(uint32_t indices) {
  return !g_no_memory && __real_hak_threads_commit_indices(indices);
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
          T(indices__of_heaps_that_others_use_stay_with_them),
          T(indices__of_heaps_that_nobody_else_uses_pass_to_busy_ones),
          T(indices__that_another_thread_alone_has_stay_with_it),
          T(indices__stay_with_their_heaps_in_the_child_of_a_fork))
