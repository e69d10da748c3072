/* home.h - sends blocks home to their slabs, whoever holds the slabs.
 *
 * Depends on: base, superslab, hold, stray.   Used by: tiny, api.
 */
#ifndef HAK_TINY_HOME_H
#define HAK_TINY_HOME_H

#include "tiny/hold.h"

/* True if the block lies in the slab's span, which begins at `start`. */
HAK_HOT bool hak_home_is_in_span(const hak_slab_t *slab, const char *start,
                                 const void *block) {
  return (size_t)((const char *)block - start) < (size_t)hak_slab_span(slab)
                                                     << HAK_SLAB_SHIFT;
}

/* Sends blocks of a shared class straight to their slabs; returns the number of runs that
 * this took. No lock is held. */
uint32_t hak_home_blocks(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                         void **blocks, uint32_t count);
/* Sends a list of at most `count` blocks of a shared class straight to their slabs. No
 * lock is held. */
void hak_home_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void *list,
                   uint32_t count);

#endif
