/* restarts.c - the library started and shut down again and again, with heaps, threads
 * that stay, threads that end and blocks of every tier in between. After each
 * shutdown no mapping is left, by the count of strict hooks, and no pthread key.
 *
 *   restarts [<cycles>]
 */
#include "child.h"
#include "strict_os.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>

enum {
  STAYING = 3,
  HEAPS = 5
};

static size_t g_cycles;
static test_os_t g_os;
static hak_heap_t *g_heaps[HEAPS];

/* Half of what is allocated stays for the shutdown. */
static void use(hak_heap_t *heap, test_rng_t *rng) {
  static const size_t sizes[] = {16, 500, 3000, 30000, 100000, MIB, 5 * MIB, 40 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    size_t size = sizes[i] + (size_t)test_below(rng, 16);
    unsigned char *block = hak_heap_alloc(heap, size);
    CHECK(block != NULL);
    block[0] = block[size - 1] = 1;
    if (test_below(rng, 2) == 0) {
      hak_free(block);
    }
  }
}

static void use_all(test_rng_t *rng) {
  use(NULL, rng);
  for (size_t i = 0; i < HEAPS; i++) {
    use(g_heaps[i], rng);
  }
}

/* ---- Threads that outlive the library --------------------------------- */

static pthread_barrier_t g_begin, g_end;

static void *stay(void *argument) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)argument);
  for (size_t cycle = 0; cycle < g_cycles; cycle++) {
    pthread_barrier_wait(&g_begin);
    use_all(&rng);
    if ((cycle + (uintptr_t)argument) % 3 == 0) {
      hak_thread_idle();
    }
    pthread_barrier_wait(&g_end);
  }
  pthread_barrier_wait(&g_begin); /* attached until the last cycle is over */
  return NULL;
}

static void *pass_by(void *argument) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)argument);
  use_all(&rng);
  return NULL;
}

static pthread_key_t a_key(void) {
  pthread_key_t key;
  CHECK_EQ(pthread_key_create(&key, NULL), 0);
  pthread_key_delete(key);
  return key;
}

/* A mapping that was freed is kept for the next block, until the shutdown. */
static void keep_mapping(void) {
  hak_free(hak_alloc(50 * MIB));
  CHECK(test_stats().retained_bytes >= 50 * MIB);
}

static void start(void) {
  CHECK_EQ(test_os_init(&g_os), 0);
  for (size_t i = 0; i < HEAPS; i++) {
    hak_heap_config_t config = {.struct_size = sizeof config,
                                .parent = i == 0 ? NULL : g_heaps[i / 2]};
    g_heaps[i] = hak_heap_create(&config);
    CHECK(g_heaps[i] != NULL);
  }
}

static void stop(size_t cycle, test_rng_t *rng) {
  /* Some heaps end before, some with blocks that outlive them, most at the shutdown. */
  if (cycle % 4 == 1) {
    CHECK_EQ(hak_heap_destroy(g_heaps[HEAPS - 1]), 0);
  }
  if (cycle % 4 == 2) {
    CHECK_EQ(hak_heap_release(g_heaps[HEAPS - 1]), 0);
  }
  if (test_below(rng, 2) == 0) {
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  }
  CHECK_EQ(hak_shutdown(0), EBUSY);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK_EQ(g_os.ranges, 0);
  CHECK_EQ(g_os.reserved_bytes, 0);
  CHECK_EQ(g_os.committed_bytes, 0);
}

TEST_IN_CHILD(restarts__leave_no_mapping_and_no_key, 3600) {
  test_os_open(&g_os, 0);
  pthread_t staying[STAYING], passing;
  test_rng_t rng = test_rng(test_seed(), 77);
  pthread_key_t key = a_key();
  pthread_barrier_init(&g_begin, NULL, STAYING + 1);
  pthread_barrier_init(&g_end, NULL, STAYING + 1);
  test_threads_begin_numbered(staying, STAYING, stay);
  for (size_t cycle = 0; cycle < g_cycles; cycle++) {
    start();
    pthread_barrier_wait(&g_begin);
    CHECK_EQ(pthread_create(&passing, NULL, pass_by, (void *)cycle), 0);
    use_all(&rng);
    pthread_join(passing, NULL);
    pthread_barrier_wait(&g_end);
    keep_mapping();
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(test_stats().threads, STAYING + 1);
    stop(cycle, &rng);
    CHECK_EQ(a_key(), key);
  }
  pthread_barrier_wait(&g_begin);
  test_threads_end(staying, STAYING);
  test_os_close(&g_os);
}

int main(int argc, char **argv) {
  test_begin();
  /* A hardened build touches every page of a large block that goes: 160 ms a cycle. */
  g_cycles = test_argument(argc, argv, 1, test_scale(TEST_CHECKS == 3 ? 60 : 400));
  test_print_seed();
  const struct CMUnitTest tests[] = {T(restarts__leave_no_mapping_and_no_key)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
