/* frames.c - everything a step allocates is freed at its end.
 *
 * Measures allocating and freeing of 10,000 blocks at a time, by the order in which
 * they are freed: the median of all frames, in ns per block. And of bursts that grow
 * and shrink, where what a cache keeps is always too little or too much.
 */
#include <stdlib.h>

#include "suite/groups.h"

enum {
  IN_ORDER,
  REVERSED,
  SHUFFLED
};

typedef struct frame {
  char **blocks;
  const uint32_t *order; /* of frees; NULL: as allocated */
  uint32_t count;
  uint32_t low, high;
  uint64_t random;
  double alloc, free; /* ns of the last use */
} frame_t;

static void use_frame(frame_t *frame) {
  char **blocks = frame->blocks;
  uint32_t count = frame->count, low = frame->low, high = frame->high;
  uint64_t random = frame->random;
  double start = suite_now();
  for (uint32_t i = 0; i < count; i++) {
    blocks[i] = suite_alloc(bench_range(&random, low, high));
  }
  double allocated = suite_now();
  if (frame->order != NULL) {
    for (uint32_t i = 0; i < count; i++) bench_free(blocks[frame->order[i]]);
  } else {
    for (uint32_t i = 0; i < count; i++) bench_free(blocks[i]);
  }
  frame->free = suite_now() - allocated;
  frame->alloc = allocated - start;
  frame->random = random;
}

static void make_order(uint32_t *order, uint32_t count, uint32_t kind) {
  uint64_t random = bench_seed(1);
  for (uint32_t i = 0; i < count; i++) order[i] = kind == REVERSED ? count - 1 - i : i;
  for (uint32_t i = count; kind == SHUFFLED && i > 1; i--) {
    uint32_t k = bench_range(&random, 0, i - 1), other = order[i - 1];
    order[i - 1] = order[k];
    order[k] = other;
  }
}

static void run_frames(const suite_workload_t *self) {
  enum {
    COLD = 2 /* frames that are not in the medians */
  };
  uint32_t rounds = suite_rounds(self->operations, COLD + 1), count = self->slots;
  size_t bytes = count * (sizeof(char *) + sizeof(uint32_t));
  char **blocks = bench_records(bytes);
  uint32_t *order = (uint32_t *)(blocks + count);
  double *times = bench_records(2 * rounds * sizeof *times);
  frame_t frame = {.blocks = blocks,
                   .order = order,
                   .count = count,
                   .low = self->low,
                   .high = self->high,
                   .random = bench_seed(0)};
  make_order(order, count, self->variant);
  for (uint32_t i = 0; i < rounds; i++) {
    use_frame(&frame);
    times[i] = frame.alloc;
    times[rounds + i] = frame.free;
  }
  suite_time("alloc", suite_median(times + COLD, rounds - COLD), count);
  suite_time("free", suite_median(times + rounds + COLD, rounds - COLD), count);
  bench_records_free(blocks, bytes);
  bench_records_free(times, 2 * rounds * sizeof *times);
}

/* From 100 blocks a frame up to `slots` and down again, each step by a third; the
 * order is that of allocation, or its reverse. */
static void run_bursts(const suite_workload_t *self) {
  enum {
    SMALLEST = 100
  };
  uint32_t rounds = suite_rounds(self->operations, 1);
  size_t bytes = self->slots * sizeof(char *);
  frame_t frame = {.blocks = bench_records(bytes),
                   .low = self->low,
                   .high = self->high,
                   .random = bench_seed(0)};
  double alloc = 0, free = 0, blocks = 0;
  for (uint32_t round = 0; round < rounds; round++) {
    bool growing = true;
    for (uint32_t count = SMALLEST; count >= SMALLEST;) {
      frame.count = count;
      use_frame(&frame);
      alloc += frame.alloc;
      free += frame.free;
      blocks += count;
      if (growing && count + count / 3 > self->slots) growing = false;
      count = growing ? count + count / 3 : count - count / 4;
    }
  }
  suite_time("alloc", alloc, blocks);
  suite_time("free", free, blocks);
  bench_records_free(frame.blocks, bytes);
}

static const suite_workload_t workloads[] = {
    {.name = "frames_in_order",
     .what = "10,000 blocks of 16 to 1,024 bytes, freed in the order of allocation",
     .run = run_frames,
     .operations = 1500,
     .slots = 10000,
     .low = 16,
     .high = 1024,
     .variant = IN_ORDER},
    {.name = "frames_reversed",
     .what = "10,000 blocks of 16 to 1,024 bytes, the last one freed first",
     .run = run_frames,
     .operations = 1500,
     .slots = 10000,
     .low = 16,
     .high = 1024,
     .variant = REVERSED},
    {.name = "frames_random",
     .what = "10,000 blocks of 16 to 1,024 bytes, freed in random order",
     .run = run_frames,
     .operations = 1000,
     .slots = 10000,
     .low = 16,
     .high = 1024,
     .variant = SHUFFLED},
    {.name = "frames_bursts",
     .what = "frames that grow from 100 blocks to 20,000 and shrink again",
     .run = run_bursts,
     .operations = 80,
     .slots = 20000,
     .low = 16,
     .high = 1024},
};

const suite_group_t suite_frames = SUITE_GROUP("frames", workloads);
