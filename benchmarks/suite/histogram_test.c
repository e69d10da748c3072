/* histogram_test.c - that quantiles are those of the values counted. */
#include <stdio.h>
#include <stdlib.h>

#include "suite/histogram.h"
#include "support/bench.h"

enum {
  COUNT = 100000
};

static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* Every quantile of values of up to 2^bits is within the width of a bucket. */
static int misses(unsigned bits) {
  static uint64_t values[COUNT];
  static histogram_t histogram, half;
  static const double shares[] = {0.001, 0.5, 0.99, 0.999, 1};
  uint64_t random = bench_seed(bits);
  int missed = 0;
  histogram = half = (histogram_t){{0}, 0, 0};
  for (int i = 0; i < COUNT; i++) {
    uint64_t high = bench_random(&random), low = bench_random(&random);
    values[i] = (high << 32 | low) >> (64 - 1 - bench_range(&random, 0, bits - 1));
    histogram_add(i % 2 == 0 ? &histogram : &half, values[i]);
  }
  histogram_merge(&histogram, &half);
  qsort(values, COUNT, sizeof values[0], by_value);
  for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
    size_t rank = (size_t)(shares[i] * COUNT);
    double exact = (double)values[rank > 0 ? rank - 1 : 0];
    double found = histogram_quantile(&histogram, shares[i]);
    double error = found > exact ? found - exact : exact - found;
    if (error <= exact / HISTOGRAM_STEPS) continue;
    printf("FAIL: %u bits, share %g: %g instead of %g\n", bits, shares[i], found, exact);
    missed++;
  }
  if (histogram.max != values[COUNT - 1]) missed++;
  return missed;
}

int main(void) {
  int missed = 0;
  for (unsigned bits = 1; bits <= 63; bits++) missed += misses(bits);
  if (missed == 0) printf("ok: histogram: quantiles of up to 63 bits\n");
  return missed > 0;
}
