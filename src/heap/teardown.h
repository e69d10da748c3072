/* teardown.h - the end of a heap, or of all its blocks.
 *
 * Depends on: base, cache_index, groups, heap, kind. Used by: give_up, fork, collect,
 * api.
 *
 * Cost: O(SuperSlabs of the heap + threads), however many blocks there are; a heap
 * with mappings of its own looks at all of the process. The caller sees to it that nobody
 * allocates from the heap or frees into it meanwhile; threads that end, go idle or
 * collect at that moment are kept out by the heap's lease.
 */
#ifndef HAK_HEAP_TEARDOWN_H
#define HAK_HEAP_TEARDOWN_H

#include "heap/heap.h"

/* All blocks go, and the heap. 0, EINVAL (the default heap, or no handle any more), EBUSY
 * (live heaps lie below). */
int hak_teardown_destroy(hak_thread_t *me, hak_heap_t *handle);
/* The handle goes; blocks and their memory live on as the parent's. 0, EINVAL or EBUSY as
 * for hak_teardown_destroy. */
int hak_teardown_release(hak_thread_t *me, hak_heap_t *handle);
/* All blocks go, the heap and its SuperSlabs stay. 0 or EINVAL. */
int hak_teardown_reset(hak_thread_t *me, hak_heap_t *handle);

/* Some block of a released heap has come home: the heap ends if it was the last one. The
 * heap may have ended already, and its record may serve another one. */
void hak_teardown_orphan(hak_thread_t *me, hak_heap_t *heap);
/* Ends what hak_heap_pin began, and the heap, if it is released and waited for that. */
void hak_teardown_unpin(hak_thread_t *me, hak_heap_t *heap);

/* In the child of a fork. Threads that are not there may have been ending, resetting or
 * making heaps: the first function brings that to its end. The second one ends released
 * heaps that no thread uses any more. */
void hak_teardown_finish(hak_thread_t *me);
void hak_teardown_orphans(hak_thread_t *me);

#endif
