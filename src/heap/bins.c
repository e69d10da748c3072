#include "heap/bins.h"

#include "tiny/capacity.h"

/* Field by field: statistics may read some of them at this moment. */
void hak_hold_init(hak_hold_t *hold) {
  hold->first = hold->last = hold->current = NULL;
  hak_store_relaxed(&hold->magazine, NULL);
  hold->spare = HAK_LINK_END;
  hak_store_relaxed(&hold->spare_count, 0);
  hold->slabs = 0;
  hold->credit = 0;
  hold->given = hold->given_before = 0;
  hold->surplus_periods = 0;
  hold->pins = 0;
  hold->lean = HAK_LEAN_NOT;
  hold->lean_next = 0;
  hold->taken = 0;
  hold->seen = 0;
  hold->quota = 0;
  hold->granted = 0;
  hold->far = HAK_FAR_NOT;
  hold->shared = HAK_SHARED_NOT;
}

HAK_HOT void init(hak_bin_t *bin, uint32_t blocks) {
  bin->list.head = HAK_LINK_END;
  bin->ready = HAK_LINK_END;
  bin->capacity = (uint16_t)blocks;
  hak_bin_set_room(bin, blocks);
  bin->spilling = 0;
  hak_store_relaxed(&bin->ready_count, 0);
}

void hak_bin_init(hak_bin_t *bin, uint32_t blocks) { init(bin, blocks); }

void hak_bins_begin(hak_bin_t *bins, hak_store_t *store) {
  bool limited = hak_budget_is_limited(&store->pool.budget);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_list_set_form(&bins[cls].list, hak_class_size(cls), hak_class_askew[cls]);
    init(&bins[cls], limited ? 0 : hak_capacity_least(cls));
  }
}

void hak_bins_end(hak_bin_t *bins, uint32_t count) {
  for (uint32_t cls = 0; cls < count; cls++) init(&bins[cls], 0);
}

static HAK_SLOW void forget(hak_hold_t *hold) {
  hak_hold_init(hold);
  hold->magazine_blocks = 0;
}

HAK_SLOW void hak_holds_forget(hak_hold_t *holds, uint64_t *begun) {
  if (begun == NULL) {
    for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
      if (holds[cls].magazine_blocks != 0) forget(&holds[cls]);
    }
    return;
  }
  for (uint32_t i = 0; i < HAK_CLASS_WORDS; i++) {
    for (; begun[i] != 0; begun[i] &= begun[i] - 1) {
      forget(&holds[64 * i + hak_lowest_bit(begun[i])]);
    }
  }
}

void hak_bins_init(const hak_cache_t *cache) {
  hak_holds_forget(cache->holds, cache->begun);
  hak_bins_begin(cache->bins, cache->store);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) hak_capacity_begin(cache, cls);
}

void hak_bins_move(hak_bin_t *to, hak_bin_t *from) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    to[cls].list.head = from[cls].list.head;
    to[cls].list.form = from[cls].list.form;
    to[cls].capacity = from[cls].capacity;
    to[cls].ready = from[cls].ready;
    to[cls].spilling = from[cls].spilling;
    hak_store_relaxed(&to[cls].list.room, hak_load_relaxed(&from[cls].list.room));
    hak_store_relaxed(&to[cls].armed, hak_load_relaxed(&from[cls].armed));
    hak_store_relaxed(&to[cls].ready_count, hak_load_relaxed(&from[cls].ready_count));
  }
  hak_bins_end(from, HAK_CLASSES);
}
