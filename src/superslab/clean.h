/* clean.h - slots of which a hardened build knows that they read as zero, so that a write
 * to free memory is found when the memory serves again.
 *
 * Depends on: base, os, superslab.   Used by: shared_pool, tiny, pool, api.
 *
 *     a block over 56 KiB begins: its slots are cleared, or clean, or fresh    -> clean
 *     it is freed: whoever frees it has cleared the block                      -> clean
 *     its slots are purged and committed again                                 -> clean
 *     a slab of small blocks ends, and nothing but their links was there       -> clean
 *     a slab of small blocks begins there, or a heap ends with the block       -> not
 *
 * Invariant: of a clean slot all committed pages read as zero, but for the bytes of a
 * block over 56 KiB that is there, or for what somebody wrote who had no right to.
 *
 * Other builds know nothing of the kind: no slot is clean there.
 *
 * Access: [owner: who has the slot] as `zero` of the SuperSlab; of free slots the lock of
 *         who has the SuperSlab.
 */
#ifndef HAK_SUPERSLAB_CLEAN_H
#define HAK_SUPERSLAB_CLEAN_H

#include "base/check.h"
#include "superslab/superslab.h"

/* The slots are clean from here on. */
HAK_SLOW void hak_clean_note(hak_superslab_t *ss, uint32_t slots);
/* A block that begins at the slot, or did with `from` bytes, has `bytes` bytes from now
 * on, whose pages are committed; `zeroed`: the more of them were said to be zero. Makes
 * their slots clean. */
HAK_SLOW void hak_clean_begin(hak_superslab_t *ss, unsigned first, size_t from,
                              size_t bytes, bool zeroed);
/* The first line of the clean ones of these slots that was written to, or NULL. Nobody
 * else changes them meanwhile. */
HAK_SLOW const void *hak_clean_find(const hak_superslab_t *ss, uint32_t slots);

#endif
