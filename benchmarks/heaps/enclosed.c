#include <hakmem/hakmem.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "heaps.h"
#include "support/bench.h"

enum {
  STEPS = 1000000, /* of all threads together */
  SLOTS = 512,
  ROUNDS = 7,
  THREADS_MAX = 4,
  PROCESSORS = 2,
  UNIT = 2 << 20,
  MIB = 1 << 20
};

static _Alignas(UNIT) char memory[32 * MIB];

typedef struct worker {
  hak_heap_t *heap;
  size_t steps;
  uint64_t seed;
  pthread_barrier_t *begin; /* or the end */
} worker_t;

/* Blocks of 16 to 1,024 bytes at random, each there for a while. */
static void work(const worker_t *w, size_t steps) {
  void *slots[SLOTS] = {NULL};
  uint64_t seed = w->seed;
  for (size_t i = 0; i < steps; i++) {
    void **slot = &slots[bench_random(&seed) % SLOTS];
    hak_free(*slot);
    *slot = hak_heap_alloc(w->heap, bench_range(&seed, 16, 1024));
    if (*slot == NULL) die("the memory is too small");
  }
  for (size_t i = 0; i < SLOTS; i++) hak_free(slots[i]);
}

static void *run(void *ctx) {
  const worker_t *w = ctx;
  work(w, w->steps / 4);
  pthread_barrier_wait(w->begin); /* all are warm */
  pthread_barrier_wait(w->begin);
  work(w, w->steps);
  pthread_barrier_wait(w->begin);
  return NULL;
}

/* Nanoseconds of a processor for a block that comes and goes. */
static double time_of(hak_heap_t *heap, size_t threads) {
  pthread_t ids[THREADS_MAX];
  worker_t workers[THREADS_MAX];
  pthread_barrier_t barrier;
  if (pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1) != 0) die("no barrier");
  for (size_t i = 0; i < threads; i++) {
    workers[i] = (worker_t){heap, STEPS / threads, bench_seed(i), &barrier};
    if (pthread_create(&ids[i], NULL, run, &workers[i]) != 0) die("no thread");
  }
  pthread_barrier_wait(&barrier);
  uint64_t start = bench_now_ns();
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  double wall = (double)(bench_now_ns() - start);
  for (size_t i = 0; i < threads; i++) pthread_join(ids[i], NULL);
  pthread_barrier_destroy(&barrier);
  return wall * (double)(threads < PROCESSORS ? threads : PROCESSORS) / STEPS;
}

static hak_heap_t *make(size_t bytes) {
  hak_heap_config_t config = {.struct_size = sizeof config};
  config.memory = bytes == 0 ? NULL : memory;
  config.memory_size = bytes;
  hak_heap_t *heap = hak_heap_create(&config);
  if (heap == NULL) die("no heap");
  void *block = hak_heap_alloc(heap, 100);
  size_t offset = (size_t)((char *)block - memory);
  if (hak_heap_of(block) != heap || (offset < sizeof memory) != (bytes != 0)) {
    die("the block is elsewhere");
  }
  hak_free(block);
  return heap;
}

/* So much of the memory is in use all the time, in percent. */
static void fill(hak_heap_t *heap, size_t bytes, size_t percent) {
  enum {
    SIZE = 1000
  };
  for (size_t used = 0; used < bytes / 100 * percent; used += SIZE) {
    if (hak_heap_alloc(heap, SIZE) == NULL) die("the memory is too small");
  }
}

static bool measure(size_t bytes, size_t threads, size_t percent, double bound) {
  double inside[ROUNDS], ratios[ROUNDS];
  hak_heap_t *enclosed = make(bytes), *other = make(0);
  fill(enclosed, bytes, percent);
  for (int i = 0; i < ROUNDS; i++) {
    inside[i] = time_of(enclosed, threads);
    ratios[i] = inside[i] / time_of(other, threads);
  }
  if (hak_heap_destroy(enclosed) != 0 || hak_heap_destroy(other) != 0) die("no end");
  char name[64];
  snprintf(name, sizeof name, "caller's %zu MiB, %zu thread%s / other heaps", bytes / MIB,
           threads, threads == 1 ? "" : "s");
  double ratio = median(ratios, ROUNDS), ns = median(inside, ROUNDS);
  printf("     %zu MiB, %zu %% full, %zu threads: %.1f ns, other heaps %.1f ns\n",
         bytes / MIB, percent, threads, ns, ns / ratio);
  return bound == 0 || report(name, ratio, bound, true);
}

bool measure_enclosed(void) {
  memset(memory, 1, sizeof memory); /* its pages are there */
  bool ok = true;
  for (size_t threads = 1; threads <= THREADS_MAX; threads *= 2) {
    measure(4 * MIB, threads, 0, 0); /* small: a lock for each call */
    for (size_t mib = 8; mib <= 32; mib *= 2) {
      ok = measure(mib * MIB, threads, 0, 1.5) && ok;
    }
    /* Threads keep little then; other heaps grow. */
    measure(16 * MIB, threads, 80, 0);
    measure(32 * MIB, threads, 80, 0);
  }
  return ok;
}
