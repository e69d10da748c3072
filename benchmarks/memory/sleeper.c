/* sleeper.c - memory that a sleeping thread pins.
 *
 * Measures what becomes of memory whose allocating thread does nothing any more.
 * sleeper: one thread allocates 500 MB of blocks of 64 to 512 bytes and sleeps
 * for good; two others free all of it and then allocate as much in other sizes
 * (600 to 2,000 bytes). Memory of the first 500 MB that neither serves them nor
 * goes back to the system is lost. In random order, and in the order of
 * allocation. hoard: a thread itself frees 90 % of 200 MB at random and sleeps,
 * and another allocates 150 MB of the same sizes.
 */
#include <stdlib.h>

#include "memory/figures.h"

/* ---- Shared: a thread that fills an array of blocks and sleeps ---------------- */

typedef struct filler {
  void **blocks;
  size_t count, capacity;
  size_t bytes;      /* to allocate */
  double free_share; /* of its blocks, freed by itself at random */
  pthread_barrier_t filled, end;
} filler_t;

static void *fill_and_sleep(void *argument) {
  filler_t *filler = argument;
  uint64_t random = bench_seed(0);
  for (size_t bytes = 0; bytes < filler->bytes && filler->count < filler->capacity;) {
    uint32_t size = bench_range(&random, 64, 512);
    filler->blocks[filler->count++] = alloc_filled(size);
    bytes += size;
  }
  if (filler->free_share > 0) {
    bench_shuffle(filler->blocks, filler->count, &random);
    size_t count = (size_t)((double)filler->count * filler->free_share);
    for (size_t i = 0; i < count; i++) bench_free(filler->blocks[i]);
  }
  pthread_barrier_wait(&filler->filled);
  pthread_barrier_wait(&filler->end); /* asleep until the process ends */
  return NULL;
}

static void filler_start(filler_t *filler, size_t bytes, double free_share) {
  filler->bytes = bytes;
  filler->free_share = free_share;
  filler->count = 0;
  filler->capacity = bytes / 280;
  filler->blocks = bench_records(filler->capacity * sizeof(void *));
  pthread_barrier_init(&filler->filled, NULL, 2);
  pthread_barrier_init(&filler->end, NULL, 2);
}

/* ---- sleeper ------------------------------------------------------------------ */

typedef struct worker {
  filler_t *filler;
  unsigned part;           /* of two */
  size_t bytes;            /* to allocate afterwards */
  size_t usable;           /* of what it allocated */
  pthread_barrier_t *step; /* both workers and the main thread */
} worker_t;

static void *free_then_allocate(void *argument) {
  worker_t *worker = argument;
  uint64_t random = bench_seed(1 + worker->part);
  for (size_t i = worker->part; i < worker->filler->count; i += 2) {
    bench_free(worker->filler->blocks[i]);
  }
  pthread_barrier_wait(worker->step); /* all is freed */
  pthread_barrier_wait(worker->step); /* and was looked at */
  for (size_t bytes = 0; bytes < worker->bytes;) {
    uint32_t size = bench_range(&random, 600, 2000);
    worker->usable += bench_usable_size(alloc_filled(size));
    bytes += size;
  }
  pthread_barrier_wait(worker->step);
  pthread_barrier_wait(worker->step);
  return NULL;
}

/* Always of full size: a share of less would be a share of caches. */
static void sleeper_in_order(bool shuffled) {
  static filler_t filler;
  static pthread_barrier_t step;
  size_t bytes = 500000000;
  filler_start(&filler, bytes, 0);
  size_t start = bench_rss();
  start_thread(fill_and_sleep, &filler);
  pthread_barrier_wait(&filler.filled);
  size_t filled = rss_since(start);
  uint64_t random = bench_seed(9);
  if (shuffled) bench_shuffle(filler.blocks, filler.count, &random);

  static worker_t workers[2];
  pthread_t threads[2];
  pthread_barrier_init(&step, NULL, 3);
  for (unsigned i = 0; i < 2; i++) {
    workers[i] = (worker_t){&filler, i, (size_t)(bytes * 0.475), 0, &step};
    threads[i] = start_thread(free_then_allocate, &workers[i]);
  }
  pthread_barrier_wait(&step);
  size_t freed = rss_since(start);
  pthread_barrier_wait(&step);
  pthread_barrier_wait(&step);
  size_t rss = rss_since(start);
  size_t usable = workers[0].usable + workers[1].usable;
  double lost = rss > usable ? (double)(rss - usable) : 0;
  figure("RSS when filled", in_mib(filled), "MiB");
  figure("RSS when freed by the others", in_mib(freed), "MiB");
  figure("RSS with 95 % as much in other sizes", in_mib(rss), "MiB");
  figure_at_least("reused or given back", 100 * (1 - lost / (double)filled), 95, "%");
  pthread_barrier_wait(&step);
  for (unsigned i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

void run_sleeper(double scale) {
  (void)scale;
  sleeper_in_order(true);
}

void run_sleeper_in_order(double scale) {
  (void)scale;
  sleeper_in_order(false);
}

/* ---- hoard -------------------------------------------------------------------- */

void run_hoard(double scale) {
  static filler_t filler;
  (void)scale; /* the bound is a size */
  filler_start(&filler, 200 * MIB, 0.9);
  size_t start = bench_rss();
  start_thread(fill_and_sleep, &filler);
  pthread_barrier_wait(&filler.filled);
  size_t hoarded = rss_since(start);
  uint64_t random = bench_seed(3);
  for (size_t bytes = 0; bytes < 150 * MIB;) {
    uint32_t size = bench_range(&random, 64, 512);
    alloc_filled(size);
    bytes += size;
  }
  figure("RSS with 20 MB live, before", in_mib(hoarded), "MiB");
  figure_at_most("RSS with 170 MB live", in_mib(rss_since(start)), 250, "MiB");
}
