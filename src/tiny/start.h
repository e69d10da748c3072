/* start.h - whether a block of a size class begins at an address: fast paths of full
 * checks ask before they believe what the block says of itself.
 *
 * Depends on: superslab, central, link, size_class.   Used by: api.
 *
 * The registry says it, and what it says follows the slab's note and record
 * (hak_slab_tell_starts). Whatever the address is, nothing else is read. Where the answer
 * is no, hak_locate has to say what is there.
 */
#ifndef HAK_TINY_START_H
#define HAK_TINY_START_H

#include "superslab/locate.h"
#include "tiny/central.h"
#include "tiny/link.h"
#include "tiny/size_class.h"

#if HAK_CHECKS == 2
/* True if a block that was cut begins at the address, of which the registry has these
 * words. */
HAK_HOT bool hak_start_is(hak_leaf_words_t *words, uintptr_t address) {
  uint64_t rest = address * hak_load_relaxed(&words->inverse);
  rest = hak_sum_relaxed(rest, &words->phase);
  return HAK_LIKELY(hak_below_relaxed(rest, &words->inverse)) &&
         HAK_LIKELY(hak_below_relaxed(address, &words->limit));
}

/* True if the block that begins there is of the default heap. One of another heap, which
 * may be watched, has to be told of before it is marked. */
HAK_HOT bool hak_start_is_default(const hak_thread_t *me, const void *block) {
  uintptr_t address = (uintptr_t)block;
  hak_leaf_t *leaf = hak_registry_leaf(me->registry, address >> HAK_LEAF_SHIFT);
  hak_extent_t *extent = hak_leaf_extent(leaf, address);
  return extent != NULL && hak_load_relaxed(&extent->heap) == me->store->pool.heap;
}

/* The class of the block that begins there, and does not say that it is free, else
 * HAK_CLASS_NONE. */
HAK_HOT uint32_t hak_start_class(hak_registry_t *registry, uintptr_t address,
                                 hak_leaf_t **leaf) {
  if (HAK_UNLIKELY(!hak_start_is(hak_registry_words(registry, address), address) ||
                   hak_link_is_marked(NULL, (const void *)address))) {
    return HAK_CLASS_NONE;
  }
  *leaf = hak_registry_leaf(registry, address >> HAK_LEAF_SHIFT);
  uint32_t note = hak_load_relaxed(&(*leaf)->note[hak_leaf_slab(address)]);
  return (note & HAK_NOTE_CLASS_MASK) - 1;
}
#else
HAK_HOT uint32_t hak_start_class(hak_registry_t *registry, uintptr_t address,
                                 hak_leaf_t **leaf) {
  *leaf = hak_registry_leaf(registry, address >> HAK_LEAF_SHIFT);
  return HAK_CLASS_NONE;
}
#endif

#endif
