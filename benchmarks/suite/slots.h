/* slots.h - blocks of random sizes in slots that are chosen at random: what most
 * workloads do in one way or another. */
#ifndef BENCH_SUITE_SLOTS_H
#define BENCH_SUITE_SLOTS_H

#include "suite/suite.h"

typedef struct suite_slots {
  char **blocks;
  uint32_t count;
  uint32_t low, high; /* sizes of blocks, both included */
  uint64_t random;
} suite_slots_t;

/* What is done with a block beside allocating and freeing it. */
typedef enum suite_touch {
  SUITE_WRITE,     /* its first byte is written */
  SUITE_UNTOUCHED, /* nothing */
  SUITE_READ_WRITE /* its first byte is written, and read before the free */
} suite_touch_t;

static inline char *suite_slots_alloc(uint64_t *random, uint32_t low, uint32_t high,
                                      suite_touch_t touch) {
  size_t size = bench_range(random, low, high);
  if (touch != SUITE_UNTOUCHED) return suite_alloc(size);
  char *block = bench_alloc(size);
  __asm__ volatile("" : "+r"(block));
  return block;
}

/* `number` tells apart the threads that have slots. */
static inline void suite_slots_fill(suite_slots_t *slots, const suite_workload_t *self,
                                    uint32_t number, suite_touch_t touch) {
  slots->blocks = bench_records(self->slots * sizeof *slots->blocks);
  slots->count = self->slots;
  slots->low = self->low;
  slots->high = self->high;
  slots->random = bench_seed(number);
  for (uint32_t i = 0; i < slots->count; i++) {
    slots->blocks[i] = suite_slots_alloc(&slots->random, slots->low, slots->high, touch);
  }
}

/* Replaces the blocks of `times` random slots. */
static inline void suite_slots_replace(suite_slots_t *slots, uint64_t times,
                                       suite_touch_t touch) {
  char **blocks = slots->blocks;
  uint32_t last = slots->count - 1, low = slots->low, high = slots->high;
  uint64_t random = slots->random, sum = 0;
  for (uint64_t i = 0; i < times; i++) {
    uint32_t at = bench_range(&random, 0, last);
    if (touch == SUITE_READ_WRITE) sum += (unsigned char)*blocks[at];
    bench_free(blocks[at]);
    blocks[at] = suite_slots_alloc(&random, low, high, touch);
  }
  slots->random = random;
  if (touch == SUITE_READ_WRITE) suite_sink = sum; /* of one thread only */
}

static inline void suite_slots_empty(suite_slots_t *slots) {
  for (uint32_t i = 0; i < slots->count; i++) bench_free(slots->blocks[i]);
  bench_records_free(slots->blocks, slots->count * sizeof *slots->blocks);
}

#endif
