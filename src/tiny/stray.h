/* stray.h - finds pointers on lists of free blocks that are no free blocks. Misuse leaves
 * them there; they are found before they are given out or go home.
 *
 * Depends on: base, superslab, bin.   Used by: tiny, api.
 *
 * A free pushes whatever pointer leads to a list. What it points to is looked at later:
 *
 * - A pointer to where no block begins, if the low bits of its address do not tell the
 * free (hak_list_is_askew), or where none was carved yet, is found when it goes home. It
 * is found before it is given out only if its class is over HAK_TINY_MAX and no block of
 * the class is aligned like that.
 * - A block may be on two lists, or twice on one. Over HAK_TINY_MAX its link is spoilt
 * when it is given out, so when it is taken again the link is broken. In full checks its
 * mark is gone then, whatever its size. A list that comes back to itself is cut before it
 *   goes home.
 * - A block in use may count as home. Before a slab that is wholly home by the count
 * serves anew, each of its blocks must have a link; a block that has none stays out.
 * - A block may lie in a bin while its span, wholly home by the count, goes to the pool.
 *   Over HAK_TINY_MAX its link is spoilt then (hak_hold_retire, hak_single_home). Once a
 *   block that begins there by then is freed, the bin's link is good again, and leads
 *   along that block's list: of a single class the registry is asked before a block is
 *   given out, and of any class before it goes home.
 *
 * Builds without checks do none of this.
 */
#ifndef HAK_TINY_STRAY_H
#define HAK_TINY_STRAY_H

#include "tiny/bin.h"

/* True if blocks of the class say at any time whether they are free, also while they lie
 * in a magazine. */
HAK_HOT bool hak_stray_tells(uint32_t cls) {
  return HAK_CHECKS >= 2 || (HAK_CHECKS >= 1 && cls >= HAK_TINY_CLASSES);
}

/* True if no block of the class begins at such an address: it lacks the factors of two of
 * the class's size. The registry could tell of any address whether a block begins there,
 * but asking it makes an allocation and a free over HAK_TINY_MAX 1.4 times as long. */
HAK_HOT bool hak_stray_is_askew(uint32_t cls, const void *block) {
  return HAK_CHECKS != 0 && ((uintptr_t)block & hak_class_askew[cls]) != 0;
}

/* True if the slab is of this class, which is a shared one, and a carved block of it
 * begins at this address, which is in the slab's span; the span begins at `start`. */
HAK_HOT bool hak_stray_starts(hak_slab_t *slab, uint32_t cls, const char *start,
                              const void *block) {
  if (HAK_CHECKS == 0) return true;
  size_t offset = (size_t)((const char *)block - start);
  uint32_t index = hak_class_index(cls, offset);
  return HAK_LIKELY(hak_slab_class(slab) == cls) &&
         (size_t)index * hak_list_block_size(&slab->list) == offset &&
         index < hak_slab_carved(slab);
}

/* True if a block of a class over HAK_TINY_MAX, which was taken off a list, must not be
 * given out; else its link is spoilt, and it may. `askew` is that of the class. Of a
 * single class hak_stray_is_other, or hak_stray_is_named, is asked before. */
HAK_HOT bool hak_stray_refuses_mid(uint32_t askew, void *block) {
  if (HAK_CHECKS != 0 && HAK_UNLIKELY(((uintptr_t)block & askew) != 0)) return true;
  hak_link_spoil(block);
  return false;
}
/* True if a block of this single class begins at the address, by the registry. One that
 * was freed twice may lie in a bin still when its span serves another class. Its link is
 * good again once a block that begins there by then is freed. */
bool hak_stray_is_single(uint32_t cls, const void *block);
/* True if the class is a single one, and no block of it begins there. */
HAK_HOT bool hak_stray_is_other(uint32_t cls, const void *block) {
  return HAK_CHECKS != 0 && hak_class_is_single(cls) && !hak_stray_is_single(cls, block);
}
/* True if the registry's entry, which a free reads too, names the bin of the default heap
 * that the block was taken off, so that it is a block of that class. */
HAK_HOT bool hak_stray_is_named(const hak_thread_t *me, const hak_bin_t *bin,
                                const void *block) {
  if (HAK_CHECKS == 0) return true;
  int64_t entry = (int64_t)hak_registry_entry(me->registry, (uintptr_t)block);
  return (const char *)me + (entry >> 16) == (const char *)bin;
}
/* True if a block of any class, which was taken off a list, must not be given out. Blocks
 * to HAK_TINY_MAX are not looked at. For code where a call does not matter. The same
 * holds for single classes. */
bool hak_stray_refuses(uint32_t cls, void *block);
/* A block that was taken off one of the bin's lists is not given out. What lies behind it
 * may be another class's list, which may come back to itself: it is left alone. Behind an
 * address inside a block of the class lies the bin's list. */
HAK_SLOW void hak_stray_leave(const hak_link_key_t *key, hak_bin_t *bin, uint32_t cls,
                              void *block);

/* The kind of misuse that a stray pointer shows. */
hak_error_t hak_stray_error(const void *block);
/* Notes a stray pointer, to be reported on the way out. */
HAK_SLOW void hak_stray_report(hak_thread_t *me, const hak_cache_t *cache,
                               const void *block);

/* Before a list of at most `count` blocks goes home: cuts the list where it comes back to
 * itself, after a report. */
void hak_stray_cut_cycle(hak_thread_t *me, const hak_cache_t *cache, void *list,
                         uint32_t count);

/* True if the block says that it is free; it must be of a list, or of a class whose
 * blocks always tell. */
HAK_HOT bool hak_stray_is_free(const hak_thread_t *me, const void *block) {
  return !hak_link_is_broken(&me->key, block, hak_link_read(&me->key, block));
}

/* Looks through blocks that lay in a magazine. Those that say that they are free are
 * moved to the front, each once, without their links; the others are reported. Returns
 * how many are left. Without checks, or where blocks of the class do not tell, all are
 * left. */
uint32_t hak_stray_sift(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                        void **blocks, uint32_t count);

#endif
