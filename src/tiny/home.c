#include "tiny/home.h"

#include "base/report.h"
#include "superslab/locate.h"
#include "tiny/stray.h"

/* Fetches the two lines that a block's way home will write to. Blocks in a magazine lie
 * anywhere in memory, and so do the records of their slabs. */
HAK_HOT void expect(const void *block) {
  __builtin_prefetch(hak_slab_of(block), 1);
  __builtin_prefetch(block, 1);
}

uint32_t hak_home_blocks(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                         void **blocks, uint32_t count) {
  enum {
    AHEAD = 8
  };
  bool locked = false;
  uint32_t slabs = 0;
  for (uint32_t i = 0; i < count && i < AHEAD; i++) expect(blocks[i]);
  for (uint32_t i = 0; i < count;) {
    if (i + AHEAD < count) expect(blocks[i + AHEAD]);
    void *block = blocks[i++];
    hak_slab_t *slab = hak_slab_of(block);
    char *start = hak_slab_start(slab);
    if (HAK_UNLIKELY(!hak_stray_starts(slab, cls, start, block))) {
      hak_stray_report(me, cache, block);
      continue;
    }
    hak_batch_t run = {slab, block, block, 1};
    while (i < count && hak_home_is_in_span(slab, start, blocks[i]) &&
           hak_stray_starts(slab, cls, start, blocks[i]) && blocks[i] != run.first) {
      hak_link_write(&me->key, blocks[i], run.first);
      run.first = blocks[i++];
      run.count++;
    }
    hak_hold_home_any(me, cache, cls, run, &locked);
    slabs++;
  }
  if (locked) hak_lock_release(&cache->store->centrals[cls].lock);
  return slabs;
}

void hak_home_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void *list,
                   uint32_t count) {
  void *blocks[HAK_MAGAZINE_BLOCKS];
  uint32_t n = 0;
  for (; list != HAK_LINK_END && count > 0; count--) {
    if (HAK_UNLIKELY(hak_list_take_fails(me, cache, &list, &blocks[n]))) break;
    if (++n < HAK_MAGAZINE_BLOCKS) continue;
    hak_home_blocks(me, cache, cls, blocks, n);
    n = 0;
  }
  if (n > 0) hak_home_blocks(me, cache, cls, blocks, n);
  if (HAK_UNLIKELY(list != HAK_LINK_END)) {
    hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_DOUBLE_FREE, list,
                            HAK_TEXT_LISTED);
  }
}
