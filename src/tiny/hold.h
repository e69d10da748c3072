/* hold.h - the slabs that a thread holds: how they come and go, and how blocks come home
 * to them and to others.
 *
 * Depends on: base, pages, superslab, commit, hole_map, lean, partial_list, scatter,
 * slab, stray.   Used by: tiny, api.
 *
 * A slab belongs to its heap; a thread only holds it for a while. slab.h says what may be
 * done to a slab's word and list, by whom and in which order. The functions here decide
 * when it is done, what the registry says of the slab, and which queue the slab is in.
 *
 * When blocks come home, so few may still be out that these probably lie in the bin of
 * the thread itself. Then `pins` is set in its hold, and the function that brought the
 * blocks home empties the bin (hak_flush_pinned).
 */
#ifndef HAK_TINY_HOLD_H
#define HAK_TINY_HOLD_H

#include "tiny/slab.h"

/* A new slab or span for the class, held by this thread and not yet carved, or
 * NULL. */
hak_slab_t *hak_hold_new(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Gives a slab back to the pool: every block is home, and nobody can reach it. A partial
 * list's lock may be held. */
void hak_hold_retire(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

/* Brings a run home to a slab that this thread holds. */
void hak_hold_home(hak_thread_t *me, const hak_cache_t *cache, hak_batch_t run);

/* Brings a run home to its slab, whoever holds it. *locked says whether this thread has
 * the lock of the class's partial list, before the call and after it. */
void hak_hold_home_any(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       hak_batch_t run, bool *locked);

/* A block was pushed onto the list of a slab that this thread holds, and found no room:
 * brings it home, and does what is due when few blocks are out. */
void hak_hold_event(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                    void *block);

/* Claims a full slab, if this thread let slabs of the class go before and has not claimed
 * as many since. True if it holds the slab now. */
bool hak_hold_claim(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                    uint32_t cls);

/* Lets a wholly carved slab go whose list was given to a bin. The thread keeps it if
 * blocks have come home meanwhile. */
void hak_hold_let_go(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                     uint32_t cls);

/* Takes the first of the partly free slabs out of the queue, to serve a refill; NULL if
 * there is none. If the first ones are sparse, they go to the partial list, which serves
 * its fullest slabs first, so that they can become free. */
hak_slab_t *hak_hold_dequeue(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
/* Puts a slab that this thread holds at the end of the queue. */
void hak_hold_requeue(const hak_cache_t *cache, hak_slab_t *slab, uint32_t cls);

/* Puts up to `count` slabs of the queue on the partial list. */
void hak_hold_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                   uint32_t count);
/* Puts all slabs of the queue on the partial list, and the current slab. */
void hak_hold_list_all(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Puts slabs of the queue on the partial list that did not change since the last such
 * call, and have free blocks of a page at least, so that their pages can go. True if
 * there are others, which may be so at the next call. O(slabs of the queue). */
bool hak_hold_list_still(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Memory is short: pages of partly carved slabs on the heap's partial lists that lie
 * beyond what is carved go back to the OS. A cache without bins will do. Returns the
 * bytes. No lock held. O(partly carved slabs), a call to the OS for each. */
size_t hak_hold_shed(hak_thread_t *me, const hak_cache_t *cache);

/* Writes the registry's entries of a slab that is in use; no other function does. For a
 * serial heap it writes to the lookup cache. */
void hak_hold_set_entry(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                        uint64_t entry);

/* Writes the entries of a slab that this thread holds and that has free blocks: frees of
 * its other blocks go straight there. Where the heap's limit is far they go into bins, as
 * threads take each other's blocks out of depots, and what other threads free of a slab
 * in local mode takes the slow path. */
void hak_hold_name(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

/* Under the lock of the partial list that the slab was on: if the slab came there from a
 * thread without a cache, so that its entries are unowned, they name the cache's bin now.
 */
void hak_hold_name_bin_locked(hak_thread_t *me, const hak_cache_t *cache,
                              hak_slab_t *slab);
/* A block of the slab, which is still out, is freed past the cache's bins, as nothing
 * names them: the slab was begun where no thread had bins of the heap, or the heap had no
 * index then. From here on the entries name them, if an entry can and it may be written
 * by this thread. No lock held. */
void hak_hold_name_late_slow(hak_thread_t *me, const hak_cache_t *cache,
                             hak_slab_t *slab);
HAK_HOT void hak_hold_name_late(hak_thread_t *me, const hak_cache_t *cache,
                                hak_slab_t *slab) {
  if (cache->entry == 0) return;
  uintptr_t start = (uintptr_t)hak_slab_start(slab);
  if (HAK_LIKELY(hak_registry_entry(hak_registry_root(), start) != 0)) return;
  hak_hold_name_late_slow(me, cache, slab);
}

/* Checks the invariant of every slab that the thread holds (superslab/slab.h), and the
 * queues. Cost: a walk over all their free blocks. */
bool hak_hold_is_valid(hak_thread_t *me, const hak_cache_t *cache);

#endif
