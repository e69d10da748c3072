/* api_memory_threads.c - one heap in memory of the caller's, used by several threads,
 * and by both sides of a fork. */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char g_memory[1 << 20];

static hak_heap_t *make(void) {
  hak_heap_config_t config = {.struct_size = sizeof config};
  config.memory = g_memory;
  config.memory_size = sizeof g_memory;
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  return heap;
}

static uint64_t live_of(hak_heap_t *heap) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(heap, &stats), 0);
  return stats.live_blocks;
}

enum {
  THREADS = 4,
  SHARED = 256
};
static _Atomic(unsigned char *) g_shared[SHARED];
static hak_heap_t *g_heap;

/* The first bytes say how large a block is and who filled it. */
typedef struct head {
  uint32_t size, tag;
} head_t;

static unsigned char *filled(unsigned char *block, size_t size, uint32_t tag) {
  head_t head = {(uint32_t)size, tag};
  memcpy(block, &head, sizeof head);
  test_fill(block + sizeof head, size - sizeof head, tag);
  return block;
}
static void verify(const unsigned char *block, size_t *size, uint32_t *tag) {
  head_t head;
  memcpy(&head, block, sizeof head);
  CHECK(test_verify(block + sizeof head, head.size - sizeof head, head.tag));
  CHECK(hak_usable_size(block) >= head.size);
  *size = head.size;
  *tag = head.tag;
}

static void *mix(void *ctx) {
  test_rng_t rng = test_rng(test_seed(), 50 + (uint64_t)(uintptr_t)ctx);
  size_t old;
  uint32_t tag;
  for (uint32_t n = 0; n < test_scale(100000); n++) {
    unsigned char *mine = NULL;
    size_t size = sizeof(head_t) + test_random_size(&rng, 8 * KIB);
    uint64_t choice = test_below(&rng, 3);
    if (choice < 2) mine = hak_heap_alloc(g_heap, size);
    if (mine != NULL) filled(mine, size, n);
    _Atomic(unsigned char *) *slot = &g_shared[test_below(&rng, SHARED)];
    mine = atomic_exchange_explicit(slot, mine, memory_order_acq_rel);
    if (mine == NULL) continue;
    verify(mine, &old, &tag);
    if (choice != 0) {
      hak_free(mine);
      continue;
    }
    unsigned char *moved = hak_realloc(mine, size);
    if (moved == NULL) {
      hak_free(mine);
      continue;
    }
    if (size >= old) verify(moved, &old, &tag);
    mine = atomic_exchange_explicit(slot, filled(moved, size, n), memory_order_acq_rel);
    if (mine != NULL) verify(mine, &old, &tag);
    hak_free(mine);
  }
  return NULL;
}

static void threads__allocate_resize_and_free_each_others_blocks(void **state) {
  (void)state;
  g_heap = make();
  pthread_t threads[THREADS];
  for (uintptr_t i = 0; i < THREADS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, mix, (void *)i), 0);
  }
  for (size_t i = 0; i < THREADS; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(hak_check(g_heap), 0);
  for (size_t i = 0; i < SHARED; i++) {
    hak_free(g_shared[i]);
    g_shared[i] = NULL;
  }
  CHECK_EQ(live_of(g_heap), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static atomic_bool g_stop;

static void *churn(void *ctx) {
  test_rng_t rng = test_rng(test_seed(), 60 + (uint64_t)(uintptr_t)ctx);
  while (!g_stop) {
    hak_free(hak_heap_alloc(g_heap, 16 + (size_t)test_below(&rng, 5000)));
  }
  return NULL;
}

static void fork__in_the_middle_leaves_both_with_a_whole_heap(void **state) {
  (void)state;
  g_heap = make();
  g_stop = false;
  pthread_t threads[2];
  for (uintptr_t i = 0; i < 2; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
  }
  for (size_t n = 0; n < test_scale(100); n++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      void *block = hak_heap_alloc(g_heap, 3000);
      if (block == NULL || hak_check(g_heap) != 0) _exit(1);
      hak_free(block);
      _exit(hak_heap_destroy(g_heap) == 0 ? 0 : 2);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
  }
  g_stop = true;
  for (size_t i = 0; i < 2; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(live_of(g_heap), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

TEST_MAIN(T(threads__allocate_resize_and_free_each_others_blocks),
          T(fork__in_the_middle_leaves_both_with_a_whole_heap))
