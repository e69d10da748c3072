/* foreign.c - eight threads that free each other's blocks.
 *
 * Measures how often threads meet in the allocator: each replaces blocks of 16
 * to 1,024 bytes in 2,000 slots of its own, and swaps one block in four with a
 * mailbox that all share, so that a large part of the frees is of blocks that
 * another thread allocated. Counted after a first tenth, in steady state. Also
 * peak RSS beside peak live memory.
 */
#include <stdatomic.h>

#include "memory/figures.h"

enum {
  THREADS = 8,
  SLOTS = 2000,
  MAILBOX = 512
};

typedef struct foreign {
  _Atomic(uint32_t *) mailbox[MAILBOX];
  atomic_size_t live; /* bytes asked for */
  atomic_size_t finished;
  size_t replacements; /* by each thread */
  pthread_barrier_t steady;
} foreign_t;

typedef struct member {
  foreign_t *shared;
  unsigned number;
} member_t;

/* Each block holds its size. The shared account is written once in a while, so
 * that it is not what the threads meet at. */
static void replace(foreign_t *shared, uint32_t **slots, size_t count, uint64_t *random,
                    int64_t *account) {
  for (size_t i = 0; i < count; i++) {
    uint32_t **slot = &slots[bench_range(random, 0, SLOTS - 1)];
    if (bench_range(random, 0, 3) == 0) {
      *slot =
          atomic_exchange(&shared->mailbox[bench_range(random, 0, MAILBOX - 1)], *slot);
    }
    if (*slot != NULL) *account -= **slot;
    bench_free(*slot);
    uint32_t size = bench_range(random, 16, 1024);
    *slot = bench_alloc(size);
    **slot = size;
    *account += size;
    if (i % 256 == 0 || i + 1 == count) {
      atomic_fetch_add_explicit(&shared->live, (size_t)*account, memory_order_relaxed);
      *account = 0;
    }
  }
}

/* Raises both peaks to what is so now. */
static void look(foreign_t *shared, size_t start, size_t *peak_live, size_t *peak) {
  size_t live = atomic_load(&shared->live), rss = rss_since(start);
  if (live > *peak_live) *peak_live = live;
  if (rss > *peak) *peak = rss;
}

static void *work(void *argument) {
  member_t *member = argument;
  foreign_t *shared = member->shared;
  uint64_t random = bench_seed(member->number);
  int64_t account = 0;
  uint32_t **slots = bench_records(SLOTS * sizeof *slots);
  replace(shared, slots, shared->replacements / 10, &random, &account);
  pthread_barrier_wait(&shared->steady);
  pthread_barrier_wait(&shared->steady); /* the counts are read in between */
  replace(shared, slots, shared->replacements, &random, &account);
  atomic_fetch_add(&shared->finished, 1);
  pthread_barrier_wait(&shared->steady);
  for (int i = 0; i < SLOTS; i++) bench_free(slots[i]);
  return NULL;
}

void run_foreign(double scale) {
  foreign_t *shared = bench_records(sizeof *shared);
  static member_t members[THREADS];
  pthread_t threads[THREADS];
  double operations = 1e7 * scale;
  shared->replacements = (size_t)(operations / 2 / THREADS);
  pthread_barrier_init(&shared->steady, NULL, THREADS + 1);
  size_t start = bench_rss(), peak_live = 0, peak = 0;
  for (unsigned i = 0; i < THREADS; i++) {
    members[i] = (member_t){shared, i};
    threads[i] = start_thread(work, &members[i]);
  }
  pthread_barrier_wait(&shared->steady);
  bench_counts_t before = counts_now();
  pthread_barrier_wait(&shared->steady);
  while (atomic_load(&shared->finished) < THREADS) {
    look(shared, start, &peak_live, &peak);
    bench_sleep_ms(5);
  }
  bench_counts_t after = counts_now();
  /* On a busy machine all may have finished before this thread ran once. */
  look(shared, start, &peak_live, &peak);
  pthread_barrier_wait(&shared->steady);
  for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);

  figure("peak live", in_mib(peak_live), "MiB");
  figure_at_most("peak RSS above 1.5 x peak live", in_mib(peak) - 1.5 * in_mib(peak_live),
                 16, "MiB");
  bench_counts_t probe;
  if (!bench_read_counts(&probe)) {
    figure_missing("lock waits", "not counted by this allocator");
    return;
  }
  figure_at_most(
      "lock acquisitions that waited, per 100,000 operations",
      (double)(after.lock_contended - before.lock_contended) * 1e5 / operations, 1, "");
  figure("registry entries written, per 1,000 operations",
         (double)(after.entry_writes - before.entry_writes) * 1e3 / operations, "");
  figure("shelf visits, per 1,000 operations",
         (double)(after.shelf_visits - before.shelf_visits) * 1e3 / operations, "");
}
