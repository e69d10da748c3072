/* fit.h - slots that are chosen by the pages that they have.
 *
 * Depends on: pool_slots, tree.   Used by: shared_pool.
 *
 * In most pools the lowest slots serve first, whatever pages they have. In the pool of a
 * heap of samples (heap/samples.h) nearly every slot has one block, of any size up to
 * that of a slot. There each slot would soon have all of its pages, most of them for
 * nothing, and be empty as often as not. So a block takes the empty slot of which it
 * changes least: the pages that it lacks come, or up to a quarter of its own more lie
 * behind its end. If all that are empty have more than that it takes one without pages,
 * and if there is none, the lowest. And of the slots that are empty few keep their pages.
 *
 * Cost: O(slots that are empty and have pages), which are few.
 */
#ifndef HAK_SUPERSLAB_FIT_H
#define HAK_SUPERSLAB_FIT_H

#include "superslab/pool_slots.h"

/* The slot for a block of so many OS pages, at most a slot's; NULL if none is free. */
hak_superslab_t *hak_fit_find_locked(const hak_shared_pool_t *pool, size_t pages,
                                     int *first);

/* How many of the pool's empty slots are to give their pages back: those beyond two and
 * an eighth of the slots in use. 0 in other pools. */
size_t hak_fit_surplus_locked(const hak_shared_pool_t *pool);

#endif
