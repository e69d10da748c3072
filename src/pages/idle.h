/* idle.h - how many bytes are committed in memory that nobody uses.
 *
 * Depends on: base.   Used by: mapping, mapping_lists, superslab.
 */
#ifndef HAK_PAGES_IDLE_H
#define HAK_PAGES_IDLE_H

#include "base/atomic.h"

/* Bytes committed in all slots, in slots that nobody uses, and in mappings that nobody
 * uses. */
extern hak_atomic_u64_t hak_slots_committed, hak_slots_retained, hak_mappings_retained;
/* 1 while more memory lies idle than RETAIN_BYTES says. It is a word of its own that
 * changes seldom, so that slow paths may read it as often as they like. */
extern hak_atomic_u32_t hak_retained_over;
/* Adds to, or with a negative number takes from, the bytes of slots or mappings
 * that nobody uses. */
void hak_note_retained(hak_atomic_u64_t *retained, int64_t bytes);
/* At shutdown, when all memory has been released: the counts begin anew. */
void hak_idle_stop(void);
/* Bytes committed in memory that nobody uses. */
HAK_HOT uint64_t hak_retained_bytes(void) {
  return hak_load_relaxed(&hak_slots_retained) + hak_load_relaxed(&hak_mappings_retained);
}

#endif
