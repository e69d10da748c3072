/* pool_growth.h - SuperSlabs for a heap, and which of them have huge pages.
 *
 * Depends on: base, huge, pool_slots, region, tree.   Used by: shared_pool,
 * pool_prefault, pool.
 *
 * A heap's first SuperSlab has small pages, so that it costs what it touches. When it
 * needs a further one, the youngest of those with small pages is looked at, and perhaps
 * the one before it. If most of it is resident by then, so will be what comes next, and
 * the next SuperSlab has huge pages, and then four times as many, and so on up to
 * HUGE_GRANT. After so many one with small pages follows, which is looked at in its turn;
 * or none, if the blocks that were cut from the last one with huge pages say as much.
 * A heap that stays small, or touches its blocks here and there, never has a huge page.
 *
 * With each SuperSlab that is granted one that came with small pages gets a huge one, if
 * it is dense by now and nothing of it was given back. So in the end all of a dense heap
 * has huge pages.
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

/* The heap wants huge pages everywhere. */
bool hak_pool_is_huge_everywhere(hak_shared_pool_t *pool);

/* Slots of a SuperSlab that gave most of its pages back were taken into use: it counts as
 * the heap's next one, and gets a huge page, and pages in all its slots, if the next one
 * is granted that. The caller has a slot of it. Takes the system some 200 us if so, and
 * saves 800 where the slots are needed. No lock held. */
HAK_SLOW void hak_pool_refill_slow(hak_shared_pool_t *pool, hak_superslab_t *ss);
HAK_HOT void hak_pool_refill(hak_shared_pool_t *pool, hak_superslab_t *ss) {
  /* Relaxed: a policy; hak_pool_refill_slow looks again. */
  if (HAK_UNLIKELY(hak_load_relaxed(&ss->parts) == HAK_PARTS_GONE)) {
    hak_pool_refill_slow(pool, ss);
  }
}

/* A SuperSlab for slabs, charged to the heap, all slots taken; NULL if memory or the
 * budget is short. No lock held. */
hak_superslab_t *hak_pool_new_superslab(hak_shared_pool_t *pool);

#endif
