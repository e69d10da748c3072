/* collect.h - free memory goes back to the OS because the program says so: what is due,
 * a bounded part at a time, or all there is.
 *
 * Depends on: base, os, pages, superslab, tiny, give_up, groups, harden, heap,
 * hole_sweep, kind, records, teardown, thread, thread_cache, threads.
 * Used by: pressure, api.
 *
 * A call ends when it has given back what was asked for or has looked at as much as it
 * may; everything it does is measured in slabs looked at. What it did not come to is
 * first in the queues of the next call; heaps are taken in turn.
 *
 * What is due is what superslab/retention.h says. Caches are given up where all is
 * wanted, and by a thread that has not needed them for a decay.
 */
#ifndef HAK_HEAP_COLLECT_H
#define HAK_HEAP_COLLECT_H

#include "heap/heap.h"

/* Of one heap, or of all (NULL): `all` that there is, or what is due, which looks at
 * COLLECT_SLABS slabs at most. The bytes given back. */
size_t hak_collect_memory(hak_thread_t *me, hak_heap_t *heap, size_t max_bytes, bool all);

/* ns until a call for what is due empties this thread's bins of the default heap, if one
 * of them has grown and the thread makes no refill until then; UINT64_MAX: none has. By
 * the coarse clock, which the caller has refreshed. */
uint64_t hak_collect_bins_due_in(void);

#endif
