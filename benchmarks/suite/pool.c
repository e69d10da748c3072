/* pool.c - many threads of which few have work, and many heaps.
 *
 * Measures what a pool of 256 threads keeps, of which two work at a time and all get
 * their turn; what threads keep that worked and stand still; what heaps cost that many
 * threads use a little; and what is left of many heaps that are gone. Memory of threads
 * that stand still is not asked for by anybody.
 */
#include "suite/groups.h"
#include "suite/population.h"
#include "suite/threads.h"

/* ---- Idle threads ------------------------------------------------------------- */

enum {
  WORKERS = 256,
  BUSY = 2,
  NODES = 20000 /* blocks of a job */
};

typedef struct worker {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int state; /* [lock] IDLE, ASKED or OVER */
  void **nodes;
  uint32_t count;
  uint64_t random;
} worker_t;

enum {
  IDLE,
  ASKED,
  OVER
};

static void set_state(worker_t *worker, int state) {
  pthread_mutex_lock(&worker->lock);
  worker->state = state;
  pthread_cond_broadcast(&worker->changed);
  pthread_mutex_unlock(&worker->lock);
}

static void await_idle(worker_t *worker) {
  pthread_mutex_lock(&worker->lock);
  while (worker->state == ASKED) pthread_cond_wait(&worker->changed, &worker->lock);
  pthread_mutex_unlock(&worker->lock);
}

/* A document is parsed and dropped: many small nodes, few large ones. */
static void do_job(worker_t *worker) {
  for (uint32_t i = 0; i < worker->count; i++) {
    uint32_t kind = bench_range(&worker->random, 1, 100);
    uint32_t high = kind <= 90 ? 256 : kind <= 99 ? 3000 : 30000;
    worker->nodes[i] = suite_alloc_written(bench_range(&worker->random, 24, high));
  }
  for (uint32_t i = 0; i < worker->count; i++) bench_free(worker->nodes[i]);
}

static void *work(void *argument) {
  worker_t *worker = argument;
  pthread_mutex_lock(&worker->lock);
  while (worker->state != OVER) {
    if (worker->state == IDLE) {
      pthread_cond_wait(&worker->changed, &worker->lock);
      continue;
    }
    pthread_mutex_unlock(&worker->lock);
    do_job(worker);
    pthread_mutex_lock(&worker->lock);
    worker->state = IDLE;
    pthread_cond_broadcast(&worker->changed);
  }
  pthread_mutex_unlock(&worker->lock);
  return NULL;
}

static void run_idle_pool(const suite_workload_t *self) {
  uint32_t count = (uint32_t)suite_set(WORKERS),
           rounds = suite_rounds(self->operations, 1);
  size_t bytes = WORKERS * sizeof(worker_t), nodes = NODES * sizeof(void *) * BUSY;
  worker_t *workers = bench_records(bytes);
  void **places = bench_records(nodes);
  double time = 0;
  if (count < BUSY) count = BUSY;
  for (uint32_t i = 0; i < count; i++) {
    workers[i].nodes = places + i % BUSY * NODES;
    workers[i].count = (uint32_t)suite_set(NODES);
    workers[i].random = bench_seed(i);
    pthread_mutex_init(&workers[i].lock, NULL);
    pthread_cond_init(&workers[i].changed, NULL);
    workers[i].thread = suite_thread_start(work, &workers[i]);
  }
  for (uint32_t round = 0; round < rounds; round++) {
    double start = suite_now();
    for (uint32_t i = 0; i + BUSY <= count; i += BUSY) {
      for (uint32_t k = 0; k < BUSY; k++) set_state(&workers[i + k], ASKED);
      for (uint32_t k = 0; k < BUSY; k++) await_idle(&workers[i + k]);
    }
    time += suite_now() - start;
    suite_point();
  }
  suite_time("op", time, (double)rounds * count * workers[0].count);
  suite_figure("idle_rss", suite_rss(), "MiB");
  suite_light_load(1);
  suite_figure("idle_rss_after_1s", suite_rss(), "MiB");
  for (uint32_t i = 0; i < count; i++) set_state(&workers[i], OVER);
  for (uint32_t i = 0; i < count; i++) suite_thread_join(workers[i].thread);
  bench_records_free(places, nodes);
  bench_records_free(workers, bytes);
}

/* ---- Threads that stand still ------------------------------------------------- */

enum {
  STANDING = 64,
  STANDING_BLOCKS = 2000,
  KEPT_OF = 50 /* one block in so many is kept, of the last round */
};

typedef struct standing {
  pthread_barrier_t done, over;
  uint32_t blocks, rounds, low, high;
  size_t requested[STANDING]; /* of what is kept */
} standing_t;

typedef struct stander {
  standing_t *all;
  uint32_t index;
  uint64_t random;
  char *blocks[STANDING_BLOCKS];
} stander_t;

/* Some rounds of work, each of which frees what it allocated but for what is kept. */
static void *work_and_stand(void *argument) {
  stander_t *self = argument;
  standing_t *all = self->all;
  for (uint32_t round = 1; round <= all->rounds; round++) {
    size_t kept = 0;
    for (uint32_t i = 0; i < all->blocks; i++) {
      uint32_t size = suite_size_of_doublings(&self->random, all->low, all->high);
      self->blocks[i] = suite_alloc_written(size);
      if (i % KEPT_OF == 0) kept += size;
    }
    bool last = round == all->rounds;
    for (uint32_t i = 0; i < all->blocks; i++) {
      if (!last || i % KEPT_OF != 0) bench_free(self->blocks[i]);
    }
    if (last) all->requested[self->index] = kept;
  }
  pthread_barrier_wait(&all->done);
  pthread_barrier_wait(&all->over);
  for (uint32_t i = 0; i < all->blocks; i += KEPT_OF) bench_free(self->blocks[i]);
  return NULL;
}

static void run_standing(const suite_workload_t *self) {
  standing_t *all = bench_records(sizeof *all);
  stander_t *standers = bench_records(STANDING * sizeof *standers);
  pthread_t threads[STANDING];
  size_t requested = 0;
  all->blocks = (uint32_t)suite_set(STANDING_BLOCKS);
  all->rounds = suite_rounds(self->operations, 4);
  all->low = self->low;
  all->high = self->high;
  pthread_barrier_init(&all->done, NULL, STANDING + 1);
  pthread_barrier_init(&all->over, NULL, STANDING + 1);
  double start = suite_now();
  for (uint32_t i = 0; i < STANDING; i++) {
    standers[i].all = all;
    standers[i].index = i;
    standers[i].random = bench_seed(i);
    threads[i] = suite_thread_start(work_and_stand, &standers[i]);
  }
  pthread_barrier_wait(&all->done);
  suite_time("op", suite_now() - start, (double)STANDING * all->rounds * all->blocks);
  for (uint32_t i = 0; i < STANDING; i++) requested += all->requested[i];
  suite_figure("standing_rss", suite_rss(), "MiB");
  suite_figure("rss_per_requested", suite_per_requested(requested), "x");
  pthread_barrier_wait(&all->over);
  for (uint32_t i = 0; i < STANDING; i++) suite_thread_join(threads[i]);
  bench_records_free(standers, STANDING * sizeof *standers);
  bench_records_free(all, sizeof *all);
}

/* ---- Heaps -------------------------------------------------------------------- */

enum {
  HEAP_THREADS = 32
};

typedef struct heaps {
  bench_heap_t **heaps;
  uint32_t count;
  pthread_barrier_t used, over;
} heaps_t;

/* A block of each heap, freed by the thread after it was used. */
static void *use_heaps(void *argument) {
  heaps_t *all = argument;
  for (uint32_t i = 0; i < all->count; i++) {
    char *block = bench_heap_alloc(all->heaps[i], 64);
    *block = 1;
    bench_free(block);
  }
  pthread_barrier_wait(&all->used);
  pthread_barrier_wait(&all->over);
  return NULL;
}

static void run_heaps_threads(const suite_workload_t *self) {
  heaps_t all = {.count = (uint32_t)suite_set(self->slots)};
  size_t bytes = all.count * sizeof *all.heaps;
  pthread_t threads[HEAP_THREADS];
  all.heaps = bench_records(bytes);
  pthread_barrier_init(&all.used, NULL, HEAP_THREADS + 1);
  pthread_barrier_init(&all.over, NULL, HEAP_THREADS + 1);
  double start = suite_now(), before = suite_rss();
  for (uint32_t i = 0; i < all.count; i++) all.heaps[i] = bench_heap_new();
  for (int i = 0; i < HEAP_THREADS; i++) threads[i] = suite_thread_start(use_heaps, &all);
  pthread_barrier_wait(&all.used);
  double pairs = (double)all.count * HEAP_THREADS;
  suite_time("pair", suite_now() - start, pairs);
  suite_figure("per_heap_and_thread", (suite_rss() - before) * KIB / pairs, "KiB");
  pthread_barrier_wait(&all.over);
  for (int i = 0; i < HEAP_THREADS; i++) suite_thread_join(threads[i]);
  for (uint32_t i = 0; i < all.count; i++) bench_heap_destroy(all.heaps[i]);
  bench_collect();
  suite_figure("collected_rss", suite_rss(), "MiB");
  bench_records_free(all.heaps, bytes);
}

/* All live at once, each with one block; then all are gone. */
static void run_heaps_many(const suite_workload_t *self) {
  uint32_t count = (uint32_t)suite_set(self->slots);
  size_t bytes = count * sizeof(bench_heap_t *);
  bench_heap_t **heaps = bench_records(bytes);
  double start = suite_now();
  for (uint32_t i = 0; i < count; i++) {
    heaps[i] = bench_heap_new();
    *(char *)bench_heap_alloc(heaps[i], 100) = 1;
  }
  suite_time("new", suite_now() - start, count);
  suite_figure("living_rss", suite_rss(), "MiB");
  start = suite_now();
  for (uint32_t i = 0; i < count; i++) bench_heap_destroy(heaps[i]);
  suite_time("destroy", suite_now() - start, count);
  bench_collect();
  suite_figure("collected_rss", suite_rss(), "MiB");
  bench_records_free(heaps, bytes);
}

static const suite_workload_t workloads[] = {
    {.name = "idle_pool",
     .what = "256 threads, two of them busy in turn, each drops all that it allocates",
     .run = run_idle_pool,
     .operations = 4,
     .high = 30000,
     .threads = WORKERS},
    {.name = "idle_standing",
     .what = "64 threads that have worked, keep 1 block in 50, and stand still",
     .run = run_standing,
     .operations = 40,
     .low = 16,
     .high = 8192,
     .threads = STANDING},
    {.name = "heaps_threads",
     .what = "250 heaps, of each of which 32 threads use one block",
     .run = run_heaps_threads,
     .slots = 250,
     .threads = HEAP_THREADS,
     .heaps = 2},
    {.name = "heaps_many",
     .what = "10,000 heaps with one block each, and what is left of them",
     .run = run_heaps_many,
     .slots = 10000,
     .heaps = 1},
};

const suite_group_t suite_pool = SUITE_GROUP("pool", workloads);
