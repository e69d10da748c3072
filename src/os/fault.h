/* fault.h - what becomes of touches that the system refuses.
 *
 * Depends on: base.   Used by: api.
 *
 * The library has no handler for such faults until somebody asks it to watch them, and
 * never keeps a fault to itself: after the look it is handed to whoever handled it
 * before, as if the library's handler were not there. A handler that the program sets
 * later comes first, and sees to it that the library's is called, or not.
 */
#ifndef HAK_OS_FAULT_H
#define HAK_OS_FAULT_H

#include "base/compiler.h"

typedef enum hak_touch {
  HAK_TOUCH_UNKNOWN = 0,
  HAK_TOUCH_READ,
  HAK_TOUCH_WRITE
} hak_touch_t;

/* Called in a crash handler: it may write and look, not allocate, and wait for nobody. */
typedef void(hak_fault_fn)(const void *address, hak_touch_t touch);

/* From now on `fn`, which is always the same, hears of each fault, if the platform has
 * such a thing. Costs nothing where it does already. Keeps errno. */
void hak_fault_watch(hak_fault_fn *fn);
/* One thread, at the end of the library. Nobody hears of them any more. Who handled
 * faults before does again, unless the program has set a handler since. */
void hak_fault_unwatch(void);

#endif
