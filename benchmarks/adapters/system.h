/* system.h - adapter: the malloc of the system's C library. */
#ifndef BENCH_ADAPTERS_SYSTEM_H
#define BENCH_ADAPTERS_SYSTEM_H

#include "adapters/libc_names.h"
#include "adapters/no_counts.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

static inline const char *bench_name(void) { return "system"; }

static inline void bench_version(char *text, size_t length) {
#ifdef __GLIBC__
  snprintf(text, length, "glibc-%s", gnu_get_libc_version());
#else
  snprintf(text, length, "libc");
#endif
}

/* True if the process finds this function in the C library, and not in an
 * allocator that was linked or preloaded over it. */
static inline bool bench_system_symbol_is_libc(const char *symbol) {
  Dl_info info;
  void *address = dlsym(RTLD_DEFAULT, symbol);
  if (address == NULL || dladdr(address, &info) == 0 || info.dli_fname == NULL) {
    return false;
  }
  const char *slash = strrchr(info.dli_fname, '/');
  const char *file = slash != NULL ? slash + 1 : info.dli_fname;
  return strncmp(file, "libc.", 5) == 0 || strncmp(file, "libc-", 5) == 0 ||
         strncmp(file, "ld-musl", 7) == 0;
}

static inline bool bench_serves(void *ptr, size_t size) {
  return bench_system_symbol_is_libc("malloc") && bench_system_symbol_is_libc("free") &&
         malloc_usable_size(ptr) >= size;
}

/* malloc_usable_size reads in front of the address. */
static inline bool bench_may_ask_any(void) { return false; }

static inline void bench_collect(void) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

#endif
