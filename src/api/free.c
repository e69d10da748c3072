/* free.c - hak_free and its like.
 *
 * hak_free -> the registry's entry names a list of this thread with room: done
 *   free_no_room -> a thread that only frees blocks of the class: its magazine
 *     -> free_event -> unowned entry: large, NULL, or not ours
 *       -> hak_spill_event (tiny/spill.c): a bin is full, a slab is (nearly) empty
 *   free_slow -> held by another: this thread's bin, or its magazine
 *
 * A sized free is the same with one comparison more: the list that the entry names
 * says how large its blocks are. `size` is 0 where the caller did not say.
 */
#include <errno.h>

#include "api/api.h"
#include "base/check.h"
#include "base/report.h"
#include "heap/harden.h"
#include "heap/samples.h"
#include "heap/teardown.h"
#include "learn/sample.h"
#include "pool/large.h"
#include "superslab/retention.h"
#include "tiny/canary.h"
#include "tiny/far.h"
#include "tiny/flush.h"
#include "tiny/hold.h"
#include "tiny/hole_map.h"
#include "tiny/home.h"
#include "tiny/leave.h"
#include "tiny/live.h"
#include "tiny/recall.h"
#include "tiny/single.h"
#include "tiny/spill.h"
#include "tiny/start.h"

HAK_SLOW void hak_api_report_stray(hak_error_t error, const void *ptr, hak_heap_t *owner,
                                   const char *function) {
  const char *text = error == HAK_ERROR_INTERIOR_POINTER ? HAK_TEXT_INTERIOR
                     : error == HAK_ERROR_DOUBLE_FREE    ? HAK_TEXT_GONE
                     : error == HAK_ERROR_AFTER_SHUTDOWN
                         ? "the library was shut down"
                         : "the address is in no block of ours";
  if (owner == NULL && hak_cells_have(ptr)) owner = hak_api_guard_heap(ptr);
  hak_report(error, ptr, owner, function, text);
}

static HAK_SLOW void report_not_a_block(const void *ptr, const hak_place_t *place,
                                        const char *function) {
  if (place->extent == NULL && hak_malloced_is_on()) {
    hak_api_malloced_report(ptr, function);
    return;
  }
  hak_heap_t *owner = NULL;
  hak_error_t error = HAK_ERROR_FOREIGN_POINTER;
  if (place->extent != NULL) {
    owner = hak_api_owner(place->extent);
    size_t offset = (size_t)((const char *)ptr - place->start);
    bool gone = place->cls == HAK_CLASS_NONE ||
                (place->cls < HAK_CLASSES &&
                 hak_class_index(place->cls, offset) >= hak_slab_carved(place->slab));
    error = gone ? HAK_ERROR_DOUBLE_FREE : HAK_ERROR_INTERIOR_POINTER;
    if (hak_cells_have(ptr)) error = hak_api_guard_error(ptr);
  }
  hak_api_report_stray(error, ptr, owner, function);
}

HAK_SLOW void hak_api_report_not_running(const void *ptr, const char *function) {
  hak_api_report_stray(hak_lifecycle_was_shut_down() ? HAK_ERROR_AFTER_SHUTDOWN
                                                     : HAK_ERROR_FOREIGN_POINTER,
                       ptr, NULL, function);
}

/* A place of a block of malloc's that starts there; 0 if none does, as where blocks are
 * the library's own. */
HAK_HOT size_t malloced_usable(const void *ptr, hak_place_t *place) {
  size_t size;
  if (!hak_malloced_is_on() || !hak_api_malloced_place(ptr, place, &size)) return 0;
  return place->start == ptr ? size : 0;
}

size_t hak_api_usable(const void *ptr, hak_place_t *place, const char *function) {
  size_t malloced = malloced_usable(ptr, place);
  if (HAK_UNLIKELY(malloced != 0)) return malloced;
  hak_locate_into((uintptr_t)ptr, place);
  if (HAK_LIKELY(place->cls < HAK_CLASSES)) {
    size_t offset = (size_t)((const char *)ptr - place->start);
    if (HAK_LIKELY(hak_class_is_start(place->cls, offset) &&
                   hak_class_index(place->cls, offset) < hak_slab_carved(place->slab))) {
      return hak_canary_below(hak_class_size(place->cls));
    }
  } else if (place->cls == HAK_CLASS_LARGE && place->start == ptr) {
    return hak_canary_below(hak_large_usable(place));
  } else if (place->cls == HAK_CLASS_EXTERNAL) {
    return hak_api_external_usable(place, ptr, function);
  }
  report_not_a_block(ptr, place, function);
  return 0;
}

/* The block is free as far as it, or a hole, says so: with full checks. */
static bool is_free(const void *ptr, const hak_place_t *place) {
  if (HAK_CHECKS < 2 || place->cls >= HAK_CLASSES) return false;
  if (HAK_CHECKS >= 3) return !hak_live_is(place->slab, ptr);
  return hak_hole_has_start(place->slab, ptr) || hak_link_is_marked(NULL, ptr);
}

size_t hak_api_usable_live(const void *ptr, hak_place_t *place, const char *function) {
  size_t usable = hak_api_usable(ptr, place, function);
  if (usable == 0 || HAK_LIKELY(!is_free(ptr, place))) return usable;
  hak_report(HAK_ERROR_DOUBLE_FREE, ptr, hak_api_owner(place->extent), function,
             HAK_TEXT_FREE);
  return 0;
}

static const char *name_of(size_t size) {
  return size == 0 ? HAK_IN_FREE : HAK_IN_FREE_SIZED;
}

/* True, after a report, if the block is smaller than the caller says. */
static bool is_wrong_size(const void *ptr, const hak_place_t *place, size_t usable,
                          size_t size, const char *function) {
  if (HAK_LIKELY(size <= usable)) return false;
  hak_report(HAK_ERROR_WRONG_SIZE, ptr, hak_api_owner(place->extent), function,
             "the size given is larger than the block");
  return true;
}

/* Another thread freed it between two looks of this one, which has changed nothing. */
static HAK_SLOW void leave_to_other(hak_thread_t *me, const void *ptr, size_t size) {
  hak_thread_leave(me, name_of(size));
  hak_api_report_stray(HAK_ERROR_DOUBLE_FREE, ptr, NULL, name_of(size));
}

/* A block goes into this thread's cache of its heap, if one is kept, or home at once.
 * A bin would give it out again: blocks of slabs that are to be emptied go home. */
static HAK_WARM void free_small(hak_thread_t *me, hak_heap_t *heap,
                                const hak_place_t *place, void *ptr, bool keep) {
  uint32_t cls = place->cls;
  HAK_COUNT(me, slow_free, 1);
  if (HAK_UNLIKELY(hak_leave_begun(place->slab) && !hak_class_is_single(cls))) {
    hak_cache_t bare = hak_cache_bare(me, heap);
    hak_home_blocks(me, &bare, cls, &ptr, 1);
    return;
  }
  if (HAK_LIKELY(heap->store == me->store)) {
    hak_spill_free(me, &me->cache, cls, ptr);
    return;
  }
  const hak_cache_t *cache = hak_cache_to_free(me, heap, keep);
  if (HAK_LIKELY(cache != NULL)) {
    if (!hak_class_is_single(cls)) hak_hold_name_late(me, cache, place->slab);
    hak_spill_free(me, cache, cls, ptr);
    return;
  }
  hak_cache_t bare = hak_cache_bare(me, heap);
  if (hak_store_is_single(heap->store, cls)) {
    hak_single_home(me, &bare, cls, ptr);
  } else {
    hak_home_blocks(me, &bare, cls, &ptr, 1);
  }
}

/* The block goes home at once. A slab that this thread holds has to be told apart from
 * others', which the thread's own cache does if there is one. */
static HAK_SLOW void free_past_cache(hak_thread_t *me, hak_heap_t *heap, uint32_t cls,
                                     void *ptr) {
  hak_cache_t bare = hak_cache_bare(me, heap);
  const hak_cache_t *cache = hak_kind_cache_made(me, heap);
  if (cache == NULL) cache = &bare;
  HAK_COUNT(me, slow_free, 1);
  if (hak_store_is_single(heap->store, cls)) {
    hak_single_home(me, cache, cls, ptr);
    return;
  }
  hak_home_blocks(me, cache, cls, &ptr, 1);
  hak_flush_pinned(me, cache, cls);
  hak_far_settle(me, cache, cls);
}

/* Where threads pass blocks around, every other free comes by here, and to ask each time
 * whether memory is to go back, which reads the clock, takes longer than the free. */
static HAK_WARM bool is_look_due(hak_thread_t *me, uint32_t cls) {
  enum {
    FREES = 16
  };
  if (hak_class_is_single(cls)) return true; /* or large */
  if (++me->foreign_frees < FREES) return false;
  me->foreign_frees = 0;
  return true;
}

/* Of a sample; true if the block is kept for another one. */
static HAK_SLOW bool free_sample(hak_thread_t *me, hak_heap_t *heap,
                                 const hak_place_t *place, void *ptr) {
  bool gone = !hak_sample_remove(ptr);
  return hak_samples_keep(me, heap, place->cls, ptr, gone);
}

/* The heap stays until this is done: either it was not released and this thread has a
 * cache of it, or it is pinned. False if another thread freed a large block first. */
static HAK_WARM bool free_at(hak_thread_t *me, hak_heap_t *heap, const hak_place_t *place,
                             void *ptr, size_t usable, bool no_cache) {
  bool large = place->cls == HAK_CLASS_LARGE, orphan = hak_heap_is_orphan(heap);
  bool sampled = hak_heap_is_samples(heap), keep = !large && !orphan && !sampled;
  bool pin = !(keep && hak_kind_cache_made(me, heap) != NULL) && hak_heap_pin(heap);
  bool mine = !large || hak_large_claim(place);
  bool kept = HAK_UNLIKELY(sampled && mine) && free_sample(me, heap, place, ptr);
  hak_shared_pool_t *pool = &heap->store->pool;
  if (HAK_UNLIKELY(!mine || kept)) {
    /* Nothing has been changed, or all has been done. */
  } else if (large) {
    hak_thread_count_large(me, -1, -(int64_t)(usable + HAK_CANARY_BYTES));
    hak_large_free(pool, place);
  } else if (HAK_UNLIKELY(no_cache) && hak_kind_has_thread_caches(heap)) {
    free_past_cache(me, heap, place->cls, ptr);
  } else {
    free_small(me, heap, place, ptr, keep);
  }
  if (HAK_UNLIKELY(pool->fits) && mine && !kept &&
      hak_store_is_single(heap->store, place->cls)) {
    hak_pool_purge_surplus(pool);
  }
  if (mine && is_look_due(me, place->cls)) {
    /* Blocks over 1 MiB are not kept by a heap that keeps all, either. */
    hak_retention_trim(large && pool->keeps_all ? &me->store->pool : pool);
    hak_recall(me, &me->cache, HAK_CLASSES);
  }
  if (pin) hak_teardown_unpin(me, heap);
  return mine;
}

/* Frees a block that was found. */
static HAK_WARM void free_of(hak_heap_t *heap, const hak_place_t *place, void *ptr,
                             size_t size, size_t usable, bool no_cache) {
  hak_thread_t *me = hak_thread_enter();
  /* Otherwise another thread freed the block just now. */
  if (HAK_UNLIKELY(heap == NULL || !free_at(me, heap, place, ptr, usable, no_cache))) {
    leave_to_other(me, ptr, size);
    return;
  }
  hak_thread_leave(me, name_of(size));
  if (hak_class_is_single(place->cls)) { /* or large */
    hak_event_emit(HAK_EVENT_LARGE_FREE, ptr, usable);
  }
}

static HAK_SLOW void free_guarded(hak_heap_t *heap, const hak_place_t *place, void *ptr,
                                  size_t size, size_t usable) {
  hak_calls_t calls;
  hak_api_guard_freeing(ptr, name_of(size), &calls);
  hak_cell_set_free(ptr, &calls);
  free_of(heap, place, ptr, size, usable, false);
}

/* A block of a watched heap is told of while all that the program wrote is in it, so
 * before full checks mark it or empty it. */
static HAK_WARM void tell(const hak_place_t *place, void *ptr, size_t usable) {
  hak_heap_t *heap = hak_heap_of_extent(place->extent);
  if (HAK_LIKELY(heap == NULL || !hak_heap_is_watched(heap)) || is_free(ptr, place))
    return;
  hak_api_tell_free(heap, ptr, usable);
}

static HAK_WARM void free_found(void *ptr, size_t size, bool no_cache) {
  hak_place_t place;
  size_t usable = hak_api_usable(ptr, &place, name_of(size));
  if (HAK_UNLIKELY(usable == 0 ||
                   is_wrong_size(ptr, &place, usable, size, HAK_IN_FREE_SIZED)))
    return;
  hak_heap_t *heap = hak_heap_of_extent(place.extent);
  if (HAK_CHECKS < 2) tell(&place, ptr, usable);
  if (place.cls == HAK_CLASS_EXTERNAL) {
    hak_api_external_free(&place, ptr, usable, name_of(size));
    return;
  }
  if (place.cls == HAK_CLASS_MALLOCED) {
    hak_api_malloced_free(&place, ptr, name_of(size));
    return;
  }
  if (HAK_UNLIKELY(hak_cells_have(ptr))) {
    free_guarded(heap, &place, ptr, size, usable);
  } else {
    free_of(heap, &place, ptr, size, usable, no_cache);
  }
}

/* A block whose entry is unowned: it is large or of a heap without a cache index; or the
 * address is in no block. */
static HAK_WARM void free_unowned(void *ptr, size_t size) {
  if (ptr == NULL) return;
  hak_stay_t stay = hak_api_stay(ptr, name_of(size));
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return;
  free_found(ptr, size, false);
  hak_stay_end(stay);
}

/* Another holder's entry, a thread without a state, or an address far out of range. */
static HAK_WARM void free_slow(void *ptr, size_t size) {
  hak_thread_t *me = hak_thread_self;
  if (HAK_UNLIKELY(me->kind != HAK_THREAD_ATTACHED ||
                   (uintptr_t)ptr >> HAK_ADDRESS_BITS != 0)) {
    free_unowned(ptr, size);
    return;
  }
  hak_place_t place = hak_locate((uintptr_t)ptr);
  if (HAK_UNLIKELY(place.cls >= HAK_CLASSES ||
                   hak_load_relaxed(&place.extent->heap) != me->store->pool.heap)) {
    /* Freed by another just now, or another heap's. */
    free_unowned(ptr, size);
    return;
  }
  bool begins = HAK_CHECKS == 0 ||
                hak_class_is_start(place.cls, (size_t)((const char *)ptr - place.start));
  if (HAK_UNLIKELY(!begins || size > hak_class_size(place.cls))) {
    free_unowned(ptr, size); /* where it is reported */
    return;
  }
  bool due = is_look_due(me, place.cls);
  if (!hak_spill_passes_on(me, place.cls, place.slab, ptr)) {
    hak_busy_begin(me);
    HAK_COUNT(me, slow_free, 1);
    hak_spill_free(me, &me->cache, place.cls, ptr);
    hak_thread_leave(me, name_of(size)); /* an error handler may detach the thread */
  }
  if (due) hak_thread_trim(&hak_heap_get_default()->store->pool);
}

/* Bytes of a block that this thread frees onto the list, if it is a large one and
 * somebody listens for events; else 0. */
static size_t large_bytes(const hak_list_t *list, const void *ptr) {
  bool large = hak_list_block_size(list) > HAK_MID_MAX && hak_event_wanted();
  return large ? hak_class_size(hak_locate((uintptr_t)ptr).cls) : 0;
}

/* A list of a heap that is not the default one had no room: the list is a bin at a cache
 * index, which no thread cache may use at the moment, or of a slab that this thread holds
 * and that has to be looked at. */
static HAK_WARM void free_event_of_heap(hak_thread_t *me, void *ptr, size_t size,
                                        hak_list_t *list) {
  bool indexed = hak_cache_is_indexed(me, list);
  hak_extent_t *extent = indexed
                             ? hak_locate((uintptr_t)ptr).extent
                             : &hak_slab_superslab((hak_slab_t *)(void *)list)->extent;
  hak_heap_t *heap = extent == NULL ? NULL : hak_heap_of_extent(extent);
  hak_thread_cache_t *cache = heap == NULL ? NULL : hak_cache_find(me, heap);
  if (cache == NULL || hak_heap_is_orphan(heap) ||
      (indexed && !hak_cache_has_bin(cache, list))) {
    if (indexed) hak_store_relaxed(&list->room, 0);
    if (!indexed) hak_count_own(&list->room, 1); /* as if it had not been tried */
    free_unowned(ptr, size);
    return;
  }
  hak_busy_begin(me);
  size_t large = large_bytes(list, ptr);
  hak_spill_event(me, &cache->cache, list, ptr);
  hak_thread_leave(me, name_of(size));
  if (HAK_UNLIKELY(large != 0)) hak_event_emit(HAK_EVENT_LARGE_FREE, ptr, large);
  hak_thread_trim(&heap->store->pool);
}

/* The list had no room, and the block is not one of many that this thread only frees. */
static HAK_WARM void free_event(void *ptr, size_t size, hak_list_t *list) {
  hak_thread_t *me = hak_thread_self;
  if (list == &me->unowned) {
    hak_store_relaxed(&list->room, 0);
    free_unowned(ptr, size);
    return;
  }
  if (HAK_UNLIKELY(!hak_cache_is_default(me, list))) {
    free_event_of_heap(me, ptr, size, list);
    return;
  }
  hak_busy_begin(me);
  size_t large = large_bytes(list, ptr);
  hak_spill_event(me, &me->cache, list, ptr);
  hak_thread_leave(me, name_of(size)); /* an error handler may detach the thread */
  if (HAK_UNLIKELY(large != 0)) hak_event_emit(HAK_EVENT_LARGE_FREE, ptr, large);
  hak_thread_trim(&hak_heap_get_default()->store->pool);
}

/* The list that the entry names had no room. A thread that only frees blocks of some
 * class comes here with each, and so does NULL, which many programs free often. */
static HAK_WARM void free_no_room(void *ptr, size_t size, hak_list_t *list) {
  if (ptr == NULL) {
    hak_store_relaxed(&list->room, 0);
    return;
  }
  hak_thread_t *me = hak_thread_self;
  size_t offset = (size_t)((char *)list - (char *)me->bins);
  if (offset < HAK_SHARED_CLASSES * sizeof(hak_bin_t) &&
      hak_spill_gathers(me, (hak_bin_t *)(void *)list, ptr)) {
    return;
  }
  free_event(ptr, size, list);
}

/* More bytes than the list says that its blocks have: misuse, unless the list is unowned
 * or of blocks larger than it can say. */
static HAK_WARM void free_larger(void *ptr, size_t size, hak_list_t *list) {
  uint32_t cls = hak_list_block_size(list) < HAK_LIST_SIZE_MAX
                     ? HAK_CLASSES
                     : hak_locate((uintptr_t)ptr).cls;
  if (cls >= HAK_CLASSES || size > hak_class_size(cls)) {
    free_unowned(ptr, size);
  } else if (hak_room_is_gone(&list->room)) {
    free_no_room(ptr, size, list);
  } else {
    hak_list_push(&hak_thread_self->key, list, ptr);
  }
}

/* Fast when the entry names a list of this thread that has room. Whatever
 * `ptr` is, nothing but the registry is read before the block is known to be
 * pushable. */
HAK_HOT void free_block(void *ptr, size_t size, bool is_sized) {
  hak_thread_t *me = hak_thread_self;
  uintptr_t address = (uintptr_t)ptr;
  if (HAK_UNLIKELY(address >> HAK_LEAF_SHIFT >= me->registry_limit)) {
    free_slow(ptr, size);
    return;
  }
  uint64_t entry = hak_registry_entry(me->registry, address);
  if (HAK_UNLIKELY(hak_has_bits(entry, &me->mask))) {
    free_slow(ptr, size);
    return;
  }
  hak_list_t *list = (hak_list_t *)(void *)((char *)me + ((int64_t)entry >> 16));
  if (HAK_CHECKS == 1 && HAK_UNLIKELY(hak_list_is_askew(list, ptr))) {
    free_unowned(ptr, size); /* an address inside a block */
    return;
  }
  if (is_sized && HAK_UNLIKELY(size > hak_list_block_size(list))) {
    free_larger(ptr, size, list);
    return;
  }
  if (HAK_UNLIKELY(hak_room_is_gone(&list->room))) {
    free_no_room(ptr, size, list);
    return;
  }
  hak_list_push(&me->key, list, ptr);
}

#if HAK_CHECKS >= 3
/* The block is the library's from here on; false, after a report, if it is not to be
 * freed. */
static bool take_back(const hak_place_t *place, void *ptr, const char *function) {
  return hak_harden_take(place, ptr, function);
}
#elif HAK_CHECKS == 2
/* The block has its mark; the list, if there is one, was counted down for it. */
static HAK_SLOW void report_marked(const void *ptr, const char *function,
                                   hak_list_t *list) {
  if (list != NULL) hak_room_comes_back(&list->room);
  hak_place_t place = hak_locate((uintptr_t)ptr);
  hak_heap_t *owner = place.extent == NULL ? NULL : hak_api_owner(place.extent);
  hak_report(HAK_ERROR_DOUBLE_FREE, ptr, owner, function, HAK_TEXT_FREE);
}
/* As in hardened builds: the mark says whether it was free already, or a hole does. */
static bool take_back(const hak_place_t *place, void *ptr, const char *function) {
  if (place->cls >= HAK_CLASSES) return true;
  hak_thread_t *me = hak_thread_enter();
  if (me == NULL) return false;
  bool marked = is_free(ptr, place) || hak_link_mark_again(&me->key, ptr);
  hak_thread_leave(me, function);
  if (marked) report_marked(ptr, function, NULL);
  return !marked;
}
#endif

#if HAK_CHECKS >= 2
/* Full checks: the block is looked at before it is freed. */
static void check_and_free(void *ptr, size_t size) {
  hak_place_t place;
  size_t usable = hak_api_usable(ptr, &place, name_of(size));
  if (usable == 0 || is_wrong_size(ptr, &place, usable, size, HAK_IN_FREE_SIZED)) return;
  tell(&place, ptr, usable);
  if (!take_back(&place, ptr, name_of(size))) return;
  ptr = hak_harden_delay(&place, ptr);
  for (; ptr != NULL; ptr = hak_harden_delay_excess()) free_block(ptr, 0, false);
}
static HAK_WARM void free_checked(void *ptr, size_t size) {
  if (ptr == NULL) return;
  hak_stay_t stay = hak_api_stay(ptr, name_of(size));
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return;
  check_and_free(ptr, size);
  hak_stay_end(stay);
}
#endif
#if HAK_CHECKS == 2
/* The list that the entry names has no room, or, if NULL, is another holder's. */
static HAK_WARM void free_marked_slow(void *ptr, size_t size, hak_list_t *list) {
  hak_thread_t *me = hak_thread_self;
  bool unowned = list == &me->unowned;
  if (unowned) hak_store_relaxed(&list->room, 0);
  if (unowned || (list == NULL && (size != 0 || !hak_start_is_default(me, ptr)))) {
    free_checked(ptr, size);
  } else if (HAK_UNLIKELY(hak_link_mark_again(&me->key, ptr))) {
    report_marked(ptr, name_of(size), list);
  } else if (list == NULL) {
    free_slow(ptr, 0);
  } else {
    free_no_room(ptr, size, list);
  }
}

/* Fast where free_block is; blocks of watched heaps are in no list of this thread's. */
HAK_HOT void free_marked(void *ptr, size_t size, bool is_sized) {
  hak_thread_t *me = hak_thread_self;
  uintptr_t address = (uintptr_t)ptr;
  if (HAK_UNLIKELY(address >> HAK_LEAF_SHIFT >= me->registry_limit)) {
    free_checked(ptr, size);
    return;
  }
  hak_leaf_words_t *words = hak_registry_words(me->registry, address);
  if (HAK_UNLIKELY(!hak_start_is(words, address))) {
    free_checked(ptr, size);
    return;
  }
  uint64_t entry = hak_load_relaxed(&words->entry);
  if (HAK_UNLIKELY(hak_has_bits(entry, &me->mask))) {
    free_marked_slow(ptr, size, NULL);
    return;
  }
  hak_list_t *list = (hak_list_t *)(void *)((char *)me + ((int64_t)entry >> 16));
  if (is_sized && HAK_UNLIKELY(size > hak_list_block_size(list))) {
    free_checked(ptr, size);
    return;
  }
  if (HAK_UNLIKELY(hak_room_is_gone(&list->room))) {
    free_marked_slow(ptr, size, list);
    return;
  }
  if (HAK_LIKELY(!hak_link_mark_again(&me->key, ptr))) {
    hak_list_push_marked(&me->key, list, ptr);
  } else {
    report_marked(ptr, name_of(size), list);
  }
}
HAK_ENTRY void hak_free(void *ptr) { free_marked(ptr, 0, false); }
HAK_ENTRY void hak_free_sized(void *ptr, size_t size) { free_marked(ptr, size, true); }
#elif HAK_CHECKS >= 3
HAK_ENTRY void hak_free(void *ptr) { free_checked(ptr, 0); }
HAK_ENTRY void hak_free_sized(void *ptr, size_t size) { free_checked(ptr, size); }
#else
HAK_ENTRY void hak_free(void *ptr) { free_block(ptr, 0, false); }
HAK_ENTRY void hak_free_sized(void *ptr, size_t size) {
  free_block(ptr, size, HAK_CHECKS != 0);
}
#endif

static void free_past_caches(void *ptr) {
#if HAK_CHECKS >= 2
  hak_place_t place;
  size_t usable = hak_api_usable(ptr, &place, "hak_freex");
  if (usable == 0) return;
  tell(&place, ptr, usable);
  if (!take_back(&place, ptr, "hak_freex")) return;
#endif
  free_found(ptr, 0, true);
}

void hak_api_free(void *ptr, bool no_cache) {
  if (!no_cache || ptr == NULL) {
    hak_free(ptr);
    return;
  }
  hak_stay_t stay = hak_api_stay(ptr, "hak_freex");
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return;
  free_past_caches(ptr);
  hak_stay_end(stay);
}

int hak_freex(void *ptr, unsigned flags) {
  if (HAK_UNLIKELY((flags & ~HAK_NO_CACHE) != 0)) return EINVAL;
  hak_api_free(ptr, flags != 0);
  return 0;
}

static void free_aligned_sized(void *ptr, size_t alignment, size_t size,
                               const char *function) {
  hak_place_t place;
  size_t usable = hak_api_usable(ptr, &place, function);
  if (usable == 0 || is_wrong_size(ptr, &place, usable, size, function)) return;
  if (HAK_UNLIKELY(alignment != 0 && (!hak_is_power_of_two(alignment) ||
                                      !hak_is_aligned((uintptr_t)ptr, alignment)))) {
    hak_report(HAK_ERROR_WRONG_ALIGNMENT, ptr, hak_api_owner(place.extent), function,
               "the block does not have the alignment given");
    return;
  }
  hak_free(ptr);
}

void hak_free_aligned_sized(void *ptr, size_t alignment, size_t size) {
  if (ptr == NULL) return;
  const char *function = alignment == 0 ? HAK_IN_FREE_SIZED : "hak_free_aligned_sized";
  hak_stay_t stay = hak_api_stay(ptr, function);
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return;
  free_aligned_sized(ptr, alignment, size, function);
  hak_stay_end(stay);
}
