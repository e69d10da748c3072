/* population.h - blocks that live at once, with the sum of what they were asked for. */
#ifndef BENCH_SUITE_POPULATION_H
#define BENCH_SUITE_POPULATION_H

#include "suite/suite.h"

typedef struct suite_population {
  char **blocks;
  uint32_t *sizes; /* asked for, in bytes */
  uint32_t count, capacity;
  size_t requested; /* bytes, of all */
  uint64_t random;
} suite_population_t;

/* `number` tells apart those of a workload. */
static inline void suite_population_start(suite_population_t *all, uint32_t capacity,
                                          uint64_t number) {
  all->blocks = bench_records(capacity * sizeof *all->blocks);
  all->sizes = bench_records(capacity * sizeof *all->sizes);
  all->count = 0;
  all->capacity = capacity;
  all->requested = 0;
  all->random = bench_seed(number);
}

/* Adds a block of which somebody else is the allocator. */
static inline void suite_population_take(suite_population_t *all, char *block,
                                         uint32_t size) {
  all->blocks[all->count] = block;
  all->sizes[all->count++] = size;
  all->requested += size;
}

static inline bool suite_population_is_full(const suite_population_t *all) {
  return all->count == all->capacity;
}

/* Adds a block, every page of it written. */
static inline void suite_population_add(suite_population_t *all, uint32_t size) {
  suite_population_take(all, suite_alloc_written(size), size);
}

/* Frees one; the last takes its place. */
static inline void suite_population_remove(suite_population_t *all, uint32_t at) {
  bench_free(all->blocks[at]);
  all->requested -= all->sizes[at];
  all->blocks[at] = all->blocks[--all->count];
  all->sizes[at] = all->sizes[all->count];
}

static inline void suite_population_remove_any(suite_population_t *all) {
  suite_population_remove(all, bench_range(&all->random, 0, all->count - 1));
}

/* Frees all but one of `kept_of` of those from `first` on, chosen at random. */
static inline void suite_population_thin(suite_population_t *all, uint32_t first,
                                         uint32_t kept_of) {
  for (uint32_t at = all->count; at-- > first;) {
    if (bench_range(&all->random, 1, kept_of) > 1) suite_population_remove(all, at);
  }
}

static inline void suite_population_end(suite_population_t *all) {
  while (all->count > 0) suite_population_remove(all, all->count - 1);
  bench_records_free(all->blocks, all->capacity * sizeof *all->blocks);
  bench_records_free(all->sizes, all->capacity * sizeof *all->sizes);
}

#endif
