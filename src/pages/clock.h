/* clock.h - a coarse time, read without asking the clock.
 *
 * Depends on: registry.   Used by: superslab.
 */
#ifndef HAK_PAGES_CLOCK_H
#define HAK_PAGES_CLOCK_H

#include <stdint.h>

/* When slots came and went, without asking the clock under a lock: the time of
 * the last refresh, which slow paths do before they take one. */
void hak_clock_refresh(void);
uint64_t hak_clock_cached(void);

#endif
