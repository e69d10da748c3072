/* turn.h - one thread at a time gets from the OS what all of them can use.
 *
 * Depends on: base, os.   Used by: pages, superslab.
 *
 * Threads that find something used up at the same moment would else each ask for more.
 * Whoever has waited for the turn looks again. Hooks run while it is out, and may call
 * the library: so a thread that has it does not wait for it.
 */
#ifndef HAK_OS_TURN_H
#define HAK_OS_TURN_H

#include "base/lock.h"
#include "os/os.h"

typedef struct hak_turn {
  hak_lease_t lease;
  hak_atomic_ptr_t holder; /* an address that only one thread has; NULL */
} hak_turn_t;

/* Relaxed: only the thread itself writes this value, and takes it back. */
HAK_HOT bool hak_turn_is_mine(hak_turn_t *turn) {
  return hak_load_relaxed(&turn->holder) == (void *)&hak_os_scope;
}
HAK_HOT bool hak_turn_is_out(hak_turn_t *turn) { return hak_lease_is_out(&turn->lease); }

/* False: the thread has it already, and goes on without. No lock held. */
bool hak_turn_take(hak_turn_t *turn);
/* The same without a wait: false also if another thread has it. */
bool hak_turn_try(hak_turn_t *turn);
/* `taken` is what hak_turn_take said. No lock held. */
void hak_turn_give(hak_turn_t *turn, bool taken);

/* In the child of a fork: another thread's turn is over. */
void hak_turn_forget_others(hak_turn_t *turn);

#endif
