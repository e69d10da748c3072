/* pool_growth.h - SuperSlabs for a heap, and which of them have huge pages.
 *
 * Depends on: base, huge, pool_slots, region.   Used by: shared_pool, pool_prefault,
 * pool.
 *
 * A heap's first SuperSlab has small pages, so that it costs what it touches. When it
 * needs a further one, the youngest of those with small pages is looked at, and perhaps
 * the one before it. If most of it is resident by then, so will be what comes next, and
 * the next SuperSlab has huge pages. One with small pages follows, which is looked at in
 * its turn; each time that it is dense the heap is granted four times as many, up to
 * HUGE_GRANT. A heap that stays small, or touches its blocks
 * here and there, never has a huge page.
 */
#ifndef HAK_SUPERSLAB_POOL_GROWTH_H
#define HAK_SUPERSLAB_POOL_GROWTH_H

#include "superslab/pool_slots.h"

/* With less room in its budget a heap has small pages: it could not pay for much that
 * it does not use. */
#define HAK_ROOM_FOR_HUGE_PAGES (64 * HAK_MIB)

/* A SuperSlab that came to the heap, and all of whose slots the caller has, asks for huge
 * pages if the heap wants some everywhere, or if it will be `dense` and the heap has no
 * wish of its own. One that brings pages along keeps what it has, unless the heap wants
 * none of its kind. True if it is to be committed whole. No lock held. */
bool hak_pool_choose_pages(hak_shared_pool_t *pool, hak_superslab_t *ss, bool dense);

/* A SuperSlab for slabs, charged to the heap, all slots taken; NULL if memory or the
 * budget is short. No lock held. */
hak_superslab_t *hak_pool_new_superslab(hak_shared_pool_t *pool);

#endif
