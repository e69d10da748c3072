/* shapes.c - blocks whose memory differs from what was asked for.
 *
 * Measures what is resident beside what was asked for, where allocators round: large
 * blocks that are written to from end to end, aligned blocks, vectors that grow, and
 * blocks one byte past the sizes that classes tend to have. Every page is written, but
 * for the large blocks that are only touched. Looks at memory are not timed.
 */
#include "suite/groups.h"
#include "suite/population.h"

enum {
  LOOKS = 8 /* at memory, all of which count */
};

enum {
  PLAIN,
  TOUCHED, /* the first byte is written, and no more */
  ALIGNED,
  PAST_CLASS
};

/* One more than a power of two, or than three quarters of one. */
static uint32_t past_class(const suite_workload_t *self, uint64_t *random) {
  uint32_t size = self->low;
  size <<= bench_range(random, 0, suite_doublings(self->low, self->high));
  return (bench_range(random, 0, 1) == 0 ? size : size / 4 * 3) + 1;
}

static void add_block(suite_population_t *all, const suite_workload_t *self) {
  uint32_t size = self->variant == PAST_CLASS
                      ? past_class(self, &all->random)
                      : bench_range(&all->random, self->low, self->high);
  char *block;
  switch (self->variant) {
    case TOUCHED:
      block = suite_alloc(size);
      break;
    case ALIGNED:
      block = bench_aligned_alloc((size_t)64 << bench_range(&all->random, 0, 6), size);
      for (size_t at = 0; at < size; at += 4096) block[at] = 1;
      block[size - 1] = 1;
      break;
    default:
      block = suite_alloc_written(size);
  }
  suite_population_take(all, block, size);
}

static void run_blocks(const suite_workload_t *self) {
  suite_population_t all;
  double time = 0, sum = 0;
  uint32_t slots = suite_tiny ? self->slots / 10 : self->slots;
  uint32_t rounds = suite_rounds(self->operations / LOOKS, slots);
  suite_population_start(&all, slots, 0);
  while (!suite_population_is_full(&all)) add_block(&all, self);
  for (int look = 0; look < LOOKS; look++) {
    double start = suite_now();
    for (uint32_t i = 0; i < rounds; i++) {
      suite_population_remove_any(&all);
      add_block(&all, self);
    }
    time += suite_now() - start;
    suite_point();
    sum += suite_per_requested(all.requested);
  }
  suite_time("op", time, (double)rounds * LOOKS);
  if (self->variant != TOUCHED) suite_figure("rss_per_requested", sum / LOOKS, "x");
  suite_population_end(&all);
}

/* ---- Vectors ------------------------------------------------------------------- */

/* Grows one by half, or empties it where it has become too large. */
static void grow(suite_population_t *all, const suite_workload_t *self, uint32_t at) {
  uint32_t old = all->sizes[at], size = old + old / 2 + 16;
  if (size > self->high) size = self->low;
  char *block = bench_realloc(all->blocks[at], size);
  __asm__ volatile("" : "+r"(block));
  for (size_t i = old; i < size; i += 4096) block[i] = 1;
  block[size - 1] = 1;
  all->requested += size;
  all->requested -= old;
  all->blocks[at] = block;
  all->sizes[at] = size;
}

static void run_vectors(const suite_workload_t *self) {
  suite_population_t all;
  double time = 0, sum = 0;
  uint32_t slots = suite_tiny ? self->slots / 10 : self->slots;
  uint32_t rounds = suite_rounds(self->operations / LOOKS, 4 * slots);
  suite_population_start(&all, slots, 0);
  while (!suite_population_is_full(&all)) suite_population_add(&all, self->low);
  for (int look = 0; look < LOOKS; look++) {
    double start = suite_now();
    for (uint32_t i = 0; i < rounds; i++) {
      grow(&all, self, bench_range(&all.random, 0, slots - 1));
    }
    time += suite_now() - start;
    suite_point();
    sum += suite_per_requested(all.requested);
  }
  suite_time("op", time, (double)rounds * LOOKS);
  suite_figure("rss_per_requested", sum / LOOKS, "x");
  suite_population_end(&all);
}

static const suite_workload_t workloads[] = {
    {.name = "large_written",
     .what = "blocks of 64 KiB to 1 MiB in 64 random slots, written from end to end",
     .run = run_blocks,
     .operations = 20e3,
     .slots = 64,
     .low = 64 * KIB,
     .high = MIB},
    {.name = "large_touched",
     .what = "the same, only their first bytes written",
     .run = run_blocks,
     .operations = 20e3,
     .slots = 64,
     .low = 64 * KIB,
     .high = MIB,
     .variant = TOUCHED},
    {.name = "large_written_4m",
     .what = "blocks of 1 to 4 MiB in 32 random slots, written from end to end",
     .run = run_blocks,
     .operations = 4e3,
     .slots = 32,
     .low = MIB,
     .high = 4 * MIB},
    {.name = "large_written_20m",
     .what = "blocks of 5 to 20 MiB in 10 random slots, written from end to end",
     .run = run_blocks,
     .operations = 400,
     .slots = 10,
     .low = 5 * MIB,
     .high = 20 * MIB},
    {.name = "aligned",
     .what = "blocks of 16 to 8,192 bytes at multiples of 64 to 4,096 in 8,192 slots",
     .run = run_blocks,
     .operations = 2e6,
     .slots = 8192,
     .low = 16,
     .high = 8192,
     .variant = ALIGNED,
     .aligned = true},
    {.name = "past_class_small",
     .what = "blocks one byte past 2^n and 3/4 of it, 64 to 4,096 bytes, in 30,000 slots",
     .run = run_blocks,
     .operations = 5e6,
     .slots = 30000,
     .low = 64,
     .high = 4096,
     .variant = PAST_CLASS},
    {.name = "past_class_mid",
     .what = "the same of 4 to 128 KiB in 1,000 slots",
     .run = run_blocks,
     .operations = 400e3,
     .slots = 1000,
     .low = 4 * KIB,
     .high = 128 * KIB,
     .variant = PAST_CLASS},
    {.name = "vectors",
     .what = "4,096 vectors that grow by half from 64 bytes to 128 KiB and begin anew",
     .run = run_vectors,
     .operations = 2e6,
     .slots = 4096,
     .low = 64,
     .high = 128 * KIB},
};

const suite_group_t suite_shapes = SUITE_GROUP("shapes", workloads);
