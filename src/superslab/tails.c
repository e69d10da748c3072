#include "superslab/tails.h"

#include "base/wait.h"
#include "superslab/huge.h"
#include "superslab/tree.h"

/* Bytes of pages in the slots beyond those that the block needs. */
static size_t tail_bytes(const hak_tail_t *tail) {
  const hak_os_t *os = tail->ss->extent.os;
  size_t needed = tail->pages * os->page_size;
  unsigned full = (unsigned)(needed / HAK_SLAB_SIZE);
  size_t sum =
      hak_superslab_bytes(tail->ss, hak_mask32(tail->first + full, tail->count - full));
  needed %= HAK_SLAB_SIZE;
  return sum > needed ? sum - needed : 0;
}

/* Bytes of a tail that are worth a thought, and of one that is long. */
typedef struct sizes {
  size_t all, of_long;
} sizes_t;

/* A tail is long if it is more than an eighth of its block. */
static HAK_WARM sizes_t sizes_of(const hak_tail_t *tail) {
  const hak_os_t *os = tail->ss->extent.os;
  size_t space = tail->count * hak_os_pages(os, HAK_SLAB_SIZE);
  if (space == tail->pages) return (sizes_t){0, 0};
  size_t bytes = tail_bytes(tail), few = tail->block / 8 * os->page_size;
  return (sizes_t){bytes, bytes > few ? bytes : 0};
}

void hak_tail_came(hak_shared_pool_t *pool, size_t bytes) {
  if (bytes != 0) hak_add_relaxed(&pool->tails_came, (uint32_t)(bytes / HAK_KIB));
}

static void note(hak_shared_pool_t *pool, sizes_t tail) {
  if (tail.of_long != 0) hak_add_relaxed(&pool->tail_bytes, tail.of_long);
  if (tail.all != 0) hak_tail_came(pool, tail.all);
}

static void unnote(hak_shared_pool_t *pool, sizes_t tail) {
  if (tail.of_long != 0) hak_sub_relaxed(&pool->tail_bytes, tail.of_long);
}

static uint64_t used_by(hak_shared_pool_t *pool) {
  return (hak_load_relaxed(&pool->taken) << HAK_SLAB_SHIFT) +
         hak_load_relaxed(&pool->run_bytes);
}

/* A tail of so many bytes more is too much for the pool. What it was a mistake to give
 * back is allowed for, as far as it is no more than a quarter of what is in use. The
 * count is of different moments, and after a fork it may miss what lost threads were at:
 * it is a measure. */
static bool are_many(hak_shared_pool_t *pool, size_t bytes) {
  int64_t tails = (int64_t)hak_load_relaxed(&pool->tail_bytes) + (int64_t)bytes;
  uint64_t used = used_by(pool);
  uint64_t most = (pool->fits ? 0 : HAK_TAILS_LEAST) + used / 16;
  if (tails <= (int64_t)most) return false;
  uint64_t allowed = hak_idle_allowance(hak_clock_cached());
  return tails > (int64_t)(most + (allowed < used / 4 ? allowed : used / 4));
}

/* What a block no longer needs goes at once, unless such memory was lately needed again:
 * blocks that shrink and grow in turn keep their pages. */
static bool is_to_go(hak_shared_pool_t *pool, size_t bytes, bool shrunk) {
  if (are_many(pool, bytes)) return true;
  return shrunk && hak_idle_shrink_allowance(hak_clock_cached()) < bytes;
}

/* The tail's pages go. In a huge page that other blocks have part of it stays, as the
 * page would have to be split for it. */
static size_t give(const hak_tail_t *tail) {
  bool whole = tail->count == HAK_SUPERSLAB_SLABS;
  if (!whole && hak_superslab_is_huge(tail->ss)) return 0;
  return hak_huge_purge_tail(tail->ss, tail->first, tail->count, tail->pages);
}

bool hak_tail_give(hak_superslab_t *ss, unsigned first, unsigned count, size_t pages) {
  if (!hak_os_may_give() || hak_superslab_budget(ss) == NULL) return false;
  return hak_huge_purge_tail(ss, first, count, pages) != 0;
}

bool hak_tail_commit(hak_superslab_t *ss, unsigned first, unsigned count, size_t pages,
                     bool no_grow, bool *zeroed) {
  if (HAK_LIKELY(hak_superslab_commit(ss, first, count, pages, no_grow, zeroed))) {
    return true;
  }
  return !no_grow && hak_budget_room(hak_superslab_budget(ss)) != HAK_BUDGET_NONE &&
         hak_tail_give(ss, first, count, pages) &&
         hak_superslab_commit(ss, first, count, pages, no_grow, zeroed);
}

hak_tail_t hak_tail_of_run(hak_superslab_t *ss, size_t usable) {
  const hak_os_t *os = ss->extent.os;
  size_t before = hak_align_down(usable - 1, HAK_SUPERSLAB_SIZE);
  return (hak_tail_t){&ss[before / HAK_SUPERSLAB_SIZE], 0, HAK_SUPERSLAB_SLABS,
                      hak_os_pages(os, usable - before), hak_os_pages(os, usable)};
}

void hak_tail_begin(hak_shared_pool_t *pool, const hak_tail_t *tail, bool shrunk) {
  sizes_t sizes = sizes_of(tail);
  if (sizes.of_long != 0 && is_to_go(pool, sizes.of_long, shrunk)) {
    size_t given = give(tail);
    uint64_t now = hak_clock_cached();
    if (shrunk) {
      hak_idle_note_shrunk(given, now);
    } else if (!pool->fits) {
      hak_idle_note_given(given, now);
    }
    sizes = sizes_of(tail);
  }
  note(pool, sizes);
}

void hak_tail_end(hak_shared_pool_t *pool, const hak_tail_t *tail) {
  unnote(pool, sizes_of(tail));
}

/* --- whatever tails there are ------------------------------------------------------- */

/* Acquire: pairs with hak_tail_let_go, so that whoever has the bit sees what the one
 * before it did to the block. */
static bool try_hold(hak_superslab_t *ss, unsigned slot) {
  uint32_t bit = (uint32_t)1 << slot;
  return (hak_or_acquire(&ss->tails, bit) & bit) == 0;
}

void hak_tail_hold(hak_superslab_t *ss, unsigned slot) {
  unsigned rounds = 0;
  while (HAK_UNLIKELY(!try_hold(ss, slot))) hak_wait_step(&rounds);
}

/* Release: pairs with try_hold. */
void hak_tail_let_go(hak_superslab_t *ss, unsigned slot) {
  hak_and_release(&ss->tails, ~((uint32_t)1 << slot));
}

/* What one look at all tails may take. */
typedef struct look {
  hak_shared_pool_t *pool;
  hak_tail_class_fn *class_bytes;
  size_t max_bytes, given;
  bool short_too;
} look_t;

/* Takes a tail of a block that the caller holds; `noted`: it was when the block began. */
static void take(look_t *look, const hak_tail_t *tail, bool noted) {
  sizes_t before = sizes_of(tail);
  bool split = tail->count != HAK_SUPERSLAB_SLABS && hak_superslab_is_huge(tail->ss);
  if (before.all == 0) return;
  if (split && !look->short_too && before.of_long == 0) {
    hak_tail_came(look->pool, before.all); /* for a look that takes it */
    return;
  }
  look->given += hak_huge_purge_tail(tail->ss, tail->first, tail->count, tail->pages);
  if (!noted) return;
  unnote(look->pool, before);
  hak_add_relaxed(&look->pool->tail_bytes, sizes_of(tail).of_long);
}

/* What lies in the span whose first slot it is, if one begins there; who asks holds it,
 * or it is a guess. */
static bool span_at(const look_t *look, hak_superslab_t *ss, unsigned slot,
                    hak_tail_t *tail, bool *noted) {
  hak_slab_t *slab = &ss->slabs[slot];
  size_t bytes = 0;
  *noted = true;
  /* Acquire, both: pair with span_alloc and with begin of tiny/slab.c, so that the rest
   * of the record is that span's. */
  if (hak_load_acquire(&slab->cls) == HAK_CLASS_LARGE) {
    bytes = hak_load_relaxed(&slab->usable);
  } else if (hak_word_state(hak_load_acquire(&slab->word)) != HAK_SLAB_FREE) {
    bytes = look->class_bytes(hak_slab_class(slab), noted) * hak_slab_capacity(slab);
  }
  /* There each span that can have one has a block. */
  if (look->pool->fits) *noted = true;
  size_t span = hak_slab_span(slab);
  if (bytes == 0 || span > HAK_SUPERSLAB_SLABS - slot || bytes > span * HAK_SLAB_SIZE) {
    return false;
  }
  size_t pages = hak_os_pages(ss->extent.os, bytes);
  *tail = (hak_tail_t){ss, slot, (unsigned)span, pages, pages};
  return true;
}

/* The lock is given up while a tail goes: the block that is held keeps its SuperSlab in
 * the pool. */
static void take_spans_locked(look_t *look, hak_superslab_t *ss) {
  hak_lock_assert_held(&look->pool->lock);
  for (unsigned slot = 0; slot < HAK_SUPERSLAB_SLABS; slot++) {
    hak_tail_t tail;
    bool noted;
    if (look->given >= look->max_bytes) return;
    if ((hak_superslab_free(ss) >> slot & 1) != 0) continue;
    if (!span_at(look, ss, slot, &tail, &noted) || sizes_of(&tail).all == 0) continue;
    if (!try_hold(ss, slot)) continue;
    /* Who frees it waits with its slots until the bit is clear. */
    if (span_at(look, ss, slot, &tail, &noted)) {
      hak_lock_release(&look->pool->lock);
      take(look, &tail, noted);
      hak_lock_acquire(&look->pool->lock);
    }
    hak_tail_let_go(ss, slot);
  }
}

static void take_runs_locked(look_t *look) {
  hak_lock_assert_held(&look->pool->lock);
  hak_superslab_t *run = look->pool->runs;
  while (run != NULL && look->given < look->max_bytes) {
    if (!try_hold(run, 0)) {
      run = run->next;
      continue;
    }
    hak_tail_t tail = hak_tail_of_run(run, hak_load_relaxed(&run->extent.size));
    if (sizes_of(&tail).all != 0) {
      hak_lock_release(&look->pool->lock);
      take(look, &tail, true);
      hak_lock_acquire(&look->pool->lock);
    }
    hak_superslab_t *next = run->next; /* it is on the list while it is held */
    hak_tail_let_go(run, 0);
    run = next;
  }
}

size_t hak_tail_take_all(hak_shared_pool_t *pool, hak_tail_class_fn *class_bytes,
                         size_t max_bytes, bool short_too, bool kept_too) {
  look_t look = {pool, class_bytes, max_bytes, 0, short_too};
  if (!hak_os_may_give() || hak_pool_is_enclosed(pool)) return 0;
  if (hak_load_relaxed(&pool->tails_came) == 0) return 0;
  const char *at = NULL;
  hak_superslab_t *ss;
  hak_lock_acquire(&pool->lock);
  if (!kept_too && (pool->keeps_all || pool->kept_slabs != 0)) {
    hak_lock_release(&pool->lock);
    return 0;
  }
  hak_store_relaxed(&pool->tails_came, 0);
  take_runs_locked(&look);
  while (look.given < max_bytes && (ss = hak_tree_above(pool->root, at)) != NULL) {
    at = ss->extent.base;
    take_spans_locked(&look, ss);
  }
  hak_lock_release(&pool->lock);
  if (look.given >= max_bytes) hak_tail_came(pool, look.given); /* there may be more */
  return look.given;
}

bool hak_tail_are_few(hak_shared_pool_t *pool) {
  enum {
    FEW_SHARE = 64
  };
  return hak_load_relaxed(&pool->tails_came) * HAK_KIB <= used_by(pool) / FEW_SHARE;
}
