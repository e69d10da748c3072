/* histogram.h - counts of durations, in memory that does not grow.
 *
 * A bucket is as wide as 1/32 of its values: exact below 64, within 3 % above.
 */
#ifndef BENCH_SUITE_HISTOGRAM_H
#define BENCH_SUITE_HISTOGRAM_H

#include <stdint.h>

enum {
  HISTOGRAM_STEPS = 32, /* buckets from a power of two to the next */
  HISTOGRAM_BUCKETS = 60 * HISTOGRAM_STEPS
};

/* Zeroed memory is empty. */
typedef struct histogram {
  uint32_t counts[HISTOGRAM_BUCKETS];
  uint64_t total, max;
} histogram_t;

static inline uint32_t histogram_bucket(uint64_t value) {
  if (value < 2 * HISTOGRAM_STEPS) return (uint32_t)value;
  uint32_t shift = 58 - (uint32_t)__builtin_clzll(value); /* leaves 6 bits */
  return shift * HISTOGRAM_STEPS + (uint32_t)(value >> shift);
}

static inline void histogram_add(histogram_t *histogram, uint64_t value) {
  histogram->counts[histogram_bucket(value)]++;
  histogram->total++;
  if (value > histogram->max) histogram->max = value;
}

/* Adds everything that `from` has counted. */
void histogram_merge(histogram_t *histogram, const histogram_t *from);

/* The smallest value that at least this share (0 to 1) of all values does not exceed;
 * in the middle of its bucket. */
double histogram_quantile(const histogram_t *histogram, double share);

#endif
