/* lock.h - a small lock for slow paths, with ranks.
 *
 * Depends on: atomic, check, wait.   Used by: callee, and all folders from os up.
 *
 * A thread takes locks in the order of their ranks, lowest first, and never two
 * of the same rank. Functions whose names end in _locked begin with the assertion that
 * the calling thread holds their lock. Both are checked where full asserts are on. No
 * call to the operating system, hook or callback happens under any of them.
 *
 * A lease is a lock without a rank: hooks may run while it is out, and a thread that has
 * one takes no other.
 *
 * Access marks. What may be done to a field, or to a variable of a file, is said by one
 * of four words in the comment beside it:
 *
 *   [const]  written before others can see the record, and not again while it serves
 *   [owner]  written by one thread at a time, the owner; others read it, if at all, as a
 *            statistic or by rules that the comment names, and then it is atomic
 *   [lock]   written under a lock, and read under it unless the comment says otherwise
 *   [any]    atomic, written by any thread
 *
 * A name may follow: [owner: holder] says who the owner is, and [lock: pool] which lock,
 * by the name of its rank, where it is not the one of the file. The comment where a lock
 * is defined says what it guards.
 *
 * Who has to wait spins briefly if there is another processor, then sleeps until it is
 * woken: the holder may have been preempted, and under a real-time scheduler a yield
 * alone would not let it run.
 */
#ifndef HAK_BASE_LOCK_H
#define HAK_BASE_LOCK_H

#include "base/atomic.h"

typedef enum hak_rank {
  HAK_RANK_THREADS = 1,     /* the list of thread states */
  HAK_RANK_HEAPS,           /* the list of heaps */
  HAK_RANK_PARTIAL_LIST,    /* one per heap and class */
  HAK_RANK_POOL,            /* one per heap: its SuperSlabs */
  HAK_RANK_EXTERNAL_HEAPS,  /* the list of external heaps */
  HAK_RANK_EXTERNAL_HEAP,   /* one per external heap: its blocks */
  HAK_RANK_MALLOCED,        /* blocks that are malloc's */
  HAK_RANK_EXTERNAL_RANGES, /* the list of callers' memory by address */
  HAK_RANK_POOL_QUEUE,      /* the pools that have pages to give back */
  HAK_RANK_REGIONS,         /* free SuperSlabs of the process */
  HAK_RANK_MAPPINGS,        /* mappings of their own that are kept for reuse */
  HAK_RANK_MAGAZINES,       /* empty magazines */
  HAK_RANK_ORIGINS,         /* places of the program, and samples */
  HAK_RANK_UNRELEASED,      /* ranges that the OS would not take back */
  HAK_RANK_META,            /* records of the library itself */
  HAK_RANK_CALLEES          /* functions of the program's, while they are set */
} hak_rank_t;

/* What the word of a lock or a lease says. Zeroed memory is a free one. */
#define HAK_WORD_FREE 0u
#define HAK_WORD_TAKEN 1u
#define HAK_WORD_WAITED 2u /* taken, and somebody may be asleep until it is not */

typedef struct hak_lock {
  hak_atomic_u32_t held; /* [any] HAK_WORD_* */
  uint32_t rank;         /* [const] hak_rank_t; 0: a partial list's, made of zeroes */
} hak_lock_t;

#define HAK_LOCK_INIT(r) \
  { 0, (r) }

typedef struct hak_lease {
  hak_atomic_u32_t held; /* [any] HAK_WORD_* */
} hak_lease_t;

/* Acquisitions of locks and leases that had to wait; a statistic. */
HAK_EXTERN hak_atomic_u64_t hak_lock_contended;

/* --- the word -------------------------------------------------------------------- */

/* Acquire: pairs with the release in hak_word_give; everything the last holder wrote is
 * seen. */
HAK_HOT bool hak_word_try(hak_atomic_u32_t *word) {
  uint32_t free = HAK_WORD_FREE;
  return hak_cas_acquire(word, &free, HAK_WORD_TAKEN);
}
/* Out of line: what takes locks is slow anyway, and there are hundreds of places. */
void hak_word_take(hak_atomic_u32_t *word);
/* Release: publishes what was written by the holder to the next one's hak_word_try. An
 * exchange and no store, as somebody may begin to wait at any time. */
void hak_word_give(hak_atomic_u32_t *word);

/* --- leases ---------------------------------------------------------------------- */

HAK_HOT bool hak_lease_try(hak_lease_t *lease) { return hak_word_try(&lease->held); }
HAK_HOT void hak_lease_take(hak_lease_t *lease) { hak_word_take(&lease->held); }
HAK_HOT void hak_lease_give(hak_lease_t *lease) { hak_word_give(&lease->held); }
HAK_HOT bool hak_lease_is_out(hak_lease_t *lease) {
  return hak_load_relaxed(&lease->held) != HAK_WORD_FREE;
}
/* In the child of a fork, where neither who had it nor who waited for it is: nobody has
 * it. */
HAK_HOT void hak_lease_reset(hak_lease_t *lease) {
  hak_store_relaxed(&lease->held, HAK_WORD_FREE);
}

/* --- locks ----------------------------------------------------------------------- */

#if HAK_ASSERTS >= 2
void hak_lock_rank_push(const hak_lock_t *lock);
void hak_lock_rank_pop(const hak_lock_t *lock);
/* The calling thread holds the lock, which it took by its rank: locks that a fork takes
 * without ranks do not count. */
void hak_lock_assert_held(const hak_lock_t *lock);
#else
HAK_HOT void hak_lock_rank_push(const hak_lock_t *lock) { (void)lock; }
HAK_HOT void hak_lock_rank_pop(const hak_lock_t *lock) { (void)lock; }
HAK_HOT void hak_lock_assert_held(const hak_lock_t *lock) { (void)lock; }
#endif

/* For fork only, which takes every lock there is, and whose child gives them again: those
 * who waited are not in it. */
HAK_HOT void hak_lock_acquire_unranked(hak_lock_t *lock) { hak_word_take(&lock->held); }
HAK_HOT void hak_lock_release_unranked(hak_lock_t *lock) { hak_word_give(&lock->held); }

HAK_HOT void hak_lock_init(hak_lock_t *lock, hak_rank_t rank) {
  hak_store_relaxed(&lock->held, HAK_WORD_FREE);
  lock->rank = rank;
}

HAK_HOT bool hak_lock_try(hak_lock_t *lock) {
  if (!hak_word_try(&lock->held)) return false;
  hak_lock_rank_push(lock);
  return true;
}

/* For functions that may be called in a handler, which may have interrupted who has the
 * lock, or a lock of a higher rank: tries for some microseconds, and waits for nobody.
 * What is taken goes back by hak_lock_release_unranked. */
bool hak_lock_try_briefly(hak_lock_t *lock);

HAK_HOT void hak_lock_acquire(hak_lock_t *lock) {
  hak_word_take(&lock->held);
  hak_lock_rank_push(lock);
}

HAK_HOT void hak_lock_release(hak_lock_t *lock) {
  hak_lock_rank_pop(lock);
  hak_word_give(&lock->held);
}

#endif
