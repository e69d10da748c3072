/* alloc.c - allocation and free.
 *
 * hak_alloc -> bin of the class has a block: done
 *   alloc_slow -> hak_bin_refill (tiny/refill.c): the bin's other lists, magazine,
 *       transfer slot, held slab, shelf, slab from the pool, SuperSlab from the OS
 *     -> nothing: give back what this thread cached, drain, once more; NULL
 *   alloc_large -> pool/large.c
 *
 * hak_free -> the registry's entry names a list of this thread with room: done
 *   free_event -> nobody's entry: large, NULL, or not ours
 *     -> hak_spill_event (tiny/spill.c): a bin is full, a slab is (nearly) empty
 *   free_slow -> held by another: this thread's bin, or its magazine
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"
#include "pool/large.h"
#include "superslab/retention.h"
#include "tiny/spill.h"

/* --- the way out of memory ---------------------------------------------- */

/* Everything this thread caches and what waits in transfer slots goes home, and
 * idle pages to the OS; then one more attempt may succeed. */
static void give_up_caches(hak_thread_t *me) {
  hak_thread_flush_heap(me);
  if (me->no_grow) return;
  size_t slabs = SIZE_MAX;
  hak_retention_collect(&me->store->pool, UINT64_MAX, SIZE_MAX, &slabs);
}

static HAK_SLOW void *out_of_memory(void) {
  errno = ENOMEM;
  return NULL;
}

HAK_WARM void *hak_api_small(uint32_t cls, bool no_grow) {
  hak_thread_t *me = hak_thread_enter();
  if (HAK_UNLIKELY(me == NULL)) return out_of_memory();
  me->no_grow = no_grow;
  void *block = NULL;
  /* A thread that shares its state has no fast path: the bin may have blocks. */
  for (int attempt = 0; block == NULL && attempt < 2; attempt++) {
    if (attempt > 0) give_up_caches(me);
    hak_bin_t *bin = &me->bins[cls];
    if (hak_link_pop_fails(&me->key, &bin->ready, &block)) {
      block = hak_bin_refill(me, cls);
    }
  }
  me->no_grow = 0;
  hak_pool_t *pool = &me->store->pool;
  hak_thread_leave(me, HAK_IN_ALLOC);
  hak_retention_tick(pool);
  hak_event_emit(HAK_EVENT_REFILL, block, hak_class_size(cls));
  return block != NULL ? block : out_of_memory();
}

/* The common refill; everything else goes the long way. */
static HAK_WARM void *alloc_refill(uint32_t cls) {
  hak_thread_t *me = hak_thread_self;
  if (HAK_UNLIKELY(me->kind != HAK_THREAD_ATTACHED ||
                   hak_load_relaxed(&hak_event_sink))) {
    return hak_api_small(cls, false);
  }
  hak_store_relaxed(&me->busy, 1);
  void *block = hak_bin_refill(me, cls);
  hak_thread_leave(me, HAK_IN_ALLOC);
  if (HAK_UNLIKELY(block == NULL)) return hak_api_small(cls, false);
  hak_retention_tick(&me->store->pool);
  return block;
}

typedef void *(large_fn)(hak_pool_t *pool, size_t size, size_t alignment, bool no_grow,
                         bool *zeroed);

static HAK_SLOW void *large(large_fn *alloc_large, size_t size, size_t alignment,
                            bool no_grow, bool *zeroed) {
  if (size > PTRDIFF_MAX) return out_of_memory();
  hak_thread_t *me = hak_thread_enter();
  if (HAK_UNLIKELY(me == NULL)) return out_of_memory();
  hak_pool_t *pool = &me->store->pool;
  void *block = alloc_large(pool, size, alignment, no_grow, zeroed);
  if (block == NULL) {
    me->no_grow = no_grow;
    give_up_caches(me);
    me->no_grow = 0;
    block = alloc_large(pool, size, alignment, no_grow, zeroed);
  }
  size_t usable = hak_large_good_size(pool->os, size);
  if (block != NULL) hak_thread_count_large(me, 1, (int64_t)usable);
  hak_thread_leave(me, HAK_IN_ALLOC);
  hak_retention_tick(pool);
  if (block != NULL) hak_event_emit(HAK_EVENT_LARGE_ALLOC, block, usable);
  return block != NULL ? block : out_of_memory();
}

HAK_WARM void *hak_api_large(size_t size, size_t alignment, bool no_grow, bool *zeroed) {
  hak_thread_t *me = hak_thread_self;
  if (HAK_LIKELY(me->kind == HAK_THREAD_ATTACHED && size <= HAK_LARGE_SPAN_MAX &&
                 alignment <= HAK_SLAB_SIZE && !hak_event_wanted())) {
    hak_store_relaxed(&me->busy, 1);
    size_t usable;
    void *block =
        hak_large_take_kept(hak_thread_large(me), me->store->pool.os, size, &usable);
    if (block != NULL) hak_thread_count_large(me, 1, (int64_t)usable);
    hak_store_relaxed(&me->busy, 0);
    *zeroed = false;
    if (HAK_LIKELY(block != NULL)) return block;
  }
  return large(hak_large_alloc, size, alignment, no_grow, zeroed);
}

void *hak_api_mapping(size_t size, size_t alignment, bool no_grow, bool *zeroed) {
  return large(hak_large_map, size, alignment, no_grow, zeroed);
}

/* Large sizes, and those whose bin is empty. */
static HAK_WARM void *alloc_slow(size_t size) {
  if (HAK_UNLIKELY(size > HAK_MID_MAX)) {
    bool zeroed;
    return hak_api_large(size, HAK_SLAB_SIZE, false, &zeroed);
  }
  return alloc_refill(hak_class_of(size));
}

/* From the class's bin: a block that is ready, or else the list that frees have
 * made meanwhile. */
HAK_HOT void *alloc_small(hak_thread_t *me, hak_bin_t *bin, size_t size) {
  void *block;
  if (HAK_UNLIKELY(hak_link_pop_fails(&me->key, &bin->ready, &block)) &&
      HAK_UNLIKELY(hak_bin_flip_fails(me, bin, &block))) {
    return alloc_slow(size);
  }
  return block;
}

static HAK_WARM void *alloc_mid(size_t size) {
  if (HAK_UNLIKELY(size - 1 >= HAK_MID_MAX)) {
    /* Size 0 looks into its bin like any other: a refill needs an empty one. */
    return size == 0 ? hak_alloc(1) : alloc_slow(size);
  }
  hak_thread_t *me = hak_thread_self;
  return alloc_small(me, &me->bins[hak_class_of(size)], size);
}

/* Fast when the class's bin has a block ready. First use, an empty bin, a bad
 * link and out of memory all leave through alloc_slow: a thread that has no
 * state simply has empty bins. */
HAK_HOT void *alloc(size_t size) {
  size_t step = (size - 1) >> 3;
  HAK_OPAQUE(step); /* else size - 1 is kept beside it, for the comparison */
  if (HAK_UNLIKELY(step >= HAK_TINY_STEPS)) return alloc_mid(size);
  hak_thread_t *me = hak_thread_self;
  return alloc_small(me, (hak_bin_t *)(void *)((char *)me + hak_bin_offset_of_step[step]),
                     size);
}

HAK_ENTRY void *hak_alloc(size_t size) { return alloc(size); }

/* --- free ------------------------------------------------------------------ */

static HAK_SLOW void report_not_a_block(const void *ptr, const hak_place_t *place,
                                        const char *function) {
  if (place->extent == NULL) {
    bool after = !hak_lifecycle_is_running() && hak_lifecycle_was_shut_down();
    hak_report(
        after ? HAK_ERROR_AFTER_SHUTDOWN : HAK_ERROR_FOREIGN_POINTER, ptr, NULL, function,
        after ? "the library was shut down" : "the address is in no block of ours");
  } else if (place->cls == HAK_CLASS_NONE || place->cls == HAK_CLASS_KEPT) {
    hak_report(HAK_ERROR_DOUBLE_FREE, ptr, hak_load_relaxed(&place->extent->heap),
               function, "no block is there any more");
  } else {
    hak_report(HAK_ERROR_INTERIOR_POINTER, ptr, hak_load_relaxed(&place->extent->heap),
               function, "the address is inside a block, not its start");
  }
}

size_t hak_api_usable(const void *ptr, hak_place_t *place, const char *function) {
  hak_registry_find_into((uintptr_t)ptr, place);
  if (HAK_LIKELY(place->cls < HAK_CLASSES)) {
    size_t offset = (size_t)((const char *)ptr - place->start);
    if (HAK_LIKELY(hak_class_is_start(place->cls, offset) &&
                   hak_class_index(place->cls, offset) < place->slab->capacity)) {
      return hak_class_size(place->cls);
    }
  } else if (place->cls == HAK_CLASS_LARGE && place->start == ptr) {
    return hak_large_usable(place);
  }
  report_not_a_block(ptr, place, function);
  return 0;
}

/* A block whose entry is nobody's: large, or none of ours. */
static HAK_WARM void free_nobodys(void *ptr, const char *function) {
  if (ptr == NULL) return;
  hak_place_t place;
  size_t size = hak_api_usable(ptr, &place, function);
  if (HAK_UNLIKELY(size == 0)) return;
  hak_thread_t *me = hak_thread_enter();
  if (HAK_UNLIKELY(me == NULL)) return; /* not running, so it was not ours */
  hak_pool_t *pool = &me->store->pool;
  if (HAK_LIKELY(place.cls == HAK_CLASS_LARGE)) {
    hak_thread_count_large(me, -1, -(int64_t)size);
    if (!hak_large_keep(hak_thread_large(me), pool, &place)) {
      hak_large_free(pool, &place);
    }
  } else {
    HAK_COUNT(me, slow_free, 1);
    hak_spill_free(me, place.cls, ptr);
  }
  hak_thread_leave(me, function);
  hak_retention_tick(pool);
  if (place.cls == HAK_CLASS_LARGE) hak_event_emit(HAK_EVENT_LARGE_FREE, ptr, size);
}

/* The entry is another holder's, or this thread only frees; or this thread has
 * no state yet; or the address is far out of range. */
static HAK_WARM void free_slow(void *ptr) {
  hak_thread_t *me = hak_thread_self;
  if (HAK_UNLIKELY(me->kind != HAK_THREAD_ATTACHED ||
                   (uintptr_t)ptr >> HAK_ADDRESS_BITS != 0)) {
    free_nobodys(ptr, HAK_IN_FREE);
    return;
  }
  hak_place_t place = hak_registry_find((uintptr_t)ptr);
  if (HAK_UNLIKELY(place.cls >= HAK_CLASSES)) { /* freed by another just now */
    free_nobodys(ptr, HAK_IN_FREE);
    return;
  }
  hak_store_relaxed(&me->busy, 1);
  HAK_COUNT(me, slow_free, 1);
  hak_spill_free(me, place.cls, ptr);
  hak_thread_leave(me, HAK_IN_FREE);
}

/* The list that the entry names had no room. */
static HAK_WARM void free_event(void *ptr, hak_list_t *list) {
  hak_thread_t *me = hak_thread_self;
  if (list == &me->nobodys) {
    hak_store_relaxed(&list->room, 0);
    free_nobodys(ptr, HAK_IN_FREE);
    return;
  }
  hak_store_relaxed(&me->busy, 1);
  hak_spill_event(me, list, ptr);
  hak_thread_leave(me, HAK_IN_FREE);
  hak_retention_tick(&me->store->pool);
}

/* Fast when the entry names a list of this thread that has room. Whatever
 * `ptr` is, nothing but the registry is read before the block is known to be
 * pushable. */
HAK_HOT void free_block(void *ptr) {
  hak_thread_t *me = hak_thread_self;
  uintptr_t address = (uintptr_t)ptr;
  if (HAK_UNLIKELY(address >> HAK_LEAF_SHIFT >= me->registry_limit)) {
    free_slow(ptr);
    return;
  }
  uint64_t entry = hak_registry_entry(me->registry, address);
  if (HAK_UNLIKELY(hak_has_bits(entry, &me->mask))) {
    free_slow(ptr);
    return;
  }
  hak_list_t *list = (hak_list_t *)(void *)((char *)me + ((int64_t)entry >> 16));
  if (HAK_UNLIKELY(hak_room_is_gone(&list->room))) {
    free_event(ptr, list);
    return;
  }
  hak_list_push(me, list, ptr);
}

#if HAK_CHECKS >= 2
/* Full checks: the block is looked at before it is freed. */
static void free_checked(void *ptr, const char *function) {
  if (ptr == NULL) return;
  hak_place_t place;
  if (hak_api_usable(ptr, &place, function) == 0) return;
  if (place.cls < HAK_CLASSES) {
    hak_thread_t *me = hak_thread_enter();
    if (me == NULL) return;
    bool marked = hak_link_is_marked(&me->key, ptr);
    if (!marked) hak_link_mark_freed(&me->key, ptr);
    hak_thread_leave(me, function);
    if (marked) {
      hak_report(HAK_ERROR_DOUBLE_FREE, ptr, hak_load_relaxed(&place.extent->heap),
                 function, "the block is free already");
      return;
    }
  }
  free_block(ptr);
}
HAK_ENTRY void hak_free(void *ptr) { free_checked(ptr, HAK_IN_FREE); }
#else
HAK_ENTRY void hak_free(void *ptr) { free_block(ptr); }
#endif

void hak_free_sized(void *ptr, size_t size) { hak_free_aligned_sized(ptr, 0, size); }

void hak_free_aligned_sized(void *ptr, size_t alignment, size_t size) {
  if (ptr == NULL) return;
  const char *function = alignment == 0 ? "hak_free_sized" : "hak_free_aligned_sized";
  hak_place_t place;
  size_t usable = hak_api_usable(ptr, &place, function);
  if (usable == 0) return;
  void *heap = hak_load_relaxed(&place.extent->heap);
  if (HAK_UNLIKELY(size > usable)) {
    hak_report(HAK_ERROR_WRONG_SIZE, ptr, heap, function,
               "the size given is larger than the block");
    return;
  }
  if (HAK_UNLIKELY(alignment != 0 && (!hak_is_power_of_two(alignment) ||
                                      !hak_is_aligned((uintptr_t)ptr, alignment)))) {
    hak_report(HAK_ERROR_WRONG_ALIGNMENT, ptr, heap, function,
               "the block does not have the alignment given");
    return;
  }
  hak_free(ptr);
}
