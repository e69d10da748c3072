/* churn.c - threads that come, leave blocks to others and go.
 *
 * Measures whether memory that threads of the past have used is usable for
 * those of the present: 2,000 threads, one after the other, or four at a time,
 * each allocate 2,000 blocks of 16 to 1,024 bytes, free the 1,000 that they
 * inherited and every second of their own, and pass the rest on. Live memory
 * is constant; RSS must be too, and go back once the last blocks are freed.
 */
#include <string.h>

#include "memory/figures.h"

enum {
  PASSED = 1000,
  OWN = 2 * PASSED,
  THREADS = 2000,
  MAX_AT_ONCE = 4
};

typedef struct inheritance {
  void *blocks[PASSED];
  uint64_t seed;
} inheritance_t;

static void *live_briefly(void *argument) {
  inheritance_t *inherited = argument;
  uint64_t random = bench_seed(inherited->seed);
  void *own[OWN];
  for (int i = 0; i < OWN; i++) {
    uint32_t size = bench_range(&random, 16, 1024);
    own[i] = bench_alloc(size);
    memset(own[i], 1, 16);
  }
  for (int i = 0; i < PASSED; i++) bench_free(inherited->blocks[i]);
  for (int i = 0; i < OWN; i += 2) bench_free(own[i]);
  for (int i = 0; i < PASSED; i++) inherited->blocks[i] = own[2 * i + 1];
  inherited->seed += MAX_AT_ONCE;
  return NULL;
}

/* RSS above `start` when the last blocks are freed. */
static size_t churn(int at_once, size_t start) {
  inheritance_t *inherited = bench_records(MAX_AT_ONCE * sizeof *inherited);
  size_t peak = 0;
  start += MAX_AT_ONCE * sizeof *inherited;
  for (int i = 0; i < at_once; i++) inherited[i].seed = (uint64_t)i;
  for (int done = 0; done < THREADS; done += at_once) {
    pthread_t threads[MAX_AT_ONCE];
    for (int i = 0; i < at_once; i++) {
      /* Heirs change, so that blocks wander between the lines of descent. */
      inheritance_t *next = &inherited[(i + done / at_once) % at_once];
      threads[i] = start_thread(live_briefly, next);
    }
    for (int i = 0; i < at_once; i++) pthread_join(threads[i], NULL);
    size_t rss = done % 100 == 0 ? rss_since(start) : 0;
    if (rss > peak) peak = rss;
  }
  for (int i = 0; i < at_once; i++) {
    for (int k = 0; k < PASSED; k++) bench_free(inherited[i].blocks[k]);
  }
  size_t rss = rss_since(start);
  figure(at_once == 1 ? "peak RSS, one thread at a time"
                      : "peak RSS, four threads at a time",
         in_mib(rss > peak ? rss : peak), "MiB");
  bench_records_free(inherited, MAX_AT_ONCE * sizeof *inherited);
  return rss;
}

/* One at a time, what lives is far below the bound all the time. Four at a time
 * hold more than it at their peak; theirs is what is left once the decay has
 * passed and memory was collected. */
void run_churn(double scale) {
  (void)scale;
  size_t start = bench_rss();
  figure_at_most("RSS above the start, one thread at a time", in_mib(churn(1, start)), 4,
                 "MiB");
  figure("RSS above the start, four threads at a time", in_mib(churn(4, start)), "MiB");
  bench_sleep_ms(1500);
  bench_collect();
  figure_at_most("the same, after decay and collect", in_mib(rss_since(start)), 4, "MiB");
}
