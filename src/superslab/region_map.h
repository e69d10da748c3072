/* region_map.h - the regions of the process: which SuperSlabs of each nobody has, and
 * which have records.
 *
 * Depends on: base, os, superslab.
 * Used by: huge, pool_prefault, region, region_growth, region_release.
 *
 * A region is one reservation, cut into SuperSlabs. Its record and theirs lie elsewhere
 * and stay until shutdown, so that the reservation can be released: what is left is an
 * empty record, which serves the next region.
 *
 * Lookup: safe without a lock from region to region, because a record once linked stays
 * linked until shutdown.
 *
 * Invariant: a SuperSlab is marked free in its region's map exactly if its kind is
 * HAK_EXTENT_FREE and all its slots are free; hak_regions_are_valid() checks it.
 *
 * Access:  see base/lock.h
 */
#ifndef HAK_SUPERSLAB_REGION_MAP_H
#define HAK_SUPERSLAB_REGION_MAP_H

#include "base/check.h"
#include "base/readers.h"
#include "os/turn.h"
#include "superslab/superslab.h"

#define HAK_REGION_WORD_BITS 64

/* Address space before the first SuperSlab of a region, and as much behind the last one,
 * that nobody may touch; see os/guarded.h. */
#define HAK_REGION_GUARD (HAK_CHECKS >= 3 ? HAK_SUPERSLAB_SIZE : 0)

typedef struct hak_region {
  _Atomic(struct hak_region *) next; /* [lock: regions] the younger one; set once */
  const hak_os_t *os;                /* [const] NULL in an empty record */
  char *start;                       /* [const] of the reservation; NULL: there is none */
  char *base;                        /* [const] the first SuperSlab */
  size_t size;                       /* [const] bytes reserved, guards included */
  uint32_t count;                    /* [const] SuperSlabs */
  uint32_t records;                  /* [const] SuperSlabs that there is room for here */
  uint32_t free_count;               /* [lock: regions] SuperSlabs in the map */
  hak_atomic_u32_t ready;            /* [lock: regions] records that are made */
  uint32_t huge_from;                /* [lock: regions] SuperSlabs from this one on begin
                                        with huge pages, if they have no record yet */
  bool unadvised;                    /* [lock: regions] which pages it begins with is
                                        still to be asked for */
  bool reviving;                     /* [lock: regions] an empty record that somebody
                                        fills, or takes the pages of */
  uint32_t gone;               /* [lock: regions] the readers' turn when the range of
                                  an empty record went */
  size_t bare;                 /* [lock: regions] bytes of an empty record's pages
                                  that were given back */
  hak_superslab_t *superslabs; /* [const] `records` of them */
  uint64_t free[];             /* [lock: regions] bit i: SuperSlab i is free */
} hak_region_t;

/* All regions of the process. */
typedef struct hak_regions {
  hak_lock_t lock;               /* guards every field marked [lock: regions], of the
                                    regions and here, and SuperSlabs that nobody has */
  _Atomic(hak_region_t *) first; /* [lock: regions] the oldest */
  hak_region_t *last;            /* [lock: regions] the youngest */
  hak_turn_t growing;            /* [any] whose turn it is to reserve address space,
                                    without the lock */
  hak_turn_t growing_own;        /* [any] whose turn it is to do so with hooks of a
                                    heap's own */
  _Atomic(const hak_os_t *) own; /* [any] the hooks that `growing_own` is for */
  uint32_t in_use;               /* [lock: regions] SuperSlabs that are not free */
  hak_readers_t readers;         /* [any] who go through all records, or look at a
                                    SuperSlab without the lock: meanwhile no region of the
                                    process's hooks goes, and no record loses its pages;
                                    none that they may be at serves again */
  hak_superslab_queue_t
      retained; /* [lock: regions] free SuperSlabs with committed pages */
} hak_regions_t;

HAK_EXTERN hak_regions_t hak_regions;
HAK_EXTERN hak_atomic_u64_t hak_regions_reserved; /* bytes */

/* Acquire, both: pair with the releases in region_growth.c. */
HAK_HOT hak_region_t *hak_region_first(void) {
  return hak_load_acquire(&hak_regions.first);
}
HAK_HOT hak_region_t *hak_region_next(hak_region_t *region) {
  return hak_load_acquire(&region->next);
}

/* Between the two the caller may look at SuperSlabs that others may give up: no region
 * over the process's hooks is released, and no record of theirs gets another range. The
 * second one is told what the first one returned, as a fork may lie between them. Which
 * SuperSlabs these are is asked after the first one. */
uint64_t hak_regions_visit_begin(void);
void hak_regions_visit_end(uint64_t visit);

/* The region that a SuperSlab lies in. */
HAK_HOT hak_region_t *hak_region_of(const hak_superslab_t *ss) { return ss->region; }

/* The SuperSlab `distance` places further on in its region. */
HAK_HOT hak_superslab_t *hak_superslab_at(hak_superslab_t *ss, uint32_t distance) {
  return &hak_region_of(ss)->superslabs[hak_superslab_index(ss) + distance];
}

/* Records that are made. */
HAK_HOT uint32_t hak_region_ready(hak_region_t *region) {
  return hak_load_relaxed(&region->ready);
}

HAK_HOT bool hak_region_is_free(const hak_region_t *region, uint32_t i) {
  return (region->free[i / HAK_REGION_WORD_BITS] >> (i % HAK_REGION_WORD_BITS) & 1) != 0;
}
void hak_region_set_free(hak_region_t *region, uint32_t i, bool free);

/* Index of the lowest fitting run, or the region's `count` if there is none. */
uint32_t hak_region_find_run(const hak_region_t *region, uint32_t count,
                             size_t alignment);

/* Makes records of SuperSlabs from the from-th to before the to-th, the region's first
 * at `base`. */
void hak_region_init_records(hak_region_t *region, uint32_t from, uint32_t to, char *base,
                             const hak_os_t *os);

/* Takes a run out of the map, or puts it back. Records that are not ready must be made
 * before they are touched. */
void hak_region_take_run_locked(hak_region_t *region, uint32_t at, uint32_t count);
void hak_region_untake_run_locked(hak_region_t *region, uint32_t at, uint32_t count);

#endif
