/* api_heap_forks.c - heaps across fork and shutdown. */
#include "child.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
  HEAPS = 3
};
static hak_heap_t *g_heaps[HEAPS];
static atomic_bool g_stop;

static void *churn(void *arg) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)arg);
  void *blocks[64] = {NULL};
  while (!atomic_load(&g_stop)) {
    size_t i = test_below(&rng, TEST_COUNT(blocks));
    hak_free(blocks[i]);
    blocks[i] = hak_heap_alloc(g_heaps[i % HEAPS], 1 + test_below(&rng, 3000));
    if (i == 0) hak_thread_idle();
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  return NULL;
}

static int in_child(void **blocks, size_t count) {
  for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
  for (size_t i = 0; i < HEAPS; i++) {
    for (size_t k = 0; k < 100; k++) {
      if (hak_heap_alloc(g_heaps[i], 10 + k * 20) == NULL) return 1;
    }
    if (hak_heap_destroy(g_heaps[i]) != 0) return 2;
  }
  hak_heap_t *fresh = hak_heap_create(NULL);
  if (fresh == NULL || hak_heap_alloc(fresh, 100) == NULL) return 3;
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  return hak_heap_destroy(fresh) == 0 ? 0 : 4;
}

static void fork__children_use_and_end_heaps_that_threads_churn(void **state) {
  (void)state;
  if (TEST_TSAN) return; /* it does not follow forks of threaded programs */
  pthread_t threads[2];
  for (size_t i = 0; i < HEAPS; i++) CHECK((g_heaps[i] = hak_heap_create(NULL)) != NULL);
  test_threads_begin_numbered(threads, TEST_COUNT(threads), churn);
  void *blocks[50];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_heap_alloc(g_heaps[i % HEAPS], 1 + i * 50);
  }
  for (size_t i = 0; i < test_scale(200); i++) {
    pid_t pid = test_fork();
    if (pid == 0) _exit(in_child(blocks, TEST_COUNT(blocks)));
    test_fork_end(pid);
  }
  atomic_store(&g_stop, true);
  test_threads_end(threads, TEST_COUNT(threads));
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  for (size_t i = 0; i < HEAPS; i++) {
    CHECK_EQ(test_heap_stats(g_heaps[i]).live_blocks, 0);
    CHECK_EQ(hak_heap_destroy(g_heaps[i]), 0);
  }
}

static void shutdown__takes_live_heaps_along(void **state) {
  (void)state;
  for (int round = 0; round < 20; round++) {
    hak_heap_t *heap = hak_heap_create(NULL);
    for (size_t size = 1; size < 50 * MIB; size *= 5) {
      CHECK(hak_heap_alloc(heap, size) != NULL);
    }
    CHECK_EQ(hak_shutdown(0), 0);
    test_restart();
    CHECK_EQ(test_live_blocks(), 0);
  }
}

/* --- many heaps ------------------------------------------------------------------- */

static uint64_t faults_now(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return (uint64_t)usage.ru_minflt;
}

/* Where memory of classes is looked at that nobody has used, there is a page fault at
 * least for each heap. */
static void fork__looks_at_no_class_that_a_heap_never_had(void **state) {
  (void)state;
  enum {
    MANY = 1000
  };
  static hak_heap_t *heaps[MANY];
  for (size_t i = 0; i < MANY; i++) CHECK((heaps[i] = hak_heap_create(NULL)) != NULL);
  uint64_t before = faults_now();
  hak_fork_prepare();
  hak_fork_parent();
  uint64_t faults = faults_now() - before;
  printf("%d heaps: %llu page faults for a fork\n", MANY, (unsigned long long)faults);
  if (!TEST_ASAN && !TEST_TSAN && !test_is_strict()) CHECK(faults < MANY / 4);
  for (size_t i = 0; i < MANY; i++) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
}

TEST_MAIN(T(fork__looks_at_no_class_that_a_heap_never_had),
          T(fork__children_use_and_end_heaps_that_threads_churn),
          T(shutdown__takes_live_heaps_along))
