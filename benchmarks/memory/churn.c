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

static void churn(int at_once, const char *what) {
  inheritance_t *inherited = bench_records(MAX_AT_ONCE * sizeof *inherited);
  for (int i = 0; i < at_once; i++) inherited[i].seed = (uint64_t)i;
  size_t start = bench_rss(), peak = 0;
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
  figure(at_once == 1 ? "peak RSS, one at a time" : "peak RSS, four at a time",
         in_mib(peak), "MiB");
  figure_at_most(what, in_mib(rss_since(start)), 4, "MiB");
}

void run_churn(double scale) {
  (void)scale;
  churn(1, "RSS above the start, one thread at a time");
  churn(4, "RSS above the start, four threads at a time");
}
