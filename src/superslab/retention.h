/* retention.h - when free memory goes back to the OS.
 *
 * Depends on: base, pages, region, shared_pool.   Used by: heap, api.
 *
 * Free slots, SuperSlabs and mappings keep their pages until nothing has come
 * or gone around them for PURGE_DECAY_MS and more than RETAIN_BYTES lie idle;
 * memory that is used again meanwhile starts anew. Beyond RETAIN_BYTES_MAX
 * there is no waiting. Whole free SuperSlabs go first, so that huge pages stay
 * whole. Nothing runs in the background: slow paths look at a coarse clock.
 */
#ifndef HAK_SUPERSLAB_RETENTION_H
#define HAK_SUPERSLAB_RETENTION_H

#include "superslab/shared_pool.h"

/* Gives back what is due, if it is time to look and purging is inline. No lock held. */
void hak_retention_trim_slow(hak_shared_pool_t *pool);
HAK_HOT void hak_retention_trim(hak_shared_pool_t *pool) {
  if (HAK_UNLIKELY(hak_load_relaxed(&hak_retained_over) != 0)) {
    hak_retention_trim_slow(pool);
  }
}

/* Gives back pages of free SuperSlabs, of kept mappings and of the pool that have been
 * idle since `before` or longer, in this order, up to max_bytes and *slabs looked at.
 * Returns the bytes. No lock held. */
size_t hak_retention_collect(hak_shared_pool_t *pool, uint64_t before, size_t max_bytes,
                             size_t *slabs);

#endif
