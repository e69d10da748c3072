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

/* Groups of a partial list: the first is of slabs that are leaving, the others go by the
 * share of a slab's blocks that is out, two for each share: of slabs that were looked
 * through for whole free pages and did not change since, and of the others. */
#define HAK_PARTIAL_LEAVING 0
#define HAK_PARTIAL_GROUPS 17
#define HAK_TRANSFER_PLACES 16
#define HAK_MAGAZINE_BLOCKS 62
#define HAK_DEPOT_STACKS 8

/* Free blocks of one class on their way to another thread. They are in an array, so that
 * nobody has to touch them. A magazine is eight cache lines. */
typedef struct hak_magazine {
  struct hak_magazine *next; /* [owner: who has the list] in lists of empty magazines */
  hak_atomic_u32_t count;    /* [owner: who has it] blocks; read by statistics */
  uint32_t unused;           /* [const] keeps what follows aligned */
  void *blocks[HAK_MAGAZINE_BLOCKS]; /* [owner: who has it] */
} hak_magazine_t;

typedef struct hak_central {
  hak_lock_t lock;                /* guards what is marked [lock: partial list], and
                                     lists of slabs that are PARTIAL */
  hak_atomic_u32_t groups;        /* [lock: partial list] a bit for each group of wholly
                                     carved slabs that has one; read without the lock as
                                     a hint */
  _Atomic(hak_slab_t *) uncarved; /* [lock: partial list] the first of the partly carved
                                     slabs; read without it as a hint */
  /* [lock: partial list] of each group the first slab, whose `prev` is the last one */
  hak_slab_t *partial[HAK_PARTIAL_GROUPS];
  uint32_t listed; /* [lock: partial list] slabs in all queues */
  /* [lock: partial list] blocks of wholly carved slabs that are listed and not leaving,
   * those of them that are free, and blocks out of leaving slabs; read without the lock
   * as a hint */
  hak_atomic_u64_t blocks, room, leaving_out;

  /* [any] Full magazines; see transfer.h. */
  _Atomic(hak_magazine_t *) places[HAK_TRANSFER_PLACES]
      __attribute__((aligned(2 * HAK_CACHE_LINE)));
  hak_atomic_i32_t hint;  /* [any] places below it may be filled, those from it on not */
  hak_atomic_i32_t shut;  /* [any] places at the end that are not used for now */
  hak_atomic_i32_t takes; /* [any] 0: nobody took a magazine since the last look */

  /* Lists of free blocks; see depot.h. Each place of these magazines has one. */
  hak_magazine_t *depot[HAK_DEPOT_STACKS]; /* [lock: partial list] of each stack the first
                                              magazine, none of which is empty */
  hak_atomic_u64_t stored;     /* [lock: partial list] blocks in all stacks; read
                                  without the lock as a hint, and by statistics */
  uint64_t depot_room;         /* [lock: partial list] blocks that may be stored */
  uint32_t lists, lists_least; /* [lock: partial list] how many there are, and the fewest
                                  since the last look */
  uint64_t looked_at;          /* [lock: partial list] ns; the last look */
} __attribute__((aligned(2 * HAK_CACHE_LINE))) hak_central_t;

/* Heaps with a limit are charged for theirs. */
_Static_assert(sizeof(hak_central_t) == 8 * HAK_CACHE_LINE, "no line for nothing");
/* What each class that has blocks is written to for. */
typedef struct hak_class_use {
  hak_atomic_u32_t spans;  /* [any] in use, or about to be */
  hak_atomic_u32_t missed; /* [any] blocks that refills brought from elsewhere since there
                              was too little room in the class's depot */
} hak_class_use_t;

/* A heap's, of all classes. What each class that has blocks writes to lies together:
 * where one thread has the heap, nothing else here is touched. */
typedef struct hak_centrals {
  hak_class_use_t uses[HAK_SHARED_CLASSES];
  hak_central_t classes[HAK_SHARED_CLASSES];
} hak_centrals_t;
#define HAK_CENTRALS_BYTES sizeof(hak_centrals_t)
_Static_assert(HAK_CENTRALS_BYTES <= 7 * 4096, "a heap has seven pages for them");

/* How long the spans of a class are. */
typedef struct hak_geometry {
  uint8_t span_first; /* [const] slabs in the first span that a heap has of the class */
  uint8_t span_next;  /* [const] slabs in each of the others */
} hak_geometry_t;

/* What bins and their slow paths need of a heap. Zeroed central caches are empty ones,
 * and nothing writes to those of classes that the heap does not use: they take no memory.
 */
typedef struct hak_store {
  hak_shared_pool_t pool;         /* [any] see shared_pool.h */
  const hak_geometry_t *geometry; /* [const] of each class that shares spans */
  bool coarse;                    /* [const] see hak_store_class */
  bool shares;                    /* [const] threads that have used little of a class
                                     share its slabs; see capacity.h */
  hak_atomic_u64_t begun;         /* [any] a bit for each class that has had a span, or
                                     is about to */
  hak_central_t *centrals; /* [const] the `classes` of hak_centrals_t; their pages go back
                              while no heap has the store */
} hak_store_t;

_Static_assert(HAK_SHARED_CLASSES <= 64, "a bit each");

HAK_HOT hak_centrals_t *hak_store_centrals(const hak_store_t *store) {
  return HAK_CONTAINER_OF(store->centrals, hak_centrals_t, classes);
}
/* Of the class: spans in use, or about to be. */
HAK_HOT hak_atomic_u32_t *hak_store_spans(const hak_store_t *store, uint32_t cls) {
  return &hak_store_centrals(store)->uses[cls].spans;
}

/* See hak_class_use_t. */
HAK_HOT hak_atomic_u32_t *hak_store_missed(const hak_store_t *store, uint32_t cls) {
  return &hak_store_centrals(store)->uses[cls].missed;
}

/* A span of the class is about to be the heap's: counted before it is there, so that a
 * thread with the pool's lock knows all classes that have slabs; see hak_forking_prepare.
 * Returns how many there were before. */
HAK_HOT uint32_t hak_store_begin_span(hak_store_t *store, uint32_t cls) {
  uint64_t bit = (uint64_t)1 << cls;
  if ((hak_load_relaxed(&store->begun) & bit) == 0) hak_or_relaxed(&store->begun, bit);
  return hak_add_relaxed(hak_store_spans(store, cls), 1);
}
/* It is the heap's no more, or did not come. */
HAK_HOT void hak_store_end_span(hak_store_t *store, uint32_t cls) {
  hak_sub_relaxed(hak_store_spans(store, cls), 1);
}

/* The heap has spans of the class. If it never had any, nobody looks at the class's
 * central cache, which may be memory that was never written to. */
HAK_HOT bool hak_store_has_spans(hak_store_t *store, uint32_t cls) {
  return (hak_load_relaxed(&store->begun) >> cls & 1) != 0 &&
         hak_load_relaxed(hak_store_spans(store, cls)) != 0;
}

/* Each block of the class has a span to itself in the heap. In a heap of samples all over
 * 4 KiB have: few live at once, of many sizes, and what lay in slabs of their own size
 * would have been free for the most part. */
HAK_HOT bool hak_store_is_single(const hak_store_t *store, uint32_t cls) {
  enum {
    SHARED_MOST = 4096 /* bytes */
  };
  return hak_class_is_single(cls) ||
         (HAK_UNLIKELY(store->pool.fits) && hak_class_size(cls) > SHARED_MOST);
}

/* The class of a size with 1 <= size <= HAK_CLASS_MAX in a heap. Where there is little
 * memory, classes that lie halfway between two others would cost more by spans that are
 * used in part than they save. */
HAK_HOT uint32_t hak_store_class(const hak_store_t *store, size_t size) {
  uint32_t cls = hak_class_of(size);
  return HAK_UNLIKELY(store->coarse) ? hak_class_coarse(cls) : cls;
}

#endif
