/* partial_list.h - a heap's partly free slabs of one class that nobody holds.
 *
 * Depends on: base, central.   Used by: tiny, heap.
 *
 * Two queues: wholly carved slabs, of which a refill takes the whole list, and
 * partly carved ones, which a refill goes on carving. The heads are read without
 * the lock as a hint whether a visit pays; a stale one costs a visit or a slab
 * from the pool.
 */
#ifndef HAK_TINY_PARTIAL_LIST_H
#define HAK_TINY_PARTIAL_LIST_H

#include "tiny/central.h"

void hak_partial_add_locked(hak_central_t *central, hak_slab_t *slab);
void hak_partial_remove_locked(hak_central_t *central, hak_slab_t *slab);
bool hak_partial_is_valid(hak_central_t *central);

#endif
