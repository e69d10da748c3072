/* api_memory_threads.c - one heap in memory of the caller's, little or much, used by
 * several threads, and by both sides of a fork. */
#include "child.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static char g_memory[32 << 20];
static const size_t g_sizes[] = {1 << 20, sizeof g_memory};

static hak_heap_t *make(size_t size) {
  hak_heap_t *heap = test_heap_in(g_memory, size, 0, NULL);
  CHECK(heap != NULL);
  return heap;
}

static uint64_t live_of(hak_heap_t *heap) { return test_heap_stats(heap).live_blocks; }

enum {
  THREADS = 8,
  SHARED = 256
};
static _Atomic(void *) g_shared[SHARED];
static hak_heap_t *g_heap;

static void *mix(void *ctx) {
  test_rng_t rng = test_rng(test_seed(), 50 + (uint64_t)(uintptr_t)ctx);
  for (uint64_t n = 0; n < test_scale(100000); n++) {
    void *mine = NULL;
    size_t size = TEST_NOTED + test_random_size(&rng, 8 * KIB);
    uint64_t choice = test_below(&rng, 3);
    if (choice < 2) mine = hak_heap_alloc(g_heap, size);
    if (mine != NULL) (void)test_fill_noted(mine, size, n);
    _Atomic(void *) *slot = &g_shared[test_below(&rng, SHARED)];
    mine = atomic_exchange_explicit(slot, mine, memory_order_acq_rel);
    if (mine == NULL) continue;
    size_t old = test_check_noted(mine);
    if (choice != 0) {
      hak_free(mine);
      continue;
    }
    void *moved = hak_realloc(mine, size);
    if (moved == NULL) {
      hak_free(mine);
      continue;
    }
    if (size >= old) (void)test_check_noted(moved);
    (void)test_fill_noted(moved, size, n);
    mine = atomic_exchange_explicit(slot, moved, memory_order_acq_rel);
    if (mine != NULL) (void)test_check_noted(mine);
    hak_free(mine);
  }
  return NULL;
}

static void mix_in(size_t size) {
  g_heap = make(size);
  pthread_t threads[THREADS];
  test_threads_begin_numbered(threads, THREADS, mix);
  test_threads_end(threads, THREADS);
  CHECK_EQ(hak_check(g_heap), 0);
  for (size_t i = 0; i < SHARED; i++) {
    hak_free(g_shared[i]);
    g_shared[i] = NULL;
  }
  CHECK_EQ(live_of(g_heap), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static void threads__allocate_resize_and_free_each_others_blocks(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(g_sizes); i++) mix_in(g_sizes[i]);
}

static atomic_bool g_stop;

static void *churn(void *ctx) {
  test_rng_t rng = test_rng(test_seed(), 60 + (uint64_t)(uintptr_t)ctx);
  while (!g_stop) {
    hak_free(hak_heap_alloc(g_heap, 16 + (size_t)test_below(&rng, 5000)));
  }
  return NULL;
}

static void fork_in(size_t size) {
  g_heap = make(size);
  g_stop = false;
  pthread_t threads[2];
  test_threads_begin_numbered(threads, 2, churn);
  for (size_t n = 0; n < test_scale(100); n++) {
    pid_t child = test_fork();
    if (child == 0) {
      void *block = hak_heap_alloc(g_heap, 3000);
      if (block == NULL || hak_check(g_heap) != 0) _exit(1);
      hak_free(block);
      _exit(hak_heap_destroy(g_heap) == 0 ? 0 : 2);
    }
    test_fork_end(child);
  }
  g_stop = true;
  test_threads_end(threads, 2);
  CHECK_EQ(live_of(g_heap), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static void fork__in_the_middle_leaves_both_with_a_whole_heap(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(g_sizes); i++) fork_in(g_sizes[i]);
}

/* ---- threads that keep something of the heap ----------------------------------- */

static pthread_barrier_t g_used, g_over;

static bool g_idle;

/* Uses all classes to 8 KiB, and sleeps on what it has cached, or says that it sleeps. */
static void *use_and_sleep(void *ctx) {
  static _Thread_local void *blocks[2000];
  test_rng_t rng = test_rng(test_seed(), 70 + (uint64_t)(uintptr_t)ctx);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_heap_alloc(g_heap, 1 + (size_t)test_below(&rng, 8 * KIB));
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  if (g_idle) hak_thread_idle();
  pthread_barrier_wait(&g_used);
  pthread_barrier_wait(&g_over);
  return NULL;
}

static void begin_sleepers(pthread_t *threads) {
  CHECK_EQ(pthread_barrier_init(&g_used, NULL, THREADS + 1), 0);
  CHECK_EQ(pthread_barrier_init(&g_over, NULL, THREADS + 1), 0);
  test_threads_begin_numbered(threads, THREADS, use_and_sleep);
  pthread_barrier_wait(&g_used);
}

static void end_sleepers(pthread_t *threads) {
  pthread_barrier_wait(&g_over);
  test_threads_end(threads, THREADS);
}

static size_t fill(void) {
  size_t bytes = 0;
  while (hak_heap_alloc(g_heap, 1000) != NULL) bytes += 1000;
  return bytes;
}

static void sleepers__leave_a_fifth_of_the_heap_and_all_if_they_say_so(void **state) {
  (void)state;
  static const size_t percent[] = {20, 87};
  for (int idle = 0; idle < 2; idle++) {
    g_idle = idle != 0;
    g_heap = make(sizeof g_memory);
    pthread_t threads[THREADS];
    begin_sleepers(threads);
    size_t bytes = fill();
    CHECK_MSG(bytes >= sizeof g_memory / 100 * percent[idle], "%zu bytes", bytes);
    end_sleepers(threads);
    bytes += fill();
    CHECK_MSG(bytes >= sizeof g_memory / 100 * 87, "%zu bytes", bytes);
    CHECK_EQ(hak_check(g_heap), 0);
    CHECK_EQ(hak_heap_destroy(g_heap), 0);
  }
  g_idle = false;
}

static void destroy__under_sleepers_leaves_nothing(void **state) {
  (void)state;
  for (size_t round = 0; round < test_scale(20); round++) {
    g_heap = make(sizeof g_memory);
    pthread_t threads[THREADS];
    begin_sleepers(threads);
    switch (round % 3) {
      case 0:
        CHECK_EQ(hak_heap_destroy(g_heap), 0);
        end_sleepers(threads);
        break;
      case 1: /* while they end */
        pthread_barrier_wait(&g_over);
        CHECK_EQ(hak_heap_destroy(g_heap), 0);
        test_threads_end(threads, THREADS);
        break;
      default: /* its memory is let go when the last of them has ended */
        CHECK_EQ(hak_heap_release(g_heap), 0);
        end_sleepers(threads);
    }
    memset(g_memory, 0xa5, sizeof g_memory);
    CHECK(hak_heap_of(g_memory + sizeof g_memory / 2) == NULL);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

static void *use_and_release(void *ctx) {
  (void)ctx;
  void *block = hak_heap_alloc(g_heap, 1000);
  CHECK_EQ(hak_heap_release(g_heap), 0);
  CHECK(hak_heap_of(block) == hak_heap_default());
  hak_free(block);
  return NULL;
}

static void release__does_not_wait_for_who_made_the_heap(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(g_sizes); i++) {
    g_heap = make(g_sizes[i]);
    test_thread_run(use_and_release, NULL);
    CHECK_EQ(hak_heap_destroy(make(g_sizes[i])), 0);
  }
}

TEST_MAIN(T(threads__allocate_resize_and_free_each_others_blocks),
          T(fork__in_the_middle_leaves_both_with_a_whole_heap),
          T(sleepers__leave_a_fifth_of_the_heap_and_all_if_they_say_so),
          T(destroy__under_sleepers_leaves_nothing),
          T(release__does_not_wait_for_who_made_the_heap))
