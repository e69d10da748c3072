/* prewarm.h - blocks of a class made ready before they are asked for.
 *
 * Depends on: superslab, bin, capacity, commit, hold, scatter, stray, trim.   Used by:
 * api.
 */
#ifndef HAK_TINY_PREWARM_H
#define HAK_TINY_PREWARM_H

#include "tiny/bin.h"

/* Sees to it that this thread has `count` free blocks of a shared class whose OS pages
 * are all resident. Blocks that it has count; for the others it gets slabs, which are cut
 * as a whole and which it holds from then on. Returns the number of such blocks, at most
 * `count`; it is less if memory is short. */
size_t hak_prewarm_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                         size_t count);

/* Makes `size` bytes of a free block resident, but for the words that are the
 * library's. */
void hak_prewarm_touch(void *block, size_t size);

#endif
