/* partial_list.h - a heap's partly free slabs of one class that nobody holds.
 *
 * Depends on: base, pages, hole_map, slab.   Used by: tiny, heap.
 *
 * Wholly carved slabs are in groups by which eighth of their blocks is out. Refills take
 * whole lists of the fullest group, so that slabs with few blocks out are left alone
 * until they are free. In a group the slab that came first is served first. A slab's
 * group follows its blocks as they come home. Partly carved slabs have a queue of their
 * own, and a refill goes on carving them.
 *
 * Each eighth has two groups: of slabs that were *looked* through for pages to give back
 * (holes.h) and have not changed since, and of the others, which serve first. The others
 * age: those that were there when hak_partial_age_locked was called come before those
 * that were not, and are due to be looked through. So no slab is looked at twice.
 *
 * A slab is leaving while the program moves its blocks elsewhere (leave.h). It is in a
 * group that comes after all others.
 *
 *     blocks == sum over groups of the slabs' capacity, without those that are leaving
 *     room   == sum over the same slabs of capacity - out
 *
 * The bits of the groups and the head of the other queue are read without the lock as a
 * hint whether a visit pays. If they are stale, a visit finds nothing, or a slab from the
 * pool was not needed.
 */
#ifndef HAK_TINY_PARTIAL_LIST_H
#define HAK_TINY_PARTIAL_LIST_H

#include "tiny/slab.h"

/* Adds a slab that is in no queue. */
void hak_partial_add_locked(hak_central_t *central, hak_slab_t *slab);
/* Adds a wholly carved slab that has waited elsewhere: it is due. */
void hak_partial_add_aged_locked(hak_central_t *central, hak_slab_t *slab);
/* Adds a wholly carved slab that was looked through. */
void hak_partial_add_looked_locked(hak_central_t *central, hak_slab_t *slab);
void hak_partial_remove_locked(hak_central_t *central, hak_slab_t *slab);
/* Blocks of a listed slab came home, of which `out` were out before: puts the slab into
 * its group. */
void hak_partial_regroup_locked(hak_central_t *central, hak_slab_t *slab, uint32_t out);
/* True if moving the blocks of a listed slab elsewhere lets memory go: the slab is at
 * most an eighth of its blocks fuller than the others on average, less than seven eighths
 * full, and the others have room for its blocks. */
bool hak_partial_may_leave_locked(hak_central_t *central, hak_slab_t *slab);
/* The same without the lock, of any slab: an estimate. */
bool hak_partial_might_leave(hak_central_t *central, hak_slab_t *slab);
/* The slab, which may leave, is to serve after all others. */
void hak_partial_leave_locked(hak_central_t *central, hak_slab_t *slab);
/* The sparsest slab that is due to be looked through; with `all` any that was not yet.
 * NULL if there is none. O(1). */
hak_slab_t *hak_partial_due_locked(const hak_central_t *central, bool all);
/* A slab that was due is one that was looked through. */
void hak_partial_looked_locked(hak_central_t *central, hak_slab_t *slab);
/* All slabs that were not looked through yet are due from here on. Returns whether there
 * are any. O(those that came since the last call). */
bool hak_partial_age_locked(hak_central_t *central);
/* The wholly carved slab that serves next; NULL if there is none. */
hak_slab_t *hak_partial_first_locked(const hak_central_t *central);
/* Forgets all slabs, which are gone. */
void hak_partial_forget_locked(hak_central_t *central);
/* Checks all queues, under the lock, which it takes. */
bool hak_partial_is_valid(hak_central_t *central);

#endif
