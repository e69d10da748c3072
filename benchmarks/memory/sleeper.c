/* sleeper.c - memory that a sleeping thread pins.
 *
 * Measures what becomes of memory whose allocating thread does nothing any more.
 * sleeper: one thread allocates 500 MB of blocks of 64 to 512 bytes and sleeps
 * for good; two others free all of it and then allocate as much in other sizes
 * (600 to 2,000 bytes). Memory of the first 500 MB that neither serves them nor
 * goes back to the system is lost: what the process then holds beyond what the
 * second half of the work costs in a process that did not do the first. In
 * random order, and in the order of allocation. hoard: a thread itself frees 90 % of 200
 * MB at random and sleeps, and another allocates 150 MB of the same sizes.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

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
    alloc_filled(size);
    bytes += size;
  }
  pthread_barrier_wait(worker->step);
  pause(); /* idle until the process ends */
  return NULL;
}

/* Starts both workers, waits until they have freed and until they have allocated;
 * RSS above `start` at these two moments. They end with the process. */
static void run_workers(filler_t *filler, size_t bytes, size_t start, size_t *freed,
                        size_t *allocated) {
  static worker_t workers[2];
  static pthread_barrier_t step;
  pthread_barrier_init(&step, NULL, 3);
  for (unsigned i = 0; i < 2; i++) {
    workers[i] = (worker_t){filler, i, bytes / 2, &step};
    start_thread(free_then_allocate, &workers[i]);
  }
  pthread_barrier_wait(&step);
  *freed = rss_since(start);
  pthread_barrier_wait(&step);
  pthread_barrier_wait(&step);
  *allocated = rss_since(start);
}

/* The workers' second half in a process of its own. */
static size_t cost_alone(size_t bytes) {
  static filler_t nothing;
  int ends[2];
  size_t freed, cost = 0;
  if (pipe(ends) != 0) return 0;
  pid_t child = fork();
  if (child == 0) {
    run_workers(&nothing, bytes, bench_rss(), &freed, &cost);
    _exit(write(ends[1], &cost, sizeof cost) != sizeof cost);
  }
  close(ends[1]);
  if (child < 0 || read(ends[0], &cost, sizeof cost) != sizeof cost) cost = 0;
  close(ends[0]);
  waitpid(child, NULL, 0);
  return cost;
}

/* Always of full size: a share of less would be a share of caches. */
static void sleeper_in_order(bool shuffled) {
  static filler_t filler;
  const size_t bytes = 500000000;
  size_t alone = cost_alone(bytes);
  filler_start(&filler, bytes, 0);
  size_t start = bench_rss(), freed = 0, allocated = 0;
  start_thread(fill_and_sleep, &filler);
  pthread_barrier_wait(&filler.filled);
  size_t filled = rss_since(start);
  uint64_t random = bench_seed(9);
  if (shuffled) bench_shuffle(filler.blocks, filler.count, &random);
  run_workers(&filler, bytes, start, &freed, &allocated);
  double lost = allocated > alone ? (double)(allocated - alone) : 0;
  figure("RSS when filled", in_mib(filled), "MiB");
  figure("RSS when freed by the others", in_mib(freed), "MiB");
  figure("RSS with as much in other sizes", in_mib(allocated), "MiB");
  figure("RSS of those in a process of their own", in_mib(alone), "MiB");
  figure_at_least("reused or given back",
                  alone != 0 ? 100 * (1 - lost / (double)filled) : 0, 95, "%");
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
