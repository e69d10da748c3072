/* ceiling.h - adapter: not an allocator but a yardstick, what none can beat.
 *
 * One free list per size class behind two functions; one thread, blocks of up to
 * 32 KiB, no checks, and nothing is ever given back. See ceiling.c.
 */
#ifndef BENCH_ADAPTERS_CEILING_H
#define BENCH_ADAPTERS_CEILING_H

#include "adapters/no_counts.h"

#include <stdio.h>

#define BENCH_SINGLE_THREAD 1
#define BENCH_LARGEST_BLOCK 32768
#define BENCH_ALIGNED 0

#ifdef __cplusplus
extern "C" {
#endif
void *ceiling_alloc(size_t size);
void ceiling_free(void *ptr);
void *ceiling_realloc(void *ptr, size_t size);
void *ceiling_calloc(size_t count, size_t size);
size_t ceiling_usable_size(const void *ptr); /* 0: no block of its own */
#ifdef __cplusplus
}
#endif

static inline void *bench_alloc(size_t size) { return ceiling_alloc(size); }
static inline void bench_free(void *ptr) { ceiling_free(ptr); }
static inline void *bench_realloc(void *ptr, size_t size) {
  return ceiling_realloc(ptr, size);
}
static inline void *bench_calloc(size_t count, size_t size) {
  return ceiling_calloc(count, size);
}
static inline size_t bench_usable_size(void *ptr) { return ceiling_usable_size(ptr); }
static inline void *bench_aligned_alloc(size_t alignment, size_t size) {
  (void)alignment;
  return ceiling_alloc(size);
}

static inline const char *bench_name(void) { return "ceiling"; }

static inline void bench_version(char *text, size_t length) {
  snprintf(text, length, "1");
}

static inline bool bench_serves(void *ptr, size_t size) {
  return ceiling_usable_size(ptr) >= size;
}

static inline bool bench_may_ask_any(void) { return true; }

static inline void bench_collect(void) {}

#endif
