#include "superslab/pool_prefault.h"

#include "base/option.h"
#include "superslab/huge.h"
#include "superslab/locate.h"
#include "superslab/pool_growth.h"
#include "superslab/tree.h"

typedef hak_superslab_t node_t;

HAK_SLOW void hak_pool_keep_all(hak_shared_pool_t *pool) {
  hak_lock_acquire(&pool->lock);
  pool->kept_slabs = UINT64_MAX;
  pool->keeps_free = pool->keeps_all = true;
  hak_pool_kept_changed_locked(pool);
  hak_lock_release(&pool->lock);
}

HAK_SLOW void hak_pool_keep_as(hak_shared_pool_t *pool, hak_shared_pool_t *other) {
  if (other->keeps_all) {
    hak_pool_keep_all(pool);
  } else if (hak_pool_keeps_some(other)) {
    hak_lock_acquire(&pool->lock);
    pool->kept_slabs = UINT64_MAX;
    pool->keeps_free = true;
    hak_pool_kept_changed_locked(pool);
    hak_lock_release(&pool->lock);
  }
}

bool hak_pool_keeps_some(hak_shared_pool_t *pool) {
  hak_lock_acquire(&pool->lock);
  bool some = pool->kept_slabs != 0 || pool->readying != 0;
  hak_lock_release(&pool->lock);
  return some;
}

HAK_SLOW void hak_pool_keep_none(hak_shared_pool_t *pool) {
  hak_lock_acquire(&pool->lock);
  if (!pool->keeps_all) pool->kept_slabs = 0;
  pool->kept_superslabs = 0;
  hak_pool_kept_changed_locked(pool);
  hak_pool_give_bare_locked(pool, hak_clock_cached());
  hak_lock_release(&pool->lock);
}

/* A call begins to make memory ready: nothing goes until it ends, whatever becomes of
 * other such calls meanwhile. */
static void begin_locked(hak_shared_pool_t *pool) {
  hak_lock_assert_held(&pool->lock);
  pool->readying++;
  pool->keeps_free = true;
}

/* The call ends. What it made ready stays from here on because it is kept. */
static void end_locked(hak_shared_pool_t *pool, uint64_t *kept, uint64_t want, bool ok) {
  hak_lock_assert_held(&pool->lock);
  pool->readying--;
  if (ok && want > *kept) *kept = want;
  hak_pool_kept_changed_locked(pool);
}

bool hak_pool_forget_lost(hak_shared_pool_t *pool) {
  if (pool->in_hand == 0 && pool->readying == 0)
    return false;                               /* see hak_pool_forget_visit */
  if (hak_pool_is_enclosed(pool)) return false; /* an annex has them */
  hak_lock_acquire(&pool->lock);
  bool any = pool->in_hand != 0;
  pool->readying = 0;
  pool->in_hand = 0;
  hak_pool_kept_changed_locked(pool);
  hak_lock_release(&pool->lock);
  return any;
}

bool hak_pool_reserve(hak_shared_pool_t *pool, size_t bytes) {
  uint64_t want = hak_div_up(bytes, HAK_SUPERSLAB_SIZE);
  hak_lock_acquire(&pool->lock);
  begin_locked(pool);
  bool ok = true;
  while (ok && hak_load_relaxed(&pool->superslabs) < want) {
    hak_lock_release(&pool->lock);
    node_t *ss = hak_pool_new_superslab(pool);
    ok = ss != NULL;
    if (ok) hak_pool_add_superslab(pool, ss);
    if (!ok) hak_lock_acquire(&pool->lock);
  }
  end_locked(pool, &pool->kept_superslabs, want, ok);
  hak_lock_release(&pool->lock);
  return ok;
}

/* Commits slots that the caller has taken, makes their pages and what the registry
 * says of them resident. False if memory is short. No lock held. */
static bool prefault_slots(node_t *ss, unsigned first, unsigned count, bool huge) {
  const hak_os_t *os = ss->extent.os;
  size_t page = os->page_size;
  bool zeroed;
  /* All of it becomes resident now, whatever pages it has. */
  if (count == HAK_SUPERSLAB_SLABS && huge && hak_huge_set(ss, true) &&
      hak_superslab_committed(ss) != 0) {
    hak_os_collapse(os, ss->extent.base, HAK_SUPERSLAB_SIZE);
  }
  if (!hak_superslab_commit(ss, first, count, count * (HAK_SLAB_SIZE / page), false,
                            &zeroed)) {
    return false;
  }
  char *start = hak_superslab_slot(ss, first);
  for (size_t at = 0; at < count * HAK_SLAB_SIZE; at += page) {
    ((volatile char *)start)[at] = 0;
  }
  hak_registry_set_entries((uintptr_t)start, count, 0);
  hak_locate_set_class((uintptr_t)start, count, HAK_CLASS_NONE);
  return true;
}

/* Makes the lowest run of free slots of a SuperSlab from `from` on ready, `most` at
 * most; returns its end, and *count: how many. Called and returns with the lock held;
 * the SuperSlab may have gone then. */
static unsigned prefault_run_locked(hak_shared_pool_t *pool, node_t *ss, unsigned from,
                                    size_t most, unsigned *count, bool *ok) {
  hak_lock_assert_held(&pool->lock);
  uint32_t free =
      from < HAK_SUPERSLAB_SLABS ? hak_superslab_free(ss) & ~hak_mask32(0, from) : 0;
  *count = 0;
  if (free == 0) return HAK_SUPERSLAB_SLABS;
  unsigned first = hak_lowest_bit(free), n = 1;
  while (n < most && first + n < HAK_SUPERSLAB_SLABS && (free >> (first + n) & 1) != 0) {
    n++;
  }
  pool->in_hand += n;
  hak_pool_take_locked(pool, ss, first, n);
  hak_lock_release(&pool->lock);
  bool huge = hak_option(HUGE_PAGES) != 0 && pool->huge_pages != HAK_HUGE_NEVER;
  *ok = prefault_slots(ss, first, n, huge);
  hak_lock_acquire(&pool->lock);
  pool->in_hand -= n;
  hak_pool_put_locked(pool, ss, first, n, hak_clock_cached());
  *count = n;
  return first + n;
}

HAK_SLOW bool hak_pool_prefault(hak_shared_pool_t *pool, size_t bytes) {
  size_t slots = hak_div_up(bytes, HAK_SLAB_SIZE);
  hak_clock_refresh();
  hak_lock_acquire(&pool->lock);
  uint64_t want = hak_pool_in_use_locked(pool) + slots;
  begin_locked(pool);
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
    slot = prefault_run_locked(pool, ss, slot, slots, &count, &ok);
    slots -= ok ? count : 0;
    if (slot < HAK_SUPERSLAB_SLABS) {
      at = base - 1; /* the same one again */
    } else {
      at = at == NULL || base > at ? base : at;
      slot = 0;
    }
  }
  end_locked(pool, &pool->kept_slabs, want, ok);
  hak_lock_release(&pool->lock);
  return ok;
}
