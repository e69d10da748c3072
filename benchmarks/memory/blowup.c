/* blowup.c - memory that a producer and a consumer leave stuck between them.
 *
 * Measures RSS over time while one thread allocates blocks of 16 to 512 bytes
 * and another frees all but 1 in 1,000, which stay for good and are spread over
 * all that was ever allocated. An allocator whose slabs belong to the producer
 * can reuse none of them for long; RSS then grows with what was allocated, and
 * not with what lives.
 */
#include <sched.h>
#include <stdatomic.h>

#include "memory/figures.h"

enum {
  BATCH = 64,
  RING = 64,
  KEEP = 1000
};

typedef struct blowup {
  void *ring[RING][BATCH];
  _Alignas(128) atomic_uint head;
  _Alignas(128) atomic_uint tail;
  _Alignas(128) atomic_size_t live; /* bytes asked for in blocks that stay */
  atomic_bool closed;
  void **kept;
  size_t kept_count, kept_capacity;
} blowup_t;

static void *consume(void *argument) {
  blowup_t *work = argument;
  uint64_t random = bench_seed(1);
  for (;;) {
    unsigned at = atomic_load_explicit(&work->tail, memory_order_relaxed);
    while (atomic_load_explicit(&work->head, memory_order_acquire) == at) {
      if (atomic_load(&work->closed) && atomic_load(&work->head) == at) return NULL;
      sched_yield();
    }
    for (int i = 0; i < BATCH; i++) {
      uint32_t *block = work->ring[at % RING][i];
      if (bench_range(&random, 1, KEEP) == 1 && work->kept_count < work->kept_capacity) {
        work->kept[work->kept_count++] = block;
        atomic_fetch_add_explicit(&work->live, *block, memory_order_relaxed);
      } else {
        bench_free(block);
      }
    }
    atomic_store_explicit(&work->tail, at + 1, memory_order_release);
  }
}

static void produce(blowup_t *work, uint64_t *random) {
  unsigned at = atomic_load_explicit(&work->head, memory_order_relaxed);
  while (at - atomic_load_explicit(&work->tail, memory_order_acquire) >= RING) {
    sched_yield();
  }
  for (int i = 0; i < BATCH; i++) {
    uint32_t size = bench_range(random, 16, 512);
    uint32_t *block = bench_alloc(size);
    *block = size; /* for the consumer's account */
    work->ring[at % RING][i] = block;
  }
  atomic_store_explicit(&work->head, at + 1, memory_order_release);
}

void run_blowup(double scale) {
  size_t blocks = (size_t)(1e8 * scale);
  blowup_t *work = bench_records(sizeof *work);
  work->kept_capacity = blocks / KEEP * 2 + 1000;
  work->kept = bench_records(work->kept_capacity * sizeof(void *));
  uint64_t random = bench_seed(0), next_look = 0;
  double worst = 0;
  size_t start = bench_rss(), peak = 0;
  pthread_t consumer = start_thread(consume, work);
  for (size_t done = 0; done < blocks; done += BATCH) {
    produce(work, &random);
    if (done % (BATCH * 256) != 0 || bench_now_ns() < next_look) continue;
    next_look = bench_now_ns() + 50000000;
    /* Live first: it grows, so the bound is the stricter one. */
    size_t live = atomic_load(&work->live), rss = rss_since(start);
    double excess = (double)rss - 2.0 * (double)live;
    if (excess > worst) worst = excess;
    if (rss > peak) peak = rss;
    bench_progress("blowup", (double)done, (double)blocks);
  }
  atomic_store(&work->closed, true);
  pthread_join(consumer, NULL);
  size_t live = atomic_load(&work->live), rss = rss_since(start);
  figure("live at the end", in_mib(live), "MiB");
  figure("RSS at the end", in_mib(rss), "MiB");
  figure("peak RSS", in_mib(rss > peak ? rss : peak), "MiB");
  figure_at_most("RSS above 2 x live, at any moment", worst / (double)MIB, 8, "MiB");
}
