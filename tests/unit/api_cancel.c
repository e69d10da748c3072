/* api_cancel.c - threads that are cancelled (pthread_cancel) inside of the library: the
 * call comes to its end, and others find everything as it should be. */
#include "child.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* AddressSanitizer takes frames that a cancelled thread has left for live ones; there the
 * thread ends by itself. */
static void end_here(void) {
  if (TEST_ASAN) pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  pthread_testcancel();
}

/* Goes to nobody; profiles read which code lies where. */
static void drop(const char *text, size_t length, void *ctx) {
  (void)text;
  *(size_t *)ctx += length;
}

static size_t one_call(void **addresses, size_t most, void *ctx) {
  (void)most;
  addresses[0] = ctx;
  return 1;
}

/* Its first call is the process's first, and starts the library. */
static void *first_main(void *came_through) {
  HAK_SITE(here);
  size_t written = 0;
  CHECK_EQ(pthread_cancel(pthread_self()), 0);
  void *p = hak_alloc(100);
  CHECK(p != NULL);
  hak_free(p);
  p = hak_calloc(3, MIB);
  CHECK(p != NULL);
  void *q = hak_realloc(p, 90 * MIB);
  CHECK(q != NULL);
  hak_free(q);
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(hak_heap_alloc(heap, 5000) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_maintenance_start(1), 0);
  CHECK_EQ(hak_maintenance_stop(), 0);
  hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1);
  hak_set_stack_hook(one_call, (void *)(uintptr_t)&drop);
  hak_free(hak_alloc_at(100, &here));
  hak_free(hak_alloc_named(100, &here));
  CHECK_EQ(hak_sites_print(HAK_FORMAT_FOLDED | HAK_FORMAT_STACKS, drop, &written), 0);
  CHECK_EQ(hak_stats_print(NULL, HAK_FORMAT_TEXT, NULL, NULL), 0);
  *(bool *)came_through = true;
  end_here();
  return PTHREAD_CANCELED;
}

TEST_IN_CHILD(cancelled__thread_starts_the_library_and_comes_through, 20) {
  bool came_through = false;
  pthread_t thread;
  void *end;
  CHECK_EQ(pthread_create(&thread, NULL, first_main, &came_through), 0);
  CHECK_EQ(pthread_join(thread, &end), 0);
  CHECK(came_through && end == PTHREAD_CANCELED);
  hak_free(hak_alloc(100));
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(0), 0);
}

enum {
  THREADS = 12,
  ROUNDS = 20,
  BLOCKS = 32
};
static atomic_bool g_inside[THREADS], g_over;

/* Collections and heaps' ends wait for each other and for what others do. */
static void *churn_main(void *inside) {
  for (;;) {
    void *blocks[BLOCKS];
    atomic_store((atomic_bool *)inside, true);
    for (size_t i = 0; i < BLOCKS; i++) blocks[i] = hak_alloc(40000 + 2000 * i);
    for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
    hak_heap_t *heap = hak_heap_create(NULL);
    for (size_t i = 0; i < 8; i++) CHECK(hak_heap_alloc(heap, 100 + 5000 * i) != NULL);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    atomic_store((atomic_bool *)inside, false);
    if (atomic_load(&g_over)) end_here();
    if (atomic_load(&g_over)) return NULL;
  }
}

static void cancelled__threads_that_wait_for_others_come_through(void **state) {
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    pthread_t threads[THREADS];
    atomic_store(&g_over, false);
    for (int i = 0; i < THREADS; i++) {
      CHECK_EQ(pthread_create(&threads[i], NULL, churn_main, &g_inside[i]), 0);
    }
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    for (int i = 0; i < THREADS; i++) CHECK_EQ(pthread_cancel(threads[i]), 0);
    atomic_store(&g_over, true);
    for (int i = 0; i < THREADS; i++) {
      CHECK_EQ(pthread_join(threads[i], NULL), 0);
      CHECK(!atomic_load(&g_inside[i]));
    }
  }
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN_FRESH(T(cancelled__thread_starts_the_library_and_comes_through),
                T(cancelled__threads_that_wait_for_others_come_through))
