/* turn.h - one thread at a time gets from the OS what all of them can use.
 *
 * Depends on: base, os.   Used by: pages, superslab.
 *
 * Without turns, threads that find something used up at the same moment would each ask
 * for more. A thread that has waited for the turn looks again before it asks. Hooks run
 * while a thread has the turn, and may call the library: so that thread does not wait for
 * the turn that it has.
 */
#ifndef HAK_OS_TURN_H
#define HAK_OS_TURN_H

#include "base/lock.h"
#include "os/os.h"

typedef struct hak_turn {
  hak_lease_t lease;
  hak_atomic_ptr_t holder; /* hak_os_self of the thread that has the turn; NULL */
} hak_turn_t;

/* Relaxed: only the thread itself writes this value, and takes it back. */
HAK_HOT bool hak_turn_is_mine(hak_turn_t *turn) {
  return hak_load_relaxed(&turn->holder) == (void *)&hak_os_scope;
}
HAK_HOT bool hak_turn_is_out(hak_turn_t *turn) { return hak_lease_is_out(&turn->lease); }

/* Waits for the turn. False, at once, if the calling thread has it already. No lock held.
 */
bool hak_turn_take(hak_turn_t *turn);
/* Takes the turn without a wait: false if any thread has it. */
bool hak_turn_try(hak_turn_t *turn);
/* `taken` is what hak_turn_take said. No lock held. */
void hak_turn_give(hak_turn_t *turn, bool taken);

/* In the child of a fork: another thread's turn is over. */
void hak_turn_forget_others(hak_turn_t *turn);

#endif
