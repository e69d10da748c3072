/* wait.h - how a thread waits for what another one is about to do.
 *
 * Depends on: atomic, sys.   Used by: everything.
 */
#ifndef HAK_BASE_WAIT_H
#define HAK_BASE_WAIT_H

#include "base/atomic.h"

/* One step of a wait that is seldom needed and seldom long: the caller looks, calls this,
 * and looks again. *rounds begins at 0. The first steps spin, the next ones yield, all
 * further ones sleep, up to a millisecond at a time: so the thread that is waited for
 * runs, whatever priorities there are and however few processors. No lock held. */
void hak_wait_step(unsigned *rounds);

/* Blocks while *word is `value`, and perhaps shorter: the caller looks again. Whoever
 * changes the word calls hak_wake_one afterwards. errno is kept by both. */
void hak_wait_on(hak_atomic_u32_t *word, uint32_t value);
/* Wakes one thread that waits on the word, which then looks again. The memory of the word
 * may be gone by now; if it serves another word, a thread there looks again for nothing.
 */
void hak_wake_one(hak_atomic_u32_t *word);

/* Other threads may run while this one spins: false on one processor. */
bool hak_wait_may_spin(void);

#endif
