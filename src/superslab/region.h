/* region.h - address space, reserved in large pieces, handed out in SuperSlabs.
 *
 * Depends on: base, os, pages, clean, huge, region_growth, region_map.
 * Used by: pool_growth, pool_slots, retention, shared_pool, external, pool, heap, api.
 *
 * Runs of free SuperSlabs are handed out lowest first, oldest region first, so
 * that young regions and high addresses become empty.
 *
 * While a thread gives the pages of a free SuperSlab back, that SuperSlab is out of the
 * map, and its record names the thread.
 */
#ifndef HAK_SUPERSLAB_REGION_H
#define HAK_SUPERSLAB_REGION_H

#include "superslab/region_map.h"

/* `count` SuperSlabs side by side, the first at a multiple of `alignment` bytes
 * (at least 2 MiB), all slots taken, kinds set to `kind` and registered. NULL
 * if memory is short, or without calling the OS if `no_grow`. No lock held. */
hak_superslab_t *hak_region_acquire(const hak_os_t *os, uint32_t count, size_t alignment,
                                    hak_extent_kind_t kind, void *heap, bool no_grow);

/* One SuperSlab of those over memory that does not grow, for another end than slabs, all
 * slots taken; asks for nothing. NULL if none is free. Other locks may be held. */
hak_superslab_t *hak_region_take_one(const hak_os_t *os, hak_extent_kind_t kind);

/* One SuperSlab for slabs in which `span` slots side by side, at the alignment, have
 * their first `pages` pages; asks the OS for nothing. NULL if there is none among the few
 * that are looked at. */
hak_superslab_t *hak_region_acquire_committed(const hak_os_t *os, void *heap,
                                              unsigned span, size_t alignment,
                                              size_t pages);

/* Gives SuperSlabs back, all of whose slots are taken by the caller; no heap is
 * charged for them any more. Takes the regions' lock. */
void hak_region_give(hak_superslab_t *ss, uint32_t count, uint64_t now);

/* Gives pages of free SuperSlabs back that have been idle since `before` or
 * longer, the longest idle first, up to max_bytes and *slabs looked at. Returns
 * the bytes. No lock held. */
size_t hak_region_purge(uint64_t before, size_t max_bytes, size_t *slabs);
/* The same, but one with huge pages goes as a whole, even if that is up to a SuperSlab
 * more: it costs less than to split its page, and comes back with a huge one. */
size_t hak_region_purge_whole(uint64_t before, size_t max_bytes, size_t *slabs);

/* SuperSlabs that were ever given back with pages. */
HAK_EXTERN hak_atomic_u64_t hak_regions_given;

/* Since when the free SuperSlab with pages has been idle that was so for longest;
 * UINT64_MAX if there is none. No lock held. */
uint64_t hak_region_oldest(void);

/* Calls `visit`, with no lock held, for every SuperSlab that was ever used and has not
 * gone with its region. A region that was about to go may go meanwhile; its records can
 * be read all the same. Waits for no lock. */
void hak_region_visit(bool (*visit)(hak_superslab_t *ss, void *ctx), void *ctx);

/* In the child of a fork: SuperSlabs that threads which are not there were giving pages
 * of back, or were about to have, are free again. If this thread is `inside` a hook, or
 * the OS refuses, the former are out of use until their region ends. The bytes that are
 * lost. */
uint64_t hak_regions_recover(bool inside);

bool hak_regions_are_valid(void);
/* In a hardened build the first line of SuperSlabs that nobody has that was written to
 * since what lay there was freed, or NULL. Costs a look at each resident page of them. */
const void *hak_regions_find_written(void);

/* In the child of a fork: no other thread is reserving address space. */
void hak_regions_forget_others(void);

/* At shutdown: releases all regions, whatever lies in them. */
void hak_regions_stop(void);

#endif
