/* main.c - what heaps cost beside the default heap.
 *
 * Measures pairs of hak_heap_alloc(64) and hak_free, one thread using 1, 64 and 1,000
 * heaps in turn, as ratios to pairs of hak_alloc and hak_free timed beside each run
 * (the median of the ratios); and how much longer it takes to free 10^6 blocks of 64
 * bytes than to destroy a heap that has them. Each block is checked to be of its heap
 * before anything is timed. Serial heaps likewise, in serial.c; heaps in memory of the
 * caller's in enclosed.c. Each in a process of its own. Exit status 1 if a bound is
 * missed.
 */
#include <hakmem/hakmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heaps.h"
#include "support/bench.h"

enum {
  PAIRS = 200000,
  ROUNDS = 41,
  WARM_ROUNDS = 300,
  BLOCKS = 1000000,
  HEAPS_MAX = 1000
};

static hak_heap_t *heaps[HEAPS_MAX];

_Noreturn void die(const char *what) {
  fprintf(stderr, "hakmem_bench_heaps: %s\n", what);
  exit(2);
}

static double pairs_of_heaps(size_t count) {
  uint64_t start = bench_now_ns();
  size_t pairs = 0;
  for (; pairs < PAIRS; pairs += count) {
    for (size_t i = 0; i < count; i++) hak_free(hak_heap_alloc(heaps[i], 64));
  }
  return (double)(bench_now_ns() - start) / (double)pairs;
}

static double pairs_of_default(void) {
  uint64_t start = bench_now_ns();
  for (size_t i = 0; i < PAIRS; i++) hak_free(hak_alloc(64));
  return (double)(bench_now_ns() - start) / PAIRS;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double median(double *values, size_t count) {
  qsort(values, count, sizeof values[0], by_value);
  return values[count / 2];
}

bool report(const char *name, double value, double bound, bool at_most) {
  bool ok = at_most ? value <= bound : value >= bound;
  printf("%s %-46s %8.2f (%s %g)\n", ok ? "PASS" : "FAIL", name, value,
         at_most ? "at most" : "at least", bound);
  return ok;
}

static bool measure_pairs(size_t count, double bound) {
  for (size_t i = 0; i < count; i++) {
    heaps[i] = hak_heap_create(NULL);
    void *block = heaps[i] == NULL ? NULL : hak_heap_alloc(heaps[i], 64);
    if (block == NULL || hak_heap_of(block) != heaps[i]) die("no block of the heap");
    hak_free(block);
  }
  for (size_t i = 0; i < WARM_ROUNDS * count; i++) {
    hak_free(hak_heap_alloc(heaps[i % count], 64));
  }
  double ratios[ROUNDS];
  for (int i = 0; i < ROUNDS; i++) {
    double of_heaps = pairs_of_heaps(count);
    ratios[i] = of_heaps / pairs_of_default();
  }
  char name[64];
  snprintf(name, sizeof name, "pair in %zu heap%s / pair of hak_alloc", count,
           count == 1 ? "" : "s in turn");
  for (size_t i = 0; i < count; i++) {
    if (hak_heap_destroy(heaps[i]) != 0) die("destroy failed");
  }
  return report(name, median(ratios, ROUNDS), bound, true);
}

static bool measure_destroy(void) {
  void **blocks = malloc(BLOCKS * sizeof *blocks);
  hak_heap_t *heap = hak_heap_create(NULL);
  if (blocks == NULL || heap == NULL) die("no memory");
  for (size_t i = 0; i < BLOCKS; i++) blocks[i] = hak_heap_alloc(heap, 64);
  uint64_t start = bench_now_ns();
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  double freeing = (double)(bench_now_ns() - start);
  for (size_t i = 0; i < BLOCKS; i++) {
    if (hak_heap_of(hak_heap_alloc(heap, 64)) != heap) die("no block of the heap");
  }
  start = bench_now_ns();
  if (hak_heap_destroy(heap) != 0) die("destroy failed");
  double ratio = freeing / (double)(bench_now_ns() - start);
  free(blocks);
  return report("10^6 frees / one destroy", ratio, 50, false);
}

static bool measure_one(void) { return measure_pairs(1, 1.3); }
static bool measure_64(void) { return measure_pairs(64, 2); }
static bool measure_many(void) { return measure_pairs(HEAPS_MAX, 4); }

/* In a process of its own: what heaps have left behind is not every program's. */
static bool apart(bool (*measure)(void)) {
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) die("no process");
  if (child == 0) exit(measure() ? 0 : 1);
  int status;
  if (waitpid(child, &status, 0) != child) die("no child");
  return status == 0;
}

int main(void) {
  bool ok = apart(measure_one);
  ok = apart(measure_64) && ok;
  ok = apart(measure_many) && ok;
  ok = apart(measure_destroy) && ok;
  ok = apart(measure_serial) && ok;
  ok = apart(measure_enclosed) && ok;
  return ok ? 0 : 1;
}
