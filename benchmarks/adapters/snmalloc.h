/* snmalloc.h - adapter: snmalloc's static library under its own names (its build's
 * SNMALLOC_STATIC_LIBRARY_PREFIX is sn_, the default). */
#ifndef BENCH_ADAPTERS_SNMALLOC_H
#define BENCH_ADAPTERS_SNMALLOC_H

#include "adapters/no_counts.h"

#include <stdio.h>

/* No header of snmalloc declares the functions of its static library. */
#ifdef __cplusplus
extern "C" {
#endif
void *sn_malloc(size_t size);
void sn_free(void *ptr);
void *sn_realloc(void *ptr, size_t size);
void *sn_calloc(size_t count, size_t size);
void *sn_memalign(size_t alignment, size_t size);
size_t sn_malloc_usable_size(const void *ptr);
#ifdef __cplusplus
}
#endif

static inline void *bench_alloc(size_t size) { return sn_malloc(size); }
static inline void bench_free(void *ptr) { sn_free(ptr); }
static inline void *bench_realloc(void *ptr, size_t size) {
  return sn_realloc(ptr, size);
}
static inline void *bench_calloc(size_t count, size_t size) {
  return sn_calloc(count, size);
}
static inline size_t bench_usable_size(void *ptr) { return sn_malloc_usable_size(ptr); }
static inline void *bench_aligned_alloc(size_t alignment, size_t size) {
  return sn_memalign(alignment, size);
}

static inline const char *bench_name(void) { return "snmalloc"; }

/* The library does not tell: whoever configured the build did. */
static inline void bench_version(char *text, size_t length) {
  snprintf(text, length, "%s", BENCH_SNMALLOC_VERSION);
}

/* The size comes from the page map, a flat table over the whole address space in
 * which everything that is not snmalloc's own has the size 0. There is none before
 * the first allocation. */
static inline bool bench_serves(void *ptr, size_t size) {
  sn_free(sn_malloc(1));
  return sn_malloc_usable_size(ptr) >= size;
}

static inline bool bench_may_ask_any(void) { return true; }

/* There is no such call. */
static inline void bench_collect(void) {}

#endif
