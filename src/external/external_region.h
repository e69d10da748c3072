/* external_region.h - memory that the caller brought, large enough for SuperSlabs: the
 * whole units of 2 MiB in it are one heap's.
 *
 * Depends on: pages, superslab, external_heap.   Used by: tiny, heap, api.
 *
 * To the heap an external region is a set of page hooks that nobody calls: the memory is
 * there already, what it contains is not known, and no page of it comes or goes. A region
 * is laid over its units, with all records, when it is opened.
 *
 * Large blocks lie in its annex (external_heap.h), side by side and across units. What
 * lies in front of the first unit and behind the last one is the annex's at any time. All
 * units that the region has free, and all slots that the heap's pool has free, are the
 * annex's when it finds no room. It lends whole units to the region, and slots to the
 * pool, when these find none. So nothing that is free is kept from who asks, but for
 * pieces of an annex that have no whole slot.
 *
 * Its SuperSlabs have no committed pages, are charged to nobody, and lie in no queue
 * of what could be given back. When few of its slots are free the heap has a hard
 * limit, which it never meets: threads then cache a quota of it and no more.
 *
 * Life: closed -> open -> closed; records are reused and stay of this type, so that who
 * comes late with an address finds hooks.
 *
 * Access: see base/lock.h; [const] is while it is open
 */
#ifndef HAK_EXTERNAL_EXTERNAL_REGION_H
#define HAK_EXTERNAL_EXTERNAL_REGION_H

#include "external/external_heap.h"

/* Memory with fewer whole units is no external region: blocks of each class and size
 * would find too little. */
#define HAK_EXTERNAL_REGION_UNITS_MIN 4

typedef struct hak_external_region {
  hak_fixed_os_t hooks;       /* [const] since it was made; the same in all */
  hak_external_heap_t *annex; /* [const] since it was made; over all of the memory */
  hak_budget_t *budget;       /* [const] of the heap, while it serves one; or NULL */
  uint64_t slots;             /* [const] in whole units */
  hak_atomic_u64_t used;      /* [any] of them are not free, or the annex's */
  hak_atomic_u64_t annexed;   /* [lock: external heap] of them, which are the annex's */
  struct hak_external_region *next;        /* [lock: external ranges] of all records */
  struct hak_external_region *next_unused; /* [lock: external ranges] */
} hak_external_region_t;

_Static_assert(offsetof(hak_external_region_t, hooks) == 0,
               "heaps know external regions by their hooks");

HAK_HOT hak_external_region_t *hak_external_region_of(const hak_os_t *os) {
  return (hak_external_region_t *)(void *)os;
}

/* Whole units in `size` bytes at an address; 0 where the range wraps around. */
size_t hak_external_region_units(const void *memory, size_t size);

/* Opens an external region over memory with enough units, for a heap with this budget.
 * NULL: *error is EINVAL for memory that lies too far up, overlaps another heap's or is
 * the library's own; ENOMEM. May call the process's hooks `os`: no lock held. */
hak_external_region_t *hak_external_region_open(const hak_os_t *os, void *memory,
                                                size_t size, int *error);
/* A block of at least `size` bytes in the annex, at a multiple of `alignment`, a power of
 * two; NULL if there is no room. No lock held. */
void *hak_external_region_alloc(hak_external_region_t *region, size_t size,
                                size_t alignment);
/* Frees all blocks in the annex: no unit is its own any more. Nobody uses the heap. */
void hak_external_region_clear(hak_external_region_t *region);

/* Says which heap the external region serves, by its budget, before the first SuperSlab
 * is used; NULL once none is. */
void hak_external_region_serve(hak_external_region_t *region, hak_budget_t *budget);
/* Closes the external region, all of whose SuperSlabs are free. Nothing of it is known
 * any more, and nothing in the memory is looked at again. */
void hak_external_region_close(hak_external_region_t *region);

/* In the child of a fork: closes external regions for which threads that are not there
 * were making heaps, or whose heaps they were ending. */
void hak_external_regions_close_unserved(void);

/* Bytes by which one thread's bins may grow with demand: a quota of the whole for each
 * thread that uses it. */
uint64_t hak_external_region_quota(const hak_os_t *os);

/* Forgets all external regions, at shutdown: the records are about to go. */
void hak_external_regions_stop(void);

#endif
