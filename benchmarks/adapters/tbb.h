/* tbb.h - adapter: the scalable allocator of oneTBB by its own names. */
#ifndef BENCH_ADAPTERS_TBB_H
#define BENCH_ADAPTERS_TBB_H

#include "adapters/no_counts.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tbb/scalable_allocator.h>

static inline void *bench_alloc(size_t size) { return scalable_malloc(size); }
static inline void bench_free(void *ptr) { scalable_free(ptr); }
static inline void *bench_realloc(void *ptr, size_t size) {
  return scalable_realloc(ptr, size);
}
static inline void *bench_calloc(size_t count, size_t size) {
  return scalable_calloc(count, size);
}
static inline size_t bench_usable_size(void *ptr) { return scalable_msize(ptr); }
static inline void *bench_aligned_alloc(size_t alignment, size_t size) {
  return scalable_aligned_malloc(size, alignment);
}

static inline const char *bench_name(void) { return "tbb"; }

/* What TBB's malloc proxy asks about blocks of which it does not know whose they
 * are: 0 for those that the library does not recognise as its own. */
#ifdef __cplusplus
extern "C"
#endif
    size_t
    __TBB_malloc_safer_msize(void *ptr, size_t (*size_of_others)(void *));

/* The file that serves scalable_malloc in this process; "?" if it is not TBB's. */
static inline void bench_tbb_file(char *text, size_t length) {
  Dl_info info;
  void *function = dlsym(RTLD_DEFAULT, "scalable_malloc");
  char *path = function != NULL && dladdr(function, &info) != 0
                   ? realpath(info.dli_fname, NULL)
                   : NULL;
  const char *slash = path != NULL ? strrchr(path, '/') : NULL;
  bool is_tbb = slash != NULL && strncmp(slash + 1, "libtbbmalloc.", 13) == 0;
  snprintf(text, length, "%s", is_tbb ? slash + 1 : "?");
  free(path);
}

/* The library does not tell its version: that of the package found, and the name of
 * the file, which carries the interface's. */
static inline void bench_version(char *text, size_t length) {
  char file[48];
  bench_tbb_file(file, sizeof file);
  snprintf(text, length, "%s/%s", BENCH_TBB_VERSION, file);
}

static inline bool bench_serves(void *ptr, size_t size) {
  char file[48];
  bench_tbb_file(file, sizeof file);
  return file[0] != '?' && __TBB_malloc_safer_msize(ptr, NULL) >= size;
}

/* An address between its lowest and highest mapping is looked at. */
static inline bool bench_may_ask_any(void) { return true; }

static inline void bench_collect(void) {
  scalable_allocation_command(TBBMALLOC_CLEAN_ALL_BUFFERS, NULL);
}

#endif
