/* retention.h - when free memory goes back to the OS.
 *
 * Depends on: base, pages, region, region_release, shared_pool.   Used by: heap, api.
 *
 * Free slots, SuperSlabs and mappings keep their pages for a while: pages/idle.h says how
 * many bytes may stay, and for how long. What has to go goes in the order of its age,
 * wherever it lies; at the same age whole free SuperSlabs go first, so that huge pages
 * stay whole. Nothing runs in the background: every slow path that ends looks at
 * one word, and at a coarse clock if there is something to do. One that is part of an
 * allocation or a free gives back for at most PURGE_CALL_US, and old memory at an even
 * pace (pages/rent.h), so that what is due is gone within two decays without a long call.
 *
 * Cost: O(log of a heap's SuperSlabs) for each SuperSlab that gives something, however
 * many heaps there are.
 */
#ifndef HAK_SUPERSLAB_RETENTION_H
#define HAK_SUPERSLAB_RETENTION_H

#include "superslab/shared_pool.h"

/* It is time for a call to hak_retention_trim_slow. */
bool hak_retention_is_time(const hak_shared_pool_t *pool);
/* Gives back what is due in any pool, if it is time to look and purging is inline;
 * `pool` is the one that the thread worked in. No lock held. */
void hak_retention_trim_slow(const hak_shared_pool_t *pool);
HAK_HOT void hak_retention_trim(const hak_shared_pool_t *pool) {
  if (HAK_UNLIKELY(hak_load_relaxed(&hak_retained_over) != HAK_IDLE_FEW)) {
    hak_retention_trim_slow(pool);
  }
}

/* Gives back what is due now, up to max_bytes and *slabs looked at: what lies beyond the
 * ceiling, and what is older than the decay and lies above the floor. Returns the bytes.
 * If that is all, empty regions go too. No lock held. */
size_t hak_retention_give_due(size_t max_bytes, size_t *slabs);
/* Nanoseconds until hak_retention_give_due finds something, if nothing happens until
 * then: 0 for now, UINT64_MAX for never. No lock held. */
uint64_t hak_retention_due_in(void);

/* How much of what lies idle since `before` or longer may go by the rules, of a pool, of
 * free SuperSlabs and of kept mappings: hak_collect of one heap. */
typedef struct hak_retention_terms {
  uint64_t before; /* ns */
  size_t bytes;
} hak_retention_terms_t;
/* The terms for what is old, and those for what lies beyond the ceiling. */
hak_retention_terms_t hak_retention_old(void);
hak_retention_terms_t hak_retention_surplus(void);

/* Gives back pages of free SuperSlabs, of kept mappings and of the pool that have been
 * idle since `before` or longer, in this order, up to max_bytes and *slabs looked at.
 * Returns the bytes. No lock held. */
size_t hak_retention_collect(hak_shared_pool_t *pool, uint64_t before, size_t max_bytes,
                             size_t *slabs);

/* At shutdown: time begins anew. */
void hak_retention_stop(void);

#endif
