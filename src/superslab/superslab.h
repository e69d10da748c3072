/* superslab.h - 2 MiB of aligned memory, cut into 32 slabs: the slots and their
 * states.
 *
 * Depends on: base, pages, slab.
 * Used by: locate, pool_slots, region_map, tree, external.
 *
 * Life of a SuperSlab: reserved with its region -> free (in the region's map)
 * -> of one heap, as slabs or as part of a run -> free -> ... -> released with
 * its region, or at shutdown.
 *
 * Slot states, each a function of three bits:
 *     active  not free                        somebody's slab
 *     empty   free, retained                  committed, nobody's
 *     purged  free, not retained, purged      was given back to the OS
 *     unused  free, not retained, not purged  not touched since it was reserved
 *
 *     unused --take--> active --put--> empty --take--> active
 *     empty --take, purge, put--> purged --take--> active
 *
 * Invariant, checked by hak_superslab_is_valid():
 *     retained is a part of free
 *     a slot is retained exactly if it is free and has committed pages
 *     whole and purged say of each slot what its slab's `committed` says
 *     the budget is charged the record, and the pages of the slots in `charged`
 *
 * Access:  see base/lock.h. The lock is that of the pool that has the SuperSlab, or the
 *          regions' where no heap has it.
 */
#ifndef HAK_SUPERSLAB_SUPERSLAB_H
#define HAK_SUPERSLAB_SUPERSLAB_H

#include "base/lock.h"
#include "pages/budget.h"
#include "pages/extent.h"
#include "pages/idle.h"
#include "superslab/slab.h"

#define HAK_ALL_SLOTS UINT32_MAX

/* Bytes that each bit of `live` is for; words that a slab has. */
#define HAK_LIVE_GRAIN ((size_t)16)
#define HAK_LIVE_SLAB_WORDS (HAK_SLAB_SIZE / HAK_LIVE_GRAIN / 64)

struct hak_superslab_queue;
struct hak_shared_pool;

/* What became of pages of a SuperSlab since it had none. */
typedef enum hak_parts {
  HAK_PARTS_STAY = 0,
  HAK_PARTS_GONE, /* some have gone while others stayed */
  HAK_PARTS_BACK  /* so it was, and the slots are being taken into use again */
} hak_parts_t;

typedef struct hak_superslab {
  hak_extent_t extent;
  void *region;           /* [const] what it lies in; see hak_region_of */
  hak_atomic_u32_t index; /* [const] in its region; 0 while the record has no pages,
                             which late lookups may read */
  /* Both read without the lock as statistics. */
  hak_atomic_u32_t free;     /* [lock: pool or regions] bit i: nobody has slot i */
  hak_atomic_u32_t retained; /* [lock: pool or regions] free slots with committed pages */
  /* A bit for each slot. Atomic, because the bits of one word have different owners. */
  hak_atomic_u32_t whole;   /* [owner: who has the slot] all pages are committed */
  hak_atomic_u32_t zero;    /* [owner: who has the slot] its pages read as zero */
  hak_atomic_u32_t purged;  /* [owner: who has the slot] it has no pages, but had some */
  hak_atomic_u32_t charged; /* [owner: who has the slot] `budget` is charged its pages.
                               Pages that a SuperSlab brings along from a former owner
                               are charged when their slot is first used. */
  hak_atomic_u32_t tails; /* [any] a bit for the first slot of a block whose end and pages
                             somebody is about to look at or change; see tails.h */
  uint64_t idle_since;    /* [lock: pool or regions] ns; when a slot last came or went */
  struct hak_superslab_queue *queue;  /* [lock: pool or regions] where it waits to be
                                         purged, or NULL */
  struct hak_superslab *next, *prev;  /* [lock: pool or regions] in that queue; of a run
                                         in the pool's list of them */
  struct hak_superslab *left, *right; /* [lock: pool] in the tree by address; tree.h */
  _Atomic(hak_budget_t *) budget; /* [lock: pool or regions] of the heap that has it, or
                                     NULL */
  hak_atomic_u32_t huge;          /* [lock: regions] it asks for huge pages; see huge.h */
  hak_atomic_u32_t parts; /* [lock: regions] hak_parts_t; cleared by whoever has all
                             slots */
  uint32_t run;           /* [lock: pool] longest run of free slots */
  uint32_t tree_run;      /* [lock: pool] longest `run` in its subtree */
  const void *purging;    /* [lock: regions] of one that nobody has: the thread that gives
                             its pages back, and has all slots meanwhile; or NULL */
  hak_slab_t slabs[HAK_SUPERSLAB_SLABS] __attribute__((aligned(HAK_CACHE_LINE)));
#if HAK_CHECKS >= 3
  hak_atomic_u32_t clean; /* [owner: who has the slot] a bit for each; see clean.h */
  hak_atomic_u64_t
      live[HAK_SUPERSLAB_SLABS * HAK_LIVE_SLAB_WORDS]; /* [any] tiny/live.h */
#endif
} hak_superslab_t;

_Static_assert(offsetof(hak_superslab_t, extent) == 0, "the registry names extents");

/* SuperSlabs with retained slots, the longest idle first. */
typedef struct hak_superslab_queue {
  hak_superslab_t *first, *last; /* [lock: pool or regions] */
} hak_superslab_queue_t;

/* Hooks of memory that neither comes nor goes (see hak_os_is_fixed) begin a record of
 * this type. Slots that are taken may be lent for other ends than slabs. */
typedef struct hak_fixed_os {
  hak_os_t os;
  /* [const] Notes that so many more slots of that memory are in use, or fewer. A pool's
   * or the regions' lock is held. */
  void (*count_used)(const hak_os_t *os, int64_t slots);
  /* [const] Makes so many SuperSlabs side by side free that were taken for other ends,
   * the first at a multiple of `alignment` bytes; false if there are none. No lock held.
   */
  bool (*lend)(const hak_os_t *os, uint32_t count, size_t alignment);
  /* [const] Puts `span` slots or more, side by side in one SuperSlab and the first at a
   * multiple of `alignment` bytes, into the pool, whose lock is held. NULL if there are
   * none. */
  hak_superslab_t *(*lend_slots)(struct hak_shared_pool *pool, unsigned span,
                                 size_t alignment);
} hak_fixed_os_t;
HAK_HOT const hak_fixed_os_t *hak_fixed_os_of(const hak_os_t *os) {
  return (const hak_fixed_os_t *)(const void *)os;
}

void hak_superslab_init(hak_superslab_t *ss, void *region, uint32_t index, char *base,
                        const hak_os_t *os);

/* Slots come into use and go out of it. `lock`, which the caller holds, is that of the
 * pool or of the regions, whichever has the SuperSlab. */
void hak_superslab_take_locked(const hak_lock_t *lock, hak_superslab_t *ss,
                               unsigned first, unsigned count);
void hak_superslab_put_locked(const hak_lock_t *lock, hak_superslab_t *ss, unsigned first,
                              unsigned count, uint64_t now);
/* All slots of `superslabs` SuperSlabs side by side come into use, or go out of it. */
void hak_superslab_take_all_locked(const hak_lock_t *lock, hak_superslab_t *ss,
                                   uint32_t superslabs);
void hak_superslab_put_all_locked(const hak_lock_t *lock, hak_superslab_t *ss,
                                  uint32_t superslabs, uint64_t now);

/* The slots do not read as zero any more, for all that is known; see clean.h. */
HAK_HOT void hak_superslab_soil(hak_superslab_t *ss, uint32_t slots) {
#if HAK_CHECKS >= 3
  if ((hak_load_relaxed(&ss->clean) & slots) != 0) hak_and_relaxed(&ss->clean, ~slots);
#else
  (void)ss;
  (void)slots;
#endif
}

/* Commits the first `pages` OS pages of taken slots, as if they were one range, and
 * charges them. *zeroed: every one of them reads as zero. False, and nothing changed
 * but what was committed on the way, if the OS or the budget refuses, or the OS would
 * have to be asked and `no_grow`. No lock held. */
bool hak_superslab_commit(hak_superslab_t *ss, unsigned first, unsigned count,
                          size_t pages, bool no_grow, bool *zeroed);
/* The lowest start of `span` slots side by side of those in `among` at a multiple of
 * `alignment` bytes whose first `pages` OS pages are committed; -1 if there is none. Who
 * has the slots does not change them. */
int hak_superslab_find(const hak_superslab_t *ss, uint32_t among, unsigned span,
                       size_t alignment, size_t pages);
/* Commits all of a SuperSlab that was taken whole and has no pages: where huge
 * pages were asked for they become resident together, and what is resident is
 * to be known. Only a wish. No lock held. */
void hak_superslab_commit_huge(hak_superslab_t *ss);
/* Gives all committed pages of taken slots back; the bytes. No lock held. */
size_t hak_superslab_purge(hak_superslab_t *ss, unsigned first, unsigned count);
/* Gives the pages of taken slots beyond the first `pages` back; the bytes. No lock held.
 */
size_t hak_superslab_purge_tail(hak_superslab_t *ss, unsigned first, unsigned count,
                                size_t pages);

/* The SuperSlab comes to a heap: its record is charged, and from here on what is used
 * of it. False, and nothing changed, if that is refused. All slots are taken. */
bool hak_superslab_charge_to(hak_superslab_t *ss, hak_budget_t *budget);
/* SuperSlabs side by side come to a heap, and all the pages that they have are charged
 * with them. */
bool hak_superslab_charge_all_to(hak_superslab_t *ss, uint32_t superslabs,
                                 hak_budget_t *budget);
/* Bytes that are charged for the SuperSlab. */
size_t hak_superslab_charge(hak_superslab_t *ss);
/* SuperSlabs side by side leave the heap that has them, if one has: nobody is charged
 * for what they have. */
void hak_superslab_uncharge_all(hak_superslab_t *ss, uint32_t superslabs);

/* Makes the two things agree that the record says of each taken slot, after a thread
 * that changed them was lost in a fork. */
void hak_superslab_mend(hak_superslab_t *ss);
/* Bytes committed in these slots, or in all of them. */
size_t hak_superslab_bytes(const hak_superslab_t *ss, uint32_t slots);
HAK_HOT size_t hak_superslab_committed(const hak_superslab_t *ss) {
  return hak_superslab_bytes(ss, HAK_ALL_SLOTS);
}
/* Slots without contents, which a thread that was lost in a fork had, give their pages
 * back, so that it is known what pages they have. The bytes that are lost, as the OS
 * refuses. */
size_t hak_superslab_purge_lost(hak_superslab_t *ss, unsigned first, unsigned count);

/* How many slots are in which state. */
typedef struct hak_slot_states {
  uint64_t active, empty, purged, unused;
} hak_slot_states_t;
/* Adds the states of a SuperSlab's slots, which are of different moments where they
 * change. */
void hak_superslab_add_states(const hak_superslab_t *ss, hak_slot_states_t *sum);

/* Puts the SuperSlab at the end of the queue, or in front if nothing there has been
 * idle as long. */
void hak_superslab_enqueue(hak_superslab_queue_t *queue, hak_superslab_t *ss);
void hak_superslab_dequeue(hak_superslab_t *ss);

/* The SuperSlab's memory is about to be released: no page of it is committed any more,
 * and all slots, which are taken, are unused ones. */
void hak_superslab_forget(hak_superslab_t *ss);

bool hak_superslab_is_valid(const hak_superslab_t *ss);

HAK_HOT hak_superslab_t *hak_superslab_of_extent(hak_extent_t *extent) {
  return (hak_superslab_t *)(void *)extent;
}
/* Huge pages are asked for here. Relaxed: it changes while the SuperSlab has no pages, or
 * as some go. */
HAK_HOT bool hak_superslab_is_huge(const hak_superslab_t *ss) {
  return hak_load_relaxed(&((hak_superslab_t *)ss)->huge) != 0;
}
HAK_HOT uint32_t hak_superslab_free(const hak_superslab_t *ss) {
  return hak_load_relaxed(&ss->free);
}
HAK_HOT uint32_t hak_superslab_retained(const hak_superslab_t *ss) {
  return hak_load_relaxed(&ss->retained);
}
/* All pages of the slots are committed. */
HAK_HOT bool hak_superslab_is_whole(const hak_superslab_t *ss, unsigned first,
                                    unsigned count) {
  uint32_t slots = hak_mask32(first, count);
  return (hak_load_relaxed(&((hak_superslab_t *)ss)->whole) & slots) == slots;
}
/* All pages of a SuperSlab that was taken whole are committed and charged, and none is
 * known to read as zero: to commit them changes nothing. */
HAK_HOT bool hak_superslab_is_all_used(const hak_superslab_t *ss) {
  hak_superslab_t *it = (hak_superslab_t *)ss;
  return (hak_load_relaxed(&it->whole) & hak_load_relaxed(&it->charged)) ==
             HAK_ALL_SLOTS &&
         hak_load_relaxed(&it->zero) == 0;
}
HAK_HOT hak_budget_t *hak_superslab_budget(const hak_superslab_t *ss) {
  return hak_load_relaxed(&((hak_superslab_t *)ss)->budget);
}
HAK_HOT uint32_t hak_superslab_index(const hak_superslab_t *ss) {
  return hak_load_relaxed(&ss->index);
}
HAK_HOT char *hak_superslab_slot(const hak_superslab_t *ss, unsigned slot) {
  return ss->extent.base + ((size_t)slot << HAK_SLAB_SHIFT);
}
HAK_HOT hak_superslab_t *hak_slab_superslab(hak_slab_t *slab) {
  return HAK_CONTAINER_OF(slab - slab->slot, hak_superslab_t, slabs);
}
HAK_HOT char *hak_slab_start(hak_slab_t *slab) {
  return hak_superslab_slot(hak_slab_superslab(slab), slab->slot);
}

#endif
