/* mapping.h - blocks too large for SuperSlab runs: a mapping of its own each,
 * some kept for reuse.
 *
 * Depends on: base, os, registry, meta.   Used by: retention, pool.
 *
 * Life: reserved and committed -> in use -> (kept -> in use)* -> released.
 * A kept mapping stays registered as unowned, with its pages; what differs
 * between mappings in use and kept ones is changed under this module's lock.
 * One that a thread is at on the way from here to there passes: it is in a list too, so
 * that the end of its hooks waits for it and the child of a fork finds it.
 */
#ifndef HAK_PAGES_MAPPING_H
#define HAK_PAGES_MAPPING_H

#include "base/lock.h"
#include "pages/budget.h"
#include "pages/idle.h"
#include "pages/registry.h"

typedef struct hak_mapping {
  hak_extent_t extent;        /* block = its start while in use, size = usable bytes */
  hak_budget_t *budget;       /* of the heap that has it: charged the record and what is
                                 committed; NULL while nobody has it */
  size_t reserved;            /* bytes */
  hak_atomic_u64_t committed; /* bytes from the start; by who has it */
  uint64_t idle_since;        /* ns; of a kept one */
  bool advised;               /* its pages are as one heap wants them: not to be kept */
  bool lost;                  /* of one in use: see hak_mapping_resize */
  const void *who; /* the thread that it passes by, or whose call moves its pages */
  struct hak_mapping *next; /* kept, the youngest first; or free records */
  struct hak_mapping *prev; /* kept */
  struct hak_mapping *next_used, **prev_used; /* in use, for the walkers; or passing */
} hak_mapping_t;

_Static_assert(offsetof(hak_mapping_t, extent) == 0, "the registry names extents");

HAK_HOT size_t hak_mapping_committed(const hak_mapping_t *mapping) {
  return hak_load_relaxed(&((hak_mapping_t *)mapping)->committed);
}
/* Of one in use it does not change, under the lock. */
HAK_HOT hak_budget_t *hak_mapping_budget(const hak_mapping_t *mapping) {
  return mapping->budget;
}
/* What is charged for one in use. */
HAK_HOT size_t hak_mapping_charge(const hak_mapping_t *mapping) {
  return hak_mapping_committed(mapping) + sizeof *mapping;
}

/* Bytes in mappings in use and kept. */
extern hak_atomic_u64_t hak_mappings_committed, hak_mappings_reserved;

/* A block of `size` bytes (a multiple of the page size) at a multiple of
 * `alignment`, charged to `budget` (NULL: to nobody). No lock held. *zeroed: it reads
 * as zero. */
hak_mapping_t *hak_mapping_acquire(const hak_os_t *os, hak_budget_t *budget, void *heap,
                                   size_t size, size_t alignment, bool no_grow,
                                   bool *zeroed);

/* Asks for huge pages there, or for none. No lock held. */
void hak_mapping_advise(hak_mapping_t *mapping, bool huge);

/* Keeps the mapping for reuse or releases it. Its block is gone. */
void hak_mapping_give(hak_mapping_t *mapping, uint64_t now);

/* Gives all mappings that a heap has in use; NULL, in the child of a fork: those in use
 * whose blocks are none any more, as a thread that is not there freed them. Costs a look
 * at each mapping of the process in use. */
void hak_mappings_give_all(const void *heap);

/* Makes the block larger or smaller, moving its pages if `may_move`; its new
 * start, or NULL and nothing changed. Where hooks move the pages to where no block may
 * be, do not take them back, and memory for a copy is short, it is NULL too, and `lost`:
 * all that may still be done is to give the mapping. No lock held. */
char *hak_mapping_resize(hak_mapping_t *mapping, size_t size, bool may_move);

/* As hak_region_purge, for kept mappings, one at a time from its end; what has no
 * pages left is released. */
size_t hak_mapping_purge(uint64_t before, size_t max_bytes, size_t *slabs);

/* Calls `visit` for each mapping in use, under the lock. */
void hak_mapping_visit(bool (*visit)(hak_mapping_t *mapping, void *ctx), void *ctx);

/* Releases what is kept of a heap's own hooks, and waits for threads that are at what
 * was. No lock held. */
void hak_mappings_end(const hak_os_t *os);

/* In the child of a fork: what passed by threads that are not there is released, or if
 * this thread is `inside` a hook, given up; as is what they were moving. The bytes. */
uint64_t hak_mappings_recover(bool inside);

/* At shutdown: releases all mappings, those in use too. */
void hak_mappings_stop(void);
hak_lock_t *hak_mappings_lock(void);

#endif
