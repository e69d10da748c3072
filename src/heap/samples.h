/* samples.h - where the sampled blocks of a heap lie.
 *
 * Depends on: base, pages, pool, superslab, tiny, harden, heap, pressure, thread,
 * thread_cache.   Used by: api.
 *
 * A heap of which blocks are sampled has a heap of samples below it, made with the first
 * one: a pooled heap without a handle, of which no thread keeps a cache. So the
 * registry's entries for its slabs are unowned, each free of its blocks takes the slow
 * path, and the block goes home at once. The program knows the blocks as the heap's own:
 * they are charged to it and to the heaps above, counted and visited with it, and gone
 * when it is destroyed or reset. When it is released, the heap of samples is an orphan
 * like others, and what becomes of its blocks is not seen any more.
 *
 * Few samples of more than 4 KiB live at once, of many sizes: in slabs of their sizes
 * most would be free. So each has a span to itself (tiny/single.h), and slots are chosen
 * by the pages that they have (superslab/fit.h). There are no huge pages, of which the
 * most would be of no use either.
 *
 * Heaps in memory of the caller's, those with page hooks of their own, and watched ones
 * have none.
 */
#ifndef HAK_HEAP_SAMPLES_H
#define HAK_HEAP_SAMPLES_H

#include "heap/heap.h"

/* A heap's heap of samples, made if there is none; NULL if memory is short, the heap is
 * not sampled, or another thread is making it. May call the OS: no lock held. */
hak_heap_t *hak_samples_heap(hak_heap_t *heap);

/* A sample of the default heap's that was freed is kept for the next one of its class:
 * most live for a short time only, and to take a block off a slab, and to begin and end
 * slabs, takes longer than all else that is done for a sample. A few blocks of each class
 * up to 16 KiB, in the class's depot, so that they go home with all that lies there; and
 * after a decay in which nobody took them. False if it is not kept. `is_free`: see
 * hak_depot_keep. */
bool hak_samples_keep(hak_thread_t *me, hak_heap_t *samples, uint32_t cls, void *block,
                      bool is_free);

/* A block in a heap of samples, zeroed if `zero`; NULL if memory is short or a limit
 * refuses, without a question to anybody. No lock held. Costs what hak_refill_one
 * does. */
void *hak_samples_alloc(hak_thread_t *me, hak_heap_t *samples, size_t size,
                        size_t alignment, bool zero);

#endif
