/* register.c - the price of a huge block before it is used.
 *
 * Measures the time to allocate and free 1 GiB untouched (the address space, and
 * the records that make its addresses known) beside the time that the page
 * faults of the same block take. Medians of five.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "memory/figures.h"

enum {
  ROUNDS = 5
};

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median_ms(double *nanoseconds) {
  qsort(nanoseconds, ROUNDS, sizeof *nanoseconds, by_value);
  return nanoseconds[ROUNDS / 2] / 1e6;
}

/* Fresh pages of the kernel's usual size, whatever an allocator would ask for. */
static double fault_in(size_t size) {
  char *pages =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) exit(1);
  uint64_t start = bench_now_ns();
  for (size_t i = 0; i < size; i += 4096) ((volatile char *)pages)[i] = 1;
  double time = (double)(bench_now_ns() - start);
  munmap(pages, size);
  return time;
}

void run_register(double scale) {
  size_t size = (size_t)(1024 * scale) * MIB;
  double untouched[ROUNDS], touched[ROUNDS];
  for (int i = 0; i < ROUNDS; i++) {
    uint64_t start = bench_now_ns();
    char *block = bench_alloc(size);
    if (block == NULL) {
      figure_missing("a huge block", "out of memory");
      return;
    }
    bench_free(block);
    untouched[i] = (double)(bench_now_ns() - start);
    touched[i] = fault_in(size);
  }
  double allocate = median_ms(untouched), fault = median_ms(touched);
  figure("allocate and free, untouched", allocate, "ms");
  figure("page faults", fault, "ms");
  figure_at_most("allocate and free / page faults", 100 * allocate / fault, 2, "%");
}
