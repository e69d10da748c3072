/* drain.c - what is left when all is over.
 *
 * Measures RSS above the start after four threads have allocated 300 MB of
 * blocks from 16 bytes to 2 MiB and every block was freed, three quarters of
 * them by another thread. Two of the threads are gone then, two are asleep and
 * had said so; the decay has passed, and memory was collected.
 */
#include "memory/figures.h"

enum {
  THREADS = 4
};

typedef struct drainer {
  void **blocks;
  size_t count, capacity, bytes;
  unsigned number;
  pthread_barrier_t *step;
} drainer_t;

/* Mostly small, some of every tier. */
static size_t any_size(uint64_t *random) {
  uint32_t dice = bench_range(random, 0, 999);
  if (dice < 3) return bench_range(random, 64 * 1024, 2 * 1024 * 1024);
  if (dice < 50) return bench_range(random, 1024, 32 * 1024);
  return bench_range(random, 16, 1024);
}

static void *fill(void *argument) {
  drainer_t *drainer = argument;
  uint64_t random = bench_seed(drainer->number);
  for (size_t bytes = 0; bytes < drainer->bytes && drainer->count < drainer->capacity;) {
    size_t size = any_size(&random);
    drainer->blocks[drainer->count++] = alloc_filled(size);
    bytes += size;
  }
  pthread_barrier_wait(drainer->step); /* all have filled */
  pthread_barrier_wait(drainer->step); /* what others free is freed */
  for (size_t i = 0; i < drainer->count; i += 4) bench_free(drainer->blocks[i]);
  bool stays = drainer->number % 2 == 0;
  if (stays) bench_thread_idle();
  pthread_barrier_wait(drainer->step); /* all is freed */
  if (stays) pthread_barrier_wait(drainer->step);
  return NULL;
}

void run_drain(double scale) {
  static drainer_t drainers[THREADS];
  static pthread_barrier_t step;
  pthread_t threads[THREADS];
  size_t bytes = (size_t)(300e6 * scale) / THREADS;
  for (unsigned i = 0; i < THREADS; i++) {
    drainers[i] = (drainer_t){NULL, 0, bytes / 400 + 1000, bytes, i, &step};
    drainers[i].blocks = bench_records(drainers[i].capacity * sizeof(void *));
  }
  pthread_barrier_init(&step, NULL, THREADS + 1);
  size_t start = bench_rss();
  for (unsigned i = 0; i < THREADS; i++) threads[i] = start_thread(fill, &drainers[i]);
  pthread_barrier_wait(&step);
  size_t filled = rss_since(start);
  for (unsigned i = 0; i < THREADS; i++) {
    for (size_t k = 0; k < drainers[i].count; k++) {
      if (k % 4 != 0) bench_free(drainers[i].blocks[k]);
    }
  }
  pthread_barrier_wait(&step);
  pthread_barrier_wait(&step);
  for (unsigned i = 1; i < THREADS; i += 2) pthread_join(threads[i], NULL);
  bench_thread_idle();
  figure("RSS when filled", in_mib(filled), "MiB");
  figure("RSS when all is freed", in_mib(rss_since(start)), "MiB");
  bench_sleep_ms(1500); /* the decay is one second */
  bench_collect();
  figure_at_most("RSS above the start, after decay and collect", in_mib(rss_since(start)),
                 2, "MiB");
}
