/* ring.h - batches of blocks on their way from one thread to one other. */
#ifndef BENCH_SUITE_RING_H
#define BENCH_SUITE_RING_H

#include <stdatomic.h>

#include "suite/suite.h"
#include "suite/threads.h"

enum {
  SUITE_RING = 4096, /* blocks in a ring */
  SUITE_BATCH = 64,  /* blocks in a batch, at most; a power of two, as each batch is */
};

/* One thread writes and one reads, `batch` blocks at a time. Zeroed memory with
 * `batch` set is an empty ring. Each side remembers how far the other was when it
 * last looked, so that the two seldom want the same cache line: what is measured is
 * not to be the ring. */
typedef struct suite_ring {
  _Alignas(128) uint32_t batch;
  _Alignas(128) _Atomic(uint32_t) head; /* blocks written */
  uint32_t seen_tail;
  _Alignas(128) _Atomic(uint32_t) tail; /* blocks read */
  uint32_t seen_head;
  _Alignas(128) atomic_bool closed;
  void *blocks[SUITE_RING];
} suite_ring_t;

/* Rings side by side; ended by suite_rings_free. */
static inline suite_ring_t *suite_rings(uint32_t count, uint32_t batch) {
  suite_ring_t *rings = bench_records(count * sizeof *rings);
  for (uint32_t i = 0; i < count; i++) rings[i].batch = batch;
  return rings;
}
static inline void suite_rings_free(suite_ring_t *rings, uint32_t count) {
  bench_records_free(rings, count * sizeof *rings);
}

/* Where the next batch goes; waits until there is room. */
static inline void **suite_ring_begin_write(suite_ring_t *ring) {
  uint32_t at = atomic_load_explicit(&ring->head, memory_order_relaxed), spins = 0;
  while (at - ring->seen_tail >= SUITE_RING) {
    ring->seen_tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (at - ring->seen_tail >= SUITE_RING) suite_wait(&spins);
  }
  return &ring->blocks[at % SUITE_RING];
}

static inline void suite_ring_end_write(suite_ring_t *ring) {
  uint32_t at = atomic_load_explicit(&ring->head, memory_order_relaxed);
  atomic_store_explicit(&ring->head, at + ring->batch, memory_order_release);
}

/* No batch will follow. */
static inline void suite_ring_close(suite_ring_t *ring) {
  atomic_store_explicit(&ring->closed, true, memory_order_release);
}

/* The next batch, or NULL if there is none now. */
static inline void **suite_ring_try_read(suite_ring_t *ring) {
  uint32_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed);
  if (ring->seen_head == at) {
    ring->seen_head = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (ring->seen_head == at) return NULL;
  }
  return &ring->blocks[at % SUITE_RING];
}

/* True once the ring is closed and everything was read: asked by the reader. */
static inline bool suite_ring_is_over(suite_ring_t *ring) {
  return atomic_load_explicit(&ring->closed, memory_order_acquire) &&
         suite_ring_try_read(ring) == NULL;
}

/* The next batch; waits for it. NULL if the ring is over. */
static inline void **suite_ring_begin_read(suite_ring_t *ring) {
  uint32_t spins = 0;
  for (;;) {
    void **batch = suite_ring_try_read(ring);
    if (batch != NULL) return batch;
    if (suite_ring_is_over(ring)) return NULL;
    suite_wait(&spins);
  }
}

static inline void suite_ring_end_read(suite_ring_t *ring) {
  uint32_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed);
  atomic_store_explicit(&ring->tail, at + ring->batch, memory_order_release);
}

#endif
