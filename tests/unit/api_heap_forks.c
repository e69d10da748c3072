/* api_heap_forks.c - heaps across fork and shutdown. */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
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
  alarm(60);
  for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
  for (size_t i = 0; i < HEAPS; i++) {
    for (size_t k = 0; k < 100; k++) {
      if (hak_heap_alloc(g_heaps[i], 10 + k * 20) == NULL) return 1;
    }
    if (hak_heap_destroy(g_heaps[i]) != 0) return 2;
  }
  hak_heap_t *fresh = hak_heap_create(NULL);
  if (fresh == NULL || hak_heap_alloc(fresh, 100) == NULL) return 3;
  hak_collect(NULL, SIZE_MAX, 0);
  return hak_heap_destroy(fresh) == 0 ? 0 : 4;
}

static void fork__children_use_and_end_heaps_that_threads_churn(void **state) {
  (void)state;
  if (TEST_TSAN) return; /* it does not follow forks of threaded programs */
  pthread_t threads[2];
  for (size_t i = 0; i < HEAPS; i++) CHECK((g_heaps[i] = hak_heap_create(NULL)) != NULL);
  for (uintptr_t i = 0; i < TEST_COUNT(threads); i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
  }
  void *blocks[50];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_heap_alloc(g_heaps[i % HEAPS], 1 + i * 50);
  }
  for (size_t i = 0; i < test_scale(200); i++) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) _exit(in_child(blocks, TEST_COUNT(blocks)));
    int status = 0;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %zu: %x", i,
              (unsigned)status);
  }
  atomic_store(&g_stop, true);
  for (size_t i = 0; i < TEST_COUNT(threads); i++) pthread_join(threads[i], NULL);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  for (size_t i = 0; i < HEAPS; i++) {
    hak_stats_t stats = {.struct_size = sizeof stats};
    CHECK_EQ(hak_stats_get(g_heaps[i], &stats), 0);
    CHECK_EQ(stats.live_blocks, 0);
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

TEST_MAIN(T(fork__children_use_and_end_heaps_that_threads_churn),
          T(shutdown__takes_live_heaps_along))
