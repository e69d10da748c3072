#include "superslab/tails.h"

#include "superslab/huge.h"

/* Pages in the slots beyond those that the block needs. */
static size_t tail_pages(const hak_tail_t *tail) {
  size_t per_slab = hak_os_pages(tail->ss->extent.os, HAK_SLAB_SIZE), sum = 0;
  for (size_t i = tail->pages / per_slab; i < tail->count; i++) {
    sum += hak_slab_pages(&tail->ss->slabs[tail->first + i]);
  }
  size_t needed = tail->pages % per_slab;
  return sum > needed ? sum - needed : 0;
}

/* Bytes of a tail that is more than an eighth of its block; 0 if it is short, as it is
 * wherever so little address space lies behind the block's end. */
static size_t long_tail(const hak_tail_t *tail) {
  const hak_os_t *os = tail->ss->extent.os;
  size_t most = tail->block / 8, space = tail->count * hak_os_pages(os, HAK_SLAB_SIZE);
  if (hak_os_is_fixed(os) || space - tail->pages <= most) return 0;
  size_t pages = tail_pages(tail);
  return pages > most ? pages * os->page_size : 0;
}

/* A tail of so many bytes more is too much for the pool. What it was a mistake to give
 * back is allowed for, as far as it is no more than a quarter of what is in use. The
 * count is of different moments, and after a fork it may miss what lost threads were at:
 * it is a measure. */
static bool are_many(hak_shared_pool_t *pool, size_t bytes) {
  int64_t tails = (int64_t)hak_load_relaxed(&pool->tail_bytes) + (int64_t)bytes;
  uint64_t used = (hak_load_relaxed(&pool->taken) << HAK_SLAB_SHIFT) +
                  hak_load_relaxed(&pool->run_bytes);
  uint64_t most = HAK_TAILS_LEAST + used / 16;
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
  hak_huge_before_part_goes(tail->ss);
  return hak_superslab_purge_tail(tail->ss, tail->first, tail->count, tail->pages);
}

bool hak_tail_give(hak_superslab_t *ss, unsigned first, unsigned count, size_t pages) {
  if (!hak_os_may_give() || hak_os_is_fixed(ss->extent.os)) return false;
  if (hak_superslab_budget(ss) == NULL) return false;
  hak_huge_before_part_goes(ss);
  return hak_superslab_purge_tail(ss, first, count, pages) != 0;
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

void hak_tail_begin(hak_shared_pool_t *pool, const hak_tail_t *tail, bool shrunk) {
  size_t bytes = long_tail(tail);
  if (bytes != 0 && is_to_go(pool, bytes, shrunk)) {
    size_t given = give(tail);
    uint64_t now = hak_clock_cached();
    if (shrunk) {
      hak_idle_note_shrunk(given, now);
    } else {
      hak_idle_note_given(given, now);
    }
    bytes = long_tail(tail);
  }
  if (bytes != 0) hak_add_relaxed(&pool->tail_bytes, bytes);
}

void hak_tail_end(hak_shared_pool_t *pool, const hak_tail_t *tail) {
  size_t bytes = long_tail(tail);
  if (bytes != 0) hak_sub_relaxed(&pool->tail_bytes, bytes);
}
