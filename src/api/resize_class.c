/* resize_class.c - blocks that change their size: the common case.
 *
 * hak_api_resize_class -> the block stays, as its class does for the size: done
 *   -> the thread's bin of the other class has a block: copied, and the old one freed
 *   -> a large block whose pages do for the size stays
 *   -> NULL: resize.c, for all else
 */
#include <string.h>

#include "api/api.h"
#include "base/check.h"
#include "pool/large.h"
#include "tiny/start.h"

/* The heap of a block, if nobody has to be told of what becomes of its blocks, and they
 * are its own; else NULL. Of an address that is no block, or no more, the extent may be
 * out of date. */
HAK_HOT hak_heap_t *quiet_heap(hak_extent_t *extent) {
  hak_heap_t *heap = HAK_UNLIKELY(extent == NULL) ? NULL : hak_heap_of_extent(extent);
  if (HAK_UNLIKELY(heap == NULL || hak_heap_is_anothers(heap) ||
                   hak_heap_is_watched(heap))) {
    return NULL;
  }
  return heap;
}

/* The quiet heap of a block of a size class that begins at `ptr`, or NULL. As in
 * hak_usable_size the slab's record is read in full checks alone, so in others the
 * address of a block that was not cut yet passes. */
HAK_HOT hak_heap_t *find(const hak_thread_t *me, const void *ptr, uint32_t *cls) {
  uintptr_t address = (uintptr_t)ptr;
  if (HAK_UNLIKELY(address >> HAK_LEAF_SHIFT >= me->registry_limit)) return NULL;
  hak_leaf_t *leaf;
  size_t offset = 0;
  *cls = HAK_CHECKS == 2 ? hak_start_class(me->registry, address, &leaf)
                         : hak_locate_class(me->registry, address, &leaf, &offset);
  if (HAK_UNLIKELY(*cls >= HAK_CLASSES || !hak_class_is_start(*cls, offset))) return NULL;
  return quiet_heap(hak_leaf_extent(leaf, address));
}

/* A block that lies ready for this thread. The bins are found as hak_heap_alloc finds
 * them; a serial heap has its own. */
HAK_HOT void *take(hak_thread_t *me, hak_heap_t *heap, uint32_t cls) {
  if (HAK_UNLIKELY(heap->serial_handle != NULL)) return hak_api_ready(heap, cls);
  hak_bin_t *bins = hak_index_bins(me, hak_load_relaxed(&heap->index_at));
  void *block;
  /* Larger blocks are looked at. */
  if (cls < HAK_TINY_CLASSES &&
      HAK_LIKELY(!hak_link_pop_fails(&me->key, &bins[cls].ready, &block))) {
    return block;
  }
  return hak_api_pop(&me->key, &me->pace, &bins[cls], cls);
}

/* Into a block of another class. A function of its own, so that a block which stays costs
 * no saved registers. */
static HAK_WARM void *move(hak_heap_t *heap, void *ptr, size_t usable, size_t size,
                           uint32_t wanted) {
  void *block = take(hak_thread_self, heap, wanted);
  if (HAK_UNLIKELY(block == NULL)) return NULL;
  size_t kept = usable < size ? usable : size;
  memcpy(block, ptr, kept);
  hak_link_unmark_copy(&hak_thread_self->key, block, kept);
  if (HAK_UNLIKELY(heap->serial_handle != NULL)) {
    hak_heap_free(heap->serial_handle, ptr);
  } else {
    hak_free(ptr);
  }
  return block;
}

/* So many bytes that a block has are enough for the size, and not so many more that some
 * are to go. */
HAK_HOT bool does(size_t usable, size_t size, size_t page_size) {
  return size <= usable && usable - size < page_size + hak_api_growth_slack(size);
}

/* The same of what lies in no slab. */
static HAK_SLOW void *stay_whole(void *ptr, size_t size) {
  hak_place_t place;
  hak_locate_into((uintptr_t)ptr, &place);
  if (place.start != ptr || place.cls != HAK_CLASS_LARGE || hak_cells_have(ptr) ||
      quiet_heap(place.extent) == NULL) {
    return NULL;
  }
  return does(hak_large_usable(&place), size, place.extent->os->page_size) ? ptr : NULL;
}

/* A block of more than 56 KiB, if what it has does for the size: buffers grow by steps
 * that are mostly smaller than a page. Of an address that is no block, or no more, the
 * extent may be of another kind by now. */
static HAK_WARM void *stay(const hak_thread_t *me, void *ptr, size_t size) {
  uintptr_t address = (uintptr_t)ptr;
  if (HAK_UNLIKELY(address >> HAK_LEAF_SHIFT >= me->registry_limit)) return NULL;
  hak_leaf_t *leaf;
  size_t offset = 0;
  uint32_t cls = hak_locate_class(me->registry, address, &leaf, &offset);
  if (cls >= HAK_CLASSES && cls != HAK_CLASS_LARGE) return stay_whole(ptr, size);
  hak_extent_t *extent = hak_leaf_extent(leaf, address);
  if (HAK_UNLIKELY(offset != 0 || quiet_heap(extent) == NULL)) return NULL;
  if (cls < HAK_CLASSES) {
    if (HAK_UNLIKELY(hak_link_is_marked(&me->key, ptr))) return NULL;
    return size <= HAK_CLASS_MAX && hak_class_of(size) == cls ? ptr : NULL;
  }
  if (HAK_UNLIKELY(hak_load_relaxed(&extent->kind) != HAK_EXTENT_SLABS)) return NULL;
  size_t slot = hak_leaf_slab(address) % HAK_SUPERSLAB_SLABS;
  hak_slab_t *slab = &hak_superslab_of_extent(extent)->slabs[slot];
  if (HAK_UNLIKELY(hak_slab_class(slab) != HAK_CLASS_LARGE)) return NULL;
  return does(hak_load_relaxed(&slab->usable), size, extent->os->page_size) ? ptr : NULL;
}

HAK_WARM void *hak_api_resize_class(void *ptr, size_t size) {
  hak_thread_t *me = hak_thread_self;
  uint32_t cls;
  /* Hardened builds look at the block first, and callbacks may have forbidden the heap.
   */
  if (HAK_CHECKS >= 3 || size == 0) return NULL;
  if (HAK_UNLIKELY(hak_budget_calls != NULL)) return NULL;
  if (HAK_UNLIKELY(size > HAK_MID_MAX)) return stay(me, ptr, size);
  hak_heap_t *heap = find(me, ptr, &cls);
  if (HAK_UNLIKELY(heap == NULL)) return NULL;
  size_t usable = hak_class_size(cls);
  if (size <= usable && size > usable / HAK_SHRINK_SHARE) return ptr;
  uint32_t wanted = hak_store_class(heap->store, size);
  return wanted == cls ? ptr : move(heap, ptr, usable, size, wanted);
}
