/* partial_list.h - a heap's partly free slabs of one class that nobody holds.
 *
 * Depends on: base, central.   Used by: tiny, heap.
 *
 * Wholly carved slabs are in eight groups by the share of their blocks that is out.
 * Refills take whole lists of the fullest group, so that slabs with few blocks out are
 * left alone until they are free. In a group the slab that came first is served first. A
 * slab's group follows its blocks as they come home. Partly carved slabs have a queue of
 * their own, and a refill goes on carving them.
 *
 * The bits of the groups and the head of the other queue are read without the lock as a
 * hint whether a visit pays. If they are stale, a visit finds nothing, or a slab from the
 * pool was not needed.
 */
#ifndef HAK_TINY_PARTIAL_LIST_H
#define HAK_TINY_PARTIAL_LIST_H

#include "tiny/central.h"

/* Adds a slab that is in no queue. */
void hak_partial_add_locked(hak_central_t *central, hak_slab_t *slab);
void hak_partial_remove_locked(hak_central_t *central, hak_slab_t *slab);
/* Blocks of a listed slab came home: puts the slab into its group. */
void hak_partial_regroup_locked(hak_central_t *central, hak_slab_t *slab);
/* The wholly carved slab that serves next; NULL if there is none. */
hak_slab_t *hak_partial_first_locked(const hak_central_t *central);
/* Forgets all slabs, which are gone. */
void hak_partial_forget_locked(hak_central_t *central);
/* Checks all queues, under the lock, which it takes. */
bool hak_partial_is_valid(hak_central_t *central);

#endif
