/* tick.h - now and then a thread looks at what it holds.
 *
 * Depends on: hold.   Used by: refill, spill.
 */
#ifndef HAK_TINY_TICK_H
#define HAK_TINY_TICK_H

#include "tiny/front.h"

/* After TICK_REFILLS refills of a class: shelves what the thread holds far
 * beyond what it uses; every few of these, does so for all classes. */
void hak_tick_class(hak_thread_t *me, uint32_t cls);

#endif
