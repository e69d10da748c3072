#include "tiny/carve.h"

#include "base/option.h"
#include "tiny/commit.h"
#include "tiny/hold.h"
#include "tiny/scatter.h"
#include "tiny/slab.h"

HAK_WARM void hak_carve_note(hak_thread_t *me, uint32_t cls, uint32_t blocks) {
  hak_compiler_fence();
  me->in_hand = (uint64_t)blocks * hak_class_size(cls);
  hak_compiler_fence();
}

void hak_carve_link(hak_thread_t *me, char *block, uint32_t size, uint32_t n,
                    const void *next) {
  for (; n > 1; n--, block += size) hak_link_write(&me->key, block, block + size);
  hak_link_write(&me->key, block, next);
}

/* Links n blocks that lie side by side into a list that begins at one of them, which
 * depends on the heap: heaps then use different cache sets first. The blocks before it
 * come last. Returns the list. */
static char *link_coloured(hak_thread_t *me, const hak_cache_t *cache, char *block,
                           uint32_t size, uint32_t n) {
  uint32_t skip = cache->store->pool.colour * HAK_CACHE_LINE / size % n;
  char *first = block + (size_t)skip * size;
  hak_carve_link(me, first, size, n - skip, skip == 0 ? HAK_LINK_END : block);
  if (skip > 0) hak_carve_link(me, block, size, skip, HAK_LINK_END);
  return first;
}

/* Links n blocks that lie side by side and were carved before. Each must have a link,
 * unless a block in use was counted as home in the place of another one; such a block is
 * reported and stays out. Returns the list. */
static void *link_recarved(hak_thread_t *me, const hak_cache_t *cache, char *block,
                           uint32_t size, uint32_t n) {
  void *first = HAK_LINK_END, *last = NULL;
  for (; n > 0; n--, block += size) {
    if (HAK_UNLIKELY(hak_link_is_bad(&me->key, hak_link_read(&me->key, block)))) {
      hak_list_report_bad(me, cache, block);
      continue;
    }
    if (last == NULL) {
      first = block;
    } else {
      hak_link_write(&me->key, last, block);
    }
    last = block;
  }
  if (last != NULL) hak_link_write(&me->key, last, HAK_LINK_END);
  return first;
}

/* How many blocks to carve at once. In a heap that may stay small it is a little at
 * first, and then as much as has been carved already; else it is as much as refills of
 * the class were asked for lately, and of a thread's first slab of the class no more than
 * has been carved already. Blocks that are never needed would still pass through the bin
 * and through the processor's caches, and of many young threads each would have pages
 * that it never needs. */
static uint32_t carve_blocks(const hak_cache_t *cache, uint32_t cls, uint32_t carved) {
  enum {
    FIRST = 512, /* bytes */
    /* Bytes; so many cache lines that a thread seldom uses those at the ends, which it
     * may share with other threads. */
    THREADS_FIRST = 2048
  };
  uint32_t size = hak_class_size(cls);
  uint32_t most = (uint32_t)hak_option(CARVE_BYTES) / size, wish;
  if (cache->store->pool.starts_small) {
    wish = carved * size < FIRST ? FIRST / size : carved;
  } else {
    /* Without what is being asked for now: a thread's first block of the class may be the
     * only one. A period of the class may have ended just before. */
    const hak_hold_t *hold = &cache->holds[cls];
    uint32_t batch = hak_bin_batch(&cache->bins[cls]);
    wish = hold->given + hold->given_before;
    wish = wish > batch ? wish - batch : 0;
    if (wish > carved && hold->credit <= 0 && hold->first == NULL) wish = carved;
    if (wish < THREADS_FIRST / size) wish = THREADS_FIRST / size;
  }
  if (wish > most) wish = most;
  return wish > 0 ? wish : 1;
}

HAK_SLOW uint32_t hak_carve_few_slow(const hak_cache_t *cache, uint32_t cls) {
  enum {
    FIRST = 512 /* bytes */
  };
  const hak_hold_t *hold = &cache->holds[cls];
  if (!hak_capacity_is_shared(cache, cls) || hak_capacity_is_cut(hold)) return 0;
  uint32_t had = hold->shared, size = hak_class_size(cls);
  if (had > 0) return had;
  return size < FIRST ? FIRST / size : 1;
}

void *hak_carve(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                hak_slab_t *slab, uint32_t most, uint32_t *count) {
  HAK_COUNT(me, refill_carve, 1);
  uint32_t size = hak_class_size(cls), carved = hak_slab_carved(slab);
  uint32_t left = hak_slab_capacity(slab) - carved, n = hak_carve_few(cache, cls);
  if (HAK_LIKELY(n == 0)) n = carve_blocks(cache, cls, carved);
  if (n > left) n = left;
  if (n > most) n = most;
  n = hak_carve_most(cache, cls, n);
  *count = n = hak_commit_blocks(me, cache, slab, n);
  if (HAK_UNLIKELY(n == 0)) return HAK_LINK_END;
  char *block = hak_slab_start(slab) + (size_t)carved * size;
  void *first = block;
  if (HAK_CHECKS >= 3) {
    first = hak_scatter(me, cache, slab, block, n);
  } else if (HAK_CHECKS >= 1 && slab->dirty) {
    first = link_recarved(me, cache, block, size, n);
  } else {
    first = link_coloured(me, cache, block, size, n);
  }
  hak_carve_note(me, cls, n);
  hak_slab_carve(slab, n);
  if (carved + n == hak_slab_capacity(slab)) {
    cache->holds[cls].current = NULL;
    slab->dirty = 0;
    if (slab->queue == HAK_QUEUE_NONE) hak_hold_let_go(me, cache, slab, cls);
  }
  return first;
}
