/* serial.c - blocks of serial heaps, for who has the heap at the moment.
 *
 * hak_heap_alloc -> the heap's own bin has a block: done
 *   hak_api_serial_alloc -> the bin of a mid size has a block: done
 *     alloc_slow -> the refill, as hak_alloc's; hak_api_small; large blocks
 * hak_heap_free -> the heap's lookup cache names a list with room: done
 *   free_unknown -> the registry names the list, and the lookup cache learns it: done
 *     -> free_checked: another heap, a block that is not in bins, misuse
 *   free_event -> hak_spill_event (tiny/spill.c)
 *
 * Up to `done` nothing looks for the thread's state, and no instruction locks.
 */
#include <errno.h>

#include "api/api.h"
#include "base/check.h"
#include "base/report.h"
#include "heap/pressure.h"
#include "tiny/refill.h"
#include "tiny/spill.h"

#define IN_HEAP_FREE "hak_heap_free"

/* --- allocation ---------------------------------------------------------------- */

/* No block is ready; or the heap has no state, or is none any more. */
static HAK_WARM void *alloc_slow(hak_heap_t *handle, size_t size) {
  hak_heap_t *heap = hak_heap_record(handle);
  if (HAK_UNLIKELY(hak_heap_handle(heap) != handle)) {
    return hak_api_heap_or_report(handle, "hak_heap_alloc");
  }
  if (HAK_UNLIKELY(hak_api_is_large(heap, size))) {
    bool zeroed;
    return hak_api_large(heap, size, 0, false, &zeroed);
  }
  /* Its bin has not been looked at, and a refill needs an empty one. */
  if (HAK_UNLIKELY(size == 0)) return hak_heap_alloc(handle, 1);
  if (HAK_UNLIKELY(hak_api_guard_is_due())) {
    void *block = hak_api_guarded(heap, size, 0);
    if (block != NULL) return block;
  }
  uint32_t cls = hak_store_class(heap->store, size);
  hak_thread_t *me = hak_thread_self;
  if (HAK_UNLIKELY(heap->serial_handle == NULL || me->kind != HAK_THREAD_ATTACHED ||
                   hak_class_is_single(cls) || hak_event_wanted() ||
                   hak_budget_calls != NULL)) {
    return hak_api_small(heap, cls, false);
  }
  hak_serial_t *serial = hak_heap_own_serial(heap);
  hak_busy_begin(me);
  hak_serial_begin(serial);
  void *block = hak_refill_bin(me, &serial->cache, cls);
  hak_serial_leave(serial);
  hak_thread_leave(me, HAK_IN_ALLOC);
  if (HAK_UNLIKELY(block == NULL)) return hak_api_small(heap, cls, false);
  hak_thread_trim(&heap->store->pool);
  hak_pressure_soft(heap);
  return block;
}

HAK_WARM void *hak_api_serial_alloc(hak_heap_t *handle, size_t size) {
  hak_heap_t *heap = hak_heap_record(handle);
  /* Bins of smaller classes have been looked at. */
  bool is_mid = size - HAK_TINY_MAX - 1 < HAK_MID_MAX - HAK_TINY_MAX;
  if (HAK_LIKELY(is_mid && heap->serial_handle == handle)) {
    hak_serial_t *serial = hak_heap_own_serial(heap);
    uint32_t cls = hak_store_class(heap->store, size);
    void *block = hak_api_pop(&serial->key, &serial->pace, &serial->bins[cls], cls);
    if (HAK_LIKELY(block != NULL)) return block;
  }
  return alloc_slow(handle, size);
}

/* --- free ------------------------------------------------------------------------ */

/* Any heap, any block; both are looked at first. */
static void check_and_free(hak_heap_t *handle, void *ptr) {
  hak_place_t place;
  if (hak_api_usable(ptr, &place, IN_HEAP_FREE) == 0) return;
  int saved = errno;
  hak_heap_t *heap = hak_api_heap_or_report(handle, IN_HEAP_FREE);
  errno = saved;
  if (heap == NULL) return;
  hak_heap_t *owner = hak_api_owner(place.extent);
  if (HAK_UNLIKELY(owner != hak_heap_handle(heap))) {
    hak_report(HAK_ERROR_WRONG_HEAP, ptr, owner, IN_HEAP_FREE,
               "the block is of another heap");
    return;
  }
  hak_free(ptr);
}

static HAK_WARM void free_checked(hak_heap_t *handle, void *ptr) {
  if (ptr == NULL) return;
  hak_stay_t stay = hak_api_stay(ptr, IN_HEAP_FREE);
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return;
  check_and_free(handle, ptr);
  hak_stay_end(stay);
}

/* The list had no room: a bin is full, or a slab wants to be heard of. */
static HAK_WARM void free_event(hak_heap_t *heap, void *ptr, hak_list_t *list) {
  hak_thread_t *me = hak_thread_enter();
  if (HAK_UNLIKELY(me == NULL)) return; /* the library is not running */
  hak_serial_t *serial = hak_heap_own_serial(heap);
  hak_serial_begin(serial);
  hak_spill_event(me, &serial->cache, list, ptr);
  hak_serial_leave(serial);
  hak_thread_leave(me, IN_HEAP_FREE);
  hak_thread_trim(&heap->store->pool);
}

HAK_HOT void push(hak_heap_t *heap, hak_serial_t *serial, hak_list_t *list, void *ptr) {
  hak_serial_begin(serial);
  bool full = hak_room_is_gone(&list->room);
  if (HAK_LIKELY(!full)) hak_list_push(&serial->key, list, ptr);
  hak_serial_leave(serial);
  if (HAK_UNLIKELY(full)) free_event(heap, ptr, list);
}

/* The lookup cache does not know the slab. */
static HAK_WARM void free_unknown(hak_heap_t *heap, void *ptr) {
  hak_place_t place = hak_locate((uintptr_t)ptr);
  if (HAK_UNLIKELY(place.cls >= HAK_SHARED_CLASSES ||
                   hak_load_relaxed(&place.extent->heap) != hak_heap_id(heap) ||
                   !hak_class_is_start(place.cls, (size_t)((char *)ptr - place.start)))) {
    free_checked(hak_heap_handle(heap), ptr);
    return;
  }
  hak_serial_t *serial = hak_heap_own_serial(heap);
  /* As entries would say: its own list while it is held with a list, or the bin. */
  hak_list_t *list = place.slab->queue == HAK_QUEUE_HELD ? &place.slab->list
                                                         : &serial->bins[place.cls].list;
  hak_lookup_learn(&serial->lookup, ptr, list);
  push(heap, serial, list, ptr);
}

/* Fast for blocks of a serial heap in slabs that its lookup cache knows. Full checks look
 * at every block first. */
HAK_ENTRY void hak_heap_free(hak_heap_t *handle, void *ptr) {
  if (HAK_UNLIKELY(HAK_CHECKS >= 2 || !hak_handle_is_serial(handle))) {
    free_checked(handle, ptr);
    return;
  }
  hak_heap_t *heap = hak_heap_record(handle);
  if (HAK_UNLIKELY(heap->serial_handle != handle)) {
    free_checked(handle, ptr);
    return;
  }
  hak_serial_t *serial = hak_heap_own_serial(heap);
  hak_list_t *list;
  if (HAK_UNLIKELY(hak_lookup_misses(&serial->lookup, ptr, &list))) {
    free_unknown(heap, ptr);
    return;
  }
  if (HAK_CHECKS != 0 && HAK_UNLIKELY(hak_list_is_askew(list, ptr))) {
    free_checked(handle, ptr);
    return;
  }
  push(heap, serial, list, ptr);
}
