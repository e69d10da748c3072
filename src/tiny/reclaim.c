#include "tiny/reclaim.h"

#include "superslab/locate.h"
#include "tiny/hold.h"
#include "tiny/hole_map.h"
#include "tiny/partial_list.h"
#include "tiny/slab.h"

enum {
  BLOCKS_MAX = HAK_SLAB_SIZE / 8,
  BITS = 64
};

typedef struct found {
  uint64_t bits[BLOCKS_MAX / BITS]; /* by the block's index */
  uint32_t count;
} found_t;

/* Notes the blocks of a list, as far as the list can be one of free blocks of the slab.
 */
static void find(const hak_thread_t *me, hak_slab_t *slab, const void *block,
                 found_t *found) {
  const char *start = hak_slab_start(slab);
  uint32_t cls = hak_slab_class(slab), carved = hak_slab_carved(slab);
  while (block != HAK_LINK_END) {
    size_t offset = (size_t)((const char *)block - start);
    if (offset >= (size_t)hak_slab_span(slab) << HAK_SLAB_SHIFT) return;
    if (!hak_class_is_start(cls, offset)) return;
    uint32_t index = hak_class_index(cls, offset);
    uint64_t bit = (uint64_t)1 << (index % BITS);
    if (index >= carved || (found->bits[index / BITS] & bit) != 0) return;
    found->bits[index / BITS] |= bit;
    found->count++;
    block = hak_link_read(&me->key, block);
    if (hak_link_is_bad(&me->key, block)) return;
  }
}

/* Notes the blocks that were put away. */
static void find_away(hak_slab_t *slab, found_t *found) {
  unsigned shift = hak_hole_page_shift(slab);
  if (!hak_hole_map_any(slab)) return;
  for (uint32_t i = 0; i < hak_slab_carved(slab); i++) {
    uint64_t bit = (uint64_t)1 << (i % BITS);
    if ((found->bits[i / BITS] & bit) != 0 ||
        !hak_hole_has(slab, shift, (size_t)i * hak_list_block_size(&slab->list))) {
      continue;
    }
    found->bits[i / BITS] |= bit;
    found->count++;
  }
}

/* Links the blocks that were found in address order; returns the first. */
static void *relink(const hak_thread_t *me, hak_slab_t *slab, const found_t *found) {
  char *start = hak_slab_start(slab);
  void *next = HAK_LINK_END;
  for (uint32_t i = hak_slab_carved(slab); i-- > 0;) {
    if ((found->bits[i / BITS] >> (i % BITS) & 1) == 0) continue;
    char *block = start + (size_t)i * hak_list_block_size(&slab->list);
    hak_link_write(&me->key, block, next);
    next = block;
  }
  return next;
}

HAK_SLOW void hak_reclaim_slab(hak_thread_t *me, const hak_cache_t *cache,
                               hak_slab_t *slab) {
  uint32_t cls = hak_slab_class(slab), carved = hak_slab_carved(slab);
  found_t found = {{0}, 0};
  find(me, slab, slab->list.head, &found);
  uint32_t remote = hak_word_remote_head(hak_load_relaxed(&slab->word));
  if (remote != 0) {
    find(me, slab, hak_slab_start(slab) + ((size_t)(remote - 1) << 3), &found);
  }
  find_away(slab, &found);
  hak_slab_restore(slab, relink(me, slab, &found), found.count);
  hak_hole_map_clear(slab, hak_slab_span(slab));
  if (found.count == carved) {
    hak_hold_retire(me, cache, slab);
    return;
  }
  hak_locate_set_class((uintptr_t)hak_slab_start(slab), hak_slab_span(slab), cls);
  hak_slab_tell_starts(slab);
  hak_hold_set_entry(me, cache, slab, hak_cache_entry(cache, cls));
  if (hak_word_is_full(hak_load_relaxed(&slab->word))) return;
  hak_central_t *central = &cache->store->centrals[cls];
  hak_lock_acquire(&central->lock);
  hak_partial_add_locked(central, slab);
  hak_lock_release(&central->lock);
}

static void mark(hak_slab_t *slab) {
  if (slab->unsure < HAK_UNSURE_MAX) slab->unsure++;
}

void hak_reclaim_mark_unsure(const hak_hold_t *hold) {
  for (hak_slab_t *slab = hold->first; slab != NULL; slab = slab->next) mark(slab);
  hak_slab_t *current = hold->current;
  if (current != NULL && current->queue == HAK_QUEUE_NONE) mark(current);
}

HAK_SLOW void hak_reclaim_mend(const hak_thread_t *me, hak_bin_t *bin) {
  void *first = bin->list.head;
  if (first == HAK_LINK_END) return;
  void *next = hak_link_peek(&me->key, first);
  bool taken = bin->ready != HAK_LINK_END && next == bin->ready;
  if (taken) {
    bin->list.head = HAK_LINK_END;
  } else if (hak_link_is_broken(&me->key, first, hak_link_read(&me->key, first)) &&
             !hak_link_is_bad(&me->key, next)) {
    bin->list.head = next; /* its mark has gone, so it was taken; or was written to */
  }
}

uint64_t hak_reclaim_cached(hak_bin_t *bins, hak_hold_t *holds) {
  uint64_t bytes = 0;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    uint64_t blocks = hak_bin_listed(&bins[cls]) +
                      hak_load_relaxed(&bins[cls].ready_count) +
                      hak_load_relaxed(&holds[cls].spare_count);
    hak_magazine_t *magazine = hak_load_relaxed(&holds[cls].magazine);
    if (magazine != NULL) blocks += hak_load_relaxed(&magazine->count);
    bytes += blocks * hak_class_size(cls);
  }
  return bytes;
}
