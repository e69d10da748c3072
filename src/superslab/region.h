/* region.h - address space, reserved in large pieces, handed out in SuperSlabs.
 *
 * Depends on: base, os, superslab, registry.   Used by: shared_pool, retention,
 * pool.
 *
 * A region is one reservation: at its head the records of its SuperSlabs, then
 * the SuperSlabs. Each further region is twice as large as the last, so their
 * number stays small. Records are committed as SuperSlabs are first used and
 * stay until shutdown.
 *
 * A region over the hooks of one heap has its records elsewhere, so that it can be
 * released with that heap: what is left is an empty record, which serves the next one.
 * So has one over memory of the caller's (external_region.h).
 *
 * Runs of free SuperSlabs are handed out lowest first, oldest region first, so
 * that young regions and high addresses become empty.
 *
 * One whose pages a thread gives back is out of the map meanwhile, with that thread's
 * mark.
 *
 * Invariant, checked by hak_regions_are_valid(): a SuperSlab is marked free in
 * its region's map exactly if its kind is HAK_EXTENT_FREE and all slots are free.
 */
#ifndef HAK_SUPERSLAB_REGION_H
#define HAK_SUPERSLAB_REGION_H

#include "os/turn.h"
#include "pages/registry.h"
#include "superslab/superslab.h"

typedef struct hak_region {
  _Atomic(struct hak_region *) next; /* younger; set once, under the lock */
  const hak_os_t *os;                /* [const] */
  char *start;                       /* [const] of the reservation; NULL: there is none */
  char *base;                        /* [const] the first SuperSlab */
  size_t size;                       /* [const] bytes reserved, head included */
  uint32_t count;                    /* [const] SuperSlabs */
  uint32_t records;                  /* [const] so many have a record; of a heap's own */
  uint32_t free_count;               /* [regions' lock] */
  hak_atomic_u32_t ready;      /* records that may be touched; grows under the lock */
  hak_atomic_u32_t huge_from;  /* huge pages were asked for from here on; goes down once,
                                  when they were not to be asked for at first */
  bool unadvised;              /* [regions' lock] that is still to be done */
  bool small;                  /* [const] serves heaps that are small as yet: never huge
                                  pages */
  bool reviving;               /* [regions' lock] an empty record that somebody fills */
  size_t head_committed;       /* [regions' lock] bytes */
  hak_superslab_t *superslabs; /* [const] count records */
  uint64_t free[];             /* [regions' lock] bit i: SuperSlab i is free */
} hak_region_t;

/* All regions of the process, under one lock. */
typedef struct hak_regions {
  hak_lock_t lock;
  _Atomic(hak_region_t *) first;
  hak_region_t *last;
  size_t next_size;               /* of the next region; 0 = the option */
  hak_atomic_u32_t has_common;    /* a region that is not small was made */
  hak_turn_t readying;            /* to commit records, without the lock */
  hak_turn_t growing;             /* to reserve address space, likewise */
  hak_turn_t growing_own;         /* likewise with hooks of a heap's own */
  _Atomic(const hak_os_t *) own;  /* the ones that the last turn is for */
  uint32_t in_use;                /* SuperSlabs that are not free */
  hak_superslab_queue_t retained; /* free SuperSlabs with committed pages */
} hak_regions_t;

extern hak_regions_t hak_regions;
extern hak_atomic_u64_t hak_regions_reserved;       /* bytes */
extern hak_atomic_u64_t hak_regions_head_committed; /* bytes of records */

/* `count` SuperSlabs side by side, the first at a multiple of `alignment` bytes
 * (at least 2 MiB), all slots taken, kinds set to `kind` and registered. NULL
 * if memory is short, or without calling the OS if `no_grow`. No lock held. */
hak_superslab_t *hak_region_acquire(const hak_os_t *os, uint32_t count, size_t alignment,
                                    hak_extent_kind_t kind, void *heap, bool no_grow);
/* Likewise from regions without huge pages: for heaps that may stay small, of which
 * there may be thousands, or that shall have none. */
hak_superslab_t *hak_region_acquire_small(const hak_os_t *os, uint32_t count,
                                          size_t alignment, hak_extent_kind_t kind,
                                          void *heap, bool no_grow);

/* Likewise a free one in which `slots` side by side have all their pages; asks the OS
 * for nothing. */
hak_superslab_t *hak_region_acquire_committed(const hak_os_t *os, void *heap,
                                              unsigned slots);

/* Reserves the first region ahead of its first use, if it can. */
void hak_region_prepare(const hak_os_t *os);

/* Asks for the huge pages that could not be asked for when address space came. */
void hak_regions_advise(void);

/* Huge pages were asked for where it lies. */
HAK_HOT bool hak_superslab_is_huge(hak_superslab_t *ss) {
  /* Relaxed: where it has just changed, nothing of the SuperSlab was committed. */
  return ss->index >= hak_load_relaxed(&ss->region->huge_from);
}

/* The SuperSlab `distance` places further on in its region. */
HAK_HOT hak_superslab_t *hak_superslab_at(hak_superslab_t *ss, uint32_t distance) {
  return &ss->region->superslabs[ss->index + distance];
}

/* Gives SuperSlabs back, all of whose slots are taken by the caller; no heap is
 * charged for them any more. Takes the regions' lock. */
void hak_region_give(hak_superslab_t *ss, uint32_t count, uint64_t now);

/* Gives pages of free SuperSlabs back that have been idle since `before` or
 * longer, the longest idle first, up to max_bytes and *slabs looked at. Returns
 * the bytes. No lock held. */
size_t hak_region_purge(uint64_t before, size_t max_bytes, size_t *slabs);

/* Calls `visit` for every SuperSlab that was ever used. Takes no lock. */
void hak_region_visit(bool (*visit)(hak_superslab_t *ss, void *ctx), void *ctx);

/* Releases the regions over a heap's own hooks, all of whose SuperSlabs are free; waits
 * for threads that give pages of one back. No lock held. */
void hak_regions_end(const hak_os_t *os);

/* In the child of a fork: SuperSlabs that threads which are not there were giving pages
 * of back, or were about to have, are free again. If this thread is `inside` a hook, or
 * the OS refuses, the former are out of use until their region ends. The bytes that are
 * lost. */
uint64_t hak_regions_recover(bool inside);

/* A region over memory that is there: `count` SuperSlabs from `base` on, with all their
 * records; the only one with these hooks. False if memory for records is short. No lock
 * held. */
bool hak_region_lay(const hak_os_t *os, char *base, uint32_t count);

bool hak_regions_are_valid(void);

/* For fork. Another thread is at records without the lock: the one change of shared
 * state in several steps that is. What such threads were at is over in the child. */
bool hak_regions_are_readied(void);
void hak_regions_forget_others(void);

/* At shutdown: releases all regions, whatever lies in them. */
void hak_regions_stop(void);

#endif
