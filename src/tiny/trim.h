/* trim.h - now and then a thread looks at what it holds, and gives up what it does not
 * use.
 *
 * Depends on: base, bin, capacity, flush, hold.   Used by: tiny.
 */
#ifndef HAK_TINY_TRIM_H
#define HAK_TINY_TRIM_H

#include "tiny/bin.h"

/* To be called after TRIM_REFILLS refills of a class, which are a period of it. If the
 * thread holds far more blocks of the class than it uses, half of the surplus goes to the
 * partial list. Every 16th call looks at all classes. */
void hak_trim_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* No surplus goes until refills had time to bring `count` blocks, which were made ready.
 */
void hak_trim_later(const hak_cache_t *cache, uint32_t cls, size_t count);

/* Every HAK_TRIM_CALLS calls, looks at the bin of the next class. A bin that has grown
 * and was not touched since the last look gives its blocks back, and is small again. */
void hak_trim_bin_slow(hak_thread_t *me, const hak_cache_t *cache);
enum {
  HAK_TRIM_CALLS = 16
};
HAK_HOT void hak_trim_bin(hak_thread_t *me, const hak_cache_t *cache) {
  if (HAK_UNLIKELY(++me->looks % HAK_TRIM_CALLS == 0)) hak_trim_bin_slow(me, cache);
}

#endif
