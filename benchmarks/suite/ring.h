/* ring.h - batches of blocks on their way from one thread to one other. */
#ifndef BENCH_SUITE_RING_H
#define BENCH_SUITE_RING_H

#include <stdatomic.h>

#include "suite/suite.h"
#include "suite/threads.h"

enum {
  SUITE_RING = 64,  /* batches in a ring */
  SUITE_BATCH = 64, /* blocks in a batch, at most */
};

/* One thread writes and one reads. Zeroed memory is an empty ring. */
typedef struct suite_ring {
  _Alignas(128) _Atomic(uint32_t) head; /* batches written */
  _Alignas(128) _Atomic(uint32_t) tail; /* batches read */
  _Alignas(128) atomic_bool closed;
  void *batches[SUITE_RING][SUITE_BATCH];
} suite_ring_t;

/* Where the next batch goes; waits until there is room. */
static inline void **suite_ring_begin_write(suite_ring_t *ring) {
  uint32_t at = atomic_load_explicit(&ring->head, memory_order_relaxed), spins = 0;
  while (at - atomic_load_explicit(&ring->tail, memory_order_acquire) >= SUITE_RING) {
    suite_wait(&spins);
  }
  return ring->batches[at % SUITE_RING];
}

static inline void suite_ring_end_write(suite_ring_t *ring) {
  uint32_t at = atomic_load_explicit(&ring->head, memory_order_relaxed);
  atomic_store_explicit(&ring->head, at + 1, memory_order_release);
}

/* No batch will follow. */
static inline void suite_ring_close(suite_ring_t *ring) {
  atomic_store_explicit(&ring->closed, true, memory_order_release);
}

/* The next batch, or NULL if there is none now. */
static inline void **suite_ring_try_read(suite_ring_t *ring) {
  uint32_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed);
  if (atomic_load_explicit(&ring->head, memory_order_acquire) == at) return NULL;
  return ring->batches[at % SUITE_RING];
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
  atomic_store_explicit(&ring->tail, at + 1, memory_order_release);
}

#endif
