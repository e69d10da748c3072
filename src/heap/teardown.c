#include "heap/teardown.h"

#include <errno.h>

#include "base/wait.h"
#include "pages/mapping.h"
#include "tiny/magazine.h"

typedef struct clearing {
  hak_thread_t *me;
  hak_heap_t *heap;
  bool end;
} clearing_t;

static void clear_thread(hak_thread_t *thread, void *ctx) {
  const clearing_t *c = ctx;
  hak_cache_clear(c->me, thread, c->heap, c->end);
}

static void clear_central(hak_thread_t *me, hak_central_t *central) {
  if (hak_load_relaxed(&central->spans) == 0) return; /* never written to */
  for (int i = 0; i < HAK_TRANSFER_PLACES; i++) {
    if (hak_load_relaxed(&central->places[i]) == NULL) continue;
    /* Acquire: pairs with the release in hand_over. */
    hak_magazine_t *magazine = hak_exchange_acquire(&central->places[i], NULL);
    if (magazine != NULL) hak_magazine_put(me, magazine);
  }
  hak_store_relaxed(&central->hint, 0);
  hak_store_relaxed(&central->shut, 0);
  hak_store_relaxed(&central->takes, 0);
  hak_lock_acquire(&central->lock);
  hak_store_relaxed(&central->partial, NULL);
  hak_store_relaxed(&central->uncarved, NULL);
  central->partial_last = NULL;
  central->listed = 0;
  hak_lock_release(&central->lock);
  hak_store_relaxed(&central->spans, 0);
}

/* Under the heap's lease. Caches first, so that nothing names a block when slabs
 * change hands; then slabs in one piece. */
static void clear(hak_thread_t *me, hak_heap_t *heap, bool end) {
  hak_external_heap_t *external = hak_heap_external(heap);
  if (external != NULL) {
    if (end) {
      hak_store_relaxed(&heap->external, NULL);
      hak_external_close(external);
    } else {
      hak_external_clear(external);
    }
    return;
  }
  clearing_t clearing = {me, heap, end};
  hak_threads_visit(clear_thread, &clearing);
  hak_serial_clear(me, heap, end);
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    clear_central(me, &heap->store->centrals[cls]);
  }
  hak_pool_gone_t gone = {0, 0};
  hak_shared_pool_t *pool = &heap->store->pool;
  /* Slabs that are kept would be of no use to large blocks. */
  hak_pool_clear(pool, !end && !hak_pool_is_enclosed(pool), &gone);
  if (hak_load_relaxed(&pool->mapped_blocks) != 0) {
    gone.large_blocks += hak_exchange_relaxed(&pool->mapped_blocks, 0);
    gone.large_bytes += hak_exchange_relaxed(&pool->mapped_bytes, 0);
    hak_mappings_give_all(pool->heap);
  }
  hak_thread_count_large(me, -(int64_t)gone.large_blocks, -(int64_t)gone.large_bytes);
}

static void end_heap(hak_thread_t *me, hak_heap_t *heap) {
  hak_heap_lease(heap);
  clear(me, heap, true);
  hak_cache_free_index(heap);
  hak_heap_end_os(heap);
  hak_heap_unlease(heap);
}

/* Released heaps below one belong to it, and share its end. True if there was one that
 * nobody else is at the end of. */
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
  clear(me, heap, false);
  hak_store_relaxed(&heap->resetting, 0);
  hak_heap_unlease(heap);
  return 0;
}

void hak_teardown_orphan(hak_thread_t *me, hak_heap_t *heap) {
  while (heap != NULL && hak_heap_may_end(heap) && hak_heap_claim_idle_orphan(heap)) {
    hak_heap_t *parent = hak_heap_parent(heap);
    end_heap(me, heap);
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
  if (heap->is_serial) {
    hak_serial_end(me, heap);
  } else {
    hak_thread_flush_heap(me,
                          heap); /* its transfer cache, thread cache or no thread cache */
    hak_cache_flush(me, heap);
  }
  hak_teardown_unpin(me, heap);
  return 0;
}

/* Lost threads were at the end of these. Released ones are orphans again, so that they
 * are found from above as well as by themselves. */
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

void hak_teardown_finish(hak_thread_t *me) {
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    if (hak_heap_at(i) != NULL) note_unfinished(hak_heap_at(i));
  }
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    if (hak_heap_at(i) != NULL) finish_end(me, hak_heap_at(i));
  }
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap == NULL) continue;
    if (hak_load_relaxed(&heap->resetting) != 0) clear(me, heap, false);
    hak_store_relaxed(&heap->resetting, 0);
  }
}

void hak_teardown_orphans(hak_thread_t *me) {
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap != NULL) hak_teardown_orphan(me, heap);
  }
}
