#include "heap/serial.h"

#include "heap/bins.h"
#include "pages/idle.h"
#include "pages/meta.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/magazine.h"

/* --- states -------------------------------------------------------------------- */

/* Where a state lies: what stays of it when its pages go back. */
typedef struct hak_serial_slot {
  struct hak_serial_slot *next; /* [lock: heaps] */
  hak_serial_t *state;          /* [const] */
} slot_t;

/* Under the heaps' lock: states that no heap has, with their pages and without. */
static slot_t *unused, *bare;

void hak_serials_stop(void) { unused = bare = NULL; }

static void note(slot_t *const *list, int sign) {
  if (list == &unused) hak_idle_note_records(sign * (int64_t)sizeof(hak_serial_t));
}

static slot_t *pop_locked(slot_t **list) {
  hak_lock_assert_held(hak_heaps_lock());
  slot_t *slot = *list;
  if (slot == NULL) return NULL;
  *list = slot->next;
  note(list, -1);
  return slot;
}

static void push(slot_t **list, slot_t *slot) {
  hak_lock_acquire(hak_heaps_lock());
  slot->next = *list;
  *list = slot;
  note(list, 1);
  hak_lock_release(hak_heaps_lock());
}

static slot_t *slot_new(const hak_os_t *os) {
  slot_t *slot = hak_meta_alloc(os, sizeof *slot, sizeof(void *));
  if (slot == NULL) return NULL;
  slot->state = hak_meta_alloc_pages(os, sizeof *slot->state);
  return slot->state == NULL ? NULL : slot;
}

static slot_t *slot_get(const hak_os_t *os) {
  hak_lock_acquire(hak_heaps_lock());
  slot_t *slot = pop_locked(&unused), *without = NULL;
  if (slot == NULL) without = pop_locked(&bare);
  hak_lock_release(hak_heaps_lock());
  if (slot != NULL) return slot;
  if (without == NULL) return slot_new(os);
  hak_meta_reuse(sizeof *without->state);
  return without;
}

/* Zeroed memory is begun; what an earlier heap left is in order. */
static hak_serial_t *state_get(hak_thread_t *me) {
  slot_t *slot = slot_get(me->store->pool.os);
  if (slot == NULL) return NULL;
  hak_serial_t *serial = slot->state;
  serial->slot = slot;
  hak_store_relaxed(&serial->pace.flips, 0);
  hak_store_relaxed(&serial->pace.pops, 0);
  serial->pace.given = 1;
  serial->pace.looked_at = 0;
  if (serial->bin_of_step[0] != NULL) return serial;
  serial->key = me->key;
  for (size_t step = 0; step < HAK_TINY_STEPS; step++) {
    size_t offset = hak_bin_offset_of_step[step] - offsetof(hak_thread_t, bins);
    serial->bin_of_step[step] = (hak_bin_t *)(void *)((char *)serial->bins + offset);
  }
  hak_lookup_begin(&serial->lookup);
  return serial;
}

size_t hak_serials_purge(const hak_os_t *os, size_t max_bytes, size_t *looks) {
  size_t given = 0;
  while (*looks > 0 && given < max_bytes) {
    hak_lock_acquire(hak_heaps_lock());
    slot_t *slot = pop_locked(&unused);
    hak_lock_release(hak_heaps_lock());
    if (slot == NULL) break;
    --*looks;
    bool ok = hak_meta_purge(os, slot->state, sizeof *slot->state);
    push(ok ? &bare : &unused, slot);
    if (!ok) break;
    given += sizeof *slot->state;
  }
  return given;
}

HAK_SLOW bool hak_serial_make(hak_thread_t *me, hak_heap_t *heap) {
  hak_serial_t *serial = state_get(me);
  if (serial == NULL) return false;
  serial->cache =
      (hak_cache_t){serial->bins,   serial->holds, heap->store,     0,   &serial->lookup,
                    &serial->grown, &serial->pace, HAK_CODE_SERIAL, NULL};
  hak_bins_init(&serial->cache);
  hak_budget_count_user(&heap->store->pool.budget, 1);
  /* A released heap does not end before its state is gone. */
  hak_add_relaxed(&heap->caches, 1);
  /* Release: publishes the state to statistics. */
  hak_store_release(&heap->serial, serial);
  heap->serial_handle = hak_heap_handle(heap);
  return true;
}

void hak_serial_hide(hak_heap_t *heap, bool hidden) {
  if (hak_heap_own_serial(heap) == NULL) return;
  heap->serial_handle = hidden ? NULL : hak_heap_handle(heap);
}

/* --- giving up ------------------------------------------------------------------- */

void hak_serial_flush(hak_thread_t *me, hak_heap_t *heap) {
  hak_serial_t *serial = hak_heap_own_serial(heap);
  if (serial == NULL) return;
  hak_flush_heap(me, &serial->cache);
}

static void forget_magazines(hak_thread_t *me, hak_serial_t *serial) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_magazine_t *magazine = hak_load_relaxed(&serial->holds[cls].magazine);
    hak_store_relaxed(&serial->holds[cls].magazine, NULL);
    if (magazine != NULL) hak_magazine_put(me, magazine);
  }
}

void hak_serial_clear(hak_thread_t *me, hak_heap_t *heap, bool end) {
  hak_serial_t *serial = hak_heap_own_serial(heap);
  if (serial == NULL) return;
  forget_magazines(me, serial);
  hak_lookup_clear(&serial->lookup);
  hak_capacity_give_back(&serial->grown);
  hak_budget_quota_return(&heap->store->pool.budget, hak_capacity_quotas(serial->holds));
  hak_bins_init(&serial->cache);
  if (!end) return;
  heap->serial_handle = NULL;
  hak_store_relaxed(&heap->serial, NULL);
  hak_budget_count_user(&heap->store->pool.budget, -1);
  hak_heap_unpin(heap);
  push(&unused, serial->slot);
}

void hak_serial_end(hak_thread_t *me, hak_heap_t *heap) {
  hak_heap_lease(heap);
  hak_serial_flush(me, heap);
  hak_serial_clear(me, heap, true);
  hak_store_relaxed(&heap->kind, HAK_KIND_POOLED);
  hak_heap_unlease(heap);
}
