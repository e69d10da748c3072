/* timer.h - the time of a single call, in ticks of the finest clock there is.
 *
 * On x86-64 the processor's own counter, read so that nothing before the first reading
 * or after the second one is in the time; elsewhere clock_gettime.
 */
#ifndef BENCH_SUITE_TIMER_H
#define BENCH_SUITE_TIMER_H

#include "support/bench.h"

#if defined(__x86_64__)
#include <x86intrin.h>

static inline uint64_t suite_ticks_begin(void) {
  _mm_lfence();
  uint64_t now = __rdtsc();
  _mm_lfence();
  return now;
}

static inline uint64_t suite_ticks_end(void) {
  unsigned processor;
  uint64_t now = __rdtscp(&processor);
  _mm_lfence();
  return now;
}

#else

static inline uint64_t suite_ticks_begin(void) { return bench_now_ns(); }
static inline uint64_t suite_ticks_end(void) { return bench_now_ns(); }

#endif

#endif
