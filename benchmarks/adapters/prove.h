/* prove.h - no figure without a proof of who served it.
 *
 * Every executable calls bench_prove() before its first workload and after its
 * last: the pointers of all size ranges must be known to the allocator's own
 * introspection. A run whose proof fails ends with status 3; the runner accepts
 * no output without the line "allocator NAME VERSION proven".
 */
#ifndef BENCH_ADAPTERS_PROVE_H
#define BENCH_ADAPTERS_PROVE_H

#include "adapters/adapter.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static inline void bench_prove_block(void *ptr, size_t size) {
  if (ptr != NULL && bench_serves(ptr, size)) return;
  fprintf(stderr, "%s: a block of %zu bytes did not come from this allocator\n",
          bench_name(), size);
  exit(3);
}

static inline void bench_prove_refused(void *ptr, const char *what) {
  if (!bench_serves(ptr, 1)) return;
  fprintf(stderr, "%s: claims %s\n", bench_name(), what);
  exit(3);
}

/* An introspection that says yes to everything proves nothing: memory that is
 * somebody else's must be refused. */
static inline void bench_prove_refusals(void) {
  enum {
    BYTES = 1 << 18
  };
  static char object[64];
  char local[64] = {0};
  if (!bench_may_ask_any()) return;
  bench_prove_refused(local, "an address of the stack");
  bench_prove_refused(object, "a static object");
  char *mapping = (char *)mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return;
  bench_prove_refused(mapping + BYTES / 2, "a mapping that it did not make");
  munmap(mapping, BYTES);
}

static inline void bench_prove(void) {
  static const size_t sizes[] = {1, 16, 200, 1000, 5000, 30000, 200000, 3000000};
  enum {
    COUNT = sizeof sizes / sizeof sizes[0]
  };
  void *blocks[COUNT];
  bench_prove_refusals();
  size_t count = 0;
  while (count < COUNT && sizes[count] <= BENCH_LARGEST_BLOCK) {
    blocks[count] = bench_alloc(sizes[count]);
    bench_prove_block(blocks[count], sizes[count]);
    count++;
  }
  for (size_t i = 0; i < count; i++) bench_free(blocks[i]);
}

/* Printed last, when nothing can go wrong any more. */
static inline void bench_print_proof(void) {
  char version[64];
  bench_prove();
  bench_version(version, sizeof version);
  printf("allocator %s %s proven\n", bench_name(), version);
  fflush(stdout);
}

#endif
