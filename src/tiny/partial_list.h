/* partial_list.h - a heap's partly free slabs of one class that nobody holds.
 *
 * Depends on: base, central.   Used by: tiny, heap.
 *
 * A partial list has two queues: one of wholly carved slabs, of which a refill takes the
 * whole list, and one of partly carved slabs, which a refill goes on carving. Their heads
 * are read without the lock as a hint whether a visit pays. A stale head costs a visit
 * that finds nothing, or a slab from the pool that was not needed.
 */
#ifndef HAK_TINY_PARTIAL_LIST_H
#define HAK_TINY_PARTIAL_LIST_H

#include "tiny/central.h"

/* Adds a slab that is in no queue. */
void hak_partial_add_locked(hak_central_t *central, hak_slab_t *slab);
void hak_partial_remove_locked(hak_central_t *central, hak_slab_t *slab);
/* Checks both queues, under the lock, which it takes. */
bool hak_partial_is_valid(hak_central_t *central);

#endif
