/* pool_growth.h - SuperSlabs for a heap: from which regions, with which pages.
 *
 * Depends on: base, os, superslab, region, shared_pool.   Used by: shared_pool, pool.
 */
#ifndef HAK_SUPERSLAB_POOL_GROWTH_H
#define HAK_SUPERSLAB_POOL_GROWTH_H

#include "superslab/shared_pool.h"

/* SuperSlabs of the heap's, as hak_region_acquire, with the pages that it wants. *huge:
 * they are to be committed whole. */
hak_superslab_t *hak_pool_bring(hak_shared_pool_t *pool, uint32_t count, size_t alignment,
                                hak_extent_kind_t kind, bool no_grow, bool *huge);

/* One for slabs, charged to the heap, all slots taken; NULL if memory or the budget is
 * short. No lock held. */
hak_superslab_t *hak_pool_new_superslab(hak_shared_pool_t *pool);

#endif
