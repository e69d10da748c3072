/* hakmem.h - adapter: hakmem by its own names. */
#ifndef BENCH_ADAPTERS_HAKMEM_H
#define BENCH_ADAPTERS_HAKMEM_H

#include <hakmem/hakmem.h>

#include <stdio.h>
#include <string.h>

/* Another name for a second build of it in the same tables. */
#ifndef BENCH_HAKMEM_NAME
#define BENCH_HAKMEM_NAME "hakmem"
#endif

static inline void *bench_alloc(size_t size) { return hak_alloc(size); }
static inline void bench_free(void *ptr) { hak_free(ptr); }
static inline void *bench_realloc(void *ptr, size_t size) {
  return hak_realloc(ptr, size);
}
static inline void *bench_calloc(size_t count, size_t size) {
  return hak_calloc(count, size);
}
static inline size_t bench_usable_size(void *ptr) { return hak_usable_size(ptr); }
static inline void *bench_aligned_alloc(size_t alignment, size_t size) {
  return hak_aligned_alloc(alignment, size);
}

#define BENCH_HEAPS 3
typedef hak_heap_t bench_heap_t;
static inline bench_heap_t *bench_heap_new(void) { return hak_heap_create(NULL); }
static inline bench_heap_t *bench_heap_limited(size_t limit) {
  hak_heap_config_t config;
  memset(&config, 0, sizeof config);
  config.struct_size = (uint32_t)sizeof config;
  config.hard_limit = limit;
  return hak_heap_create(&config);
}
static inline void *bench_heap_alloc(bench_heap_t *heap, size_t size) {
  return hak_heap_alloc(heap, size);
}
static inline void bench_heap_destroy(bench_heap_t *heap) { hak_heap_destroy(heap); }

static inline const char *bench_name(void) { return BENCH_HAKMEM_NAME; }

static inline void bench_version(char *text, size_t length) {
  uint32_t version = hak_version();
  snprintf(text, length, "%u.%u.%u", version / 10000, version / 100 % 100, version % 100);
}

static inline bool bench_serves(void *ptr, size_t size) {
  return hak_heap_of(ptr) == hak_heap_default() && hak_usable_size(ptr) >= size;
}

static inline bool bench_may_ask_any(void) { return true; }

/* One hak_collect looks at a bounded number of slabs: go on while it finds some. */
static inline void bench_collect(void) {
  for (int round = 0; round < 64; round++) {
    if (hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL) == 0 && round > 0) return;
  }
}

static inline void bench_thread_idle(void) { hak_thread_idle(); }

/* On Linux a commit is accounting, not a call. */
static inline bool bench_read_counts(bench_counts_t *out) {
  hak_stats_t stats;
  memset(&stats, 0, sizeof stats);
  stats.struct_size = (uint32_t)sizeof stats;
  if (hak_stats_get(NULL, &stats) != 0) return false;
  out->os_calls = stats.os_reserve + stats.os_release + stats.os_purge + stats.os_remap +
                  stats.os_advise;
  out->superslabs = stats.superslabs;
  out->lock_contended = stats.lock_contended;
  out->entry_writes = stats.entry_writes;
  out->shelf_visits = stats.shelf_visits;
  return true;
}

#endif
