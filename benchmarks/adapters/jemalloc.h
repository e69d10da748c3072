/* jemalloc.h - adapter: jemalloc, linked over malloc's names as Debian builds it. */
#ifndef BENCH_ADAPTERS_JEMALLOC_H
#define BENCH_ADAPTERS_JEMALLOC_H

#include "adapters/libc_names.h"
#include "adapters/no_counts.h"

#include <jemalloc/jemalloc.h>
#include <stdio.h>

static inline const char *bench_name(void) { return "jemalloc"; }

static inline void bench_version(char *text, size_t length) {
  const char *version = "?";
  size_t size = sizeof version;
  mallctl("version", &version, &size, NULL, 0);
  snprintf(text, length, "%.*s", (int)(length - 1), version);
}

/* arenas.lookup finds the extent of an address, and so the arena. */
static inline bool bench_serves(void *ptr, size_t size) {
  unsigned arena = 0;
  size_t arena_size = sizeof arena;
  return mallctl("arenas.lookup", &arena, &arena_size, &ptr, sizeof ptr) == 0 &&
         malloc_usable_size(ptr) >= size;
}

/* The look-up trusts the address where its radix tree has no node. */
static inline bool bench_may_ask_any(void) { return false; }

static inline void bench_collect(void) {
  char purge_all[48];
  mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
  snprintf(purge_all, sizeof purge_all, "arena.%u.purge", (unsigned)MALLCTL_ARENAS_ALL);
  mallctl(purge_all, NULL, NULL, NULL, 0);
}

#endif
