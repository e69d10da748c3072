#include "tiny/scatter.h"

#include <string.h>

#include "os/written.h"
#include "superslab/clean.h"
#include "tiny/commit.h"
#include "tiny/live.h"
#include "tiny/seal.h"

enum {
  PART = 512 /* blocks that are put in order together */
};

/* Puts the numbers below `n` into random order. */
static void shuffle(uint16_t *order, uint32_t n, uint64_t *series) {
  for (uint32_t i = 0; i < n; i++) order[i] = (uint16_t)i;
  for (uint32_t i = n; i > 1; i--) {
    uint32_t other = (uint32_t)((hak_seal_next(series) >> 32) * i >> 32);
    uint16_t last = order[i - 1];
    order[i - 1] = order[other];
    order[other] = last;
  }
}

void *hak_scatter(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                  char *block, uint32_t n) {
  uint16_t order[PART];
  uint64_t series = hak_seal_random();
  size_t size = hak_list_block_size(&slab->list);
  void *list = HAK_LINK_END;
  for (uint32_t from = 0; from < n; from += PART) {
    uint32_t count = n - from < PART ? n - from : PART;
    shuffle(order, count, &series);
    for (uint32_t i = 0; i < count; i++) {
      char *each = block + (from + order[i]) * size;
      if (HAK_UNLIKELY(hak_live_is(slab, each))) {
        hak_list_report_bad(me, cache, each);
        continue;
      }
      memset(each, 0, size);
      hak_link_write(&me->key, each, list);
      list = each;
    }
  }
  return list;
}

#if HAK_CHECKS >= 3
void hak_scatter_end_slow(const hak_cache_t *cache, hak_slab_t *slab) {
  const hak_os_t *os = cache->store->pool.os;
  if (hak_pool_is_enclosed(&cache->store->pool) || slab->unsure != 0) return;
  if (hak_commit_tail(cache, slab) != 0) return; /* others may have it */
  size_t size = hak_list_block_size(&slab->list);
  char *start = hak_slab_start(slab);
  for (uint32_t i = 0; i < hak_slab_carved(slab); i++) {
    uint64_t *words = (uint64_t *)(void *)(start + i * size);
    if ((words[0] | words[1]) != 0) words[0] = words[1] = 0;
  }
  /* Slots behind may have pages of an earlier life. */
  size_t bytes = hak_commit_bytes(cache, slab);
  unsigned slots = (unsigned)hak_div_up(bytes, HAK_SLAB_SIZE);
  if (slots == 0 || hak_os_find_written(os, start, bytes) != NULL) return;
  hak_clean_note(hak_slab_superslab(slab), hak_mask32(slab->slot, slots));
}
#endif
