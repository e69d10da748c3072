/* small.c - bursts of small blocks of one size.
 *
 * Measures the shortest paths there are: the same few blocks again and again, all
 * from the processor's first cache.
 */
#include "suite/groups.h"

enum {
  COUNT = 100
};

enum {
  LAST_FIRST,
  FIRST_FIRST
};

/* Allocates 100 blocks, then frees them. */
static inline void burst(size_t size, uint32_t order) {
  char *blocks[COUNT];
  for (int i = 0; i < COUNT; i++) blocks[i] = suite_alloc(size);
  if (order == FIRST_FIRST) {
    for (int i = 0; i < COUNT; i++) bench_free(blocks[i]);
  } else {
    for (int i = COUNT; i-- > 0;) bench_free(blocks[i]);
  }
}

static void run_burst(const suite_workload_t *self) {
  uint32_t rounds = suite_rounds(self->operations / COUNT, 100);
  for (uint32_t i = 0; i < rounds / 4; i++) burst(self->high, self->variant);
  double start = suite_now();
  for (uint32_t i = 0; i < rounds; i++) burst(self->high, self->variant);
  suite_time("pair", suite_now() - start, (double)rounds * COUNT);
}

static void run_pair(const suite_workload_t *self) {
  uint32_t rounds = suite_rounds(self->operations, 10000);
  for (uint32_t i = 0; i < rounds / 4; i++) bench_free(suite_alloc(self->high));
  double start = suite_now();
  for (uint32_t i = 0; i < rounds; i++) bench_free(suite_alloc(self->high));
  suite_time("pair", suite_now() - start, rounds);
}

static const suite_workload_t workloads[] = {
    {.name = "tiny_16",
     .what = "100 blocks of 16 bytes allocated, then freed, the last one first",
     .run = run_burst,
     .operations = 40e6,
     .high = 16,
     .variant = LAST_FIRST},
    {.name = "fixed_256",
     .what = "100 blocks of 256 bytes allocated, then freed, the last one first",
     .run = run_burst,
     .operations = 40e6,
     .high = 256,
     .variant = LAST_FIRST},
    {.name = "fixed_1024",
     .what = "100 blocks of 1,024 bytes allocated, then freed, the last one first",
     .run = run_burst,
     .operations = 40e6,
     .high = 1024,
     .variant = LAST_FIRST},
    {.name = "fifo_64",
     .what = "100 blocks of 64 bytes allocated, then freed, the first one first",
     .run = run_burst,
     .operations = 40e6,
     .high = 64,
     .variant = FIRST_FIRST},
    {.name = "pair_64",
     .what = "a block of 64 bytes allocated and freed at once",
     .run = run_pair,
     .operations = 60e6,
     .high = 64},
};

const suite_group_t suite_small = SUITE_GROUP("small", workloads);
