#include "pages/idle.h"

#include "base/option.h"

hak_atomic_u64_t hak_slots_committed, hak_slots_retained, hak_mappings_retained;
hak_atomic_u32_t hak_retained_over __attribute__((aligned(HAK_CACHE_LINE)));

void hak_note_retained(hak_atomic_u64_t *retained, int64_t bytes) {
  hak_add_relaxed(retained, (uint64_t)bytes);
  bool over = hak_retained_bytes() > (uint64_t)hak_option(RETAIN_BYTES);
  /* Two threads may cross the line at once and leave a wrong flag; the next
   * change mends it. */
  if (hak_load_relaxed(&hak_retained_over) != over) {
    hak_store_relaxed(&hak_retained_over, over);
  }
}

void hak_idle_stop(void) {
  hak_store_relaxed(&hak_slots_committed, 0);
  hak_store_relaxed(&hak_slots_retained, 0);
  hak_store_relaxed(&hak_retained_over, 0);
}
