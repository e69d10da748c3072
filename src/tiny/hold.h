/* hold.h - the slabs that a thread holds: how they come and go, and how blocks come home
 * to them and to others.
 *
 * Depends on: base, pages, superslab, partial_list, slab, stray.   Used by: tiny, api.
 *
 * A slab belongs to its heap; a thread only holds it for a while. What may be done to a
 * slab's word and list, by whom and in which order, stands in slab.h; here is when it is
 * done, what the registry says of the slab, and which queue it is in.
 *
 * Blocks that come home may leave so few out that the rest probably lies in the bin of
 * the thread itself. Then `pins` is set in its hold, and whoever brought the blocks home
 * empties the bin (hak_flush_pinned).
 */
#ifndef HAK_TINY_HOLD_H
#define HAK_TINY_HOLD_H

#include "tiny/slab.h"

/* A new slab or span for the class, held by this thread and not yet carved, or
 * NULL. */
hak_slab_t *hak_hold_new(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Every block is home and nobody can reach the slab: back to the pool. A partial list's
 * lock may be held. */
void hak_hold_retire(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

/* A run comes home to a slab that this thread holds. */
void hak_hold_home(hak_thread_t *me, const hak_cache_t *cache, hak_batch_t run);

/* A run comes home wherever its slab is. *locked: this thread has the partial list's
 * lock of the class; may change. */
void hak_hold_home_any(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       hak_batch_t run, bool *locked);

/* A block is freed into a slab of this thread that wants to hear of it. */
void hak_hold_event(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                    void *block);

/* FULL -> HELD(me) if this thread lately let slabs of the class go. */
bool hak_hold_claim(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                    uint32_t cls);

/* The list of a wholly carved slab has just been given to a bin. */
void hak_hold_let_go(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                     uint32_t cls);

/* The partly free slab first in the queue, out of it; NULL if there is none. */
hak_slab_t *hak_hold_dequeue(const hak_cache_t *cache, uint32_t cls);
void hak_hold_requeue(const hak_cache_t *cache, hak_slab_t *slab, uint32_t cls);

/* Puts up to `count` slabs of the queue on the partial list. */
void hak_hold_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                   uint32_t count);
/* Puts all of the queue there, and the current slab. */
void hak_hold_list_all(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Writes the slab's entries; the only function that does while it is in use. */
void hak_hold_set_entry(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                        uint64_t entry);

/* The counting equation of every slab that the thread holds, its list walked. */
bool hak_hold_is_valid(hak_thread_t *me, const hak_cache_t *cache);

#endif
