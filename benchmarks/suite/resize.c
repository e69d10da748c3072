/* resize.c - blocks that grow, and blocks that must be zero.
 *
 * Measures realloc as a program uses it that appends to a buffer: each page of what is
 * new is written. And calloc in random slots, where most memory was used before; the
 * first byte of each block is read, then written.
 */
#include <stdio.h>
#include <stdlib.h>

#include "suite/groups.h"

/* ---- realloc ---------------------------------------------------------------- */

enum {
  BY_STEPS,   /* of 1 KiB */
  BY_DOUBLING /* of what there is */
};

/* Grows one block from `low` to `high` bytes, then frees it; the calls that took. */
static uint32_t grow(const suite_workload_t *self) {
  enum {
    PAGE = 4096
  };
  size_t size = self->low, step = KIB;
  char *block = suite_alloc(size);
  uint32_t calls = 1;
  while (size < self->high) {
    size_t next = size + (self->variant == BY_DOUBLING ? size : step);
    if (next > self->high) next = self->high;
    block = bench_realloc(block, next);
    __asm__ volatile("" : "+r"(block));
    for (size_t at = size; at < next; at += PAGE) block[at] = 1;
    block[next - 1] = 1;
    size = next;
    calls++;
  }
  bench_free(block);
  return calls;
}

static void run_grow(const suite_workload_t *self) {
  uint32_t rounds = suite_rounds(self->operations, 2);
  double calls = 0;
  grow(self);
  double start = suite_now();
  for (uint32_t i = 0; i < rounds; i++) calls += grow(self);
  suite_time("call", suite_now() - start, calls);
}

/* ---- calloc ----------------------------------------------------------------- */

static char *alloc_zeroed(size_t size) {
  char *block = bench_calloc(1, size);
  __asm__ volatile("" : "+r"(block));
  if (*block != 0) {
    fprintf(stderr, "calloc's block is not zero\n");
    exit(1);
  }
  *block = 1;
  return block;
}

static void replace(char **blocks, const suite_workload_t *self, uint32_t times,
                    uint64_t *random) {
  for (uint32_t i = 0; i < times; i++) {
    char **slot = &blocks[bench_range(random, 0, self->slots - 1)];
    bench_free(*slot);
    *slot = alloc_zeroed(bench_range(random, self->low, self->high));
  }
}

static void run_calloc(const suite_workload_t *self) {
  uint32_t times = suite_rounds(self->operations, 1000);
  char **blocks = bench_records(self->slots * sizeof *blocks);
  uint64_t random = bench_seed(0);
  for (uint32_t i = 0; i < self->slots; i++) {
    blocks[i] = alloc_zeroed(bench_range(&random, self->low, self->high));
  }
  replace(blocks, self, times / 4, &random);
  double start = suite_now();
  replace(blocks, self, times, &random);
  suite_time("op", suite_now() - start, times);
  for (uint32_t i = 0; i < self->slots; i++) bench_free(blocks[i]);
  bench_records_free(blocks, self->slots * sizeof *blocks);
}

static const suite_workload_t workloads[] = {
    {.name = "realloc_steps",
     .what = "a block grown from 64 bytes to 1 MiB by steps of 1 KiB",
     .run = run_grow,
     .operations = 1000,
     .low = 64,
     .high = MIB,
     .variant = BY_STEPS},
    {.name = "realloc_doubling",
     .what = "a block grown from 64 bytes to 1 MiB by doubling",
     .run = run_grow,
     .operations = 6000,
     .low = 64,
     .high = MIB,
     .variant = BY_DOUBLING},
    {.name = "realloc_huge",
     .what = "a block grown from 64 bytes to 64 MiB by doubling",
     .run = run_grow,
     .operations = 6,
     .low = 64,
     .high = 64 * MIB,
     .variant = BY_DOUBLING},
    {.name = "calloc_small",
     .what = "zeroed blocks of 16 to 1,024 bytes in 1,024 random slots",
     .run = run_calloc,
     .operations = 10e6,
     .slots = 1024,
     .low = 16,
     .high = 1024},
    {.name = "calloc_mid",
     .what = "zeroed blocks of 1 to 32 KiB in 256 random slots",
     .run = run_calloc,
     .operations = 1e6,
     .slots = 256,
     .low = KIB,
     .high = 32 * KIB},
    {.name = "calloc_large",
     .what = "zeroed blocks of 64 KiB to 1 MiB in 64 random slots",
     .run = run_calloc,
     .operations = 15e3,
     .slots = 64,
     .low = 64 * KIB,
     .high = MIB},
};

const suite_group_t suite_resize = SUITE_GROUP("large", workloads);
