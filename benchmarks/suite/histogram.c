#include "suite/histogram.h"

void histogram_merge(histogram_t *histogram, const histogram_t *from) {
  for (int i = 0; i < HISTOGRAM_BUCKETS; i++) histogram->counts[i] += from->counts[i];
  histogram->total += from->total;
  if (from->max > histogram->max) histogram->max = from->max;
}

static double middle_of(uint32_t bucket) {
  if (bucket < 2 * HISTOGRAM_STEPS) return bucket;
  uint32_t shift = bucket / HISTOGRAM_STEPS - 1;
  uint64_t low = (uint64_t)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift;
  return (double)low + (double)((uint64_t)1 << shift) / 2;
}

double histogram_quantile(const histogram_t *histogram, double share) {
  double wanted = share * (double)histogram->total, seen = 0;
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
    seen += histogram->counts[i];
    if (histogram->counts[i] == 0 || seen < wanted) continue;
    double middle = middle_of(i);
    return middle < (double)histogram->max ? middle : (double)histogram->max;
  }
  return (double)histogram->max;
}
