/* lean.h - a thread that comes to free blocks of a class only keeps little of the class.
 *
 * Depends on: base, pages, capacity, slab.   Used by: hold, single, spill.
 *
 * A thread may stand still after any call, and then nobody can touch what it keeps. What
 * it keeps is worth least where it frees much and allocates nothing: it is *lean* in a
 * class from the free that finds the lists of the bin full, or few blocks of a slab out,
 * until its next refill of the class. While it is lean
 *   - the ready and the spare list are empty, and the list has an eighth of its room,
 *   - the thread hears of a held slab, the current one too, as soon as the blocks that
 *     are out may be those in its bin; the bin is emptied then,
 *   - a slab whose last block comes home goes back to the pool, the current one too.
 *
 * To begin costs some blocks that go home and come back, and a slab from the pool. So
 * it happens once in LEAN_MS for a thread and class, and a few times more after a while
 * without, as programs often work in a few bursts and then wait. A bin that has grown to
 * n times its least capacity counts as n.
 *
 * A thread that *drops* what it has, of all classes, becomes lean in those too of which
 * it frees too little to fill a bin: each block there would keep a slab. It drops from
 * the moment when it has given back a quarter of its slabs, and four at least, until it
 * begins one. Whenever another quarter has gone, what lies in its bins goes home; so
 * most slabs become free with the last block that the program frees. There are as many
 * drops as DROP_PERIODS times LEAN_MS allow, and a few more after a while without.
 *
 *     spans == spans that the thread began - those that it gave back - those that went
 *              with their heaps
 *
 * if no other thread gives any of them back; what these make it too large by is forgotten
 * with time. Those of mid classes count as one, as do those of single classes, whose bins
 * are emptied by drops alone. Of a heap that several threads cache each
 * is taken to have had as many as the others.
 */
#ifndef HAK_TINY_LEAN_H
#define HAK_TINY_LEAN_H

#include "tiny/slab.h"

/* Lets the thread be lean in the class, if that may be; false if it stays as it is.
 * Reads the coarse clock. */
bool hak_lean_begins(const hak_cache_t *cache, uint32_t cls);

/* The thread drops what it has: true if it is lean in the class now, or was already. */
bool hak_lean_drop(const hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* To be called when the thread has begun to be lean, and the bin is empty. If that had
 * not happened for some time, a bin that had grown with demand is small again. */
void hak_lean_shrink(const hak_cache_t *cache, uint32_t cls);

/* Blocks of the class that may lie in the bin of a lean thread. */
uint32_t hak_lean_kept(const hak_cache_t *cache, uint32_t cls);

/* At how many blocks out the thread is to hear of a slab that it holds. */
uint32_t hak_lean_hears_at(const hak_cache_t *cache, hak_slab_t *slab);
/* To be called when the thread has begun to be lean: it is to hear of the slabs that it
 * holds when as many blocks are out as its bin may have. */
void hak_lean_hear(const hak_cache_t *cache, uint32_t cls);

enum {
  HAK_LEAN_DROPPED = 4, /* spans at least */
  HAK_LEAN_FORGOTTEN = 16
};

/* The thread began a span, or gave one back. */
HAK_HOT void hak_lean_note_begun(hak_thread_t *me) {
  if (HAK_UNLIKELY(me->dropped >= HAK_LEAN_DROPPED)) {
    me->spans -= me->spans / HAK_LEAN_FORGOTTEN;
  }
  me->spans++;
  me->dropped = 0;
  me->drops = 0;
}
HAK_HOT void hak_lean_note_given(hak_thread_t *me) {
  if (HAK_LIKELY(me->spans > 0)) me->spans--;
  me->dropped++;
}

/* So many spans went with a heap, of those that the thread began. On any thread. */
HAK_SLOW void hak_lean_note_ended(hak_thread_t *thread, uint64_t spans);

/* True if the thread drops what it has and its bins are to be emptied, of all classes.
 * Reads the coarse clock once in a drop. */
bool hak_lean_drops_slow(hak_thread_t *me);
HAK_HOT bool hak_lean_drops(hak_thread_t *me) {
  return HAK_UNLIKELY(me->dropped >= HAK_LEAN_DROPPED) && hak_lean_drops_slow(me);
}

/* True where the thread may become lean before the bin has a spare list: three lists of
 * large blocks are most of what a thread keeps. */
HAK_HOT bool hak_lean_is_early(uint32_t cls) {
  enum {
    LEAST = 4096 /* bytes */
  };
  return hak_class_size(cls) > LEAST;
}

#endif
