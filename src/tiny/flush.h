/* flush.h - gives up what a thread cache keeps: of a bin, of a class, or all of it.
 *
 * Depends on: base, superslab, bin, capacity, depot, far, hold, home, single, stray,
 * transfer.
 * Used by: tiny, heap.
 */
#ifndef HAK_TINY_FLUSH_H
#define HAK_TINY_FLUSH_H

#include "tiny/bin.h"

/* Sends a list of at most `count` blocks home. Blocks of slabs that this thread holds or
 * may claim go to their slabs, the others into its magazine. True if any block went to
 * such a slab. */
bool hak_flush_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void *list,
                    uint32_t count);

/* Gives a bin, whose list is empty, the room that is due to it: less than its capacity
 * while it spills, none while frees go into a magazine. */
void hak_flush_set_room(hak_bin_t *bin);

/* Sends all blocks of a bin home, in the way that blocks go if it is full. */
void hak_flush_bin(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Empties the bin if its blocks may be the last ones that keep a slab from becoming free.
 * It follows every call that brings blocks home (hold.h), unless the thread keeps
 * nothing of the class then. */
HAK_HOT void hak_flush_pinned(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (HAK_LIKELY(cache->holds[cls].pins == 0)) return;
  cache->holds[cls].pins = 0;
  hak_flush_bin(me, cache, cls);
}

/* Puts what the bin has into the depot, if the heap's limit is far and there is room. */
void hak_flush_store(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
/* Sends home the blocks that this thread keeps of the class, in its bin and its magazine;
 * slabs that it holds stay held. */
void hak_flush_blocks(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
/* The same, but for those that go into the depot: what nobody takes goes home from there
 * (hak_flush_unused_class). */
void hak_flush_kept(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
/* Gives up everything that this thread keeps of the class: its bin, its magazine and the
 * slabs that it holds. */
void hak_flush_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Bits of classes from 64 * i on of which the cache may keep something: those that have
 * begun, and those that the heap has, or had, of which frees may have filled a bin. */
uint64_t hak_flush_may_keep(const hak_cache_t *cache, uint32_t i);
/* Gives up everything that this thread keeps, of all classes. */
void hak_flush_all(hak_thread_t *me, const hak_cache_t *cache);

/* Gives up everything that this thread keeps of the heap, and sends home what lies in the
 * heap's transfer cache and depots. */
void hak_flush_heap(hak_thread_t *me, const hak_cache_t *cache);
/* Sends home what lies in the heap's transfer cache and depots; a cache without bins will
 * do. */
void hak_flush_transfer(hak_thread_t *me, const hak_cache_t *cache);
/* Of one class, which is no single one: what lies in the transfer cache, and what nobody
 * took out of the depot lately. */
void hak_flush_unused_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
/* Once in a decay: what lies in depots and nobody took since the last time goes home. A
 * cache without bins will do. */
void hak_flush_unused_depots(hak_thread_t *me, const hak_cache_t *cache);

/* Sends home what lies in this thread's stacks of the heap's depots. */
void hak_flush_own(hak_thread_t *me, const hak_cache_t *cache);

/* Gives up a part of what the thread keeps: *work says how many blocks and slabs may go,
 * and is counted down by each. True if nothing is left. */
bool hak_flush_some(hak_thread_t *me, const hak_cache_t *cache, size_t *work);
/* Sends home a part of what lies in the heap's transfer cache and depots: about *work
 * blocks, and *work is counted down. True if there was work enough for all. */
bool hak_flush_transfer_some(hak_thread_t *me, const hak_cache_t *cache, size_t *work);

#endif
