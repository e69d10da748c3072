/* slab.h - a slab's word and its list: who may touch them, and every change of either.
 *
 * Depends on: base, superslab, bin, hole_map, live, stray.   Used by: tiny.
 *
 * A slab belongs to its heap; a thread only holds it for a while. Only the functions
 * here, and hak_slab_forget (superslab/slab.h), write to the word, to the list's head
 * and to the count of blocks that are out; the test rules.slab_word checks it. The one
 * exception is the fast path of a free, which pushes onto whatever list an entry of the
 * registry names, and counts that down (hak_list_push, hak_room_is_gone); where a slow
 * path takes such a free over, it undoes the count (api/free.c).
 *
 *   from, event, to                   function (hak_slab_)    why it is enough
 *   new -> HELD(me)                   begin                   (e) release: the record
 *   new -> FULL, a single block       begin_single            (e), pairs with span_at of
 *                                                             superslab/tails.c
 *   HELD, another pushes a batch      push_remote             (a) release
 *   HELD, the holder takes batches    take_remote,            acquire, pairs with (a)
 *                                     join_remote,
 *                                     refill_remote
 *   HELD -> FULL, the list was        let_go                  (b) release: list and
 *     given away                                              counts
 *   FULL -> HELD(me), who has credit  claim                   acquire, pairs with (b)
 *     takes blocks of it home                                 and (d)
 *   FULL -> PARTIAL, others take      full_to_partial_locked  acquire, pairs with (b)
 *     blocks of it home                                       and (d)
 *   HELD -> PARTIAL, surplus or exit  held_to_partial_locked  the lock orders
 *   PARTIAL -> FULL, a refill takes   partial_to_full_locked  (d) release: those who
 *     the whole list                                          claim do not lock
 *   PARTIAL -> HELD(me), a refill     partial_to_held_locked  the lock orders
 *     goes on with it
 *   PARTIAL, its blocks are moved     leave_locked            the lock orders; a stale
 *                                                             word only misses that
 *   HELD or PARTIAL -> FREE           end                     nobody can reach it; the
 *                                                             pool's lock orders
 *   FULL -> FREE, a single block      end_single              relaxed: one of those who
 *                                                             free it is first
 *   any -> FREE, the heap is cleared  forget                  the heap's lease
 *   any -> FULL or PARTIAL, in the    restore                 there is no other thread
 *     child of a fork
 *
 * The functions in `_locked` are called under the lock of the partial list. While a slab
 * is PARTIAL, whoever has that lock may change the slab's list and counts.
 *
 * After a push onto a word has succeeded, the pusher touches nothing of the slab.
 * A slab that is held and not wholly carved is its holder's current one.
 */
#ifndef HAK_TINY_SLAB_H
#define HAK_TINY_SLAB_H

#include "superslab/locate.h"
#include "tiny/bin.h"
#include "tiny/stray.h"

/* Blocks of one slab on their way home: linked from first to last. */
typedef struct hak_batch {
  /* [owner: who made it] all of it */
  hak_slab_t *slab;
  void *first, *last;
  uint32_t count; /* blocks */
} hak_batch_t;

/* True if the word says that every block is out and nobody holds the slab. */
HAK_HOT bool hak_word_is_full(uint64_t word) {
  return word == hak_word_make(HAK_SLAB_FULL, 0);
}

/* True if the word says that the slab is PARTIAL and leaving: its blocks are being moved
 * elsewhere. No thread has the code that stands for that. */
HAK_HOT bool hak_word_is_leaving(uint64_t word) {
  return word == hak_word_make(HAK_SLAB_PARTIAL, HAK_CODE_MASK);
}

/* --- life ------------------------------------------------------------------------- */

/* Begins a span from the pool, which is held for the cache; nothing is carved. */
void hak_slab_begin(const hak_cache_t *cache, hak_slab_t *slab, uint32_t cls,
                    unsigned span);
/* Begins a span with a single block, which is out. */
void hak_slab_begin_single(hak_slab_t *slab, uint32_t cls, unsigned span);
/* Ends a slab that is to go to the pool: every block is home, nobody can reach it. */
void hak_slab_end(hak_slab_t *slab);
/* Ends a span whose single block is freed; false if the block was home already. */
bool hak_slab_end_single(hak_slab_t *slab);
/* The single block of a span, which is out, has a smaller class and fewer slabs. */
void hak_slab_shrink_single(hak_slab_t *slab, uint32_t cls, unsigned span);
/* Makes a held slab, all of whose blocks are home, one that is to be carved anew. */
void hak_slab_carve_anew(hak_slab_t *slab);
/* In the child of a fork: the list gets these `count` blocks, and all others are out. */
void hak_slab_restore(hak_slab_t *slab, void *list, uint32_t count);

/* --- by the holder, or under the partial list's lock while the slab is PARTIAL ------ */

/* Sets how many blocks are out, and at which push the holder gets to know: at the one
 * that leaves only `held_back` blocks out. held_back < out, or both are 0. */
HAK_HOT void hak_slab_set_out(hak_slab_t *slab, uint32_t out, uint32_t held_back) {
  hak_store_relaxed(&slab->held_back, held_back);
  hak_store_relaxed(&slab->list.room, (int32_t)(out - held_back) - 1);
}

/* Tells the registry where the slab's blocks begin that were cut, after it was told the
 * class, or while it has holes that none does: blocks that are put away have no mark. For
 * full checks, and nothing in other builds. */
void hak_slab_tell_starts_slow(hak_slab_t *slab);
HAK_HOT void hak_slab_tell_starts(hak_slab_t *slab) {
  if (HAK_CHECKS == 2) hak_slab_tell_starts_slow(slab);
}

/* `count` blocks more are cut, and out. */
HAK_HOT void hak_slab_carve(hak_slab_t *slab, uint32_t count) {
  hak_slab_set_out(slab, hak_slab_out(slab) + count, 0);
  hak_store_relaxed(&slab->carved, hak_slab_carved(slab) + count);
  hak_slab_tell_starts(slab);
}
/* All blocks of a slab with none carved yet are cut, and are on this list. */
void hak_slab_carve_whole(hak_slab_t *slab, void *list);

/* Reports a block that comes home although it cannot be out. */
HAK_SLOW void hak_slab_report_surplus(hak_thread_t *me, const hak_cache_t *cache,
                                      const void *block);
/* One of the run's ends is the first block of this list. */
HAK_HOT bool hak_slab_lists(const hak_batch_t *run, const void *head) {
  return run->first == head || run->last == head;
}
/* False, after a report, if more blocks come home than are out, or one of them is the
 * first on the list. Nothing has changed. */
HAK_HOT bool hak_slab_accepts(hak_thread_t *me, const hak_cache_t *cache,
                              const hak_batch_t *run) {
  if (HAK_LIKELY(run->count <= hak_slab_out(run->slab) &&
                 !hak_slab_lists(run, run->slab->list.head))) {
    return true;
  }
  hak_slab_report_surplus(me, cache, run->first);
  return false;
}
/* Puts a run that was accepted on the list; for held_back see hak_slab_set_out. */
HAK_HOT void hak_slab_come_home(hak_thread_t *me, const hak_batch_t *run,
                                uint32_t held_back) {
  hak_slab_t *slab = run->slab;
  hak_link_write(&me->key, run->last, slab->list.head);
  hak_compiler_fence(); /* see hak_reclaim_slab */
  slab->list.head = run->first;
  hak_slab_set_out(slab, hak_slab_out(slab) - run->count, held_back);
}
/* Lets the holder get to know of no push before the one that brings the last block. */
void hak_slab_hear_last(hak_slab_t *slab);
/* Lets the holder get to know when only `held_back` blocks are out, if more are. */
void hak_slab_hear_at(hak_slab_t *slab, uint32_t held_back);
/* Undoes the count of a push that found no room, and did not change the list. False,
 * after a report, if more blocks were pushed than were out. */
HAK_HOT bool hak_slab_undo_push(hak_thread_t *me, const hak_cache_t *cache,
                                hak_slab_t *slab, const void *block) {
  bool ok = HAK_LIKELY(hak_load_relaxed(&slab->list.room) >= -1);
  hak_store_relaxed(&slab->list.room, ok ? 0 : -1);
  if (!ok) hak_slab_report_surplus(me, cache, block);
  return ok;
}

/* Takes the whole list; all carved blocks are out from here on. */
HAK_HOT void *hak_slab_take_list(hak_slab_t *slab) {
  void *list = slab->list.head;
  slab->list.head = HAK_LINK_END;
  hak_slab_set_out(slab, hak_slab_carved(slab), 0);
  return list;
}
/* Takes the first blocks off the list, at most `most`; *count says how many they are. */
void *hak_slab_take_some(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                         uint32_t most, uint32_t *count);

/* Looks at every block of a slab that is wholly home by the count, and that nobody else
 * can reach. True if all blocks say that they are free. Else, after a report, the blocks
 * that do are the list, and the others are out. */
bool hak_slab_all_home(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

/* Reports a free block if anything but its link is in it; for hardened builds, and
 * nothing in others. */
void hak_slab_look_inside_slow(hak_thread_t *me, hak_slab_t *slab, const void *block);
HAK_HOT void hak_slab_look_inside(hak_thread_t *me, hak_slab_t *slab, const void *block) {
  if (HAK_CHECKS >= 3) hak_slab_look_inside_slow(me, slab, block);
}

/* --- holes (hole_map.h), by the holder --------------------------------------------- */

/* Takes the blocks that lie in holes, whose bits are set, off the list. */
void hak_slab_put_away(hak_thread_t *me, hak_slab_t *slab);
/* Puts all blocks that were put away at the end of the list, after a report if one was
 * written to: there are no holes any more. Returns the bytes of the holes. */
size_t hak_slab_bring_back(hak_thread_t *me, hak_slab_t *slab);
/* False, after a report, if a block of the run is put away, and thus home already. */
bool hak_slab_none_is_away(hak_thread_t *me, const hak_cache_t *cache,
                           const hak_batch_t *run);

/* --- the word ----------------------------------------------------------------------- */

/* Pushes a run onto the word of a slab that another thread holds; false if nobody holds
 * it any more. *word is the word as it was last seen, before the call and after it. */
bool hak_slab_push_remote(hak_thread_t *me, const hak_cache_t *cache,
                          const hak_batch_t *run, uint64_t *word);

/* Takes what others have pushed onto a slab that this thread holds: a list of *count
 * blocks, which remain out, or NULL. */
void *hak_slab_take_remote(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                           uint32_t *count);
/* Puts what others have pushed on the list, before the blocks that are on it. */
void hak_slab_join_remote(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);
/* Makes what others have pushed the list, which the holder has taken before; false if
 * nothing was pushed. */
bool hak_slab_refill_remote(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

/* HELD -> FULL, for a wholly carved slab whose list was taken; false if blocks have come
 * home meanwhile: they are its list then. */
bool hak_slab_let_go(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

/* FULL -> HELD; false if another was first. */
HAK_HOT bool hak_slab_claim(const hak_cache_t *cache, hak_slab_t *slab) {
  uint64_t full = hak_word_make(HAK_SLAB_FULL, 0);
  /* Acquire: pairs with the releases in hak_slab_let_go and
   * hak_slab_partial_to_full_locked. */
  return hak_cas_acquire(&slab->word, &full, hak_word_mine(cache));
}

/* FULL -> PARTIAL, with a run that comes home as the list; false if the word is no longer
 * *word, which is set to what it is. */
bool hak_slab_full_to_partial_locked(hak_thread_t *me, const hak_cache_t *cache,
                                     const hak_batch_t *run, uint64_t *word);
/* HELD -> PARTIAL; false if every block is home: the slab is still held then. */
bool hak_slab_held_to_partial_locked(hak_thread_t *me, const hak_cache_t *cache,
                                     hak_slab_t *slab);
/* PARTIAL -> FULL; returns the whole list. */
void *hak_slab_partial_to_full_locked(const hak_cache_t *cache, hak_slab_t *slab);
/* Marks a slab that is PARTIAL as leaving. It serves again by becoming FULL or HELD. */
void hak_slab_leave_locked(const hak_cache_t *cache, hak_slab_t *slab);
/* PARTIAL -> HELD. */
void hak_slab_partial_to_held_locked(const hak_cache_t *cache, hak_slab_t *slab);

/* Checks a slab that is held for the cache: carved - out blocks are on the list, each a
 * carved block of the slab, less those that forks have lost. Cost: a walk over the list.
 */
bool hak_slab_is_valid(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

#endif
