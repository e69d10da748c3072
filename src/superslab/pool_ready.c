/* pool_ready.c - memory of a pool that is there before it is needed, and stays. */
#include "superslab/pool_slots.h"
#include "superslab/resident.h"
#include "superslab/supply.h"
#include "superslab/tree.h"

typedef hak_superslab_t node_t;

void hak_pool_keep_all(hak_pool_t *pool) {
  hak_lock_acquire(&pool->lock);
  pool->kept_slabs = UINT64_MAX;
  pool->keeps_free = true;
  hak_lock_release(&pool->lock);
}

void hak_pool_keep_none(hak_pool_t *pool) {
  hak_lock_acquire(&pool->lock);
  if (pool->kept_slabs != UINT64_MAX) pool->kept_slabs = 0;
  pool->kept_superslabs = 0;
  hak_lock_release(&pool->lock);
}

bool hak_pool_reserve(hak_pool_t *pool, size_t bytes) {
  uint64_t want = hak_div_up(bytes, HAK_SUPERSLAB_SIZE);
  hak_lock_acquire(&pool->lock);
  uint64_t before = pool->kept_superslabs;
  if (want > before) pool->kept_superslabs = want;
  pool->keeps_free = true;
  bool ok = true;
  while (ok && hak_load_relaxed(&pool->superslabs) < want) {
    hak_lock_release(&pool->lock);
    node_t *ss = hak_pool_new_superslab(pool);
    ok = ss != NULL;
    if (ok) hak_pool_add_superslab(pool, ss);
    if (!ok) hak_lock_acquire(&pool->lock);
  }
  if (!ok) pool->kept_superslabs = before;
  hak_lock_release(&pool->lock);
  return ok;
}

/* The lowest run of free slots of a SuperSlab from `from` on, `most` at most; its end,
 * and *count: how many. Called and returns with the lock held; the SuperSlab may have
 * gone then. */
static unsigned prefault_run(hak_pool_t *pool, node_t *ss, unsigned from, size_t most,
                             unsigned *count, bool *ok) {
  uint32_t free =
      from < HAK_SUPERSLAB_SLABS ? hak_superslab_free(ss) & ~hak_mask32(0, from) : 0;
  *count = 0;
  if (free == 0) return HAK_SUPERSLAB_SLABS;
  unsigned first = hak_lowest_bit(free), n = 1;
  while (n < most && first + n < HAK_SUPERSLAB_SLABS && (free >> (first + n) & 1) != 0) {
    n++;
  }
  hak_pool_take_locked(pool, ss, first, n);
  ss->collapsed = 1; /* by this call or not at all */
  hak_lock_release(&pool->lock);
  *ok = hak_resident_make(ss, first, n);
  hak_lock_acquire(&pool->lock);
  hak_pool_put_locked(pool, ss, first, n, hak_clock_cached());
  *count = n;
  return first + n;
}

bool hak_pool_prefault(hak_pool_t *pool, size_t bytes) {
  size_t slots = hak_div_up(bytes, HAK_SLAB_SIZE);
  hak_clock_refresh();
  hak_lock_acquire(&pool->lock);
  uint64_t before = pool->kept_slabs;
  uint64_t want = hak_load_relaxed(&pool->taken) + slots;
  /* Nothing is to go while this is at it. */
  pool->kept_slabs = UINT64_MAX;
  pool->keeps_free = true;
  bool ok = true;
  const char *at = NULL; /* what lies below has been looked at */
  unsigned slot = 0;
  while (ok && slots > 0) {
    node_t *ss = hak_tree_above(pool->root, at);
    if (ss == NULL) {
      hak_lock_release(&pool->lock);
      ss = hak_pool_new_superslab(pool);
      ok = ss != NULL;
      if (!ok) {
        hak_lock_acquire(&pool->lock);
        break;
      }
      hak_pool_add_superslab(pool, ss);
    }
    const char *base = ss->extent.base;
    unsigned count;
    slot = prefault_run(pool, ss, slot, slots, &count, &ok);
    slots -= ok ? count : 0;
    if (slot < HAK_SUPERSLAB_SLABS) {
      at = base - 1; /* the same one again */
    } else {
      at = at == NULL || base > at ? base : at;
      slot = 0;
    }
  }
  pool->kept_slabs = ok && want > before ? want : before;
  hak_lock_release(&pool->lock);
  return ok;
}
