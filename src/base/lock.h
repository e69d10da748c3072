/* lock.h - a small lock for slow paths, with ranks.
 *
 * Depends on: atomic, check.   Used by: superslab and above.
 *
 * A thread takes locks in the order of their ranks, lowest first, and never two
 * of the same rank; checked where full asserts are on. No call to the operating
 * system, hook or callback happens under any of them.
 *
 * A waiter spins briefly, then yields, then sleeps: the holder may have been
 * preempted, and under a real-time scheduler a yield alone would not let it run.
 */
#ifndef HAK_BASE_LOCK_H
#define HAK_BASE_LOCK_H

#include "base/atomic.h"

typedef enum hak_rank {
  HAK_RANK_THREADS = 1, /* the list of thread states */
  HAK_RANK_HEAPS,       /* the list of heaps */
  HAK_RANK_SHELF,       /* one per heap and class */
  HAK_RANK_HEAP,        /* one per heap: its SuperSlabs */
  HAK_RANK_ARENAS,      /* the list of arenas */
  HAK_RANK_ARENA,       /* one per arena: its blocks */
  HAK_RANK_TRACTS,      /* the list of callers' memory by address */
  HAK_RANK_REGIONS,     /* free SuperSlabs of the process */
  HAK_RANK_MAPPINGS,    /* mappings of their own that are kept for reuse */
  HAK_RANK_MAGAZINES,   /* empty magazines */
  HAK_RANK_UNRELEASED,  /* ranges that the OS would not take back */
  HAK_RANK_META         /* records of the library itself */
} hak_rank_t;

typedef struct hak_lock {
  hak_atomic_u32_t held; /* 0 or 1 */
  uint32_t rank;         /* hak_rank_t, [const]; 0 = a shelf's, made of zeroes */
} hak_lock_t;

#define HAK_LOCK_INIT(r) \
  { 0, (r) }

/* Acquisitions that had to wait; a statistic. */
extern hak_atomic_u64_t hak_lock_contended;

void hak_lock_wait_slow(hak_lock_t *lock);

#if HAK_ASSERTS >= 2
void hak_lock_rank_push(const hak_lock_t *lock);
void hak_lock_rank_pop(const hak_lock_t *lock);
#else
HAK_HOT void hak_lock_rank_push(const hak_lock_t *lock) { (void)lock; }
HAK_HOT void hak_lock_rank_pop(const hak_lock_t *lock) { (void)lock; }
#endif

/* For fork only, which takes every lock there is. */
HAK_HOT void hak_lock_acquire_unranked(hak_lock_t *lock) {
  if (hak_exchange_acquire(&lock->held, 1) != 0) hak_lock_wait_slow(lock);
}
HAK_HOT void hak_lock_release_unranked(hak_lock_t *lock) {
  hak_store_release(&lock->held, 0);
}

HAK_HOT void hak_lock_init(hak_lock_t *lock, hak_rank_t rank) {
  hak_store_relaxed(&lock->held, 0);
  lock->rank = rank;
}

/* Acquire: pairs with the release in hak_lock_release; everything the last
 * holder wrote is seen. */
HAK_HOT bool hak_lock_try(hak_lock_t *lock) {
  if (hak_exchange_acquire(&lock->held, 1) != 0) return false;
  hak_lock_rank_push(lock);
  return true;
}

HAK_HOT void hak_lock_acquire(hak_lock_t *lock) {
  if (HAK_UNLIKELY(hak_exchange_acquire(&lock->held, 1) != 0)) hak_lock_wait_slow(lock);
  hak_lock_rank_push(lock);
}

/* Release: publishes what was written under the lock to the next holder's
 * hak_lock_acquire. */
HAK_HOT void hak_lock_release(hak_lock_t *lock) {
  hak_lock_rank_pop(lock);
  hak_store_release(&lock->held, 0);
}

#endif
