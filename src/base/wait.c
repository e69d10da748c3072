#include "base/wait.h"

#include "base/sys.h"

enum {
  SPINS = 64,
  YIELDS = 16,
  DOUBLINGS = 5, /* of the time that a step sleeps */
  FIRST_NS = 32000
};

HAK_SLOW void hak_wait_step(unsigned *rounds) {
  unsigned round = *rounds;
  if (round < SPINS + YIELDS + DOUBLINGS) ++*rounds;
  if (round < SPINS) {
    hak_cpu_relax();
  } else if (round < SPINS + YIELDS) {
    hak_sys_yield();
  } else {
    hak_sys_sleep((uint64_t)FIRST_NS << (round - SPINS - YIELDS));
  }
}

/* --- on one word ----------------------------------------------------------------- */

/* What waits only for a word to change has spun before it comes here. */
static void sleep_in_steps(hak_atomic_u32_t *word, uint32_t value) {
  unsigned rounds = SPINS;
  while (hak_load_relaxed(word) == value) hak_wait_step(&rounds);
}

HAK_SLOW void hak_wait_on(hak_atomic_u32_t *word, uint32_t value) {
  if (!hak_sys_wait(word, value)) sleep_in_steps(word, value);
}

HAK_SLOW void hak_wake_one(hak_atomic_u32_t *word) { hak_sys_wake(word); }

/* What the first thread that asked was told. One that may use fewer processors spins for
 * nothing, but not for long. */
static hak_atomic_u32_t known; /* 0: nobody has asked; 1: one processor; 2: several */

HAK_SLOW bool hak_wait_may_spin(void) {
  uint32_t now = hak_load_relaxed(&known);
  if (now == 0) {
    now = hak_sys_has_one_processor() ? 1 : 2;
    hak_store_relaxed(&known, now);
  }
  return now > 1;
}
