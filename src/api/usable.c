/* usable.c - how large blocks are, told alone or by the call that gives or frees a block.
 *
 * hak_usable_size -> the registry's note says the class, and a block begins there: done
 *   usable_slow -> hak_api_usable_live: large blocks, memory of the caller's, misuse
 */
#include "api/api.h"
#include "base/report.h"
#include "tiny/start.h"

static HAK_WARM size_t usable_slow(const void *ptr, const char *function) {
  if (ptr == NULL) return 0;
  hak_place_t place;
  hak_stay_t stay = hak_api_stay(ptr, function);
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return 0;
  size_t usable = hak_api_usable_live(ptr, &place, function);
  hak_stay_end(stay);
  return usable;
}

/* Fast for a block of a size class, on a thread that is attached: nobody shuts the
 * library down beside such a thread, and without one the registry has no limit to be
 * below. The slab's record is read in full checks alone, so in others the address of a
 * block that was not cut yet passes. */
HAK_HOT size_t usable(const void *ptr, const char *function) {
  hak_thread_t *me = hak_thread_self;
  uintptr_t address = (uintptr_t)ptr;
  if (HAK_CHECKS >= 3 || HAK_UNLIKELY(address >> HAK_LEAF_SHIFT >= me->registry_limit)) {
    return usable_slow(ptr, function);
  }
  hak_leaf_t *leaf;
  if (HAK_CHECKS == 2) {
    uint32_t live = hak_start_class(me->registry, address, &leaf);
    return HAK_LIKELY(live < HAK_CLASSES) ? hak_class_size(live)
                                          : usable_slow(ptr, function);
  }
  size_t offset;
  uint32_t cls = hak_locate_class(me->registry, address, &leaf, &offset);
  if (HAK_UNLIKELY(cls >= HAK_CLASSES || !hak_class_is_start(cls, offset))) {
    return usable_slow(ptr, function);
  }
  return hak_class_size(cls);
}

HAK_ENTRY size_t hak_usable_size(const void *ptr) {
  return usable(ptr, "hak_usable_size");
}

void *hak_alloc_usable(size_t size, size_t *out) {
  void *block = hak_alloc(size);
  *out = HAK_LIKELY(block != NULL) ? usable(block, HAK_IN_ALLOC) : 0;
  return block;
}

size_t hak_free_usable(void *ptr) {
  size_t bytes = usable(ptr, "hak_free_usable");
  if (HAK_LIKELY(bytes != 0)) hak_free(ptr);
  return bytes;
}
