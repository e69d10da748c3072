/* larson.c - a server's habit, after Larson and Krishnan.
 *
 * Measures threads that replace blocks of a set of their own at random and swap their
 * sets from time to time, as requests change hands: what a thread frees was allocated
 * by itself or by any other. Wall time from start to end, by the replacements of all
 * threads.
 */
#include "suite/groups.h"
#include "suite/slots.h"
#include "suite/threads.h"

enum {
  REPLACED = 50000, /* between two swaps */
  MOST = 8
};

typedef struct larson {
  const suite_workload_t *self;
  suite_slots_t sets[MOST];
  uint32_t threads, rounds;
  pthread_barrier_t swap;
} larson_t;

static void fill(void *context, uint32_t index) {
  larson_t *larson = context;
  suite_slots_fill(&larson->sets[index], larson->self, index, SUITE_WRITE);
}

static void serve(void *context, uint32_t index) {
  larson_t *larson = context;
  for (uint32_t round = 0; round < larson->rounds; round++) {
    suite_slots_t *set = &larson->sets[(index + round) % larson->threads];
    suite_slots_replace(set, REPLACED, SUITE_WRITE);
    if (larson->threads > 1) pthread_barrier_wait(&larson->swap);
  }
}

static void empty(void *context, uint32_t index) {
  larson_t *larson = context;
  suite_slots_empty(&larson->sets[index]);
}

static void run_larson(const suite_workload_t *self) {
  static larson_t larson;
  larson.self = self;
  larson.threads = self->threads > 1 ? self->threads : 1;
  larson.rounds = suite_rounds(self->operations / REPLACED, 2);
  pthread_barrier_init(&larson.swap, NULL, larson.threads);
  suite_team_t team = {fill, serve, empty, &larson};
  double time = suite_team_run(&team, larson.threads);
  suite_time("op", time, (double)larson.rounds * REPLACED * larson.threads);
  pthread_barrier_destroy(&larson.swap);
}

static const suite_workload_t workloads[] = {
    {.name = "larson_1",
     .what = "a server of one thread: 5,000 blocks of 16 to 1,024 bytes",
     .run = run_larson,
     .operations = 20e6,
     .slots = 5000,
     .low = 16,
     .high = 1024,
     .threads = 1},
    {.name = "larson_2",
     .what = "two threads, 5,000 blocks of 16 to 1,024 bytes each, that swap them",
     .run = run_larson,
     .operations = 10e6,
     .slots = 5000,
     .low = 16,
     .high = 1024,
     .threads = 2},
    {.name = "larson_8",
     .what = "eight threads, 5,000 blocks of 16 to 1,024 bytes each, that swap them",
     .run = run_larson,
     .operations = 3e6,
     .slots = 5000,
     .low = 16,
     .high = 1024,
     .threads = 8},
    {.name = "larson_wide_1",
     .what = "a server of one thread: 1,000 blocks of 8 to 8,192 bytes",
     .run = run_larson,
     .operations = 12e6,
     .slots = 1000,
     .low = 8,
     .high = 8192,
     .threads = 1},
    {.name = "larson_wide_2",
     .what = "two threads, 1,000 blocks of 8 to 8,192 bytes each, that swap them",
     .run = run_larson,
     .operations = 6e6,
     .slots = 1000,
     .low = 8,
     .high = 8192,
     .threads = 2},
    {.name = "larson_wide_8",
     .what = "eight threads, 1,000 blocks of 8 to 8,192 bytes each, that swap them",
     .run = run_larson,
     .operations = 2e6,
     .slots = 1000,
     .low = 8,
     .high = 8192,
     .threads = 8},
};

const suite_group_t suite_larson = SUITE_GROUP("exchange", workloads);
