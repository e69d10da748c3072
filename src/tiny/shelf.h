/* shelf.h - a heap's partly free slabs of one class that nobody holds.
 *
 * Depends on: base, superslab, depot.   Used by: hold, refill, heap.
 *
 * Two queues: wholly carved slabs, of which a refill takes the whole list, and
 * partly carved ones, which a refill goes on carving. The heads are read without
 * the lock as a hint whether a visit pays; a stale one costs a visit or a slab
 * from the pool.
 */
#ifndef HAK_TINY_SHELF_H
#define HAK_TINY_SHELF_H

#include "tiny/depot.h"

void hak_shelf_add_locked(hak_depot_t *depot, hak_slab_t *slab);
void hak_shelf_remove_locked(hak_depot_t *depot, hak_slab_t *slab);
bool hak_shelf_is_valid(hak_depot_t *depot);

#endif
