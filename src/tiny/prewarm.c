#include "tiny/prewarm.h"

#include "superslab/locate.h"
#include "tiny/capacity.h"
#include "tiny/commit.h"
#include "tiny/hold.h"
#include "tiny/scatter.h"
#include "tiny/stray.h"
#include "tiny/trim.h"

enum {
  PAGE_LEAST = 4096, /* bytes; no OS page is smaller */
  LINK_BYTES = 16    /* bytes of a free block with its link and its mark */
};

void hak_prewarm_touch(void *block, size_t size) {
  volatile char *bytes = block;
  for (size_t at = LINK_BYTES; at < size; at += PAGE_LEAST) bytes[at] = 0;
  if (size > LINK_BYTES) bytes[size - 1] = 0;
}

/* Makes the blocks of a list resident, `most` at most; returns how many they are. */
static HAK_SLOW size_t touch_list(hak_thread_t *me, const hak_cache_t *cache,
                                  uint32_t cls, void *list, uint32_t most) {
  size_t count = 0;
  for (; list != HAK_LINK_END && count < most; count++) {
    void *block;
    if (HAK_UNLIKELY(hak_list_take_fails(me, cache, &list, &block))) break;
    hak_slab_t *slab = hak_slab_of(block);
    if (HAK_UNLIKELY(!hak_stray_starts(slab, cls, hak_slab_start(slab), block))) continue;
    hak_prewarm_touch(block, hak_class_size(cls));
  }
  return count;
}

/* Gets a new slab, which this thread holds, and carves it as a whole: the slab is as if
 * all of its blocks had come home. Returns the number of blocks; 0 if memory is short. */
static size_t hold_cut(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_slab_t *slab = hak_hold_new(me, cache, cls);
  if (slab == NULL) return 0;
  if (!hak_commit_whole(me, cache, slab)) {
    hak_hold_retire(me, cache, slab);
    return 0;
  }
  uint32_t size = hak_class_size(cls);
  char *block = hak_slab_start(slab);
  void *next = HAK_LINK_END;
  for (uint32_t i = hak_slab_capacity(slab); i > 0; i--) {
    char *each = block + (size_t)(i - 1) * size;
    hak_prewarm_touch(each, size);
    hak_link_write(&me->key, each, next);
    next = each;
  }
  if (HAK_CHECKS >= 3) {
    next = hak_scatter(me, cache, slab, block, hak_slab_capacity(slab));
  }
  hak_slab_carve_whole(slab, next);
  hak_hold_requeue(cache, slab, cls);
  hak_hold_set_entry(me, cache, slab, hak_entry_local(me, slab));
  return hak_slab_capacity(slab);
}

HAK_SLOW size_t hak_prewarm_class(hak_thread_t *me, const hak_cache_t *cache,
                                  uint32_t cls, size_t count) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  hak_capacity_begin(cache, cls);
  size_t ready =
      touch_list(me, cache, cls, bin->ready, hak_load_relaxed(&bin->ready_count)) +
      touch_list(me, cache, cls, bin->list.head, hak_bin_listed(bin)) +
      touch_list(me, cache, cls, hold->spare, hak_load_relaxed(&hold->spare_count));
  for (hak_slab_t *slab = hold->first; slab != NULL; slab = slab->next) {
    ready += touch_list(me, cache, cls, slab->list.head, hak_slab_carved(slab));
  }
  /* Blocks carved next from the current slab do not count, but are likely to be used
   * before others. */
  hak_slab_t *current = hold->current;
  if (current != NULL && !current->dirty) {
    (void)hak_commit_whole(me, cache, current);
    size_t cut = (size_t)hak_slab_carved(current) * hak_list_block_size(&current->list);
    char *rest = hak_slab_start(current) + cut;
    hak_prewarm_touch(rest, hak_commit_bytes(cache, current) - cut);
  }
  while (ready < count) {
    size_t more = hold_cut(me, cache, cls);
    if (more == 0) break;
    ready += more;
  }
  if (ready > count) ready = count;
  hak_trim_later(cache, cls, ready);
  return ready;
}
