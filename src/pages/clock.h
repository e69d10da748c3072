/* clock.h - a coarse time, read without asking the clock.
 *
 * Depends on: registry.   Used by: mapping, superslab.
 */
#ifndef HAK_PAGES_CLOCK_H
#define HAK_PAGES_CLOCK_H

#include <stdint.h>

/* Slots note when they came and went by the cached time, so that nobody asks the clock
 * under a lock: it is the time of the last refresh, and slow paths refresh it before
 * they take one. */
void hak_clock_refresh(void);
uint64_t hak_clock_cached(void);

#endif
