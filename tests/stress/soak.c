/* soak.c - a program that runs for long: spikes of load that mostly decay, in ever other
 * sizes, freed by whichever thread comes next. What it has resident depends on what it
 * holds, and not on how long it has run.
 *
 *   soak [<rounds>]
 */
#include "support.h"
#include "threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  THREADS = 4,
  SPIKE = 6 << 20, /* bytes of each thread */
  BLOCKS = 1 << 17,
  CLASSES = 12,
  LEAST = 36 /* rounds */
};

typedef struct hoard {
  void *blocks[BLOCKS];
  size_t sizes[BLOCKS];
  size_t count, bytes;
} hoard_t;

static hoard_t g_hoards[THREADS];
static pthread_barrier_t g_round;
static size_t g_rounds, *g_resident;

static void spike(hoard_t *hoard, test_rng_t *rng, size_t round) {
  size_t class = (round * 5) % CLASSES;
  while (hoard->bytes < SPIKE && hoard->count < BLOCKS) {
    size_t most =
        (size_t)32 << (test_below(rng, 8) == 0 ? test_below(rng, CLASSES) : class);
    size_t size = most / 2 + 1 + (size_t)test_below(rng, most / 2);
    void *block = hak_alloc(size);
    CHECK(block != NULL);
    test_fill_sparse(block, size, size);
    hoard->blocks[hoard->count] = block;
    hoard->sizes[hoard->count++] = size;
    hoard->bytes += size;
  }
}

/* Of ten blocks nine go, at random; those that stay are of many rounds. */
static void decay(hoard_t *hoard, test_rng_t *rng) {
  size_t rest = hoard->count / 10;
  while (hoard->count > rest) {
    size_t i = (size_t)test_below(rng, hoard->count);
    CHECK(test_verify_sparse(hoard->blocks[i], hoard->sizes[i], hoard->sizes[i]));
    hak_free(hoard->blocks[i]);
    hoard->bytes -= hoard->sizes[i];
    hoard->blocks[i] = hoard->blocks[--hoard->count];
    hoard->sizes[i] = hoard->sizes[hoard->count];
  }
}

static void *work(void *argument) {
  size_t me = (size_t)(uintptr_t)argument;
  test_rng_t rng = test_rng(test_seed(), me);
  for (size_t round = 0; round < g_rounds; round++) {
    spike(&g_hoards[me], &rng, round);
    pthread_barrier_wait(&g_round);
    decay(&g_hoards[(me + round) % THREADS], &rng);
    pthread_barrier_wait(&g_round);
    (void)hak_collect(NULL, SIZE_MAX, 0);
    pthread_barrier_wait(&g_round);
    if (me == 0) g_resident[round] = test_resident_bytes();
    pthread_barrier_wait(&g_round); /* nobody begins the next spike before */
  }
  decay(&g_hoards[me], &rng);
  return NULL;
}

/* What was resident at the ends of these rounds, in the mean: single rounds differ by a
 * quarter, as sizes and threads' turns do. */
static size_t mean_of(size_t from, size_t to) {
  size_t sum = 0;
  for (size_t i = from; i < to; i++) sum += g_resident[i];
  return sum / (to - from);
}

static void soak__ends_with_no_more_resident_than_it_had_halfway(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  g_resident = calloc(g_rounds, sizeof *g_resident);
  CHECK(g_resident != NULL);
  pthread_barrier_init(&g_round, NULL, THREADS);
  test_threads_begin_numbered(threads, THREADS, work);
  test_threads_end(threads, THREADS);
  pthread_barrier_destroy(&g_round);
  size_t third = g_rounds / 3;
  size_t middle = mean_of(third, 2 * third), end = mean_of(2 * third, g_rounds);
  printf("%zu rounds: %zu KiB resident in the middle third, %zu in the last\n", g_rounds,
         middle / KIB, end / KIB);
  if (!TEST_ASAN && !TEST_TSAN) CHECK(end <= middle + middle / 8 + 4 * MIB);
  CHECK_EQ(hak_check(NULL), 0);
  free(g_resident);
}

int main(int argc, char **argv) {
  test_begin();
  test_start();
  g_rounds = test_argument(argc, argv, 1, test_scale(240));
  if (g_rounds < LEAST) g_rounds = LEAST;
  const struct CMUnitTest tests[] = {
      T(soak__ends_with_no_more_resident_than_it_had_halfway),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
