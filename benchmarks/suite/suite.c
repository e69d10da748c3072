#include "suite/suite.h"

#include <stdio.h>
#include <stdlib.h>

double suite_scale = 1;
bool suite_tiny;
uint32_t suite_settle = 1;
volatile uint64_t suite_sink;

static const suite_workload_t *current;
static double began;        /* ns */
static double base;         /* MiB */
static uint64_t faults;     /* before the workload */
static double huge, looked; /* MiB at the look that saw most, and what it saw */

size_t suite_set(size_t full) { return suite_tiny ? full / 100 : full; }

uint32_t suite_rounds(double count, uint32_t least) {
  double rounds = count * suite_scale;
  return rounds > least ? (uint32_t)rounds : least;
}

void suite_figure(const char *phase, double value, const char *unit) {
  printf("result %s/%s %.4f %s\n", current->name, phase, value, unit);
}

/* The clock stands still when a time is reported. */
static void look_at_pages(void) {
  double rss = suite_rss();
  if (rss < looked) return;
  looked = rss;
  huge = (double)bench_huge_rss() / MIB;
}

void suite_time(const char *phase, double ns, double operations) {
  look_at_pages();
  suite_figure(phase, ns / operations, "ns");
  printf("note operations %s/%s %.0f\n", current->name, phase, operations);
}

void suite_check(const char *text) { printf("check %s %s\n", current->name, text); }

void suite_base(void) { base = suite_rss(); }

double suite_per_requested(size_t requested) {
  double rss = suite_rss() - base - (double)bench_records_bytes() / MIB;
  return rss > 0 ? rss * MIB / (double)requested : 0;
}

double suite_rss(void) { return (double)bench_rss() / MIB; }

void suite_point(void) {
  double rss = suite_rss();
  printf("point %s %.4f %.2f\n", current->name, (suite_now() - began) / 1e9, rss);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double suite_median(double *values, size_t count) {
  qsort(values, count, sizeof *values, by_value);
  return values[count / 2];
}

void suite_light_load(double seconds) {
  enum {
    BLOCKS = 50
  };
  void *blocks[BLOCKS];
  uint64_t random = bench_seed(100);
  uint32_t requests = suite_tiny ? 2 : (uint32_t)(seconds * 100);
  for (uint32_t i = 0; i < requests; i++) {
    for (int k = 0; k < BLOCKS; k++)
      blocks[k] = suite_alloc(bench_range(&random, 16, 4000));
    for (int k = 0; k < BLOCKS; k++) bench_free(blocks[k]);
    bench_sleep_ms(suite_tiny ? 1 : 10);
  }
}

void suite_begin(const suite_workload_t *workload) {
  current = workload;
  began = suite_now();
  faults = bench_minor_faults();
  huge = looked = 0;
}

/* Seconds of light load after which the resident set is reported. */
static void settle(void) {
  static const uint32_t looks[] = {1, 5, 15};
  uint32_t past = 0;
  char phase[32];
  for (size_t i = 0; i < sizeof looks / sizeof looks[0] && looks[i] <= suite_settle;
       i++) {
    suite_light_load(looks[i] - past);
    past = looks[i];
    snprintf(phase, sizeof phase, "rss_after_%us", past);
    suite_figure(phase, suite_rss(), "MiB");
  }
}

void suite_end(void) {
  uint64_t taken = bench_minor_faults() - faults;
  double peak = (double)bench_peak_rss() / MIB;
  look_at_pages();
  printf("note huge %s %.4f\n", current->name, looked > 0 ? huge / looked : 0);
  if (!current->keeps) {
    suite_figure("rss_after_free", suite_rss(), "MiB");
    settle();
  }
  suite_figure("peak_rss", peak, "MiB");
  suite_figure("page_faults", (double)taken, "faults");
}
