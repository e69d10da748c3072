#include "base/lock.h"

#include "base/check.h"
#include "base/wait.h"

hak_atomic_u64_t hak_lock_contended;

enum {
  SPINS = 100
};

/* What is done under a lock is short, so its holder may be about to leave on another
 * processor. Where a thread sleeps already, the holder is probably not running: then it
 * is of no use to spin. */
static bool spin(hak_atomic_u32_t *word) {
  for (unsigned spins = hak_wait_may_spin() ? SPINS : 0; spins > 0; spins--) {
    uint32_t now = hak_load_relaxed(word);
    if (now == HAK_WORD_WAITED) return false;
    /* Acquire: hak_word_try, which pairs with hak_word_give. */
    if (now == HAK_WORD_FREE && hak_word_try(word)) return true;
    hak_cpu_relax();
  }
  return false;
}

static HAK_SLOW void wait_slow(hak_atomic_u32_t *word) {
  hak_add_relaxed(&hak_lock_contended, 1);
  if (spin(word)) return;
  /* Whoever comes through here leaves the word saying that somebody waits: it cannot
   * know that nobody does. Acquire: pairs with hak_word_give. */
  while (hak_exchange_acquire(word, HAK_WORD_WAITED) != HAK_WORD_FREE) {
    hak_wait_on(word, HAK_WORD_WAITED);
  }
}

HAK_WARM void hak_word_take(hak_atomic_u32_t *word) {
  if (HAK_UNLIKELY(!hak_word_try(word))) wait_slow(word);
}

HAK_WARM void hak_word_give(hak_atomic_u32_t *word) {
  if (hak_exchange_release(word, HAK_WORD_FREE) == HAK_WORD_WAITED) hak_wake_one(word);
}

HAK_SLOW bool hak_lock_try_briefly(hak_lock_t *lock) {
  enum {
    ATTEMPTS = 1000
  };
  for (int i = 0; i < ATTEMPTS; i++) {
    if (hak_word_try(&lock->held)) return true;
    hak_cpu_relax();
  }
  return false;
}

#if HAK_ASSERTS >= 2
static _Thread_local uint32_t held_ranks; /* bit r: a lock of rank r is held */
static _Thread_local const hak_lock_t *held_locks[HAK_RANK_CALLEES + 1]; /* by rank */

static uint32_t rank_of(const hak_lock_t *lock) {
  return lock->rank != 0 ? lock->rank : HAK_RANK_PARTIAL_LIST;
}

void hak_lock_rank_push(const hak_lock_t *lock) {
  hak_assert((held_ranks >> rank_of(lock)) == 0);
  held_ranks |= (uint32_t)1 << rank_of(lock);
  held_locks[rank_of(lock)] = lock;
}

void hak_lock_rank_pop(const hak_lock_t *lock) {
  hak_assert(held_locks[rank_of(lock)] == lock);
  held_ranks &= ~((uint32_t)1 << rank_of(lock));
  held_locks[rank_of(lock)] = NULL;
}

void hak_lock_assert_held(const hak_lock_t *lock) {
  hak_assert(held_locks[rank_of(lock)] == lock);
}
#endif
