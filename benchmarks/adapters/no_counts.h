/* no_counts.h - shared by the adapters of allocators that need no word before a
 * thread blocks and do not count what the benchmarks ask for. */
#ifndef BENCH_ADAPTERS_NO_COUNTS_H
#define BENCH_ADAPTERS_NO_COUNTS_H

static inline void bench_thread_idle(void) {}

static inline bool bench_read_counts(bench_counts_t *out) {
  (void)out;
  return false;
}

#endif
