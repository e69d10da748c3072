#include "superslab/fit.h"

#include "superslab/tree.h"

typedef hak_superslab_t node_t;

enum {
  MORE_SHARE = 4,  /* of a block's pages, so much may lie behind its end */
  EMPTY_LEAST = 2, /* slots that may be empty and have pages, */
  EMPTY_SHARE = 8, /* and of those in use one of so many */
  LOOKS = 64       /* SuperSlabs that have such slots */
};

/* Pages that a block of `pages` lacks in a slot, or has too many; SIZE_MAX if these are
 * too many. */
static size_t misfit(size_t has, size_t pages) {
  if (has <= pages) return pages - has;
  return has - pages <= pages / MORE_SHARE ? has - pages : SIZE_MAX;
}

HAK_SLOW hak_superslab_t *hak_fit_find_locked(const hak_shared_pool_t *pool, size_t pages,
                                              int *first) {
  hak_lock_assert_held(&((hak_shared_pool_t *)pool)->lock);
  node_t *ss = pool->retained.last, *best = NULL;
  size_t least = SIZE_MAX;
  for (int looks = 0; ss != NULL && looks < LOOKS && least > 0; looks++, ss = ss->prev) {
    for (uint32_t left = hak_superslab_retained(ss); left != 0; left &= left - 1) {
      unsigned slot = hak_lowest_bit(left);
      size_t off = misfit(hak_slab_pages(&ss->slabs[slot]), pages);
      if (off >= least) continue;
      least = off;
      best = ss;
      *first = (int)slot;
    }
  }
  if (best != NULL) return best;
  best = hak_tree_lowest(pool->root, 1);
  if (best == NULL) return NULL;
  uint32_t free = hak_superslab_free(best), bare = free & ~hak_superslab_retained(best);
  *first = (int)hak_lowest_bit(bare != 0 ? bare : free);
  return best;
}

size_t hak_fit_surplus_locked(const hak_shared_pool_t *pool) {
  hak_lock_assert_held(&((hak_shared_pool_t *)pool)->lock);
  if (!pool->fits || pool->keeps_all) return 0;
  uint64_t taken = hak_load_relaxed(&((hak_shared_pool_t *)pool)->taken);
  uint64_t most = EMPTY_LEAST + taken / EMPTY_SHARE;
  return pool->empty > most ? pool->empty - most : 0;
}
