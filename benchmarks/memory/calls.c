/* calls.c - how rarely an allocator that is in balance asks for anything.
 *
 * mixed: measures calls to the operating system and SuperSlabs over 100,000
 * replacements of blocks of 16 to 1,024 bytes in 256 random slots, and over as
 * many again. large: measures calls when blocks beyond 56 KiB come and go in
 * turn, each freed before the next, of changing sizes.
 */
#include "memory/figures.h"

/* False, and said, where the allocator does not count. */
static bool counts_are_there(const char *what) {
  bench_counts_t counts;
  if (bench_read_counts(&counts)) return true;
  figure_missing(what, "not counted by this allocator");
  return false;
}

enum {
  SLOTS = 256,
  ITERATIONS = 100000
};

static void mixed_pass(void **slots, uint64_t *random) {
  for (int i = 0; i < ITERATIONS; i++) {
    void **slot = &slots[bench_range(random, 0, SLOTS - 1)];
    bench_free(*slot);
    *slot = bench_alloc(bench_range(random, 16, 1024));
    *(char *)*slot = 1;
  }
}

void run_mixed(double scale) {
  (void)scale;
  static void *slots[SLOTS];
  uint64_t random = bench_seed(0);
  if (!counts_are_there("OS calls and SuperSlabs")) return;
  mixed_pass(slots, &random);
  bench_counts_t first = counts_now();
  mixed_pass(slots, &random);
  bench_counts_t second = counts_now();
  figure_at_most("SuperSlabs", (double)second.superslabs, 3, "");
  figure_at_most("OS calls from the process's start", (double)first.os_calls, 13, "");
  figure_at_most("OS calls of a second pass", (double)(second.os_calls - first.os_calls),
                 0, "");
}

/* Allocates and frees sizes from low to high in turn; the calls made once the
 * first rounds have shown the allocator what to keep. */
static double large_calls(size_t low, size_t high, int rounds) {
  uint64_t random = bench_seed(0);
  uint64_t before = 0;
  for (int round = -16; round < rounds; round++) {
    if (round == 0) before = counts_now().os_calls;
    /* The largest first, then any: what is kept then suffices for all. */
    size_t size = round < 0 ? high : bench_range(&random, (uint32_t)low, (uint32_t)high);
    char *block = bench_alloc(size);
    block[0] = block[size - 1] = 1;
    bench_free(block);
  }
  return (double)(counts_now().os_calls - before);
}

void run_large(double scale) {
  (void)scale;
  if (!counts_are_there("OS calls")) return;
  figure_at_most("OS calls, 10,000 blocks of 57 KiB to 1 MiB",
                 large_calls(57 * KIB, MIB, 10000), 0, "");
  figure_at_most("OS calls, 10,000 blocks of 1 to 16 MiB",
                 large_calls(MIB, 16 * MIB, 10000), 0, "");
  figure_at_most("OS calls, 10,000 blocks of 33 to 60 MiB",
                 large_calls(33 * MIB, 60 * MIB, 10000), 0, "");
}
