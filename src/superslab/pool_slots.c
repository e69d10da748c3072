#include "superslab/pool_slots.h"

#include "superslab/region.h"
#include "superslab/tree.h"

typedef hak_superslab_t node_t;

void hak_pool_run_changed_locked(hak_shared_pool_t *pool, node_t *ss) {
  hak_lock_assert_held(&pool->lock);
  uint32_t run = hak_longest_run(hak_superslab_free(ss));
  if (run == ss->run) return;
  ss->run = run;
  hak_tree_refresh(pool->root, ss);
}

uint64_t hak_pool_in_use_locked(const hak_shared_pool_t *pool) {
  hak_lock_assert_held(&pool->lock);
  uint64_t taken = hak_load_relaxed(&((hak_shared_pool_t *)pool)->taken);
  return taken > pool->in_hand ? taken - pool->in_hand : 0;
}

/* Slots that are kept and empty have most of their pages: how many bytes that may be. */
static uint64_t kept_bytes_locked(const hak_shared_pool_t *pool) {
  hak_lock_assert_held(&pool->lock);
  uint64_t taken = hak_pool_in_use_locked(pool);
  uint64_t kept = pool->kept_slabs > taken ? pool->kept_slabs - taken : 0;
  return (kept < pool->empty ? kept : pool->empty) << HAK_SLAB_SHIFT;
}

HAK_SLOW void hak_pool_count_kept_locked(hak_shared_pool_t *pool) {
  hak_lock_assert_held(&pool->lock);
  uint64_t before = pool->kept_bytes;
  pool->kept_bytes = kept_bytes_locked(pool);
  if (pool->kept_bytes != before) hak_note_kept((int64_t)(pool->kept_bytes - before));
}

bool hak_pool_kept_is_counted_locked(const hak_shared_pool_t *pool) {
  hak_lock_assert_held(&pool->lock);
  return pool->kept_bytes == kept_bytes_locked(pool);
}

void hak_pool_take_locked(hak_shared_pool_t *pool, node_t *ss, unsigned first,
                          unsigned span) {
  hak_lock_assert_held(&pool->lock);
  pool->empty -= hak_count_bits(hak_superslab_retained(ss) & hak_mask32(first, span));
  hak_superslab_take_locked(&pool->lock, ss, first, span);
  if (hak_superslab_retained(ss) == 0 && ss->queue != NULL) hak_superslab_dequeue(ss);
  hak_count_own(&pool->taken, span);
  hak_pool_kept_changed_locked(pool);
  hak_pool_run_changed_locked(pool, ss);
}

void hak_pool_requeue_locked(hak_shared_pool_t *pool, node_t *ss) {
  hak_lock_assert_held(&pool->lock);
  if (ss->queue != NULL) hak_superslab_dequeue(ss);
  if (hak_superslab_retained(ss) == 0) return;
  hak_superslab_enqueue(&pool->retained, ss);
  if (HAK_UNLIKELY(!pool->link.queued)) {
    hak_pool_queue_add(&pool->link, pool->retained.first->idle_since);
  }
}

/* True if a SuperSlab that is wholly free is not to go. */
static bool is_kept_locked(const hak_shared_pool_t *pool, const node_t *ss) {
  hak_lock_assert_held(&pool->lock);
  if (HAK_UNLIKELY(pool->readying != 0)) return true;
  if (HAK_LIKELY(pool->kept_slabs == 0 && pool->kept_superslabs == 0)) return false;
  uint64_t without = hak_pool_in_use_locked(pool) + pool->empty;
  return hak_load_relaxed(&pool->superslabs) <= pool->kept_superslabs ||
         without - hak_count_bits(hak_superslab_retained(ss)) < pool->kept_slabs;
}

/* Gives a SuperSlab that is wholly free back to its region. */
static void give_locked(hak_shared_pool_t *pool, node_t *ss, uint64_t now) {
  hak_lock_assert_held(&pool->lock);
  if (ss->queue != NULL) hak_superslab_dequeue(ss);
  if (pool->youngest == ss) pool->youngest = NULL;
  if (pool->settled == ss) pool->settled = NULL;
  if (pool->granted == ss) pool->granted = NULL;
  pool->empty -= hak_count_bits(hak_superslab_retained(ss));
  pool->root = hak_tree_erase(pool->root, ss);
  hak_count_own(&pool->superslabs, 0 - (uint64_t)1);
  hak_superslab_take_locked(&pool->lock, ss, 0, HAK_SUPERSLAB_SLABS);
  hak_pool_kept_changed_locked(pool);
  hak_region_give(ss, 1, now);
}

void hak_pool_settle_locked(hak_shared_pool_t *pool, node_t *ss, unsigned slots,
                            uint64_t now) {
  hak_lock_assert_held(&pool->lock);
  hak_count_own(&pool->taken, 0 - (uint64_t)slots);
  hak_pool_kept_changed_locked(pool);
  if (hak_superslab_free(ss) != HAK_ALL_SLOTS || is_kept_locked(pool, ss)) {
    hak_pool_requeue_locked(pool, ss);
    hak_pool_run_changed_locked(pool, ss);
    return;
  }
  give_locked(pool, ss, now);
}

void hak_pool_give_bare_locked(hak_shared_pool_t *pool, uint64_t now) {
  hak_lock_assert_held(&pool->lock);
  const char *at = NULL;
  node_t *ss;
  while (pool->keeps_free && (ss = hak_tree_above(pool->root, at)) != NULL) {
    at = ss->extent.base;
    if (hak_superslab_free(ss) == HAK_ALL_SLOTS && hak_superslab_retained(ss) == 0 &&
        !is_kept_locked(pool, ss)) {
      give_locked(pool, ss, now);
    }
  }
}

void hak_pool_put_locked(hak_shared_pool_t *pool, node_t *ss, unsigned first,
                         unsigned span, uint64_t now) {
  hak_lock_assert_held(&pool->lock);
  hak_superslab_put_locked(&pool->lock, ss, first, span, now);
  pool->empty += hak_count_bits(hak_superslab_retained(ss) & hak_mask32(first, span));
  hak_pool_settle_locked(pool, ss, span, now);
}

void hak_pool_add_superslab(hak_shared_pool_t *pool, node_t *ss) {
  hak_lock_acquire(&pool->lock);
  /* What it brings along is about to be used. */
  hak_superslab_put_locked(&pool->lock, ss, 0, HAK_SUPERSLAB_SLABS, hak_clock_cached());
  pool->empty += hak_count_bits(hak_superslab_retained(ss));
  ss->run = HAK_SUPERSLAB_SLABS;
  pool->root = hak_tree_insert(pool->root, ss);
  hak_count_own(&pool->superslabs, 1);
  hak_pool_kept_changed_locked(pool);
  hak_pool_requeue_locked(pool, ss);
}

HAK_SLOW void hak_pool_adopt_locked(hak_shared_pool_t *pool, node_t *ss) {
  hak_lock_assert_held(&pool->lock);
  hak_store_relaxed(&ss->extent.heap, pool->heap);
  /* Release: pairs with visitors, as where a region hands a SuperSlab out. */
  hak_store_release(&ss->extent.kind, HAK_EXTENT_SLABS);
  ss->run = 0;
  pool->root = hak_tree_insert(pool->root, ss);
  hak_count_own(&pool->superslabs, 1);
  hak_count_own(&pool->taken, HAK_SUPERSLAB_SLABS);
  pool->in_hand += HAK_SUPERSLAB_SLABS;
}

bool hak_pool_borrow_locked(hak_shared_pool_t *pool, unsigned span, size_t alignment) {
  hak_lock_assert_held(&pool->lock);
  if (HAK_LIKELY(!hak_pool_is_enclosed(pool))) return false;
  const hak_fixed_os_t *fixed = hak_fixed_os_of(pool->os);
  return fixed->lend_slots(pool, span, alignment) != NULL;
}

void hak_pool_each_run_locked(hak_shared_pool_t *pool, node_t *ss, uint32_t slots,
                              uint64_t now, bool put) {
  hak_lock_assert_held(&pool->lock);
  while (slots != 0) {
    unsigned first = hak_lowest_bit(slots), count = hak_lowest_run(slots);
    slots &= ~hak_mask32(first, count);
    if (put) {
      hak_superslab_put_locked(&pool->lock, ss, first, count, now);
    } else {
      hak_superslab_take_locked(&pool->lock, ss, first, count);
    }
  }
}

void hak_pool_take_in_hand_locked(hak_shared_pool_t *pool, node_t *ss, uint32_t slots) {
  hak_lock_assert_held(&pool->lock);
  unsigned count = hak_count_bits(slots);
  pool->empty -= hak_count_bits(hak_superslab_retained(ss) & slots);
  hak_pool_each_run_locked(pool, ss, slots, 0, false);
  hak_count_own(&pool->taken, count);
  if (hak_superslab_retained(ss) == 0 && ss->queue != NULL) hak_superslab_dequeue(ss);
  hak_pool_run_changed_locked(pool, ss);
  pool->in_hand += count;
  hak_pool_kept_changed_locked(pool);
}

void hak_pool_put_in_hand_locked(hak_shared_pool_t *pool, node_t *ss, uint32_t slots,
                                 uint64_t now) {
  hak_lock_assert_held(&pool->lock);
  unsigned count = hak_count_bits(slots);
  pool->in_hand -= count;
  hak_pool_each_run_locked(pool, ss, slots, now, true);
  pool->empty += hak_count_bits(hak_superslab_retained(ss) & slots);
  hak_pool_settle_locked(pool, ss, count, now);
}
