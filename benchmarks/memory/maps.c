/* maps.c - what churn does to the kernel's own records.
 *
 * Measures the number of mappings of the process (lines in /proc/self/maps)
 * while 4 GiB of blocks of all sizes are allocated, half of everything is
 * freed at random over and over, and memory is given back in between. Each
 * hole may cost a mapping, and the kernel allows 65,530.
 */
#include "memory/figures.h"

typedef struct kind {
  uint32_t low, high; /* sizes */
  size_t slots;
  int per_step; /* replacements */
  void **blocks;
} kind_t;

static kind_t kinds[] = {
    {16, 1024, 200000, 256, NULL},
    {1024, 32768, 10000, 32, NULL},
    {65536, 4194304, 100, 1, NULL},
};
enum {
  KINDS = sizeof kinds / sizeof kinds[0]
};

static size_t replace_some(kind_t *kind, uint64_t *random) {
  size_t bytes = 0;
  for (int i = 0; i < kind->per_step; i++) {
    void **slot = &kind->blocks[bench_range(random, 0, (uint32_t)kind->slots - 1)];
    uint32_t size = bench_range(random, kind->low, kind->high);
    bench_free(*slot);
    *slot = alloc_filled(size);
    bytes += size;
  }
  return bytes;
}

static void free_half(uint64_t *random) {
  for (int i = 0; i < KINDS; i++) {
    for (size_t k = 0; k < kinds[i].slots; k++) {
      if (bench_range(random, 0, 1) == 0) continue;
      bench_free(kinds[i].blocks[k]);
      kinds[i].blocks[k] = NULL;
    }
  }
}

void run_maps(double scale) {
  double total = 4096.0 * (double)MIB * scale;
  uint64_t random = bench_seed(0);
  for (int i = 0; i < KINDS; i++) {
    kinds[i].blocks = bench_records(kinds[i].slots * sizeof(void *));
  }
  size_t start = bench_map_lines(), most = start;
  double done = 0, next_collect = 0;
  while (done < total) {
    for (int i = 0; i < KINDS; i++) done += (double)replace_some(&kinds[i], &random);
    if (done < next_collect) continue;
    next_collect = done + 128.0 * (double)MIB;
    free_half(&random);
    bench_collect();
    size_t lines = bench_map_lines();
    if (lines > most) most = lines;
    bench_progress("maps", done, total);
  }
  figure("mappings at the start", (double)start, "");
  figure("peak RSS", in_mib(bench_peak_rss()), "MiB");
  figure_at_most("mappings, at most", (double)most, 1000, "");
}
