#include "heap/harden.h"

#include <string.h>

#include "base/report.h"
#include "heap/thread_state.h"
#include "os/written.h"
#include "pages/cell.h"
#include "pool/large.h"
#include "tiny/canary.h"
#include "tiny/live.h"
#include "tiny/size_class.h"
#include "tiny/spill.h"

enum {
  LINK_BYTES = 16 /* of a free block: its link and the seal */
};

/* The handle under which the program knows the owner of the heap's blocks. */
static hak_heap_t *owner(hak_heap_t *heap) {
  return hak_heap_is_anothers(heap) ? hak_heap_owner(heap) : hak_heap_handle(heap);
}

static HAK_SLOW bool report(hak_error_t error, const void *block, hak_heap_t *heap,
                            const char *function, const char *text) {
  hak_report(error, block, heap == NULL ? NULL : owner(heap), function, text);
  return false;
}

/* From a multiple of 16 bytes on; 16 bytes at least. */
static bool is_zero(const void *from, size_t bytes) {
  const uint64_t *words = from;
  uint64_t any = 0;
  for (size_t i = 0; i < bytes / sizeof *words; i++) any |= words[i];
  return any == 0;
}

/* What was written to a block over 56 KiB is named by the line where it begins. */
static bool is_empty(hak_heap_t *heap, const hak_os_t *os, const char *from,
                     size_t bytes) {
  const void *found = hak_os_find_written(os, from, bytes);
  return HAK_LIKELY(found == NULL) ||
         report(HAK_ERROR_CORRUPT_BLOCK, found, heap, HAK_IN_ALLOC, HAK_TEXT_WRITTEN);
}

/* The memory of the one serves the other: both are of one owner. A heap at its limit gets
 * blocks from those that it keeps apart. */
static bool is_of(hak_heap_t *heap, hak_extent_t *extent) {
  if (HAK_LIKELY(hak_load_relaxed(&extent->heap) == heap->store->pool.heap)) return true;
  hak_heap_t *other = hak_heap_of_extent(extent);
  return other != NULL && owner(other) == owner(heap);
}

/* A free block of the class, or of a larger one, of this heap begins there. */
static bool is_block(hak_heap_t *heap, uint32_t cls, const hak_place_t *place,
                     const char *block) {
  if (place->cls >= HAK_CLASSES || place->cls < cls) return false;
  if (!is_of(heap, place->extent)) return false;
  size_t offset = (size_t)(block - place->start);
  return hak_class_is_start(place->cls, offset) &&
         hak_class_index(place->cls, offset) < hak_slab_carved(place->slab);
}

bool hak_harden_give(hak_heap_t *heap, uint32_t cls, void *block) {
  if (HAK_CHECKS < 3) return true;
  if (heap == NULL) heap = hak_heap_get_default();
  hak_place_t place = hak_locate((uintptr_t)block);
  if (HAK_UNLIKELY(!is_block(heap, cls, &place, block) ||
                   !hak_live_begin(place.slab, block))) {
    return report(HAK_ERROR_CORRUPT_BLOCK, block, heap, HAK_IN_ALLOC,
                  "a list of free blocks leads to what is none");
  }
  size_t bytes = hak_class_size(place.cls);
  memset(block, 0, LINK_BYTES);
  if (hak_class_is_single(place.cls)) {
    if (HAK_UNLIKELY(!is_empty(heap, place.extent->os, block, bytes))) return false;
  } else if (HAK_UNLIKELY(!is_zero(block, bytes))) {
    return report(HAK_ERROR_CORRUPT_BLOCK, block, heap, HAK_IN_ALLOC, HAK_TEXT_WRITTEN);
  }
  hak_canary_write(block, bytes);
  return true;
}

bool hak_harden_give_large(hak_heap_t *heap, void *block, bool zeroed) {
  if (HAK_CHECKS < 3) return true;
  hak_place_t place = hak_locate((uintptr_t)block);
  if (place.cls == HAK_CLASS_EXTERNAL) return true; /* it lies beside others */
  const hak_os_t *os = place.extent->os;
  size_t usable = hak_large_usable(&place);
  bool fresh = zeroed && !hak_os_is_divisible(os);
  if (HAK_UNLIKELY(!fresh && !is_empty(heap, os, block, usable))) return false;
  hak_canary_write(block, usable);
  return true;
}

void hak_harden_resized(void *block, size_t before, size_t now) {
  if (HAK_CHECKS < 3) return;
  hak_place_t place = hak_locate((uintptr_t)block);
  if (now > before && hak_large_is_clean(&place)) {
    (void)is_empty(hak_heap_of_extent(place.extent), place.extent->os,
                   (char *)block + before, now - before);
  }
  hak_canary_write(block, now);
}

static size_t bytes_of(const hak_place_t *place) {
  return place->cls < HAK_CLASSES ? hak_class_size(place->cls) : hak_large_usable(place);
}

bool hak_harden_take(const hak_place_t *place, void *ptr, const char *function) {
  if (HAK_CHECKS < 3) return true;
  bool small = place->cls < HAK_CLASSES;
  if (!small && place->cls != HAK_CLASS_LARGE) return true;
  hak_heap_t *heap = hak_heap_of_extent(place->extent);
  if (HAK_UNLIKELY(small && !hak_live_is(place->slab, ptr))) {
    return report(HAK_ERROR_DOUBLE_FREE, ptr, heap, function, HAK_TEXT_FREE);
  }
  if (HAK_UNLIKELY(hak_cells_have(ptr))) return true; /* it ends with a page */
  size_t bytes = bytes_of(place);
  if (HAK_UNLIKELY(!hak_canary_is_whole(ptr, bytes))) {
    return report(HAK_ERROR_OVERFLOW, ptr, heap, function,
                  "the bytes behind the block were written to");
  }
  if (!small) return true;
  /* Another thread may have come first since. */
  if (HAK_UNLIKELY(!hak_live_end(place->slab, ptr))) {
    return report(HAK_ERROR_DOUBLE_FREE, ptr, heap, function, HAK_TEXT_FREE);
  }
  memset(ptr, 0, bytes);
  return true;
}

#if HAK_CHECKS >= 3
/* A block that waited has nothing in it, not even a link. */
static bool is_untouched(const void *block) {
  return is_zero(block, hak_class_size(hak_slab_class(hak_slab_of(block))));
}

/* What comes out of the quarantine may be freed, if it is what went in. */
static void *look_at(void *block) {
  if (block == NULL || HAK_LIKELY(is_untouched(block))) return block;
  report(HAK_ERROR_CORRUPT_BLOCK, block, hak_heap_get_default(), HAK_IN_FREE,
         HAK_TEXT_WRITTEN);
  return NULL;
}

void *hak_harden_delay(const hak_place_t *place, void *ptr) {
  hak_thread_t *me = hak_thread_self;
  void *out;
  if (place->cls >= HAK_SHARED_CLASSES || me->kind != HAK_THREAD_ATTACHED ||
      hak_load_relaxed(&place->extent->heap) != me->store->pool.heap ||
      !hak_quarantine_put(&me->quarantine, place->cls, ptr, &out)) {
    return ptr;
  }
  return look_at(out);
}

void *hak_harden_delay_excess(void) {
  return look_at(hak_quarantine_excess(&hak_thread_self->quarantine));
}

void hak_harden_release(hak_thread_t *me) {
  void *block;
  while ((block = hak_quarantine_any(&me->quarantine)) != NULL) {
    if (HAK_UNLIKELY(!is_untouched(block))) {
      hak_thread_defer_report(me, me->store->pool.heap, HAK_ERROR_CORRUPT_BLOCK, block,
                              HAK_TEXT_WRITTEN);
      continue;
    }
    hak_spill_free(me, &me->cache, hak_slab_class(hak_slab_of(block)), block);
  }
}
#else
void *hak_harden_delay(const hak_place_t *place, void *ptr) {
  (void)place;
  return ptr;
}
void *hak_harden_delay_excess(void) { return NULL; }
void hak_harden_release(hak_thread_t *me) { (void)me; }
#endif
