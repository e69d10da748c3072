/* libc_names.h - shared by the adapters of allocators that stand in for libc's
 * malloc under its own names. */
#ifndef BENCH_ADAPTERS_LIBC_NAMES_H
#define BENCH_ADAPTERS_LIBC_NAMES_H

#include <malloc.h>
#include <stdlib.h>

static inline void *bench_alloc(size_t size) { return malloc(size); }
static inline void bench_free(void *ptr) { free(ptr); }
static inline void *bench_realloc(void *ptr, size_t size) { return realloc(ptr, size); }
static inline void *bench_calloc(size_t count, size_t size) {
  return calloc(count, size);
}
static inline size_t bench_usable_size(void *ptr) { return malloc_usable_size(ptr); }
static inline void *bench_aligned_alloc(size_t alignment, size_t size) {
  return memalign(alignment, size);
}

#endif
