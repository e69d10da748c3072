/* trim.h - now and then a thread looks at what it holds.
 *
 * Depends on: base, bin, capacity, flush, hold.   Used by: tiny.
 */
#ifndef HAK_TINY_TRIM_H
#define HAK_TINY_TRIM_H

#include "tiny/bin.h"

/* After TRIM_REFILLS refills of a class: gives to the partial list what the thread holds
 * far beyond what it uses; every few of these, does so for all classes. */
void hak_trim_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Every so many calls, looks at the bin of the next class: one that has grown and was not
 * touched since the last look gives its blocks back, and is small again. */
void hak_trim_bin_slow(hak_thread_t *me, const hak_cache_t *cache);
enum {
  HAK_TRIM_CALLS = 16
};
HAK_HOT void hak_trim_bin(hak_thread_t *me, const hak_cache_t *cache) {
  if (HAK_UNLIKELY(++me->looks % HAK_TRIM_CALLS == 0)) hak_trim_bin_slow(me, cache);
}

#endif
