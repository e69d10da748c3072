/* quarantine.h - freed blocks that wait, in a hardened build, before they may serve
 * again.
 *
 * Depends on: base, superslab, seal, size_class.   Used by: bin, heap, api.
 *
 * Each thread keeps some blocks of the default heap that it freed, and lets a random one
 * go for each that comes. So who frees a block and goes on using it seldom meets the next
 * owner, and nobody can tell when an address comes back. To their slabs these blocks are
 * out; the program has them no more (live.h).
 *
 * Bounds: HAK_QUARANTINE_BLOCKS, and option QUARANTINE_BYTES. A block larger than an
 * eighth of that passes at once.
 *
 * Blocks of other heaps do not wait: a heap may end at any moment, and takes its blocks
 * with it.
 */
#ifndef HAK_TINY_QUARANTINE_H
#define HAK_TINY_QUARANTINE_H

#include "base/atomic.h"
#include "tiny/size_class.h"

#define HAK_QUARANTINE_BLOCKS 256

typedef struct hak_quarantine {
  /* [owner: the thread] all of it; statistics read the counts */
  void *blocks[HAK_QUARANTINE_BLOCKS];         /* or NULL */
  uint64_t series;                             /* of random numbers; 0: not begun */
  uint32_t bytes;                              /* of the blocks here, by their classes */
  hak_atomic_u16_t counts[HAK_SHARED_CLASSES]; /* blocks */
} hak_quarantine_t;

/* A block of the class comes. False if it is too large, and does not. Else *out is one
 * that goes in its stead, or NULL. */
bool hak_quarantine_put(hak_quarantine_t *q, uint32_t cls, void *block, void **out);
/* Another one that has to go, as there are too many bytes; NULL: there are not. */
void *hak_quarantine_excess(hak_quarantine_t *q);
/* Any block that is there, which goes; NULL if there is none. */
void *hak_quarantine_any(hak_quarantine_t *q);

#endif
