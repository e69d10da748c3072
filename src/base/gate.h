/* gate.h - something that may go away, and those who look at it without a lock.
 *
 * Depends on: atomic, wait.   Used by: external, heap.
 *
 * A thread that looks enters first and leaves after. The thread that takes the thing away
 * closes the gate and waits until all have left. One word has the mark 'open' and the
 * count of those inside, so that an entry either comes before the close and is waited
 * for, or is refused.
 *
 * Cost of a look: two locked instructions.
 */
#ifndef HAK_BASE_GATE_H
#define HAK_BASE_GATE_H

#include "base/atomic.h"
#include "base/wait.h"

#define HAK_GATE_OPEN ((uint32_t)1 << 31)

typedef struct hak_gate {
  hak_atomic_u32_t word; /* HAK_GATE_OPEN, if it is, and how many are inside */
} hak_gate_t;

/* Opens a gate, whether or not it is open. Release: publishes what was made to those who
 * enter. */
HAK_HOT void hak_gate_open(hak_gate_t *gate) {
  hak_or_release(&gate->word, HAK_GATE_OPEN);
}

/* Release: pairs with hak_gate_inside; who was inside looks no more. */
HAK_HOT void hak_gate_leave(hak_gate_t *gate) { hak_sub_release(&gate->word, 1); }

/* Enters. False if the gate is closed: then the caller is not inside. */
HAK_HOT bool hak_gate_enter(hak_gate_t *gate) {
  /* A gate that is closed for long is only read. Acquire: pairs with hak_gate_close, for
   * those who are refused here. */
  if ((hak_load_acquire(&gate->word) & HAK_GATE_OPEN) == 0) return false;
  /* Acquire: pairs with hak_gate_open and hak_gate_close. */
  if ((hak_add_acquire(&gate->word, 1) & HAK_GATE_OPEN) != 0) return true;
  hak_gate_leave(gate);
  return false;
}

/* Closes a gate, whether or not it is open. Release: pairs with hak_gate_enter; who finds
 * the gate closed sees why. */
HAK_HOT void hak_gate_close(hak_gate_t *gate) {
  hak_and_release(&gate->word, ~HAK_GATE_OPEN);
}

/* Returns how many threads are inside. */
HAK_HOT uint32_t hak_gate_inside(hak_gate_t *gate) {
  /* Acquire: pairs with hak_gate_leave. */
  return hak_load_acquire(&gate->word) & ~HAK_GATE_OPEN;
}

/* Waits until nobody is inside a closed gate; false if after about `rounds` steps of
 * hak_wait_step somebody still is. 0: as long as it takes. */
HAK_HOT bool hak_gate_wait(hak_gate_t *gate, unsigned rounds) {
  unsigned step = 0;
  for (unsigned i = 1; hak_gate_inside(gate) != 0; i++) {
    if (i == rounds) return false;
    hak_wait_step(&step);
  }
  return true;
}

/* In the child of a fork, where only `inside` of those who were inside exist. */
HAK_HOT void hak_gate_recount(hak_gate_t *gate, uint32_t inside) {
  hak_store_relaxed(&gate->word,
                    (hak_load_relaxed(&gate->word) & HAK_GATE_OPEN) | inside);
}

#endif
