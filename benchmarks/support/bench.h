/* bench.h - what all benchmarks share: a clock, random numbers, what the kernel
 * says about this process, memory for their own records, progress lines.
 *
 * Nothing here allocates from the allocator under test.
 */
#ifndef BENCH_SUPPORT_BENCH_H
#define BENCH_SUPPORT_BENCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

uint64_t bench_now_ns(void);

/* xorshift64: good enough to choose sizes and slots, and costs three shifts. */
static inline uint32_t bench_random(uint64_t *state) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  *state = x;
  return (uint32_t)(x >> 16);
}

/* Evenly from low to high, both included. */
static inline uint32_t bench_range(uint64_t *state, uint32_t low, uint32_t high) {
  return low + (uint32_t)(((uint64_t)bench_random(state) * (high - low + 1)) >> 32);
}

/* A state for bench_random() that differs for each thread of a workload. */
static inline uint64_t bench_seed(uint64_t number) {
  return 88172645463325252u + number * 0x9e3779b97f4a7c15u;
}

/* Reads what fits of a small file, with a zero behind it; the length, 0 if there is
 * no such file. */
size_t bench_read_text(const char *path, char *text, size_t capacity);

/* Resident bytes of this process that no file backs, exact (the kernel walks the page
 * tables). Code that is first run while something is measured, such as the C
 * library's, comes from the page cache and is nobody's allocation. */
size_t bench_rss(void);

/* The part of it that lies in huge pages. */
size_t bench_huge_rss(void);

/* The same as bench_rss from counters that lag behind by some pages per thread; cheap. */
size_t bench_rss_fast(void);

/* Largest resident set since the process began. */
size_t bench_peak_rss(void);

/* Page faults so far that needed no disk, without those of records. */
uint64_t bench_minor_faults(void);

/* Mappings of this process: lines in /proc/self/maps. */
size_t bench_map_lines(void);

/* Zeroed memory straight from the kernel, resident at once, so that a
 * benchmark's own records change no figure later. Exits on failure. */
void *bench_records(size_t bytes);
void bench_records_free(void *records, size_t bytes);

/* How much of it there is now. */
size_t bench_records_bytes(void);

/* Random order in place. */
void bench_shuffle(void **items, size_t count, uint64_t *state);

void bench_sleep_ms(unsigned milliseconds);

/* One line on stderr, with the time that is left as far as one can tell, that is
 * overwritten by the next; on something that is no terminal, a line every ten seconds at
 * most. `done` is 0 at the start. bench_progress_end clears it. */
void bench_progress(const char *what, double done, double of);
void bench_progress_end(void);

#ifdef __cplusplus
}
#endif

#endif
