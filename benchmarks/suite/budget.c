/* budget.c - how much of a small limit a program can use.
 *
 * Measures heaps with hard limits of 256 KiB to 8 MiB that are filled until the first
 * request is refused: the share of the limit that is then in nobody's block, when the
 * heap is fresh, and after churn: half of the blocks at random are freed and the heap is
 * filled again, many times. A figure of hakmem only: the others have no limits.
 */
#include <stdio.h>

#include "suite/groups.h"
#include "suite/population.h"

#if BENCH_HEAPS >= 3
enum {
  CHURN = 50 /* times */
};

static void fill(suite_population_t *all, bench_heap_t *heap,
                 const suite_workload_t *self) {
  while (!suite_population_is_full(all)) {
    uint32_t size = bench_range(&all->random, self->low, self->high);
    char *block = bench_heap_alloc(heap, size);
    if (block == NULL) return;
    *block = 1;
    suite_population_take(all, block, size);
  }
}

static void report_unused(const char *phase, const suite_population_t *all,
                          size_t limit) {
  double used = (double)all->requested / (double)limit;
  suite_figure(phase, used < 1 ? 100 * (1 - used) : 0, "%");
}

static void run_budget(const suite_workload_t *self) {
  suite_population_t all;
  size_t limit = (size_t)self->slots * KIB;
  bench_heap_t *heap = bench_heap_limited(limit);
  double start = suite_now(), blocks = 0;
  suite_population_start(&all, (uint32_t)(limit / self->low), 0);
  fill(&all, heap, self);
  report_unused("fresh_unused", &all, limit);
  for (int i = 0; i < CHURN; i++) {
    suite_population_thin(&all, 0, 2);
    uint32_t before = all.count;
    fill(&all, heap, self);
    blocks += all.count - before;
  }
  suite_time("op", suite_now() - start, blocks + 1);
  report_unused("churned_unused", &all, limit);
  suite_population_end(&all);
  bench_heap_destroy(heap);
}
#else
static void run_budget(const suite_workload_t *self) { (void)self; }
#endif

#define BUDGET(text, kib)                                                        \
  {.name = "budget_" text,                                                       \
   .what = "a limit of " text "iB: share unused with blocks of 16 to 600 bytes", \
   .run = run_budget,                                                            \
   .slots = kib,                                                                 \
   .low = 16,                                                                    \
   .high = 600,                                                                  \
   .heaps = 3},                                                                  \
  {                                                                              \
    .name = "budget_" text "_mixed",                                             \
    .what = "a limit of " text "iB: share unused with blocks of 16 B to 32 KiB", \
    .run = run_budget, .slots = kib, .low = 16, .high = 32 * KIB, .heaps = 3     \
  }

static const suite_workload_t workloads[] = {BUDGET("256k", 256), BUDGET("512k", 512),
                                             BUDGET("1m", 1024), BUDGET("2m", 2048),
                                             BUDGET("8m", 8192)};

const suite_group_t suite_budget = SUITE_GROUP("budget", workloads);
