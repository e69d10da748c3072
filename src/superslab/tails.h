/* tails.h - pages behind the end of blocks that end within their last slab or SuperSlab.
 *
 * Depends on: base, huge, pool_slots, tree.   Used by: shared_pool, tiny, pool, heap.
 *
 * A fresh block has the pages that it needs. Slots that were used before bring more
 * pages along, up to half as much again as the block needs. A few such tails cost
 * nothing: they wait for the next block of the slots, so that large blocks of different
 * sizes come and go without a call to the OS. But where a pool has many, a block with
 * more than an eighth too much gives it back as it begins.
 *
 * Slots that come from another heap with pages are charged as they are taken. A heap that
 * cannot pay for pages behind a block's end gives those back.
 *
 * Whoever gives back all that nobody uses goes through the blocks of a pool and takes
 * their tails, while other threads use the blocks. So a bit for each block, of its first
 * slot, tells that its end and its pages are somebody's for now: of the thread that
 * begins, resizes or frees it, or of the one that takes its tail.
 *
 * Bound: the tails of a pool that are over an eighth of their blocks have, all together,
 * at most HAK_TAILS_LEAST and a sixteenth of what the pool has in use; the sixteenth
 * alone where slots are chosen by their pages (fit.h).
 */
#ifndef HAK_SUPERSLAB_TAILS_H
#define HAK_SUPERSLAB_TAILS_H

#include "superslab/pool_slots.h"

#define HAK_TAILS_LEAST HAK_SUPERSLAB_SIZE /* bytes */

/* A block's end lies in these slots of a SuperSlab, which it has taken. */
typedef struct hak_tail {
  hak_superslab_t *ss;
  unsigned first, count; /* slots */
  size_t pages;          /* OS pages of them that the block needs */
  size_t block;          /* OS pages of the whole block */
} hak_tail_t;

/* The SuperSlab where a run of so many bytes ends. */
hak_tail_t hak_tail_of_run(hak_superslab_t *ss, size_t usable);

/* Commits the first `pages` OS pages of slots that the caller has taken, as
 * hak_superslab_commit does. If the budget refuses, and more pages lie behind those,
 * these go and it is tried again. No lock held. */
bool hak_tail_commit(hak_superslab_t *ss, unsigned first, unsigned count, size_t pages,
                     bool no_grow, bool *zeroed);
/* What lies behind the first `pages` OS pages of taken slots goes, as the budget is
 * short; false if nothing did, or was charged. No lock held. */
bool hak_tail_give(hak_superslab_t *ss, unsigned first, unsigned count, size_t pages);

/* Notes what lies behind the end of a block that begins or has a new size, and gives it
 * back if it is too much; if the block has just become smaller (`shrunk`), any tail over
 * an eighth is, unless such memory was lately needed again. No lock held. */
void hak_tail_begin(hak_shared_pool_t *pool, const hak_tail_t *tail, bool shrunk);
/* Forgets what was noted. The block still has the slots. */
void hak_tail_end(hak_shared_pool_t *pool, const hak_tail_t *tail);

/* Between the two the span whose first slot it is has an end and pages that no other
 * thread changes, but for those before its last block's end, which are its owner's. The
 * first one waits for a thread that is about to take its tail, which may be in a call to
 * the OS. No lock held. */
void hak_tail_hold(hak_superslab_t *ss, unsigned slot);
void hak_tail_let_go(hak_superslab_t *ss, unsigned slot);

/* So many bytes may lie behind the last block of a slab of the pool's. */
void hak_tail_came(hak_shared_pool_t *pool, size_t bytes);

/* The bytes of a block of a size class, and whether its tail is noted when it begins; 0
 * for what is none. */
typedef size_t hak_tail_class_fn(uint32_t cls, bool *noted);

/* Takes what lies behind the last blocks of the pool's spans, up to max_bytes; the bytes.
 * `short_too`: in huge pages also what is less than an eighth of its span. `kept_too`: of
 * a heap that is to keep its pages, too. What another thread is just resizing is left
 * out. O(slabs) where tails have come since the last time. The caller keeps the heap from
 * being cleared. No lock held. */
size_t hak_tail_take_all(hak_shared_pool_t *pool, hak_tail_class_fn *class_bytes,
                         size_t max_bytes, bool short_too, bool kept_too);
/* So little has come since the last time that it is not worth a look at all slabs. */
bool hak_tail_are_few(hak_shared_pool_t *pool);

#endif
