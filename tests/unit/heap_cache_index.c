/* heap_cache_index.c - cache indices when there are more heaps than indices: whose index
 * passes to another heap, and whose does not. */
#include "support.h"
#include "threads.h"

#include <pthread.h>

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

TEST_MAIN(T(indices__of_heaps_that_others_use_stay_with_them),
          T(indices__of_heaps_that_nobody_else_uses_pass_to_busy_ones))
