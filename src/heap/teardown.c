#include "heap/teardown.h"

#include <errno.h>

#include "base/wait.h"
#include "heap/cache_index.h"
#include "heap/groups.h"
#include "heap/kind.h"

static void end_leased(hak_thread_t *me, hak_heap_t *heap) {
  hak_kind_clear(me, heap, true);
  hak_cache_index_free(heap);
  hak_kind_end_os(heap);
  hak_heap_unlease(heap);
}

static void end_heap(hak_thread_t *me, hak_heap_t *heap) {
  hak_heap_lease(heap);
  end_leased(me, heap);
}

/* Released heaps below a heap belong to it, and end with it. True if there was one whose
 * end no other thread is at. */
static bool clear_unclaimed(hak_thread_t *me, hak_heap_t *heap);

static void clear_orphans(hak_thread_t *me, hak_heap_t *heap) {
  unsigned rounds = 0;
  while (hak_heap_has_orphans(heap)) {
    /* The rest is being ended, and still charged to the budgets above it. */
    if (!clear_unclaimed(me, heap)) hak_wait_step(&rounds);
  }
}

static bool clear_unclaimed(hak_thread_t *me, hak_heap_t *heap) {
  bool any = false;
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *orphan = hak_heap_at(i);
    if (orphan == NULL || !hak_heap_claim_orphan_of(orphan, heap)) continue;
    orphan->unfinished = false;
    clear_orphans(me, orphan);
    end_heap(me, orphan);
    hak_heap_put_record(orphan);
    any = true;
  }
  return any;
}

int hak_teardown_destroy(hak_thread_t *me, hak_heap_t *handle) {
  hak_heap_t *heap = hak_heap_record(handle);
  int error = hak_heap_retire_handle(heap, handle);
  if (error != 0) return error;
  clear_orphans(me, heap);
  end_heap(me, heap);
  hak_heap_put_record(heap);
  return 0;
}

int hak_teardown_reset(hak_thread_t *me, hak_heap_t *handle) {
  hak_heap_t *heap = hak_heap_record(handle);
  if (hak_heap_handle(heap) != handle || heap->store == me->store) return EINVAL;
  clear_orphans(me, heap);
  hak_heap_lease(heap);
  hak_store_relaxed(&heap->resetting, 1);
  hak_kind_clear(me, heap, false);
  hak_store_relaxed(&heap->resetting, 0);
  hak_heap_unlease(heap);
  return 0;
}

/* --- released heaps that are idle ---------------------------------------------- */

/* The look whether the heap is empty comes first: once it is, no thread frees into it any
 * more, and a thread that did so before is counted in `caches`. */
static bool is_idle(hak_heap_t *heap) {
  /* Acquire: pairs with hak_heap_unpin. */
  return hak_kind_is_empty(heap) && hak_load_acquire(&heap->caches) == 0 &&
         !hak_heap_has_orphans(heap);
}

/* An orphan is the caller's to end if it is idle: no block of it is in use, no thread has
 * a thread cache of it or has pinned it, and no orphan lies below.
 *
 * What a look says counts only once the heap is claimed: until then the record may pass
 * to another heap. Whoever made the heap idle meanwhile found it claimed and went on, so
 * a claim that is given up again is followed by another look. */
static bool claim_idle_orphan(hak_heap_t *heap) {
  while (hak_heap_is_orphan(heap) && is_idle(heap) &&
         hak_heap_claim_orphan_of(heap, NULL)) {
    if (is_idle(heap)) return true;
    hak_heap_unclaim_orphan(heap);
  }
  return false;
}

void hak_teardown_orphan(hak_thread_t *me, hak_heap_t *heap) {
  while (heap != NULL && hak_kind_may_end(heap) && claim_idle_orphan(heap)) {
    hak_heap_t *parent = hak_heap_above(heap);
    if (!hak_thread_lease(me, heap)) {
      /* In a hook of a collection, which ends it afterwards. */
      hak_heap_unclaim_orphan(heap);
      return;
    }
    end_leased(me, heap);
    hak_heap_put_record(heap);
    heap = parent; /* it may have waited for this one */
  }
}

void hak_teardown_unpin(hak_thread_t *me, hak_heap_t *heap) {
  hak_heap_unpin(heap);
  if (hak_heap_is_orphan(heap)) hak_teardown_orphan(me, heap);
}

int hak_teardown_release(hak_thread_t *me, hak_heap_t *handle) {
  hak_heap_t *heap = hak_heap_record(handle);
  int error = hak_heap_release_handle(heap, handle);
  if (error != 0) return error;
  hak_heap_t *samples = hak_heap_release_samples(heap);
  hak_kind_release(me, heap);
  if (samples != NULL) hak_teardown_unpin(me, samples);
  hak_teardown_unpin(me, heap);
  return 0;
}

/* Notes a heap whose end a lost thread was at. A released one is an orphan again, so that
 * it is found from the heap above as well as by itself. */
static void note_unfinished(hak_heap_t *heap) {
  heap->unfinished = heap != hak_heap_get_default() && hak_heap_is_ending(heap);
  if (heap->unfinished) hak_heap_unclaim_orphan(heap);
}

static void finish_end(hak_thread_t *me, hak_heap_t *heap) {
  if (!heap->unfinished) return;
  heap->unfinished = false;
  bool released = hak_heap_is_orphan(heap);
  if (released && !hak_heap_claim_orphan_of(heap, NULL)) return;
  clear_orphans(me, heap);
  end_heap(me, heap);
  hak_heap_put_record(heap);
}

HAK_SLOW void hak_teardown_finish(hak_thread_t *me) {
  hak_groups_forget_maker();
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    if (hak_heap_at(i) != NULL) note_unfinished(hak_heap_at(i));
  }
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    if (hak_heap_at(i) != NULL) finish_end(me, hak_heap_at(i));
  }
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap == NULL) continue;
    hak_heap_forget_maker(heap);
    if (hak_load_relaxed(&heap->resetting) != 0) hak_kind_clear(me, heap, false);
    hak_store_relaxed(&heap->resetting, 0);
  }
}

void hak_teardown_orphans(hak_thread_t *me) {
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap != NULL) hak_teardown_orphan(me, heap);
  }
}
