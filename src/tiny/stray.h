/* stray.h - pointers on lists of free blocks that are no free blocks: what misuse leaves
 * behind, found before it is given out or goes home.
 *
 * Depends on: base, superslab, bin.   Used by: tiny, api.
 *
 * A free pushes whatever pointer leads to a list. What it was is looked at later:
 *
 * - A pointer to where no block begins, or none was cut yet, is found where it goes home;
 *   and before it is given out, over HAK_TINY_MAX, if no block of its class is aligned
 *   like that.
 * - A block that is on two lists, or twice on one: given out over HAK_TINY_MAX its link
 * is spoilt, so that the second time it is taken its link is broken; in full checks its
 *   mark is gone, whatever its size. A list that comes back to itself is cut before it
 *   goes home.
 * - A block in use that counts as home: before a slab that is home by the count serves
 *   anew, each of its blocks must have a link; one that has none stays out.
 *
 * Without checks none of this is there.
 */
#ifndef HAK_TINY_STRAY_H
#define HAK_TINY_STRAY_H

#include "tiny/bin.h"

/* Blocks of the class say at any time whether they are free, also where they lie in a
 * magazine. */
HAK_HOT bool hak_stray_tells(uint32_t cls) {
  return HAK_CHECKS >= 2 || (HAK_CHECKS >= 1 && cls >= HAK_TINY_CLASSES);
}

/* No block of the class begins at such an address: its size's factors of two are missing.
 * Asking the registry where the span begins, and how much of it is cut, would find the
 * rest too, and took a pair of mid blocks 1.4 times as long. */
HAK_HOT bool hak_stray_is_askew(uint32_t cls, const void *block) {
  return HAK_CHECKS != 0 && ((uintptr_t)block & hak_class_askew[cls]) != 0;
}

/* A block of the slab that was cut begins at an address in its span. */
HAK_HOT bool hak_stray_starts(hak_slab_t *slab, const char *start, const void *block) {
  if (HAK_CHECKS == 0) return true;
  size_t offset = (size_t)((const char *)block - start);
  uint32_t index = hak_class_index(hak_slab_class(slab), offset);
  return (size_t)index * slab->list.block_size == offset && index < hak_slab_carved(slab);
}

/* A block of a class over HAK_TINY_MAX that was taken off a list is to be given out: true
 * if it must not. */
HAK_HOT bool hak_stray_refuses_mid(uint32_t cls, void *block) {
  if (HAK_UNLIKELY(hak_stray_is_askew(cls, block))) return true;
  hak_link_spoil(block);
  return false;
}
/* The same for any class, where a call does not matter; smaller blocks are not looked at.
 */
bool hak_stray_refuses(uint32_t cls, void *block);

/* What a stray pointer was; reports it on the way out. */
hak_error_t hak_stray_error(const void *block);
HAK_SLOW void hak_stray_report(hak_thread_t *me, const hak_cache_t *cache,
                               const void *block);

/* A list of at most `count` blocks is about to go home: if it comes back to itself, it is
 * cut there, after a report. */
void hak_stray_cut_cycle(hak_thread_t *me, const hak_cache_t *cache, void *list,
                         uint32_t count);

/* The block says that it is free, if blocks of its class say that. */
HAK_HOT bool hak_stray_is_free(const hak_thread_t *me, const void *block) {
  return !hak_link_is_broken(&me->key, block, hak_link_read(&me->key, block));
}

/* Of blocks that lay in a magazine those that say that they are free, in front and each
 * once; how many. Their links are gone. */
uint32_t hak_stray_sift(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                        void **blocks, uint32_t count);

#endif
