/* suite.h - what a workload of the suite is, and how it reports.
 *
 * hakmem_suite_<allocator> runs each workload in a process of its own, so that no
 * workload inherits another's heap. A workload reports as many phases as it has:
 * the lines that benchmarks/compare reads (compare/runner.hpp),
 *
 *     result <workload>/<phase> <value> <unit>
 *
 * with unit ns (wall time per operation), MiB (memory), x (memory beside what was asked
 * for) or one that says what it counts. Smaller is better everywhere. Beside each time
 * stands how many operations it is the mean or the median of,
 *
 *     note operations <workload>/<phase> <count>
 *
 * In the end all report what the process had resident at most (peak_rss), right after the
 * last free (rss_after_free) and after seconds of light load (rss_after_1s), and how many
 * page faults it took; and, where that was looked at, the share of huge pages,
 *
 *     note huge <workload> <share of resident memory, 0 to 1>
 *
 * The first byte of every block is written, where a workload does not say otherwise.
 */
#ifndef BENCH_SUITE_SUITE_H
#define BENCH_SUITE_SUITE_H

#include "adapters/adapter.h"
#include "support/bench.h"

#define KIB 1024u
#define MIB (1024u * 1024u)

typedef struct suite_workload {
  const char *name; /* one word, which no other has; charts and the filter use it */
  const char *what; /* it measures, in one sentence */
  void (*run)(const struct suite_workload *self);
  /* What follows is 0 where a workload has no use for it. */
  double operations; /* or rounds, at scale 1; of each thread */
  uint32_t slots;    /* blocks that live at once; of each thread */
  uint32_t low;      /* smallest size of a block, in bytes */
  uint32_t high;     /* largest */
  uint32_t threads;  /* at once, with the first one */
  uint32_t variant;  /* what else tells apart workloads that share a function */
  bool keeps;        /* its memory after all frees says nothing of the allocator */
  uint32_t heaps;    /* what it needs of these: BENCH_HEAPS of the adapter */
  bool aligned;      /* it needs aligned blocks */
} suite_workload_t;

typedef struct suite_group {
  const char *name;
  const suite_workload_t *workloads;
  size_t count;
} suite_group_t;

#define SUITE_GROUP(name, workloads) \
  { name, workloads, sizeof(workloads) / sizeof(workloads)[0] }

/* How much work is asked for: 1 is the full run. Rounds shrink with it, never sets. */
extern double suite_scale;

/* Asked for by a test that only wants to see everything run: memory workloads shrink
 * their sets too, so that their figures mean nothing. */
extern bool suite_tiny;

/* How long light load goes on after a workload, in seconds: 0, 1, 5 or 15. */
extern uint32_t suite_settle;

/* `full` of a set, or with --tiny a hundredth. */
size_t suite_set(size_t full);

/* `count` rounds at this scale, `least` at least. */
uint32_t suite_rounds(double count, uint32_t least);

/* Reports nanoseconds per operation of one phase. */
void suite_time(const char *phase, double ns, double operations);

/* Reports any other figure. */
void suite_figure(const char *phase, double value, const char *unit);

/* Reports what must be the same whoever allocates. */
void suite_check(const char *text);

/* Resident set now, exact, in MiB. */
double suite_rss(void);

/* Requests of a server with little to do, 100 a second for so long: each allocates 50
 * blocks of 16 to 4,000 bytes, frees them and waits. With --tiny two requests. */
void suite_light_load(double seconds);

/* Resident set without what was there before the allocator's first call, and without
 * records, divided by what the program has asked for and not freed. */
double suite_per_requested(size_t requested);

/* One point of memory over time: a line "point <workload> <seconds> <MiB>" with the
 * resident set now; charts use it. Called outside of what is timed. */
void suite_point(void);

/* The middle one of `count` values, which are put in order. */
double suite_median(double *values, size_t count);

/* How often `low` may be doubled up to `high`. */
static inline uint32_t suite_doublings(uint32_t low, uint32_t high) {
  uint32_t doublings = 0;
  while (low << (doublings + 1) <= high) doublings++;
  return doublings;
}

/* A size from low up to high, each doubling as often as the others. */
static inline uint32_t suite_size_of_doublings(uint64_t *random, uint32_t low,
                                               uint32_t high) {
  uint32_t least = low << bench_range(random, 0, suite_doublings(low, high) - 1);
  return bench_range(random, least, 2 * least - 1);
}

/* Nanoseconds since some moment. */
static inline double suite_now(void) { return (double)bench_now_ns(); }

/* What the program calls before the allocator is called at all. */
void suite_base(void);

/* What the program calls around a workload: which one the lines above are about,
 * and the figures that all report. */
void suite_begin(const suite_workload_t *workload);
void suite_end(void);

/* Keeps the compiler from leaving out what leads to `value`. */
extern volatile uint64_t suite_sink;

/* A block whose first byte is written. The compiler learns nothing about where it
 * comes from, so that it can leave out neither the allocation nor the free. */
static inline char *suite_alloc(size_t size) {
  char *block = bench_alloc(size);
  __asm__ volatile("" : "+r"(block));
  *block = 1;
  return block;
}

/* The same with every page of it written. */
static inline char *suite_alloc_written(size_t size) {
  char *block = suite_alloc(size);
  for (size_t at = 4096; at < size; at += 4096) block[at] = 1;
  block[size - 1] = 1;
  return block;
}

#endif
