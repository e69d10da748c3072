#include "api/blocks.h"

void hak_blocks_add_slab(hak_blocks_t *blocks, hak_slab_t *slab, uint32_t cls,
                         uint32_t carved) {
  uint64_t word = hak_load_relaxed(&slab->word);
  uint32_t out = hak_slab_out(slab);
  uint32_t remote = hak_word_remote_count(word);
  /* Torn between two moments of a thread at work, sums may be off a little,
   * but never below zero. */
  if (out > carved) out = carved;
  if (remote > out) remote = out;
  out -= remote;
  blocks->out[cls] += out;
  blocks->free[cls] += carved - out;
}

/* A list that may be walked is counted; another by what it was at most. */
static uint32_t count_ready(const hak_link_key_t *key, hak_bin_t *bin, bool walk) {
  uint32_t most = hak_load_relaxed(&bin->ready_count), count = 0;
  if (!walk) return most;
  for (void *block = bin->ready; block != HAK_LINK_END && count < most; count++) {
    block = hak_link_read(key, block);
    if (hak_link_is_bad(key, block)) break;
  }
  return count;
}

void hak_blocks_add_bins(hak_blocks_t *blocks, const hak_link_key_t *key, hak_bin_t *bins,
                         hak_hold_t *holds, bool walk) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_bin_t *bin = &bins[cls];
    hak_hold_t *hold = &holds[cls];
    uint64_t count = hak_bin_listed(bin) + count_ready(key, bin, walk) +
                     hak_load_relaxed(&hold->spare_count);
    /* Acquire: pairs with hak_transfer_add, as it may have been made just now. */
    hak_magazine_t *magazine = hak_load_acquire(&hold->magazine);
    if (magazine != NULL) count += hak_load_relaxed(&magazine->count);
    blocks->cached[cls] += count;
  }
}

void hak_blocks_add_quarantine(hak_blocks_t *blocks, hak_thread_t *thread) {
#if HAK_CHECKS >= 3
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    blocks->cached[cls] += hak_load_relaxed(&thread->quarantine.counts[cls]);
  }
#else
  (void)blocks;
  (void)thread;
#endif
}

void hak_blocks_add_transfer(hak_blocks_t *blocks, hak_heap_t *heap) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_store_has_spans(heap->store, cls)) continue;
    hak_central_t *central = &heap->store->centrals[cls];
    for (int i = 0; i < HAK_TRANSFER_PLACES; i++) {
      /* Acquire: pairs with hand_over, as it may have been made just now. */
      hak_magazine_t *magazine = hak_load_acquire(&central->places[i]);
      if (magazine != NULL) blocks->cached[cls] += hak_load_relaxed(&magazine->count);
    }
    blocks->cached[cls] += hak_load_relaxed(&central->stored);
  }
}
