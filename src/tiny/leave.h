/* leave.h - slabs whose blocks the program moves elsewhere (hak_move_hint).
 *
 * Depends on: flush, hold, partial_list, slab.   Used by: api.
 *
 * The program asks of a block whether moving it lets memory go. If its slab is one of the
 * sparse ones of its class, and those that stay have room for its blocks, it is leaving
 * from then on: it serves no refill while others can, its entry is unowned, and its
 * blocks go home with their frees and into no bin. So copies land in the slabs that stay,
 * and the slab goes back to the pool with its last block. As room is counted, about as
 * many slabs stay as are filled in the end, and a pass over all blocks moves each at most
 * once.
 *
 * A slab that was to leave and whose blocks were not moved serves again before a new slab
 * is taken from the pool.
 */
#ifndef HAK_TINY_LEAVE_H
#define HAK_TINY_LEAVE_H

#include "tiny/slab.h"

/* True if the slab is leaving. Takes no lock. */
HAK_HOT bool hak_leave_begun(hak_slab_t *slab) {
  return hak_word_is_leaving(hak_load_relaxed(&slab->word));
}

/* True if the slab, which is not leaving, may be worth a call of hak_leave: an estimate.
 * Takes no lock. */
bool hak_leave_pays(hak_store_t *store, hak_slab_t *slab, uint32_t cls);

/* Lets a slab of a shared class leave, if that lets memory go; true if it is leaving.
 * `bare`: the cache has no bins. No lock is held. Cost: when the first slab of a class
 * leaves, this thread's blocks of the class go home, and the slabs that it holds to the
 * partial list. */
bool hak_leave(hak_thread_t *me, const hak_cache_t *cache, bool bare, hak_slab_t *slab,
               uint32_t cls);

#endif
