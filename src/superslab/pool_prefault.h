/* pool_prefault.h - memory of a pool that is there before it is needed, and stays.
 *
 * Depends on: base, huge, locate, pool_growth, pool_slots, tree.
 * Used by: heap, api.
 */
#ifndef HAK_SUPERSLAB_POOL_PREFAULT_H
#define HAK_SUPERSLAB_POOL_PREFAULT_H

#include "superslab/pool_slots.h"

/* The pool's address space is `bytes` at least from here on, for the pool alone; false
 * if memory or the budget is short. No lock held. */
bool hak_pool_reserve(hak_shared_pool_t *pool, size_t bytes);
/* Commits and touches so many bytes of free slabs, the lowest first, and keeps as
 * many, beside what is in use now; false if memory or the budget is short. No lock
 * held. */
bool hak_pool_prefault(hak_shared_pool_t *pool, size_t bytes);
/* Keeps all pages that the pool has or gets. */
void hak_pool_keep_all(hak_shared_pool_t *pool);
/* A new pool whose blocks are the other one's to the program keeps what it gets if that
 * one does, and until nothing of either is to be kept. No lock held. */
void hak_pool_keep_as(hak_shared_pool_t *pool, hak_shared_pool_t *other);
/* Some memory of the pool is to stay, or is being made ready. No lock held. */
bool hak_pool_keeps_some(hak_shared_pool_t *pool);
/* Keeps none of what was reserved and prefaulted. */
void hak_pool_keep_none(hak_shared_pool_t *pool);

/* In the child of a fork: nobody makes memory of the pool ready, or gives it back, any
 * more. True if a thread had slots for that. */
bool hak_pool_forget_lost(hak_shared_pool_t *pool);

#endif
