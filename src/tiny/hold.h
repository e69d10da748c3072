/* hold.h - who may touch a slab: the protocol of the word.
 *
 * Depends on: base, superslab, thread cache, partial list.   Used by: tiny, heap.
 *
 * A slab belongs to its heap; a thread only holds it for a while. Every change
 * of the word's upper half happens in hold.c:
 *
 *   from, event, to                      operation             why it is enough
 *   new -> HELD(me)                      relaxed store         nobody has a block
 *   HELD, another pushes a batch         cas release           see (a)
 *   HELD, the holder takes the batch     exchange acquire      pairs with (a)
 *   HELD -> FULL, list given away        cas release           (b) publishes list,
 *                                                              counts
 *   FULL -> HELD(me), a spill with       cas acquire           pairs with (b), (d)
 *     credit
 *   FULL -> PARTIAL, a spill without     partial list lock, cas       pairs with (b), (d)
 *                                        acquire
 *   PARTIAL, blocks come home            partial list lock            the lock orders
 *   PARTIAL -> FULL, a refill takes the  partial list lock, store     (d) later claimers
 *     whole list                         release               do not lock
 *   PARTIAL -> HELD, a refill goes on    partial list lock            the lock orders
 *     carving it
 *   HELD -> PARTIAL, surplus or exit     partial list lock, cas       the lock orders
 *   HELD or PARTIAL -> FREE              relaxed, then the     every block is home:
 *                                        pool's lock           nobody can reach it
 *
 * In the child of a fork the words of holders that are not there are rewritten by
 * reclaim.c.
 *
 * After a push onto a word has succeeded the pusher touches nothing of the slab.
 * A slab that is held and not wholly carved is its holder's current one.
 */
#ifndef HAK_TINY_HOLD_H
#define HAK_TINY_HOLD_H

#include "tiny/bin.h"

/* Blocks of one slab on their way home: linked from first to last. */
typedef struct hak_batch {
  hak_slab_t *slab;
  void *first, *last;
  uint32_t count;
} hak_batch_t;

/* How many blocks a magazine of the class carries. */
uint32_t hak_hold_magazine_blocks(uint32_t cls);

/* A new slab or span for the class, held by this thread and not yet carved, or
 * NULL. */
hak_slab_t *hak_hold_new(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Every block is home and nobody can reach the slab: back to the pool. A partial list's
 * lock may be held. */
void hak_hold_retire(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

/* A run comes home to a slab that this thread holds. May send more home. */
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

/* Takes what others have pushed onto a slab of this thread: a list of *count
 * blocks, which remain out, or NULL. */
void *hak_hold_take_remote(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                           uint32_t *count);

/* The partly free slab first in the queue, out of it; NULL if there is none. */
hak_slab_t *hak_hold_dequeue(const hak_cache_t *cache, uint32_t cls);
void hak_hold_requeue(const hak_cache_t *cache, hak_slab_t *slab, uint32_t cls);

/* Puts up to `count` slabs of the queue on the partial list. */
void hak_hold_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                   uint32_t count);
/* Likewise all of them, and the current one. */
void hak_hold_list_all(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Writes the slab's entries; the only function that does while it is in use. */
void hak_hold_set_entry(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                        uint64_t entry);

/* The counting equation of every slab that the thread holds, its list walked. */
bool hak_hold_is_valid(hak_thread_t *me, const hak_cache_t *cache);

/* A link is bad: reports it. `block` is the block whose link it is. */
HAK_SLOW void hak_hold_report_bad(hak_thread_t *me, const hak_cache_t *cache,
                                  const void *block);

/* Takes the first block off a list that is not empty. True if its link is broken: the
 * block is not free, and after a report it is given up with the rest of the list. */
HAK_HOT bool hak_hold_take_fails(hak_thread_t *me, const hak_cache_t *cache, void **list,
                                 void **block) {
  *block = *list;
  *list = hak_link_read(&me->key, *block);
  if (HAK_LIKELY(!hak_link_is_broken(&me->key, *block, *list))) return false;
  hak_hold_report_bad(me, cache, *block);
  *list = HAK_LINK_END;
  return true;
}

#endif
