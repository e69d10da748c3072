/* central.h - what all threads share of one heap and class: its partial list, its
 * transfer cache, and the geometry of its spans.
 *
 * Depends on: base, superslab, size_class.   Used by: tiny, heap, api.
 *
 * Access:  see base/lock.h
 */
#ifndef HAK_TINY_CENTRAL_H
#define HAK_TINY_CENTRAL_H

#include "base/lock.h"
#include "superslab/shared_pool.h"
#include "tiny/size_class.h"

#define HAK_TRANSFER_PLACES 16
#define HAK_MAGAZINE_BLOCKS 62

/* Free blocks of one class on their way to another thread: an array, so that
 * nobody has to touch them. Eight cache lines. */
typedef struct hak_magazine {
  struct hak_magazine *next; /* in lists of empty ones */
  hak_atomic_u32_t count;    /* [owner: who has it] read by statistics */
  uint32_t unused;
  void *blocks[HAK_MAGAZINE_BLOCKS];
} hak_magazine_t;

typedef struct hak_central {
  hak_lock_t lock;                /* guards what is marked [lock: partial list], and
                                     lists of slabs that are PARTIAL */
  _Atomic(hak_slab_t *) partial;  /* [lock: partial list] wholly carved, oldest first; */
  hak_slab_t *partial_last;       /*   read without it as a hint */
  _Atomic(hak_slab_t *) uncarved; /* [lock: partial list] partly carved; likewise */
  uint32_t listed;                /* [lock: partial list] slabs in both */
  hak_atomic_u32_t spans;         /* [any] in use, or about to be */

  /* Full magazines; see transfer.h. */
  _Atomic(hak_magazine_t *) places[HAK_TRANSFER_PLACES]
      __attribute__((aligned(2 * HAK_CACHE_LINE)));
  hak_atomic_i32_t hint;  /* [any] slots below may be filled, the ones from here on not */
  hak_atomic_i32_t shut;  /* [any] slots at the end that are not used for now */
  hak_atomic_i32_t takes; /* [any] 0: nobody took a magazine since the last look */
} __attribute__((aligned(2 * HAK_CACHE_LINE))) hak_central_t;

/* Slabs in a span of a class: in the first one of a heap, and in others. */
typedef struct hak_geometry {
  uint8_t span_first, span_next;
} hak_geometry_t;

/* What the front end needs of a heap. Zeroed central caches are empty ones, and nothing
 * writes to those of classes that the heap does not use: they take no memory. */
typedef struct hak_store {
  hak_shared_pool_t pool;
  const hak_geometry_t *geometry; /* [const] of each class that shares spans */
  hak_central_t centrals[HAK_SHARED_CLASSES];
} hak_store_t;

#endif
