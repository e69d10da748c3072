/* rpmalloc.h - adapter: rpmalloc by its own names; version 2, which sets up itself
 * and its threads at their first allocation. */
#ifndef BENCH_ADAPTERS_RPMALLOC_H
#define BENCH_ADAPTERS_RPMALLOC_H

#include "adapters/no_counts.h"
#include "adapters/rpmalloc_maps.h"

#include <rpmalloc.h>
#include <stdio.h>

#if !defined(RPMALLOC_VERSION_MAJOR) || RPMALLOC_VERSION_MAJOR < 2
#error "rpmalloc 2 is needed: older versions want a call at each thread's start"
#endif

static inline void *bench_alloc(size_t size) { return rpmalloc(size); }
static inline void bench_free(void *ptr) { rpfree(ptr); }
static inline void *bench_realloc(void *ptr, size_t size) { return rprealloc(ptr, size); }
static inline void *bench_calloc(size_t count, size_t size) {
  return rpcalloc(count, size);
}
static inline size_t bench_usable_size(void *ptr) { return rpmalloc_usable_size(ptr); }
static inline void *bench_aligned_alloc(size_t alignment, size_t size) {
  return rpaligned_alloc(alignment, size);
}

static inline const char *bench_name(void) { return "rpmalloc"; }

static inline void bench_version(char *text, size_t length) {
  snprintf(text, length, "%s", RPMALLOC_VERSION);
}

/* rpmalloc_usable_size trusts any address: it is asked only about those in memory
 * that the library got through its own interface to the system. */
static inline bool bench_serves(void *ptr, size_t size) {
  return rpmalloc_maps_contain(ptr) && rpmalloc_usable_size(ptr) >= size;
}

static inline bool bench_may_ask_any(void) { return true; }

static inline void bench_collect(void) { rpmalloc_thread_collect(); }

#endif
