/* recall.h - while there is idle memory that may be due, threads come to a slow path now
 * and then, although their bins could serve them for ever.
 *
 * Depends on: os, pages, bin, capacity.   Used by: tiny, api.
 *
 * What is due is given back at the end of slow paths (superslab/retention.h). A program
 * that waits for requests and serves each out of its bins makes none. So a slow path that
 * sees more idle memory than may stay tells each bin of the cache, and of the default
 * heap's, that it has no room: the next block that is freed into a bin takes the slow
 * path, where the bin gets its room back. This happens again after a while (a 64th of
 * PURGE_DECAY_MS); until then a bin that found out is told once more, so that threads
 * that do little are not lost, but only so often, so that those that do much lose
 * nothing.
 *
 * A bin that flips forgets what it was told, and a thread may go from work that takes
 * many slow paths to work that takes none. So the flips of each thread, and of each
 * serial heap, are counted down: then an allocation takes the slow path, whether or not
 * its bin has blocks. While idle memory waits there is a look each few milliseconds, or
 * at each flip if these are rarer; else after FLIPS_MOST of them. What is taken off a
 * list that frees made brings no flip, and gives the list its room back. For it count
 * HAK_POPS_OF_FLIP allocations of blocks over HAK_TINY_MAX, and of smaller ones for
 * places in a heap each end of the thread's way to its next sample (api/site.c).
 *
 * Not for bins of single classes, those of heaps with a limit, and those that spill.
 */
#ifndef HAK_TINY_RECALL_H
#define HAK_TINY_RECALL_H

#include "pages/idle.h"
#include "tiny/bin.h"

void hak_recall_slow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
/* To be called in slow paths that worked with the cache's bin of the class, which may
 * have no room afterwards, or with none: HAK_CLASSES. A cache of the shared way keeps
 * nothing, and nothing happens to it. */
HAK_HOT void hak_recall(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (HAK_UNLIKELY(hak_load_relaxed(&hak_retained_over) != HAK_IDLE_FEW)) {
    hak_recall_slow(me, cache, cls);
  }
}
/* To be called at the end of a slow path that came because flips are used up. */
void hak_recall_look(hak_thread_t *me, const hak_cache_t *cache);
/* True, and the bin's list has its room, if it had none only for this reason. */
bool hak_recall_ends(const hak_cache_t *cache, uint32_t cls);

#endif
