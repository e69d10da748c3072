/* fork.h - the library across fork.
 *
 * Depends on: base, external, learn, os, pages, superslab, tiny, fork_caches, give_up,
 * hole_sweep, own_os, phase, stay, teardown, thread_state, threads.
 * Used by: lifecycle, api.
 *
 * Before a fork all locks are taken, so that nothing under a lock is half done in the
 * child. What threads do without one is left in the child as it was between two of
 * their instructions:
 *
 *   a thread was                 in the child
 *   outside of slow paths        its lists are whole: all goes to everybody
 *   in a slow path               its lists are dropped, and counted; slabs that it held
 *                                are relisted by what is found in them (reclaim.h)
 *   at the end of a heap, at a   that is brought to its end
 *     reset, at its beginning
 *   getting or giving slots      these are free
 *
 * Afterwards no state, code or lease is a lost thread's, so that any number of
 * generations may follow.
 */
#ifndef HAK_HEAP_FORK_H
#define HAK_HEAP_FORK_H

#include <stdint.h>

void hak_forking_prepare(void);
void hak_forking_parent(void);
void hak_forking_child(void);

/* What this process could not have back after forks that made it, at most. */
uint64_t hak_forking_lost_bytes(void);

#endif
