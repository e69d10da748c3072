/* pool_slots.h - how slots of a pool's SuperSlabs come and go: its tree, its queue and
 * its counts follow.
 *
 * Depends on: base, superslab, region, tree.   Used by: shared_pool, pool_ready.
 *
 * Everything is under the pool's lock.
 */
#ifndef HAK_SUPERSLAB_POOL_SLOTS_H
#define HAK_SUPERSLAB_POOL_SLOTS_H

#include "superslab/shared_pool.h"

void hak_pool_take_locked(hak_shared_pool_t *pool, hak_superslab_t *ss, unsigned first,
                          unsigned span);
/* The SuperSlab goes back to its region if nothing of it is in use or to be kept. */
void hak_pool_put_locked(hak_shared_pool_t *pool, hak_superslab_t *ss, unsigned first,
                         unsigned span, uint64_t now);

/* Puts a SuperSlab that nobody has into the tree; returns with the lock held. */
void hak_pool_add_superslab(hak_shared_pool_t *pool, hak_superslab_t *ss);

/* The parts of the above, for who changes slots in another way. */

/* Takes each run of ones in `slots`, or puts them back. */
void hak_pool_each_run_locked(hak_shared_pool_t *pool, hak_superslab_t *ss,
                              uint32_t slots, uint64_t now, bool put);
/* So many slots of it have been put back. */
void hak_pool_settle_locked(hak_shared_pool_t *pool, hak_superslab_t *ss, unsigned slots,
                            uint64_t now);
/* SuperSlabs that were kept wholly free, and need not be any more, go if they have no
 * pages: no purge comes to them. O(SuperSlabs). */
void hak_pool_give_bare_locked(hak_shared_pool_t *pool, uint64_t now);
/* Its longest free run may be another. */
void hak_pool_run_changed_locked(hak_shared_pool_t *pool, hak_superslab_t *ss);
/* Last in the queue, as what changed last. */
void hak_pool_requeue_locked(hak_shared_pool_t *pool, hak_superslab_t *ss);

#endif
