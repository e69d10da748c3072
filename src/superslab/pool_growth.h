/* pool_growth.h - SuperSlabs for a heap: from which regions, with which pages.
 *
 * Depends on: base, pool_slots, region.   Used by: pool_prefault, shared_pool, pool.
 */
#ifndef HAK_SUPERSLAB_POOL_GROWTH_H
#define HAK_SUPERSLAB_POOL_GROWTH_H

#include "superslab/pool_slots.h"

/* With less room in its budget a heap has small pages: it could not pay for much that
 * it does not use. */
#define HAK_ROOM_FOR_HUGE_PAGES (64 * HAK_MIB)

/* `count` SuperSlabs side by side for the heap, with pages of the size that it wants; the
 * arguments and the result are those of hak_region_acquire. *huge: they are to be
 * committed whole. */
hak_superslab_t *hak_pool_bring(hak_shared_pool_t *pool, uint32_t count, size_t alignment,
                                hak_extent_kind_t kind, bool no_grow, bool *huge);

/* A SuperSlab for slabs, charged to the heap, all slots taken; NULL if memory or the
 * budget is short. No lock held. */
hak_superslab_t *hak_pool_new_superslab(hak_shared_pool_t *pool);

#endif
