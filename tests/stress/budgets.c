/* budgets.c - threads that race at the limits of nested heaps.
 *
 * Three levels of heaps, each with a limit below what the threads want: they allocate
 * blocks of all tiers from all of them, resize and free their own and each other's,
 * end, go idle and collect, and from time to time one of them destroys,
 * resets or releases a heap below that only it uses. A sampler reads the charge of
 * every level all the time: it is never more than the limit. In the end nothing is
 * charged.
 *
 * Arguments: operations of each thread, threads.
 */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
  THREADS_MAX = 64,
  LEVELS = 3,
  SHARED = 256,
  OWN = 24
};

static const size_t limits[LEVELS] = {12 * MIB, 9 * MIB + 4097, 5 * MIB + 1};
static hak_heap_t *g_heaps[LEVELS];
static size_t g_operations, g_threads;
static atomic_bool g_stop;
static atomic_size_t g_refused, g_asked, g_samples;
static _Atomic(unsigned char *) g_shared[SHARED];

static uint64_t charge_of(hak_heap_t *heap) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(heap, &stats), 0);
  return stats.committed_bytes;
}

static void *sample(void *arg) {
  (void)arg;
  while (!atomic_load(&g_stop)) {
    for (int i = 0; i < LEVELS; i++) {
      uint64_t charge = charge_of(g_heaps[i]);
      CHECK_MSG(charge <= limits[i], "%llu at level %d", (unsigned long long)charge, i);
    }
    atomic_fetch_add(&g_samples, 1);
  }
  return NULL;
}

static void check_and_free(unsigned char *block) {
  if (block == NULL) return;
  size_t size = hak_usable_size(block);
  CHECK_EQ(block[0], 0x5a);
  CHECK_EQ(block[size - 1], 0xa5);
  hak_free(block);
}

static unsigned char *marked(unsigned char *block) {
  if (block == NULL) {
    atomic_fetch_add(&g_refused, 1);
    return NULL;
  }
  block[hak_usable_size(block) - 1] = 0xa5;
  block[0] = 0x5a;
  return block;
}

static int on_pressure(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)ctx;
  (void)needed;
  atomic_fetch_add(&g_asked, 1);
  CHECK(hak_heap_alloc(heap, 2 * MIB) == NULL);
  int freed = 0;
  for (size_t i = 0; i < 16; i++) {
    size_t slot = (i * 37 + needed) % SHARED;
    unsigned char *block = atomic_exchange(&g_shared[slot], NULL);
    freed |= block != NULL;
    check_and_free(block);
  }
  if (level == HAK_PRESSURE_SOFT) hak_thread_idle();
  hak_free(hak_alloc(100));
  return freed;
}

static unsigned char *alloc_some(test_rng_t *rng, hak_heap_t *heap) {
  size_t size = 2 + test_random_size(rng, test_below(rng, 16) == 0 ? 3 * MIB : 100 * KIB);
  switch (test_below(rng, 4)) {
    case 0:
      return marked(hak_heap_calloc(heap, 1, size));
    case 1:
      return marked(hak_heap_aligned_alloc(heap, 256, size));
    default:
      return marked(hak_heap_alloc(heap, size));
  }
}

static unsigned char *resize(test_rng_t *rng, unsigned char *block) {
  if (block == NULL) return NULL;
  size_t usable = hak_usable_size(block);
  size_t size = 2 + test_below(rng, 2 * usable);
  unsigned char *now = hak_realloc(block, size);
  if (now == NULL) {
    CHECK_EQ(block[usable - 1], 0xa5);
    check_and_free(block);
    return NULL;
  }
  CHECK_EQ(now[0], 0x5a);
  return marked(now);
}

/* A heap of this thread alone, below all levels, comes and goes. */
static void use_own(test_rng_t *rng) {
  hak_heap_config_t config = {.struct_size = sizeof config};
  config.parent = g_heaps[LEVELS - 1];
  config.hard_limit = 300 * KIB + test_below(rng, 2 * MIB);
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  unsigned char *blocks[OWN];
  for (size_t i = 0; i < OWN; i++) blocks[i] = alloc_some(rng, heap);
  CHECK(charge_of(heap) <= config.hard_limit);
  if (test_below(rng, 2) == 0) {
    CHECK_EQ(hak_heap_reset(heap), 0);
    for (size_t i = 0; i < OWN; i++) blocks[i] = alloc_some(rng, heap);
    CHECK(charge_of(heap) <= config.hard_limit);
  }
  if (test_below(rng, 2) == 0) {
    CHECK_EQ(hak_heap_destroy(heap), 0);
    return;
  }
  CHECK_EQ(hak_heap_release(heap), 0);
  for (size_t i = 0; i < OWN; i++) {
    check_and_free(atomic_exchange(&g_shared[test_below(rng, SHARED)], blocks[i]));
  }
}

static void *work(void *arg) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)arg);
  unsigned char *own[OWN] = {NULL};
  for (size_t i = 0; i < g_operations; i++) {
    size_t at = test_below(&rng, OWN);
    switch (test_below(&rng, 32)) {
      case 0:
        hak_thread_idle();
        break;
      case 1:
        hak_collect(g_heaps[test_below(&rng, LEVELS)], 1 + test_below(&rng, MIB), 0);
        break;
      case 2:
        hak_thread_exit();
        break;
      case 3:
        if (i % 8 == 0) use_own(&rng);
        break;
      case 4:
      case 5:
      case 6:
        own[at] = resize(&rng, own[at]);
        break;
      case 7:
      case 8:
      case 9:
        own[at] = atomic_exchange(&g_shared[test_below(&rng, SHARED)], own[at]);
        break;
      default:
        check_and_free(own[at]);
        own[at] = alloc_some(&rng, g_heaps[test_below(&rng, LEVELS)]);
        break;
    }
  }
  for (size_t i = 0; i < OWN; i++) check_and_free(own[i]);
  return NULL;
}

static void race__passes_no_limit_and_leaves_nothing_charged(void **state) {
  (void)state;
  for (int i = 0; i < LEVELS; i++) {
    hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = limits[i]};
    config.soft_limit = limits[i] / 2;
    config.parent = i == 0 ? NULL : g_heaps[i - 1];
    config.on_pressure = on_pressure;
    g_heaps[i] = hak_heap_create(&config);
    CHECK(g_heaps[i] != NULL);
  }
  pthread_t sampler, threads[THREADS_MAX];
  CHECK_EQ(pthread_create(&sampler, NULL, sample, NULL), 0);
  for (size_t i = 0; i < g_threads; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
  }
  test_threads_end(threads, g_threads);
  atomic_store(&g_stop, true);
  CHECK_EQ(pthread_join(sampler, NULL), 0);
  for (size_t i = 0; i < SHARED; i++) check_and_free(atomic_load(&g_shared[i]));
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_check(NULL), 0);
  for (int i = LEVELS - 1; i >= 0; i--) {
    CHECK_EQ(charge_of(g_heaps[i]), 0);
    CHECK_EQ(hak_heap_destroy(g_heaps[i]), 0);
  }
  CHECK(atomic_load(&g_refused) > 0 && atomic_load(&g_asked) > 0);
  CHECK(atomic_load(&g_samples) > 0);
}

int main(int argc, char **argv) {
  test_begin();
  test_start();
  g_operations = test_argument(argc, argv, 1, test_scale(10000));
  g_threads = test_argument(argc, argv, 2, 32);
  CHECK(g_threads >= 1 && g_threads <= THREADS_MAX);
  const struct CMUnitTest tests[] = {T(race__passes_no_limit_and_leaves_nothing_charged)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
