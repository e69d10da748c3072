/* claims.c - two threads free one large block at the same moment, in a program whose
 * handler returns: one of the frees is named and has changed nothing.
 *
 * Arguments: rounds for each kind of block.
 */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
  THREADS = 2
};

static size_t g_rounds;
static pthread_barrier_t g_begin, g_end;
static void *g_block; /* NULL: the threads are to end */
static atomic_uint g_named, g_others;
static atomic_uint g_gathered;

static void count(const hak_error_info_t *info, void *ctx) {
  (void)ctx;
  atomic_fetch_add(info->error == HAK_ERROR_DOUBLE_FREE && info->address == g_block
                       ? &g_named
                       : &g_others,
                   1);
}

static void *free_it(void *arg) {
  (void)arg;
  for (;;) {
    pthread_barrier_wait(&g_begin);
    if (g_block == NULL) return NULL;
    atomic_fetch_add(&g_gathered, 1);
    for (int i = 1; atomic_load(&g_gathered) < THREADS; i++) {
      if (i % 4096 == 0) sched_yield(); /* both are awake then, if there are processors */
    }
    hak_free(g_block);
    pthread_barrier_wait(&g_end);
  }
}

static void *get(hak_heap_t *heap, size_t size) {
  /* Zeroed, up to 1 MiB, it is a span of its own. */
  void *block = hak_heap_calloc(heap, 1, size);
  CHECK(block != NULL);
  return block;
}

static void round_of(hak_heap_t *heap, size_t size) {
  g_block = get(heap, size);
  unsigned named = atomic_load(&g_named);
  atomic_store(&g_gathered, 0);
  pthread_barrier_wait(&g_begin);
  pthread_barrier_wait(&g_end);
  CHECK_EQ(atomic_load(&g_named), named + 1);
  CHECK_EQ(atomic_load(&g_others), 0);
  void *a = get(heap, size), *b = get(heap, size);
  CHECK(a != b);
  hak_free(a);
  hak_free(b);
}

static void check_whole(hak_heap_t *heap) {
  CHECK_EQ(hak_check(NULL), 0);
  if (heap == NULL) return;
  CHECK_EQ(test_heap_live_blocks(heap), 0);
}

static void large_block__freed_by_two_threads_at_once_is_freed_once(void **state) {
  (void)state;
  static const size_t sizes[] = {300 * KIB, 5 * MIB, 40 * MIB};
  hak_set_error_handler(count, NULL);
  CHECK_EQ(pthread_barrier_init(&g_begin, NULL, THREADS + 1), 0);
  CHECK_EQ(pthread_barrier_init(&g_end, NULL, THREADS + 1), 0);
  pthread_t threads[THREADS];
  test_threads_begin(threads, THREADS, free_it, NULL);
  hak_heap_t *limited = test_heap(0, "limited", NULL);
  CHECK_EQ(hak_heap_set_limits(limited, 0, 160 * MIB), 0);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (size_t round = 0; round < g_rounds; round++) {
      hak_heap_t *heap = round % 2 == 0 ? NULL : limited;
      round_of(heap, sizes[i]);
      if (round % 16 == 15) check_whole(heap);
    }
    check_whole(limited);
  }
  g_block = NULL;
  pthread_barrier_wait(&g_begin);
  test_threads_end(threads, THREADS);
  CHECK_EQ(hak_heap_destroy(limited), 0);
  check_whole(NULL);
  CHECK_EQ(test_live_blocks(), 0);
  hak_set_error_handler(NULL, NULL);
}

int main(int argc, char **argv) {
  test_begin();
  g_rounds = test_argument(argc, argv, 1, test_scale(600));
  test_start();
  const struct CMUnitTest tests[] = {
      T(large_block__freed_by_two_threads_at_once_is_freed_once)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
