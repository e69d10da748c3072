/* api_memory_os.c - a heap in memory of the caller's asks the operating system for
 * nothing once it is made: the hooks abort. */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static hak_os_t g_real;
static atomic_bool g_closed;

static void check_open(void) {
  if (g_closed) test_fail(__FILE__, __LINE__, "the operating system was called");
}

static void *reserve(void *ctx, size_t size, size_t alignment) {
  check_open();
  return g_real.reserve(ctx, size, alignment);
}
static int release(void *ctx, void *ptr, size_t size) {
  check_open();
  return g_real.release(ctx, ptr, size);
}
static int commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  check_open();
  return g_real.commit(ctx, ptr, size, zeroed);
}
static int purge(void *ctx, void *ptr, size_t size) {
  check_open();
  return g_real.purge(ctx, ptr, size);
}
static void *remap(void *ctx, void *ptr, size_t old_size, size_t new_size) {
  check_open();
  return g_real.remap(ctx, ptr, old_size, new_size);
}

static hak_os_t g_hooks;

static void start(void) {
  g_real = *hak_os_default();
  g_hooks = g_real;
  g_hooks.reserve = reserve;
  g_hooks.release = release;
  g_hooks.commit = commit;
  g_hooks.purge = purge;
  g_hooks.remap = remap;
  hak_config_t config = {.struct_size = sizeof config, .os = &g_hooks};
  CHECK_EQ(hak_init(&config), 0);
}

static _Alignas(16) char g_small[256 << 10];
static char g_large[16 << 20];
static hak_heap_t *g_heap;

enum {
  THREADS = 4,
  SLOTS = 300,
  SHARED = 1000
};
static _Atomic(void *) g_shared[SHARED]; /* blocks that change threads */

static void give_all_shared(void) {
  for (size_t i = 0; i < SHARED; i++) hak_free(atomic_exchange(&g_shared[i], NULL));
}

static void work(uint64_t salt, size_t most) {
  void *slots[SLOTS] = {NULL};
  test_rng_t rng = test_rng(test_seed(), salt);
  for (size_t n = 0; n < test_scale(50000); n++) {
    void **slot = &slots[test_below(&rng, SLOTS)];
    size_t size = test_random_size(&rng, most);
    switch (test_below(&rng, 5)) {
      case 0:
        hak_free(*slot);
        *slot = NULL;
        break;
      case 4:
        *slot = atomic_exchange(&g_shared[test_below(&rng, SHARED)], *slot);
        break;
      case 1:
        if (*slot == NULL) *slot = hak_heap_alloc(g_heap, size);
        break;
      case 2:
        if (*slot == NULL) *slot = hak_heap_aligned_alloc(g_heap, 4096, size);
        break;
      default: {
        void *moved =
            *slot == NULL ? hak_heap_calloc(g_heap, 1, size) : hak_realloc(*slot, size);
        if (moved != NULL) *slot = moved;
      }
    }
  }
  for (size_t i = 0; i < SLOTS; i++) hak_free(slots[i]);
}

/* A thread's own state is the thread's, and is made by its first use. */
static pthread_barrier_t g_ready, g_go;

typedef struct worker {
  size_t most;
  uint64_t salt;
  bool first_use;
} worker_t;

static void *work_in_thread(void *ctx) {
  const worker_t *worker = ctx;
  if (worker->first_use) hak_free(hak_heap_alloc(g_heap, 16));
  pthread_barrier_wait(&g_ready);
  pthread_barrier_wait(&g_go);
  work(worker->salt, worker->most);
  pthread_barrier_wait(&g_ready);
  pthread_barrier_wait(&g_go);
  return NULL;
}

static bool visit(const hak_block_t *block, void *ctx) {
  (void)block;
  (void)ctx;
  return true;
}

/* Other memory that is due to be given back, by whoever comes next. */
static void retain_much(void) {
  enum {
    BLOCKS = 40
  };
  void *blocks[BLOCKS];
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  for (size_t i = 0; i < BLOCKS; i++) blocks[i] = hak_aligned_alloc(4096, 3 * MIB);
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  for (size_t i = 0; i < BLOCKS; i++) blocks[i] = hak_alloc(3 * MIB);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 1000), 0);
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  CHECK(test_stats().retained_bytes > (uint64_t)hak_option_get(HAK_OPTION_RETAIN_BYTES));
}

static void use_up(char *memory, size_t size, uint32_t flags, size_t most,
                   bool first_use) {
  g_heap = test_heap_in(memory, size, flags, NULL);
  CHECK(g_heap != NULL);
  CHECK_EQ(hak_thread_init(), 0);
  size_t threads = (flags & HAK_HEAP_SERIAL) != 0 ? 0 : THREADS;
  worker_t workers[THREADS];
  pthread_t ids[THREADS];
  CHECK_EQ(pthread_barrier_init(&g_ready, NULL, (unsigned)threads + 1), 0);
  CHECK_EQ(pthread_barrier_init(&g_go, NULL, (unsigned)threads + 1), 0);
  for (size_t i = 0; i < threads; i++) {
    workers[i] = (worker_t){most, 10 + i, first_use};
    CHECK_EQ(pthread_create(&ids[i], NULL, work_in_thread, &workers[i]), 0);
  }
  pthread_barrier_wait(&g_ready);
  retain_much();
  g_closed = true;
  work(1, most);
  pthread_barrier_wait(&g_go);
  pthread_barrier_wait(&g_ready);
  g_closed =
      false; /* threads that end, or go idle, give back what other heaps have idle */
  pthread_barrier_wait(&g_go);
  test_threads_end(ids, threads);
  g_closed = true;
  give_all_shared();
  while (hak_heap_alloc(g_heap, 1000) != NULL) {}
  CHECK(hak_heap_alloc(g_heap, 10 * size) == NULL);
  g_closed = false;
  hak_thread_idle();
  g_closed = true;
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(g_heap, &stats), 0);
  CHECK(stats.live_blocks > 0);
  CHECK_EQ(hak_heap_visit(g_heap, visit, NULL, 0), 0);
  CHECK_EQ(hak_check(g_heap), 0);
  CHECK_EQ(hak_heap_reset(g_heap), 0);
  work(3, most);
  give_all_shared();
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  g_closed = false;
}

/* Threads that never used the library need no state of their own for this. */
static void heap__of_256_kib_never_calls_the_system(void **state) {
  (void)state;
  use_up(g_small, sizeof g_small, 0, 4000, false);
}

static void heap__of_16_mib_never_calls_the_system(void **state) {
  (void)state;
  use_up(g_large + 12345, sizeof g_large - 12345, 0, 4000, true);
  use_up(g_large + 12345, sizeof g_large - 12345, 0, 400000, true);
}

static void serial_heap__of_16_mib_never_calls_the_system(void **state) {
  (void)state;
  use_up(g_large, sizeof g_large, HAK_HEAP_SERIAL, 400000, true);
}

/* A heap that the owner forgot: the library goes, the memory is his all the same. */
static void shutdown__leaves_the_memory_alone(void **state) {
  (void)state;
  char *blocks[2];
  for (int round = 0; round < 2; round++) {
    hak_heap_t *small = test_heap_in(g_small, sizeof g_small, 0, NULL);
    hak_heap_t *large = test_heap_in(g_large, sizeof g_large, 0, NULL);
    CHECK(small != NULL && large != NULL);
    blocks[0] = hak_heap_alloc(small, 100);
    blocks[1] = hak_heap_alloc(large, 100);
    memset(blocks[0], 7, 100);
    memset(blocks[1], 7, 100);
    CHECK_EQ(hak_shutdown(0), 0);
    for (int i = 0; i < 200; i++) CHECK_EQ(blocks[i / 100][i % 100], 7);
    start();
    CHECK(hak_heap_of(blocks[0]) == NULL && hak_heap_of(blocks[1]) == NULL);
  }
}

int main(void) {
  test_begin();
  start();
  const struct CMUnitTest tests[] = {T(heap__of_256_kib_never_calls_the_system),
                                     T(heap__of_16_mib_never_calls_the_system),
                                     T(serial_heap__of_16_mib_never_calls_the_system),
                                     T(shutdown__leaves_the_memory_alone)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
