#include "tiny/commit.h"

#include "base/option.h"
#include "os/os.h"
#include "superslab/tails.h"

/* True if the class's pages are to come one at a time. */
static bool is_tight(const hak_cache_t *cache, uint32_t cls) {
  return hak_budget_is_limited(&cache->store->pool.budget) &&
         cache->holds[cls].far != HAK_FAR;
}

/* Bytes that are committed at a time. */
static size_t step_of(const hak_cache_t *cache, uint32_t cls) {
  const hak_shared_pool_t *pool = &cache->store->pool;
  if (is_tight(cache, cls)) return pool->os->page_size;
  if (!hak_os_commits_by_touch(pool->os)) return HAK_SUPERSLAB_SIZE;
  return (size_t)hak_option(COMMIT_BYTES);
}

static size_t rounded(const hak_cache_t *cache, uint32_t cls, size_t bytes,
                      unsigned span) {
  const hak_shared_pool_t *pool = &cache->store->pool;
  size_t all = span * HAK_SLAB_SIZE, step = step_of(cache, cls);
  /* By division, as an option need not be a power of two. */
  size_t up = hak_align_up(hak_div_up(bytes, step) * step, pool->os->page_size);
  return up < all ? up : all;
}

size_t hak_commit_first(const hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                        unsigned span) {
  const hak_shared_pool_t *pool = &cache->store->pool;
  if (hak_pool_is_enclosed(pool)) return span * HAK_SLAB_SIZE;
  if (me->no_grow) return hak_class_size(cls);
  return rounded(cache, cls, hak_class_size(cls), span);
}

size_t hak_commit_bytes(const hak_cache_t *cache, hak_slab_t *slab) {
  const hak_shared_pool_t *pool = &cache->store->pool;
  size_t all = hak_slab_span(slab) * HAK_SLAB_SIZE;
  if (hak_pool_is_enclosed(pool)) return all;
  size_t per_slab = hak_os_pages(pool->os, HAK_SLAB_SIZE), pages = 0;
  for (unsigned i = 0; i < hak_slab_span(slab); i++) {
    pages += hak_slab_pages(slab + i);
    if (hak_slab_pages(slab + i) != per_slab) break;
  }
  return pages * pool->os->page_size;
}

size_t hak_commit_tail(const hak_cache_t *cache, hak_slab_t *slab) {
  size_t used = hak_slab_capacity(slab) * (size_t)hak_list_block_size(&slab->list);
  size_t tail = hak_slab_span(slab) * HAK_SLAB_SIZE - used;
  return hak_align_down(tail, cache->store->pool.os->page_size);
}

bool hak_commit_hold(const hak_cache_t *cache, hak_slab_t *slab) {
  if (HAK_LIKELY(hak_commit_tail(cache, slab) == 0)) return false;
  hak_tail_hold(hak_slab_superslab(slab), slab->slot);
  return true;
}

void hak_commit_let_go(hak_slab_t *slab, bool held) {
  if (held) hak_tail_let_go(hak_slab_superslab(slab), slab->slot);
}

static bool commit(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                   size_t bytes) {
  bool zeroed, held = hak_commit_hold(cache, slab);
  bool ok = hak_superslab_commit(
      hak_slab_superslab(slab), slab->slot, hak_slab_span(slab),
      hak_os_pages(cache->store->pool.os, bytes), me->no_grow != 0, &zeroed);
  hak_commit_let_go(slab, held);
  return ok;
}

uint32_t hak_commit_blocks_slow(hak_thread_t *me, const hak_cache_t *cache,
                                hak_slab_t *slab, uint32_t n) {
  uint32_t cls = hak_slab_class(slab);
  size_t size = hak_list_block_size(&slab->list), from = hak_slab_carved(slab) * size;
  size_t have = hak_commit_bytes(cache, slab), want = from + n * size;
  if (want <= have) return n;
  uint32_t fits = have > from ? (uint32_t)((have - from) / size) : 0;
  bool tight = is_tight(cache, cls);
  if (tight && fits > 0) return fits;
  if (tight) want = from + size;
  want = rounded(cache, cls, want, hak_slab_span(slab));
  if (HAK_UNLIKELY(!commit(me, cache, slab, want))) return fits;
  uint32_t more = (uint32_t)((want - from) / size);
  return more < n ? more : n;
}

bool hak_commit_whole(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  return commit(me, cache, slab, hak_slab_span(slab) * HAK_SLAB_SIZE);
}
