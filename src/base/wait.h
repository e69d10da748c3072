/* wait.h - how a thread waits for what another one is about to do.
 *
 * Depends on: compiler.   Used by: everything.
 */
#ifndef HAK_BASE_WAIT_H
#define HAK_BASE_WAIT_H

#include "base/compiler.h"

/* One step of a wait that is seldom needed and seldom long: the caller looks, calls this,
 * and looks again. *rounds begins at 0. The first steps spin, the next ones yield, all
 * further ones sleep, up to a millisecond at a time: so the thread that is waited for
 * runs, whatever priorities there are and however few processors. No lock held. */
void hak_wait_step(unsigned *rounds);

#endif
