/* latency.c - how long single calls take.
 *
 * Measures what a mean hides: in workloads that the suite times as a whole, each call
 * of alloc and of free by itself. Reported are the times that half, 99 %, 99.9 % and
 * 99.99 % of the calls do not exceed, and the longest; above what reading the clock
 * costs. What the system does to a thread between two readings is in the time, so the
 * longest call is often the system's. Short times are no finer than the clock's steps,
 * which a note tells.
 */
#include <stdio.h>

#include "suite/groups.h"
#include "suite/histogram.h"
#include "suite/ring.h"
#include "suite/timer.h"

/* ---- The clock -------------------------------------------------------------- */

typedef struct clock_traits {
  uint64_t floor; /* ticks between two readings with nothing in between: the median */
  uint64_t step;  /* all such times are multiples of it */
} clock_traits_t;

static uint64_t common_divisor(uint64_t a, uint64_t b) {
  while (b != 0) {
    uint64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

static clock_traits_t examine_clock(void) {
  histogram_t empty = {{0}, 0, 0};
  uint64_t step = 0;
  for (int i = 0; i < 20000; i++) {
    uint64_t start = suite_ticks_begin(), time = suite_ticks_end() - start;
    histogram_add(&empty, time);
    step = common_divisor(step, time);
  }
  return (clock_traits_t){(uint64_t)histogram_quantile(&empty, 0.5), step};
}

static double ns_per_tick(void) {
  double start_ns = suite_now();
  uint64_t start = suite_ticks_begin();
  while (suite_now() - start_ns < 20e6) {}
  return (suite_now() - start_ns) / (double)(suite_ticks_end() - start);
}

/* ---- Single calls ----------------------------------------------------------- */

typedef struct clocked {
  histogram_t calls;
  clock_traits_t clock;
  uint32_t low, high; /* sizes of blocks */
  uint64_t random;
  char **blocks; /* of workloads with slots */
} clocked_t;

static inline void note_call(clocked_t *clocked, uint64_t ticks) {
  uint64_t floor = clocked->clock.floor;
  histogram_add(&clocked->calls, ticks > floor ? ticks - floor : 0);
}

static inline char *clocked_alloc(clocked_t *clocked) {
  size_t size = bench_range(&clocked->random, clocked->low, clocked->high);
  uint64_t start = suite_ticks_begin();
  char *block = bench_alloc(size);
  uint64_t end = suite_ticks_end();
  __asm__ volatile("" : "+r"(block));
  *block = 1;
  note_call(clocked, end - start);
  return block;
}

static inline void clocked_free(clocked_t *clocked, void *block) {
  uint64_t start = suite_ticks_begin();
  bench_free(block);
  note_call(clocked, suite_ticks_end() - start);
}

/* One for each thread; what they count is reported together. */
static clocked_t *clocked_start(const suite_workload_t *self, uint32_t count) {
  clocked_t *clocked = bench_records(count * sizeof *clocked);
  clock_traits_t clock = examine_clock();
  for (uint32_t i = 0; i < count; i++) {
    clocked[i].clock = clock;
    clocked[i].low = self->low;
    clocked[i].high = self->high;
    clocked[i].random = bench_seed(i);
  }
  return clocked;
}

static void clocked_end(clocked_t *clocked, uint32_t count) {
  double tick = ns_per_tick();
  histogram_t *calls = &clocked[0].calls;
  const clock_traits_t *clock = &clocked[0].clock;
  printf("note clock floor of %.1f ns, steps of %.1f ns\n", tick * (double)clock->floor,
         tick * (double)clock->step);
  for (uint32_t i = 1; i < count; i++) histogram_merge(calls, &clocked[i].calls);
  suite_figure("p50", tick * histogram_quantile(calls, 0.5), "ns");
  suite_figure("p99", tick * histogram_quantile(calls, 0.99), "ns");
  suite_figure("p99.9", tick * histogram_quantile(calls, 0.999), "ns");
  suite_figure("p99.99", tick * histogram_quantile(calls, 0.9999), "ns");
  suite_figure("max", tick * (double)calls->max, "ns");
  bench_records_free(clocked, count * sizeof *clocked);
}

/* ---- Slots; of one thread, or of threads that swap them ----------------------- */

static void slots_fill(clocked_t *clocked, uint32_t count) {
  clocked->blocks = bench_records(count * sizeof *clocked->blocks);
  for (uint32_t i = 0; i < count; i++) {
    clocked->blocks[i] =
        suite_alloc(bench_range(&clocked->random, clocked->low, clocked->high));
  }
}

static void slots_empty(clocked_t *clocked, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) bench_free(clocked->blocks[i]);
  bench_records_free(clocked->blocks, count * sizeof *clocked->blocks);
}

static void slots_replace(clocked_t *clocked, char **blocks, uint32_t count,
                          uint32_t times) {
  for (uint32_t i = 0; i < times; i++) {
    char **slot = &blocks[bench_range(&clocked->random, 0, count - 1)];
    clocked_free(clocked, *slot);
    *slot = clocked_alloc(clocked);
  }
}

static void run_slots(const suite_workload_t *self) {
  clocked_t *clocked = clocked_start(self, 1);
  uint32_t times = suite_rounds(self->operations, 1000);
  slots_fill(clocked, self->slots);
  slots_replace(clocked, clocked->blocks, self->slots, times / 4);
  clocked->calls = (histogram_t){{0}, 0, 0};
  slots_replace(clocked, clocked->blocks, self->slots, times);
  slots_empty(clocked, self->slots);
  clocked_end(clocked, 1);
}

enum {
  REPLACED = 50000 /* between two swaps */
};

typedef struct larson {
  const suite_workload_t *self;
  clocked_t *clocked;
  uint32_t rounds;
  pthread_barrier_t swap;
} larson_t;

static void larson_fill(void *context, uint32_t index) {
  larson_t *larson = context;
  slots_fill(&larson->clocked[index], larson->self->slots);
}

static void larson_serve(void *context, uint32_t index) {
  larson_t *larson = context;
  uint32_t threads = larson->self->threads;
  for (uint32_t round = 0; round < larson->rounds; round++) {
    char **blocks = larson->clocked[(index + round) % threads].blocks;
    slots_replace(&larson->clocked[index], blocks, larson->self->slots, REPLACED);
    pthread_barrier_wait(&larson->swap);
  }
}

static void larson_empty(void *context, uint32_t index) {
  larson_t *larson = context;
  slots_empty(&larson->clocked[index], larson->self->slots);
}

static void run_larson(const suite_workload_t *self) {
  larson_t larson = {.self = self,
                     .clocked = clocked_start(self, self->threads),
                     .rounds = suite_rounds(self->operations / REPLACED, 2)};
  pthread_barrier_init(&larson.swap, NULL, self->threads);
  suite_team_t team = {larson_fill, larson_serve, larson_empty, &larson};
  suite_team_run(&team, self->threads);
  pthread_barrier_destroy(&larson.swap);
  clocked_end(larson.clocked, self->threads);
}

/* ---- A producer and a consumer ------------------------------------------------ */

typedef struct exchange {
  suite_ring_t *ring;
  clocked_t *clocked;
  uint32_t batches;
} exchange_t;

static void exchange(void *context, uint32_t index) {
  const exchange_t *work = context;
  clocked_t *clocked = &work->clocked[index];
  if (index == 0) {
    for (uint32_t i = 0; i < work->batches; i++) {
      void **batch = suite_ring_begin_write(work->ring);
      for (int k = 0; k < SUITE_BATCH; k++) batch[k] = clocked_alloc(clocked);
      suite_ring_end_write(work->ring);
    }
    suite_ring_close(work->ring);
    return;
  }
  for (void **batch; (batch = suite_ring_begin_read(work->ring)) != NULL;) {
    for (int k = 0; k < SUITE_BATCH; k++) clocked_free(clocked, batch[k]);
    suite_ring_end_read(work->ring);
  }
}

static void run_exchange(const suite_workload_t *self) {
  exchange_t work = {.ring = suite_rings(1, SUITE_BATCH),
                     .clocked = clocked_start(self, self->threads),
                     .batches = suite_rounds(self->operations / SUITE_BATCH, 100)};
  suite_team_t team = {.run = exchange, .context = &work};
  suite_team_run(&team, self->threads);
  suite_rings_free(work.ring, 1);
  clocked_end(work.clocked, self->threads);
}

/* ---- Frames ------------------------------------------------------------------- */

static void run_frames(const suite_workload_t *self) {
  clocked_t *clocked = clocked_start(self, 1);
  uint32_t rounds = suite_rounds(self->operations / self->slots, 2);
  char **blocks = bench_records(self->slots * sizeof *blocks);
  for (uint32_t round = 0; round < rounds; round++) {
    for (uint32_t i = 0; i < self->slots; i++) blocks[i] = clocked_alloc(clocked);
    for (uint32_t i = 0; i < self->slots; i++) clocked_free(clocked, blocks[i]);
  }
  bench_records_free(blocks, self->slots * sizeof *blocks);
  clocked_end(clocked, 1);
}

static const suite_workload_t workloads[] = {
    {.name = "random_8192",
     .what = "single calls: blocks of 16 to 1,024 bytes in 8,192 random slots",
     .run = run_slots,
     .operations = 3e6,
     .slots = 8192,
     .low = 16,
     .high = 1024},
    {.name = "mid_32k",
     .what = "single calls: blocks of 1 to 32 KiB in 1,024 random slots",
     .run = run_slots,
     .operations = 2e6,
     .slots = 1024,
     .low = KIB,
     .high = 32 * KIB},
    {.name = "larson_2",
     .what = "single calls: two threads that swap 5,000 blocks of 16 to 1,024 bytes",
     .run = run_larson,
     .operations = 2e6,
     .slots = 5000,
     .low = 16,
     .high = 1024,
     .threads = 2},
    {.name = "exchange_1to1",
     .what = "single calls: batches of 64 blocks of one thread, freed by another",
     .run = run_exchange,
     .operations = 3e6,
     .low = 16,
     .high = 256,
     .threads = 2},
    {.name = "frames_in_order",
     .what = "single calls: 10,000 blocks allocated, then freed in order",
     .run = run_frames,
     .operations = 3e6,
     .slots = 10000,
     .low = 16,
     .high = 1024},
};

const suite_group_t suite_latency = SUITE_GROUP("latency", workloads);
