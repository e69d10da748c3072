#include "base/lock.h"

#include <sched.h>
#include <time.h>

#include "base/check.h"

hak_atomic_u64_t hak_lock_contended;

enum {
  SPINS = 100,
  YIELDS = 32,
  SLEEP_NS = 50000
};

HAK_SLOW void hak_lock_wait_slow(hak_lock_t *lock) {
  hak_add_relaxed(&hak_lock_contended, 1);
  unsigned rounds = 0;
  do {
    unsigned spins = 0;
    while (hak_load_relaxed(&lock->held) != 0) {
      if (++spins < SPINS) {
        hak_cpu_relax();
        continue;
      }
      spins = 0;
      if (++rounds < YIELDS) {
        sched_yield();
      } else {
        nanosleep(&(struct timespec){0, SLEEP_NS}, NULL);
      }
    }
    /* Acquire: as in hak_lock_acquire. */
  } while (hak_exchange_acquire(&lock->held, 1) != 0);
}

#if HAK_ASSERTS >= 2
static _Thread_local uint32_t held_ranks; /* bit r: a lock of rank r is held */

static uint32_t rank_of(const hak_lock_t *lock) {
  return lock->rank != 0 ? lock->rank : HAK_RANK_SHELF;
}

void hak_lock_rank_push(const hak_lock_t *lock) {
  hak_assert((held_ranks >> rank_of(lock)) == 0);
  held_ranks |= (uint32_t)1 << rank_of(lock);
}

void hak_lock_rank_pop(const hak_lock_t *lock) {
  hak_assert((held_ranks >> rank_of(lock) & 1) != 0);
  held_ranks &= ~((uint32_t)1 << rank_of(lock));
}
#endif
