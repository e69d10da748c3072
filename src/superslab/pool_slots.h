/* pool_slots.h - the record of a pool, and how slots of its SuperSlabs come and go: its
 * tree, its queue and its counts follow.
 *
 * Depends on: base, pages, pool_queue, region, superslab, tree.
 * Used by: fit, pool_growth, pool_prefault, shared_pool.
 *
 * Invariant, checked by hak_pool_is_valid(): every SuperSlab in the tree has the
 * pool's heap, at least one slot taken (unless some are kept), and `run` and
 * `tree_run` tell the truth; slabs taken + slabs free == 32 x SuperSlabs.
 *
 * Access:  see base/lock.h
 */
#ifndef HAK_SUPERSLAB_POOL_SLOTS_H
#define HAK_SUPERSLAB_POOL_SLOTS_H

#include "base/lock.h"
#include "pages/clock.h"
#include "superslab/pool_queue.h"
#include "superslab/superslab.h"

/* In memory of the caller's `in_hand` counts slots that the annex has
 * (external_region.h), for as long as it has them. */
typedef struct hak_shared_pool {
  hak_lock_t lock;           /* guards every field marked [lock: pool], here and in the
                                heap's SuperSlabs */
  const hak_os_t *os;        /* [const] the process's hooks, or the heap's own */
  void *heap;                /* [const] the heap that has this pool, its handle */
  bool starts_small : 1;     /* [const] it may stay small: little is carved at first */
  bool fits : 1;             /* [const] see fit.h */
  hak_atomic_u8_t growing;   /* [lock: pool] a thread is about to add a SuperSlab; others
                                read it as a hint to wait for that */
  bool keeps_free;           /* [lock: pool] some SuperSlabs may be wholly free */
  bool keeps_all;            /* [const] no slot loses its pages, and calls that work in
                                the pool give nothing of other pools back */
  uint16_t huge_granted;     /* [lock: pool] SuperSlabs with huge pages that were granted
                                at the last look; pool_growth.h */
  uint16_t huge_left;        /* [lock: pool] so many of them are to come */
  int32_t huge_pages;        /* [const] HAK_HUGE_* of the heap */
  uint32_t colour;           /* [const] where it begins, so that heaps used in turn do not
                                meet in the same cache lines and TLB entries: each would
                                begin a SuperSlab */
  hak_superslab_t *youngest; /* [lock: pool] of the SuperSlabs that came without pages, to
                                be touched in small ones; or NULL */
  hak_superslab_t *settled;  /* [lock: pool] the one before it; or NULL */
  hak_superslab_t *granted;  /* [lock: pool] the youngest that was granted huge pages; or
                                NULL */
  const char *mended_to;     /* [lock: pool] SuperSlabs below have been looked at, whether
                                they are dense; NULL: none */
  uint64_t empty;            /* [lock: pool] free slots that have pages */
  uint64_t kept_slabs;       /* [lock: pool] so many slots, taken or empty, keep their
                                pages */
  uint64_t kept_bytes;      /* [lock: pool] of empty slots that count in hak_slots_kept */
  uint64_t kept_superslabs; /* [lock: pool] so many SuperSlabs are not given back */
  uint32_t readying;        /* [lock: pool] calls that make memory ready: nothing goes */
  hak_atomic_u32_t tails_came; /* [any] KiB in tails that came since all were taken */
  uint64_t in_hand;      /* [lock: pool] slots taken for that, or to be given back */
  hak_superslab_t *root; /* [lock: pool] of the tree */
  hak_superslab_t *runs; /* [lock: pool] first SuperSlabs of blocks, by `next` */
  hak_superslab_queue_t retained; /* [lock: pool] SuperSlabs with empty committed slots */
  hak_pool_link_t link;           /* in the queue of pools if there are some */
  hak_atomic_u64_t superslabs;    /* [lock: pool] in the tree; others read it as a
                                     statistic */
  hak_atomic_u64_t taken;         /* [lock: pool] slots; others read it as a statistic */
  hak_budget_t budget;            /* [any] what the heap is charged */
  hak_atomic_u64_t mapped_blocks, mapped_bytes; /* [any] in mappings of their own */
  hak_atomic_u64_t run_bytes;                   /* [any] in runs */
  hak_atomic_u64_t tail_bytes;                  /* [any] see tails.h */
} hak_shared_pool_t;

/* The pool of a budget that is a heap's. */
HAK_HOT hak_shared_pool_t *hak_pool_of_budget(hak_budget_t *budget) {
  return HAK_CONTAINER_OF(budget, hak_shared_pool_t, budget);
}
/* All its memory is the caller's (external_region.h): it cannot grow, and asks for
 * nothing. */
HAK_HOT bool hak_pool_is_enclosed(const hak_shared_pool_t *pool) {
  return hak_os_is_fixed(pool->os);
}

/* Slots of a SuperSlab of the pool's are taken. */
void hak_pool_take_locked(hak_shared_pool_t *pool, hak_superslab_t *ss, unsigned first,
                          unsigned span);
/* Slots are put back. The SuperSlab goes back to its region if nothing of it is in use
 * or to be kept. */
void hak_pool_put_locked(hak_shared_pool_t *pool, hak_superslab_t *ss, unsigned first,
                         unsigned span, uint64_t now);

/* Puts a SuperSlab that nobody has into the tree; returns with the lock held. */
void hak_pool_add_superslab(hak_shared_pool_t *pool, hak_superslab_t *ss);

/* A SuperSlab of which the annex has all slots is one of the pool's, and so are these, in
 * hand. */
void hak_pool_adopt_locked(hak_shared_pool_t *pool, hak_superslab_t *ss);

/* In memory that does not grow: slots that an annex has free become the pool's, among
 * them `span` side by side at the alignment. False if it has none. */
bool hak_pool_borrow_locked(hak_shared_pool_t *pool, unsigned span, size_t alignment);

/* --- the steps of these, where slots change in another way ------------------------- */

/* Slots that are taken, but for those in hand: these are empty soon, or have no pages. */
uint64_t hak_pool_in_use_locked(const hak_shared_pool_t *pool);
/* Counts anew how much of what is empty is kept, which is in use for the two lines of
 * pages/idle.h: slots came or went, or other ones are to be kept. */
void hak_pool_count_kept_locked(hak_shared_pool_t *pool);
bool hak_pool_kept_is_counted_locked(const hak_shared_pool_t *pool);
HAK_HOT void hak_pool_kept_changed_locked(hak_shared_pool_t *pool) {
  hak_lock_assert_held(&pool->lock);
  if (HAK_LIKELY((pool->kept_slabs | pool->kept_bytes) == 0)) return;
  hak_pool_count_kept_locked(pool);
}
/* Takes each run of ones in `slots`, or puts them back. */
void hak_pool_each_run_locked(hak_shared_pool_t *pool, hak_superslab_t *ss,
                              uint32_t slots, uint64_t now, bool put);
/* Takes free slots, whose pages are to come or to go, and puts them back as they are
 * then: idle since `now`. Nobody else has them between the two, but a fork may come. */
void hak_pool_take_in_hand_locked(hak_shared_pool_t *pool, hak_superslab_t *ss,
                                  uint32_t slots);
void hak_pool_put_in_hand_locked(hak_shared_pool_t *pool, hak_superslab_t *ss,
                                 uint32_t slots, uint64_t now);
/* Counts so many slots of the SuperSlab as put back, and gives it back if it need not
 * stay. */
void hak_pool_settle_locked(hak_shared_pool_t *pool, hak_superslab_t *ss, unsigned slots,
                            uint64_t now);
/* SuperSlabs that were kept wholly free, and need not be any more, go if they have no
 * pages: no purge comes to them. O(SuperSlabs). */
void hak_pool_give_bare_locked(hak_shared_pool_t *pool, uint64_t now);
/* The SuperSlab's longest free run may be another. */
void hak_pool_run_changed_locked(hak_shared_pool_t *pool, hak_superslab_t *ss);
/* The SuperSlab becomes the last in the queue, as what changed last. */
void hak_pool_requeue_locked(hak_shared_pool_t *pool, hak_superslab_t *ss);

#endif
