/* crowd.c - more threads than an allocator can do much for.
 *
 * Measures the life of a thread that does little, one after another: by thread, what
 * the system needs to start and end it included. And many threads at once on few
 * processors.
 */
#include "suite/groups.h"
#include "suite/threads.h"

enum {
  PAIRS = 100 /* of each short-lived thread */
};

static void *live_briefly(void *argument) {
  const suite_workload_t *self = argument;
  uint64_t random = bench_seed(0);
  for (int i = 0; i < PAIRS; i++) {
    bench_free(suite_alloc(bench_range(&random, self->low, self->high)));
  }
  return NULL;
}

static void run_births(const suite_workload_t *self) {
  uint32_t rounds = suite_rounds(self->operations, 10);
  double start = 0;
  for (uint32_t i = 0; i < rounds + rounds / 10; i++) {
    if (i == rounds / 10) start = suite_now();
    suite_workload_t copy = *self;
    suite_thread_join(suite_thread_start(live_briefly, &copy));
  }
  suite_time("thread", suite_now() - start, rounds);
}

static const suite_workload_t workloads[] = {
    {.name = "threads_births",
     .what = "threads one after another that allocate and free 100 blocks each",
     .run = run_births,
     .operations = 10e3,
     .low = 16,
     .high = 1024,
     .threads = 2},
    {.name = "threads_64",
     .what = "64 threads, each with blocks of 16 to 1,024 bytes in 256 random slots",
     .run = suite_run_slots,
     .operations = 500e3,
     .slots = 256,
     .low = 16,
     .high = 1024,
     .threads = 64},
};

const suite_group_t suite_threads = SUITE_GROUP("threads", workloads);
