/* api_fork_handlers.c - fork handlers of the program's that were registered before the
 * library was used: they use it, wait for threads that use it, and begin others, at each
 * fork, in the parent and in the child. */
#include "child.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
  WORKERS = 3,
  KEPT = 60,
  FORKS = 25
};
static pthread_t g_workers[WORKERS];
static atomic_bool g_stop;
static unsigned char *g_kept[KEPT];

/* Small blocks, slabs, a mapping and a heap of each round are others. */
static void use_library(void) {
  for (size_t i = 0; i < KEPT; i++) {
    if (g_kept[i] != NULL) CHECK(g_kept[i][0] == i && g_kept[i][20 + 900 * i] == i);
    hak_free(g_kept[i]);
    g_kept[i] = hak_alloc(21 + 900 * i);
    CHECK(g_kept[i] != NULL);
    memset(g_kept[i], (int)i, 21 + 900 * i);
  }
  hak_free(hak_alloc(50 * MIB));
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(hak_heap_alloc(heap, 1000) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
}

static void *work(void *unused) {
  void *blocks[100];
  while (!atomic_load(&g_stop)) {
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_alloc(16 + 300 * i);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  }
  return unused;
}

static void begin_workers(void) {
  atomic_store(&g_stop, false);
  test_threads_begin(g_workers, WORKERS, work, NULL);
}
static void end_workers(void) {
  atomic_store(&g_stop, true);
  test_threads_end(g_workers, WORKERS);
}

static void before(void) {
  use_library();
  end_workers();
  use_library();
}
static void after(void) {
  use_library();
  begin_workers();
  use_library();
}

TEST_IN_CHILD(fork__handlers_of_the_program_use_the_library_and_its_threads, 60) {
  CHECK_EQ(pthread_atfork(before, after, after), 0);
  begin_workers();
  for (int i = 0; i < FORKS; i++) {
    pid_t child = test_fork();
    if (child == 0) {
      end_workers();
      use_library();
      _exit(hak_check(NULL));
    }
    test_fork_end(child);
  }
  end_workers();
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN_FRESH(T(fork__handlers_of_the_program_use_the_library_and_its_threads))
