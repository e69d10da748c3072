/* mimalloc.h - adapter: mimalloc by its own names; versions 2 and 3. */
#ifndef BENCH_ADAPTERS_MIMALLOC_H
#define BENCH_ADAPTERS_MIMALLOC_H

#include "adapters/no_counts.h"

#include <mimalloc.h>
#include <stdio.h>

#ifndef BENCH_MIMALLOC_NAME
#define BENCH_MIMALLOC_NAME "mimalloc"
#endif

static inline void *bench_alloc(size_t size) { return mi_malloc(size); }
static inline void bench_free(void *ptr) { mi_free(ptr); }
static inline void *bench_realloc(void *ptr, size_t size) {
  return mi_realloc(ptr, size);
}
static inline void *bench_calloc(size_t count, size_t size) {
  return mi_calloc(count, size);
}
static inline size_t bench_usable_size(void *ptr) { return mi_usable_size(ptr); }
static inline void *bench_aligned_alloc(size_t alignment, size_t size) {
  return mi_malloc_aligned(size, alignment);
}

/* Up to version 2 a heap is its thread's. */
#define BENCH_HEAPS (MI_MALLOC_VERSION >= 30000 ? 2 : 1)
typedef mi_heap_t bench_heap_t;
static inline bench_heap_t *bench_heap_new(void) { return mi_heap_new(); }
static inline void *bench_heap_alloc(bench_heap_t *heap, size_t size) {
  return mi_heap_malloc(heap, size);
}
static inline void bench_heap_destroy(bench_heap_t *heap) { mi_heap_destroy(heap); }

static inline const char *bench_name(void) { return BENCH_MIMALLOC_NAME; }

static inline void bench_version(char *text, size_t length) {
  snprintf(text, length, "%d", mi_version());
}

static inline bool bench_serves(void *ptr, size_t size) {
  return mi_is_in_heap_region(ptr) && mi_usable_size(ptr) >= size;
}

static inline bool bench_may_ask_any(void) { return true; }

static inline void bench_collect(void) { mi_collect(true); }

#endif
