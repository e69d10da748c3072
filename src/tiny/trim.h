/* trim.h - now and then a thread looks at what it holds.
 *
 * Depends on: hold.   Used by: refill, spill.
 */
#ifndef HAK_TINY_TRIM_H
#define HAK_TINY_TRIM_H

#include "tiny/bin.h"

/* After TRIM_REFILLS refills of a class: gives to the partial list what the thread holds
 * far beyond what it uses; every few of these, does so for all classes. */
void hak_trim_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

#endif
