/* large.c - blocks of 40 KiB to 64 MiB.
 *
 * Measures blocks that come and go in turn, in random slots, in pairs and in batches.
 * Only the first byte of a block is written: what its other pages cost is the
 * kernel's affair.
 */
#include "suite/groups.h"
#include "suite/slots.h"

/* One block at a time, each of another size. */
static void run_turn(const suite_workload_t *self) {
  uint32_t rounds = suite_rounds(self->operations, 100);
  uint64_t random = bench_seed(0);
  double start = 0;
  for (uint32_t i = 0; i < rounds + rounds / 10; i++) {
    if (i == rounds / 10) start = suite_now();
    bench_free(suite_alloc(bench_range(&random, self->low, self->high)));
  }
  suite_time("pair", suite_now() - start, rounds);
}

static void run_pair(const suite_workload_t *self) {
  uint32_t rounds = suite_rounds(self->operations, 100);
  double start = 0;
  for (uint32_t i = 0; i < rounds + rounds / 10; i++) {
    if (i == rounds / 10) start = suite_now();
    bench_free(suite_alloc(self->high));
  }
  suite_time("pair", suite_now() - start, rounds);
}

/* As many blocks of one size as there are slots, the last one freed first. */
static void use_batch(char **blocks, const suite_workload_t *self) {
  for (uint32_t i = 0; i < self->slots; i++) blocks[i] = suite_alloc(self->high);
  for (uint32_t i = self->slots; i-- > 0;) bench_free(blocks[i]);
}

static void run_batch(const suite_workload_t *self) {
  uint32_t rounds = suite_rounds(self->operations / self->slots, 2);
  char **blocks = bench_records(self->slots * sizeof *blocks);
  for (int i = 0; i < 2; i++) use_batch(blocks, self);
  double start = suite_now();
  for (uint32_t i = 0; i < rounds; i++) use_batch(blocks, self);
  suite_time("pair", suite_now() - start, (double)rounds * self->slots);
  bench_records_free(blocks, self->slots * sizeof *blocks);
}

static const suite_workload_t workloads[] = {
    {.name = "large_turn",
     .what = "blocks of 40 KiB to 1 MiB, each freed before the next",
     .run = run_turn,
     .operations = 2e6,
     .low = 40 * KIB,
     .high = MIB},
    {.name = "large_huge_turn",
     .what = "blocks of 1 to 64 MiB, each freed before the next",
     .run = run_turn,
     .operations = 150e3,
     .low = MIB,
     .high = 64 * MIB},
    {.name = "large_random",
     .what = "blocks of 64 KiB to 1 MiB in 64 random slots",
     .run = suite_run_slots,
     .operations = 800e3,
     .slots = 64,
     .low = 64 * KIB,
     .high = MIB},
    {.name = "large_pair_64k",
     .what = "a block of 64 KiB allocated and freed at once",
     .run = run_pair,
     .operations = 8e6,
     .high = 64 * KIB},
    {.name = "large_pair_256k",
     .what = "a block of 256 KiB allocated and freed at once",
     .run = run_pair,
     .operations = 8e6,
     .high = 256 * KIB},
    {.name = "large_pair_1m",
     .what = "a block of 1 MiB allocated and freed at once",
     .run = run_pair,
     .operations = 8e6,
     .high = MIB},
    {.name = "large_batch_64k",
     .what = "100 blocks of 64 KiB allocated, then freed, the last one first",
     .run = run_batch,
     .operations = 1.5e6,
     .slots = 100,
     .high = 64 * KIB},
    {.name = "large_batch_256k",
     .what = "100 blocks of 256 KiB allocated, then freed, the last one first",
     .run = run_batch,
     .operations = 1e6,
     .slots = 100,
     .high = 256 * KIB},
    {.name = "large_batch_1m",
     .what = "100 blocks of 1 MiB allocated, then freed, the last one first",
     .run = run_batch,
     .operations = 500e3,
     .slots = 100,
     .high = MIB},
};

const suite_group_t suite_large = SUITE_GROUP("large", workloads);
