/* memory.c - memory over time, beside the time that keeping it small takes.
 *
 * Measures situations that are known to be hard for allocators: a consumer that keeps
 * few of a producer's blocks, threads that sleep on free memory, and threads that come
 * and go and leave blocks to others. The resident set is looked at between parts of
 * the work; time stands still meanwhile. benchmarks/memory judges such situations by
 * bounds; here they are compared. All is freed in the end.
 */
#include <stdatomic.h>

#include "suite/groups.h"
#include "suite/ring.h"

static void report_rss(const char *phase) { suite_figure(phase, suite_rss(), "MiB"); }

/* ---- Blow-up ---------------------------------------------------------------- */

typedef struct blowup {
  suite_ring_t ring;
  void **kept;
  size_t kept_count, kept_capacity;
} blowup_t;

enum {
  KEPT_OF = 1000,
  PARTS = 60 /* of the work, with a look at memory after each */
};

static void *consume(void *argument) {
  blowup_t *blowup = argument;
  uint64_t random = bench_seed(1);
  for (void **batch; (batch = suite_ring_begin_read(&blowup->ring)) != NULL;) {
    for (int i = 0; i < SUITE_BATCH; i++) {
      if (bench_range(&random, 1, KEPT_OF) == 1 &&
          blowup->kept_count < blowup->kept_capacity) {
        blowup->kept[blowup->kept_count++] = batch[i];
      } else {
        bench_free(batch[i]);
      }
    }
    suite_ring_end_read(&blowup->ring);
  }
  return NULL;
}

static void run_blowup(const suite_workload_t *self) {
  uint32_t batches = suite_rounds(self->operations / SUITE_BATCH / PARTS, 10);
  double blocks = (double)batches * SUITE_BATCH * PARTS, time = 0;
  blowup_t *blowup = bench_records(sizeof *blowup);
  blowup->ring.batch = SUITE_BATCH;
  blowup->kept_capacity = (size_t)(blocks / KEPT_OF * 2 + 1000);
  size_t kept_bytes = blowup->kept_capacity * sizeof(void *);
  blowup->kept = bench_records(kept_bytes);
  uint64_t random = bench_seed(0);
  pthread_t consumer = suite_thread_start(consume, blowup);
  for (int part = 0; part < PARTS; part++) {
    double start = suite_now();
    for (uint32_t i = 0; i < batches; i++) {
      void **batch = suite_ring_begin_write(&blowup->ring);
      for (int k = 0; k < SUITE_BATCH; k++) {
        batch[k] = suite_alloc(bench_range(&random, self->low, self->high));
      }
      suite_ring_end_write(&blowup->ring);
    }
    time += suite_now() - start;
    suite_point();
  }
  suite_ring_close(&blowup->ring);
  suite_thread_join(consumer);
  suite_time("op", time, blocks);
  report_rss("end_rss");
  for (size_t i = 0; i < blowup->kept_count; i++) bench_free(blowup->kept[i]);
  bench_records_free(blowup->kept, kept_bytes);
  bench_records_free(blowup, sizeof *blowup);
}

/* ---- Work in parts, with looks at memory ------------------------------------- */

typedef struct pile {
  char **blocks;
  size_t count, capacity;
  uint64_t random;
} pile_t;

enum {
  LOOKS = 16 /* at memory during a phase */
};

/* For `bytes` in blocks of low to high bytes; a tenth more than they are likely to be. */
static void pile_start(pile_t *pile, size_t bytes, uint32_t low, uint32_t high,
                       uint64_t seed) {
  pile->capacity = bytes / ((low + high) / 2) / 10 * 11 + 1000;
  pile->blocks = bench_records(pile->capacity * sizeof *pile->blocks);
  pile->count = 0;
  pile->random = seed;
}

static void pile_end(pile_t *pile) {
  bench_records_free(pile->blocks, pile->capacity * sizeof *pile->blocks);
}

/* Adds blocks of low to high bytes, `bytes` in all; reports the time by block. */
static void pile_fill(pile_t *pile, size_t bytes, uint32_t low, uint32_t high,
                      const char *phase) {
  size_t done = 0, first = pile->count;
  double time = 0;
  for (size_t look = 1; look <= LOOKS; look++) {
    double start = suite_now();
    while (done < bytes / LOOKS * look && pile->count < pile->capacity) {
      uint32_t size = bench_range(&pile->random, low, high);
      pile->blocks[pile->count++] = suite_alloc(size);
      done += size;
    }
    time += suite_now() - start;
    suite_point();
  }
  suite_time(phase, time, (double)(pile->count - first));
}

/* Frees the first `count` blocks; without a phase to report, says nothing. */
static void pile_free(pile_t *pile, size_t count, const char *phase) {
  double time = 0;
  for (size_t look = 0; look < LOOKS; look++) {
    double start = suite_now();
    for (size_t i = count * look / LOOKS; i < count * (look + 1) / LOOKS; i++) {
      bench_free(pile->blocks[i]);
    }
    time += suite_now() - start;
    suite_point();
  }
  if (phase != NULL) suite_time(phase, time, (double)count);
}

/* ---- Sleepers ---------------------------------------------------------------- */

enum {
  LOW = 64, /* bytes in a block of the pile of the thread that sleeps */
  HIGH = 512,
  OTHER_LOW = 600, /* in blocks of other sizes */
  OTHER_HIGH = 2000
};

typedef struct sleeper {
  pile_t pile;
  size_t bytes;      /* to allocate */
  double free_share; /* of its blocks, freed by itself at random before it sleeps */
  size_t freed;      /* blocks that this was */
  pthread_barrier_t asleep, awake;
} sleeper_t;

static void *fill_and_sleep(void *argument) {
  sleeper_t *sleeper = argument;
  pile_t *pile = &sleeper->pile;
  pile_fill(pile, sleeper->bytes, LOW, HIGH, "fill");
  report_rss("filled_rss");
  bench_shuffle((void **)pile->blocks, pile->count, &pile->random);
  sleeper->freed = (size_t)((double)pile->count * sleeper->free_share);
  if (sleeper->freed > 0) pile_free(pile, sleeper->freed, "free");
  pthread_barrier_wait(&sleeper->asleep);
  pthread_barrier_wait(&sleeper->awake);
  return NULL;
}

/* Starts it and waits until it sleeps. */
static pthread_t sleeper_start(sleeper_t *sleeper, size_t bytes, double free_share) {
  pile_start(&sleeper->pile, bytes, LOW, HIGH, bench_seed(0));
  sleeper->bytes = bytes;
  sleeper->free_share = free_share;
  pthread_barrier_init(&sleeper->asleep, NULL, 2);
  pthread_barrier_init(&sleeper->awake, NULL, 2);
  pthread_t thread = suite_thread_start(fill_and_sleep, sleeper);
  pthread_barrier_wait(&sleeper->asleep);
  return thread;
}

/* Frees what the sleeper has left and the pile; then the sleeper ends. */
static void clean_up(sleeper_t *sleeper, pthread_t thread, pile_t *pile) {
  pile_t *left = &sleeper->pile;
  for (size_t i = sleeper->freed; i < left->count; i++) bench_free(left->blocks[i]);
  pile_free(pile, pile->count, NULL);
  pthread_barrier_wait(&sleeper->awake);
  suite_thread_join(thread);
  pile_end(left);
  pile_end(pile);
}

enum {
  FREED_BY_OTHERS,
  FREED_BY_ITSELF
};

static void run_sleeper(const suite_workload_t *self) {
  sleeper_t sleeper;
  pile_t other;
  size_t bytes = suite_set(500u * 1000 * 1000);
  bool itself = self->variant == FREED_BY_ITSELF;
  pthread_t thread = sleeper_start(&sleeper, bytes, itself ? 1 : 0);
  if (!itself) {
    pile_free(&sleeper.pile, sleeper.pile.count, "free");
    sleeper.freed = sleeper.pile.count;
  }
  report_rss("freed_rss");
  pile_start(&other, bytes, OTHER_LOW, OTHER_HIGH, bench_seed(1));
  pile_fill(&other, bytes, OTHER_LOW, OTHER_HIGH, "other");
  report_rss("other_rss");
  clean_up(&sleeper, thread, &other);
}

static void run_hoard(const suite_workload_t *self) {
  (void)self;
  sleeper_t sleeper;
  pile_t again;
  size_t bytes = suite_set(150u * MIB);
  pthread_t thread = sleeper_start(&sleeper, suite_set(200u * MIB), 0.9);
  report_rss("freed_rss");
  pile_start(&again, bytes, LOW, HIGH, bench_seed(1));
  pile_fill(&again, bytes, LOW, HIGH, "again");
  report_rss("again_rss");
  clean_up(&sleeper, thread, &again);
}

/* ---- Threads that come and go -------------------------------------------------- */

enum {
  PASSED = 1000, /* blocks that a thread leaves to the next */
  OWN = 2 * PASSED,
  MOST_AT_ONCE = 4
};

typedef struct inheritance {
  void *blocks[PASSED];
  uint64_t seed;
} inheritance_t;

static void *live_and_pass_on(void *argument) {
  inheritance_t *inherited = argument;
  uint64_t random = bench_seed(inherited->seed);
  void *own[OWN];
  for (int i = 0; i < OWN; i++) own[i] = suite_alloc(bench_range(&random, 16, 1024));
  for (int i = 0; i < PASSED; i++) bench_free(inherited->blocks[i]);
  for (int i = 0; i < OWN; i += 2) bench_free(own[i]);
  for (int i = 0; i < PASSED; i++) inherited->blocks[i] = own[2 * i + 1];
  inherited->seed += MOST_AT_ONCE;
  return NULL;
}

/* The variant tells how many live at a time. Heirs change, so that blocks wander
 * between the lines of descent. */
static void run_descent(const suite_workload_t *self) {
  uint32_t at_once = self->variant, look = 0;
  uint32_t generations = suite_rounds(self->operations / at_once, 10);
  inheritance_t *inherited = bench_records(MOST_AT_ONCE * sizeof *inherited);
  double time = 0;
  for (uint32_t i = 0; i < at_once; i++) inherited[i].seed = i;
  for (uint32_t generation = 0; generation < generations; generation++) {
    pthread_t threads[MOST_AT_ONCE];
    double start = suite_now();
    for (uint32_t i = 0; i < at_once; i++) {
      inheritance_t *heir = &inherited[(i + generation) % at_once];
      threads[i] = suite_thread_start(live_and_pass_on, heir);
    }
    for (uint32_t i = 0; i < at_once; i++) suite_thread_join(threads[i]);
    time += suite_now() - start;
    if (generation < generations / PARTS * look) continue;
    suite_point();
    look++;
  }
  suite_time("op", time, (double)generations * at_once * OWN);
  report_rss("end_rss");
  for (uint32_t i = 0; i < at_once; i++) {
    for (int k = 0; k < PASSED; k++) bench_free(inherited[i].blocks[k]);
  }
  bench_records_free(inherited, MOST_AT_ONCE * sizeof *inherited);
}

static const suite_workload_t workloads[] = {
    {.name = "memory_blowup",
     .what = "a consumer frees all but 1 in 1,000 of a producer's blocks",
     .run = run_blowup,
     .operations = 40e6,
     .low = 16,
     .high = 512,
     .threads = 2},
    {.name = "memory_sleeper",
     .what =
         "500 MB of a sleeping thread, freed by another, which then needs other sizes",
     .run = run_sleeper,
     .threads = 2,
     .variant = FREED_BY_OTHERS},
    {.name = "memory_sleeper_own",
     .what = "the same, freed by the thread itself before it sleeps",
     .run = run_sleeper,
     .threads = 2,
     .variant = FREED_BY_ITSELF},
    {.name = "memory_hoard",
     .what = "a thread frees 90 % of 200 MiB and sleeps, another needs 150 MiB",
     .run = run_hoard,
     .threads = 2},
    {.name = "memory_descent_1",
     .what = "short-lived threads, one at a time, pass half of their blocks on",
     .run = run_descent,
     .operations = 4000,
     .threads = 2,
     .variant = 1},
    {.name = "memory_descent_4",
     .what = "short-lived threads, four at a time, pass half of their blocks on",
     .run = run_descent,
     .operations = 4000,
     .threads = 5,
     .variant = 4},
};

const suite_group_t suite_memory = SUITE_GROUP("memory", workloads);
