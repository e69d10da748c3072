#include "suite/suite.h"

#include <stdio.h>
#include <stdlib.h>

double suite_scale = 1;
bool suite_tiny;
volatile uint64_t suite_sink;

static const suite_workload_t *current;
static double began; /* ns */

uint32_t suite_rounds(double count, uint32_t least) {
  double rounds = count * suite_scale;
  return rounds > least ? (uint32_t)rounds : least;
}

void suite_figure(const char *phase, double value, const char *unit) {
  printf("result %s/%s %.4f %s\n", current->name, phase, value, unit);
}

void suite_time(const char *phase, double ns, double operations) {
  suite_figure(phase, ns / operations, "ns");
  printf("note operations %s/%s %.0f\n", current->name, phase, operations);
}

void suite_check(const char *text) { printf("check %s %s\n", current->name, text); }

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

void suite_begin(const suite_workload_t *workload) {
  current = workload;
  began = suite_now();
}

void suite_end(void) {
  if (!current->keeps) suite_figure("rss_after_free", suite_rss(), "MiB");
  suite_figure("peak_rss", (double)bench_peak_rss() / MIB, "MiB");
}
