/* holes.h - whole pages of free blocks go back to the system while their slabs are in
 * use.
 *
 * Depends on: base, os, pages, superslab, hold, hole_map, partial_list, slab.
 * Used by: tiny, heap.
 *
 * Slabs on the partial list are looked through once they have not changed for a while.
 * The pages in which every block is free become holes (hole_map.h), neighbours merged:
 * one call to the system gives back as many as lie side by side. When the slab serves
 * again, its holes end, and the blocks in them are linked as if they were carved anew. A
 * slab that was looked through is looked at again only after blocks of it came home.
 *
 * There are no holes in memory of a program's hooks, which may not be touched after it
 * was purged without a commit that may fail; nor in slabs from which forks have lost
 * blocks.
 *
 * Thread-safe. The system is asked under no lock; the slab is held meanwhile.
 */
#ifndef HAK_TINY_HOLES_H
#define HAK_TINY_HOLES_H

#include "tiny/slab.h"

/* How far to go. */
typedef struct hak_hole_bounds {
  size_t bytes; /* may still be given back, but for the rest of one slab */
  size_t slabs; /* so much work is left; a slab counts as one, and as several if it has to
                   be looked through; SIZE_MAX: any */
  uint64_t end; /* when to stop, by the fine clock; 0: any time */
  bool all;     /* also what has not waited */
  bool begun;   /* something was looked at */
  bool aged; /* what was there, and has not waited yet, is due from here on; set if there
                is some */
  size_t given; /* bytes, so far */
} hak_hole_bounds_t;

/* Bytes of holes that ended because they were needed, since it was set to 0. */
HAK_EXTERN hak_atomic_u64_t hak_holes_needed;

/* The heap's memory may have holes. */
bool hak_holes_may_be(const hak_store_t *store);

/* Looks through the slabs of a class that are due; then those that came since the last
 * such call are. A cache without bins will do, but not a serial heap's. False if it went
 * as far as the bounds say; then there may be more. Bounds that have not begun allow one
 * slab, whatever they say. The heap is leased, no lock is held. Cost: for each slab a
 * walk over its free blocks, and a call to the system for each run of pages. */
bool hak_holes_look(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                    hak_hole_bounds_t *bounds);

/* A slab that this thread holds is to serve: it has no holes from here on. */
void hak_holes_end(hak_thread_t *me, hak_slab_t *slab);

#endif
