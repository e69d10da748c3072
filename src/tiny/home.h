/* home.h - blocks go home to their slabs, whoever holds these.
 *
 * Depends on: base, superslab, hold, stray.   Used by: tiny, api.
 */
#ifndef HAK_TINY_HOME_H
#define HAK_TINY_HOME_H

#include "tiny/hold.h"

HAK_HOT bool hak_home_is_in_span(const hak_slab_t *slab, const char *start,
                                 const void *block) {
  return (size_t)((const char *)block - start) < (size_t)slab->span << HAK_SLAB_SHIFT;
}

/* Blocks of a shared class go straight to their slabs; how many slabs that were. No
 * lock held. */
uint32_t hak_home_blocks(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                         void **blocks, uint32_t count);
/* So does a list of at most `count` blocks. */
void hak_home_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void *list,
                   uint32_t count);

#endif
