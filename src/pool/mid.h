/* mid.h - the geometry of spans for blocks of 1 to 56 KiB.
 *
 * Depends on: base, superslab.   Used by: heap.
 *
 * Blocks of the mid classes live by the same mechanism as tiny ones (bins,
 * holding, partial lists, transfer cache); what differs is the span they are cut from.
 */
#ifndef HAK_POOL_MID_H
#define HAK_POOL_MID_H

#include "base/bits.h"

/* The smallest span, in slabs, whose tail wastes at most a sixteenth; for the
 * first span of a class in a heap one slab will do if a block fits. */
unsigned hak_mid_span_least(size_t block_size);

/* The span for a busy class: at most `most` slabs, at least the least. */
unsigned hak_mid_span_busy(size_t block_size, unsigned most);

#endif
