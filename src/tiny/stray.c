#include "tiny/stray.h"

#include "base/report.h"
#include "superslab/locate.h"

bool hak_stray_is_single(uint32_t cls, const void *block) {
  hak_leaf_t *leaf;
  size_t offset = 1;
  uintptr_t address = (uintptr_t)block;
  return hak_locate_class(hak_registry_root(), address, &leaf, &offset) == cls &&
         offset == 0;
}

bool hak_stray_refuses(uint32_t cls, void *block) {
  return cls >= HAK_TINY_CLASSES && hak_stray_refuses_mid(hak_class_askew[cls], block);
}

HAK_SLOW void hak_stray_leave(const hak_link_key_t *key, hak_bin_t *bin, uint32_t cls,
                              void *block) {
  if (hak_locate((uintptr_t)block).cls == cls) {
    hak_link_spoil(block);
    return;
  }
  const void *next = hak_link_peek(key, block);
  if (bin->list.head == next) bin->list.head = HAK_LINK_END;
  if (bin->ready == next) bin->ready = HAK_LINK_END;
}

hak_error_t hak_stray_error(const void *block) {
  hak_place_t place = hak_locate((uintptr_t)block);
  size_t offset = (size_t)((const char *)block - place.start);
  bool inside = place.cls < HAK_CLASSES && !hak_class_is_start(place.cls, offset);
  return inside ? HAK_ERROR_INTERIOR_POINTER : HAK_ERROR_DOUBLE_FREE;
}

HAK_SLOW void hak_stray_report(hak_thread_t *me, const hak_cache_t *cache,
                               const void *block) {
  hak_error_t error = hak_stray_error(block);
  hak_thread_defer_report(
      me, cache->store->pool.heap, error, block,
      error == HAK_ERROR_INTERIOR_POINTER ? HAK_TEXT_INTERIOR : HAK_TEXT_GONE);
}

/* --- lists that come back to themselves ---------------------------------------- */

/* True if `count` steps along the list do not come to its end. */
static bool is_longer(const hak_thread_t *me, const void *list, uint32_t count) {
  for (; list != HAK_LINK_END; count--) {
    if (count == 0) return true;
    const void *next = hak_link_read(&me->key, list);
    if (hak_link_is_broken(&me->key, list, next)) return false;
    list = next;
  }
  return false;
}

/* The next block of a list, or HAK_LINK_END at its end and at a broken link. */
static void *step(const hak_thread_t *me, void *block) {
  if (block == HAK_LINK_END) return block;
  void *next = hak_link_read(&me->key, block);
  return hak_link_is_broken(&me->key, block, next) ? HAK_LINK_END : next;
}

/* Finds the cycle of a list by two pointers, of which one is twice as fast, and ends the
 * list before it comes back. */
static HAK_SLOW void cut(hak_thread_t *me, const hak_cache_t *cache, void *list) {
  void *slow = list, *fast = list;
  do { /* the two meet in the cycle */
    slow = step(me, slow);
    fast = step(me, step(me, fast));
  } while (slow != fast);
  if (slow == HAK_LINK_END) return; /* the list has an end, or a broken link */
  for (slow = list; slow != fast; fast = step(me, fast)) slow = step(me, slow);
  void *last = slow;
  while (step(me, last) != slow) last = step(me, last);
  hak_link_write(&me->key, last, HAK_LINK_END);
  hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_DOUBLE_FREE, slow,
                          HAK_TEXT_LISTED);
}

void hak_stray_cut_cycle(hak_thread_t *me, const hak_cache_t *cache, void *list,
                         uint32_t count) {
  if (HAK_CHECKS != 0 && HAK_UNLIKELY(is_longer(me, list, count))) cut(me, cache, list);
}

/* --- blocks that are no list --------------------------------------------------- */

uint32_t hak_stray_sift(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                        void **blocks, uint32_t count) {
  if (!hak_stray_tells(cls)) return count;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (HAK_LIKELY(hak_stray_is_free(me, blocks[i]))) {
      hak_link_spoil(blocks[i]); /* a second pointer to it finds no link */
      blocks[kept++] = blocks[i];
    } else {
      hak_list_report_bad(me, cache, blocks[i]);
    }
  }
  return kept;
}
