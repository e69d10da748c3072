/* storm.c - many threads that come to the library at one moment, on few processors, as a
 * server's do when it starts: what one of them costs must not depend on how many there
 * are. Counted is how often each has to wait, not how long that takes.
 *
 *   storm [<threads>]
 */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
  BLOCKS = 40,
  STORMS = 3,
  LEAST = 200 /* threads */
};

static size_t g_threads = 400;
static bool g_by_malloc; /* the C library's blocks instead */
static pthread_barrier_t g_go, g_bye;

typedef struct member {
  pthread_t thread;
  long sleeps; /* times it gave its processor up, from start to end */
} member_t;

static void *take(size_t size) { return g_by_malloc ? malloc(size) : hak_alloc(size); }
static void give(void *block) { g_by_malloc ? free(block) : hak_free(block); }

static void *member_main(void *argument) {
  member_t *me = argument;
  unsigned char *blocks[BLOCKS];
  pthread_barrier_wait(&g_go);
  for (size_t i = 0; i < BLOCKS; i++) {
    size_t size = (size_t)16 << (i % 8);
    blocks[i] = take(size);
    CHECK(blocks[i] != NULL);
    test_fill(blocks[i], size, (uintptr_t)me + i);
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    CHECK(test_verify(blocks[i], (size_t)16 << (i % 8), (uintptr_t)me + i));
    give(blocks[i]);
  }
  pthread_barrier_wait(&g_bye); /* all have a state at once */
  pthread_barrier_wait(&g_bye); /* and keep it while somebody looks */
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  me->sleeps = usage.ru_nvcsw;
  return NULL;
}

/* How often each thread slept; and what the library and the process have while all
 * threads are there. */
static double sleeps_of_storm(hak_stats_t *alive, size_t *resident) {
  member_t *members = calloc(g_threads, sizeof *members);
  pthread_attr_t small;
  CHECK(members != NULL);
  pthread_attr_init(&small);
  if (!TEST_ASAN && !TEST_TSAN) pthread_attr_setstacksize(&small, 64 * KIB);
  pthread_barrier_init(&g_go, NULL, (unsigned)g_threads);
  pthread_barrier_init(&g_bye, NULL, (unsigned)g_threads + 1);
  for (size_t i = 0; i < g_threads; i++) {
    CHECK_EQ(pthread_create(&members[i].thread, &small, member_main, &members[i]), 0);
  }
  pthread_barrier_wait(&g_bye);
  *alive = test_stats();
  *resident = test_resident_bytes();
  pthread_barrier_wait(&g_bye);
  uint64_t sleeps = 0;
  for (size_t i = 0; i < g_threads; i++) {
    pthread_join(members[i].thread, NULL);
    sleeps += (uint64_t)members[i].sleeps;
  }
  printf("%zu threads%s: %.1f sleeps each\n", g_threads, g_by_malloc ? " by malloc" : "",
         (double)sleeps / (double)g_threads);
  pthread_barrier_destroy(&g_go);
  pthread_barrier_destroy(&g_bye);
  pthread_attr_destroy(&small);
  free(members);
  return (double)sleeps / (double)g_threads;
}

/* Two barriers, the system's own waits, and locks that others had; a waiter that looked
 * again and again would sleep hundreds of times. Other work on the machine may disturb
 * one storm, but not three. */
static void run_storm(hak_stats_t *alive, size_t *resident) {
  double sleeps = sleeps_of_storm(alive, resident);
  if (g_by_malloc || test_is_strict() || TEST_ASAN || TEST_TSAN) return;
  for (int i = 0; i < 2 && sleeps > 24; i++) sleeps = sleeps_of_storm(alive, resident);
  CHECK(sleeps <= 24);
}

static void storm__of_threads_waits_for_locks_a_few_times_each(void **state) {
  (void)state;
  for (int i = 0; i < STORMS; i++) {
    hak_stats_t before = test_stats(), alive;
    size_t resident;
    run_storm(&alive, &resident);
    CHECK_EQ(alive.threads - before.threads, g_threads);
    CHECK(alive.lock_contended - before.lock_contended <= 16 * g_threads);
    /* A state for each, regions and their registry leaves for all. */
    CHECK(alive.os_reserve - before.os_reserve <= g_threads + 24);
  }
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Each has a slab of eight classes, of which it touches the first pages: what a huge page
 * brings besides would be seven eighths of the memory, and most of the time. */
static void storm__of_threads_has_few_pages_that_nobody_touched(void **state) {
  (void)state;
  size_t before = test_resident_bytes(), resident;
  hak_stats_t alive;
  run_storm(&alive, &resident);
  size_t each = (resident - before) / g_threads;
  printf("%zu threads: %zu KiB resident each\n", g_threads, each / KIB);
  if (!TEST_ASAN && !TEST_TSAN) CHECK(resident < before || each <= 220 * KIB);
}

/* Processor time of all threads, the least of a few storms. */
static double least_seconds(bool by_malloc) {
  double least = 1e9;
  g_by_malloc = by_malloc;
  for (int i = 0; i < STORMS; i++) {
    hak_stats_t alive;
    size_t resident;
    struct rusage from, to;
    getrusage(RUSAGE_SELF, &from);
    run_storm(&alive, &resident);
    getrusage(RUSAGE_SELF, &to);
    double now = (double)(to.ru_utime.tv_sec - from.ru_utime.tv_sec) +
                 (double)(to.ru_stime.tv_sec - from.ru_stime.tv_sec) +
                 (double)(to.ru_utime.tv_usec - from.ru_utime.tv_usec) * 1e-6 +
                 (double)(to.ru_stime.tv_usec - from.ru_stime.tv_usec) * 1e-6;
    least = now < least ? now : least;
  }
  g_by_malloc = false;
  return least;
}

/* Of a build as users have it; asserts and strict hooks take time of their own. */
static void storm__takes_at_most_three_times_as_long_as_malloc_s(void **state) {
  (void)state;
  double ours = least_seconds(false), theirs = least_seconds(true);
  printf("%zu threads: %.0f ms of processor time, by malloc %.0f: %.2f times\n",
         g_threads, ours * 1e3, theirs * 1e3, ours / theirs);
#ifdef NDEBUG
  if (!test_is_strict() && !TEST_ASAN && !TEST_TSAN) CHECK(ours <= 3 * theirs + 0.05);
#endif
}

int main(int argc, char **argv) {
  test_begin();
  test_start();
  g_threads = test_argument(argc, argv, 1, test_scale(g_threads));
  if (g_threads < LEAST) g_threads = LEAST;
  const struct CMUnitTest tests[] = {
      T(storm__of_threads_has_few_pages_that_nobody_touched),
      T(storm__of_threads_waits_for_locks_a_few_times_each),
      T(storm__takes_at_most_three_times_as_long_as_malloc_s),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
