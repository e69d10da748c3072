/* give_up.h - what a thread keeps of heaps becomes everybody's.
 *
 * Depends on: os, pages, tiny, harden, kind, teardown, thread_cache, thread_state.
 * Used by: thread_end, fork, thread, collect, pressure, maintenance, api.
 *
 * A thread gives up what it keeps when it ends, goes idle, or memory is short. All of it
 * happens under the heap's lease, so that a heap that is torn down is not looked at. A
 * released heap of which something has come home may end by that.
 *
 * Giving up cannot fail. No lock and no lease held. O(blocks and slabs that are kept),
 * and for all heaps O(heaps ever made) besides.
 */
#ifndef HAK_HEAP_GIVE_UP_H
#define HAK_HEAP_GIVE_UP_H

#include "heap/thread_state.h"
#include "os/os.h"

/* Everything that the thread cached or held of one heap, or of all, becomes everybody's.
 * It stays a user of the heap, but for a released one. */
void hak_give_up_one(hak_thread_t *me, hak_heap_t *heap);
void hak_give_up_all(hak_thread_t *me);
/* What the thread cached of some classes of the default heap, `to_empty`, and what lies
 * in its transfer caches of some; others each time. Of as many classes of its other heaps
 * the same, in turns: each class of each heap has one before any has another. A call goes
 * on where the last one stopped, and does no more than some 50 us of that, but for what
 * one class keeps; the rest is the next calls'. The thread stays a user of the heaps, and
 * holds what it held. */
void hak_give_up_some(hak_thread_t *me);
/* There is something of that to be done, in a call that works in the pool. */
HAK_HOT bool hak_give_up_is_due(const hak_thread_t *me, const hak_shared_pool_t *pool) {
  if (me->to_empty != 0) return true;
  return me->turns.owed != 0 && hak_os_may_give() && !pool->keeps_all &&
         !hak_pool_is_enclosed(pool);
}
/* What lies in depots of any heap and nobody took for a decay goes home, where no thread
 * comes by to see to it: for a thread that only does such work, when it is time. */
bool hak_give_up_unused_is_time(void);
void hak_give_up_unused(hak_thread_t *me);
/* As hak_give_up_one, of a heap that is not the default one; nothing if the thread never
 * had a cache of it. */
void hak_give_up_cache(hak_thread_t *me, hak_heap_t *heap);
/* As hak_give_up_cache, and the thread is no user of the heap any more; memory for a
 * thread cache is there if it becomes one again. */
void hak_give_up_and_leave(hak_thread_t *me, hak_heap_t *heap);
/* As hak_give_up_all, at the thread's end: it is no user of any heap but the default one.
 * Sets `busy`, as a fork meanwhile finds the thread in a slow path. */
void hak_give_up_at_end(hak_thread_t *me);

/* The cache for a free. NULL if the thread has earned none, if memory for one is short,
 * or if none is to be kept (then what the thread kept of the heap has gone home). */
const hak_cache_t *hak_cache_to_free(hak_thread_t *me, hak_heap_t *heap, bool keep);

#endif
