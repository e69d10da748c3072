/* tcmalloc.h - adapter: tcmalloc of gperftools, linked over malloc's names. */
#ifndef BENCH_ADAPTERS_TCMALLOC_H
#define BENCH_ADAPTERS_TCMALLOC_H

#include "adapters/libc_names.h"
#include "adapters/no_counts.h"

#include <gperftools/malloc_extension_c.h>
#include <gperftools/tcmalloc.h>
#include <stdio.h>

static inline const char *bench_name(void) { return "tcmalloc"; }

static inline void bench_version(char *text, size_t length) {
  int major = 0, minor = 0;
  const char *patch = "";
  tc_version(&major, &minor, &patch);
  snprintf(text, length, "gperftools-%d.%d%s", major, minor, patch);
}

static inline bool bench_serves(void *ptr, size_t size) {
  return MallocExtension_GetOwnership(ptr) == MallocExtension_kOwned &&
         malloc_usable_size(ptr) >= size;
}

static inline bool bench_may_ask_any(void) { return true; }

static inline void bench_collect(void) { MallocExtension_ReleaseFreeMemory(); }

#endif
