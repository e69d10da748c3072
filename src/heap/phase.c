#include "heap/phase.h"

#include "base/sys.h"
#include "base/wait.h"
#include "heap/thread_state.h"

enum {
  PHASE_BITS = 8
};

/* The process at the change stands above HAK_PHASE_CHANGING. */
static hak_atomic_u64_t phase;
static hak_atomic_ptr_t changer; /* something of the thread that is at it, or NULL */

static uint64_t changing_here(void) {
  return hak_sys_process() << PHASE_BITS | HAK_PHASE_CHANGING;
}

/* Acquire: pairs with hak_phase_end; what was made is seen. */
bool hak_phase_is_running(void) { return hak_load_acquire(&phase) == HAK_PHASE_RUNNING; }

hak_phase_t hak_phase(void) {
  /* Acquire: pairs with hak_phase_end. */
  uint64_t now = hak_load_acquire(&phase);
  if (now == HAK_PHASE_RUNNING) return HAK_PHASE_RUNNING;
  return now == changing_here() ? HAK_PHASE_CHANGING : HAK_PHASE_DOWN;
}

/* A thread's address, which no other thread has at the same time. */
bool hak_phase_is_mine(void) {
  return hak_load_relaxed(&changer) == (void *)&hak_thread_self;
}

HAK_SLOW hak_phase_t hak_phase_begin(bool unless_running) {
  unsigned step = 0;
  uint64_t here = changing_here(); /* who waits is in the parent only, after a fork too */
  for (;;) {
    /* Acquire: pairs with hak_phase_end. */
    uint64_t now = hak_load_acquire(&phase);
    if (now == HAK_PHASE_RUNNING && unless_running) return HAK_PHASE_RUNNING;
    /* What another process's thread had made so far stays unused. */
    if (now != here && hak_cas_acquire(&phase, &now, here)) {
      hak_store_relaxed(&changer, (void *)&hak_thread_self);
      return now == HAK_PHASE_RUNNING ? HAK_PHASE_RUNNING : HAK_PHASE_DOWN;
    }
    hak_wait_step(&step);
  }
}

/* Release: publishes what was made to hak_phase_is_running. */
void hak_phase_end(hak_phase_t now) {
  hak_store_relaxed(&changer, NULL);
  hak_store_release(&phase, now);
}

static bool held;
static hak_phase_t held_phase;

void hak_phase_hold(void) {
  if (hak_phase_is_mine()) return; /* a fork in a hook: the change goes on in both */
  held_phase = hak_phase_begin(false);
  held = true;
}

void hak_phase_unhold(void) {
  if (!held) return;
  held = false;
  hak_phase_end(held_phase);
}
