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

/* A tail of so many bytes more is too much for the pool. The count is of different
 * moments, and after a fork it may miss what lost threads were at: it is a measure. */
static bool are_many(hak_shared_pool_t *pool, size_t bytes) {
  int64_t tails = (int64_t)hak_load_relaxed(&pool->tail_bytes) + (int64_t)bytes;
  uint64_t used = (hak_load_relaxed(&pool->taken) << HAK_SLAB_SHIFT) +
                  hak_load_relaxed(&pool->run_bytes);
  return tails > (int64_t)(HAK_TAILS_LEAST + used / 16);
}

/* The tail's pages go. In a huge page that other blocks have part of it stays, as the
 * page would have to be split for it. */
static void give(const hak_tail_t *tail) {
  bool whole = tail->count == HAK_SUPERSLAB_SLABS;
  if (!whole && hak_superslab_is_huge(tail->ss)) return;
  hak_huge_before_part_goes(tail->ss);
  hak_superslab_purge_tail(tail->ss, tail->first, tail->count, tail->pages);
}

void hak_tail_begin(hak_shared_pool_t *pool, const hak_tail_t *tail, bool shrunk) {
  if (hak_pool_is_enclosed(pool)) return;
  size_t pages = tail_pages(tail), page_size = tail->ss->extent.os->page_size;
  /* A short one stays, and is not counted. */
  if (pages <= tail->block / 8) return;
  if (shrunk || are_many(pool, pages * page_size)) {
    give(tail);
    pages = tail_pages(tail);
    if (pages <= tail->block / 8) return;
  }
  hak_add_relaxed(&pool->tail_bytes, pages * page_size);
}

void hak_tail_end(hak_shared_pool_t *pool, const hak_tail_t *tail) {
  if (hak_pool_is_enclosed(pool)) return;
  size_t pages = tail_pages(tail), page_size = tail->ss->extent.os->page_size;
  if (pages > tail->block / 8) hak_sub_relaxed(&pool->tail_bytes, pages * page_size);
}
