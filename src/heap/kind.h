/* kind.h - what heaps of different kinds do differently, side by side.
 *
 * Depends on: pages, tiny, own_os, serial, thread_cache, thread_state, threads.
 * Used by: teardown, give_up, hole_sweep, collect, pressure, api.
 *
 * A heap is made as one kind. The kinds differ in where blocks lie and in who caches
 * them:
 *
 *   kind      blocks lie in                  who caches blocks
 *   pooled    slabs, runs and mappings       each thread, in its thread cache of the heap
 *   serial    slabs, runs and mappings       the heap, for whichever thread has it
 *   external  little memory of the           nobody
 *             caller's, side by side
 *   malloced  anywhere: each is one of     nobody
 *             malloc's (external/malloced.h)
 *
 * The default heap is pooled; a thread's cache of it is the thread state's own. Where the
 * backend is malloc all heaps that would be pooled or serial are malloced, the default
 * heap too, but for those with hooks or memory of their own.
 *
 * Each operation that differs is one switch, here or in kind.c, and slow paths alone ask.
 * The fast paths never ask for the kind: the handle of a serial heap has a sign, and an
 * external or malloced heap's handle leads to bins that are always empty, its blocks'
 * registry entries to a list without room. A block is known by its extent, not by its
 * heap's kind.
 *
 * Where a heap gets its memory is no matter of its kind: from the process's hooks, from
 * hooks of its own (own_os.h), or from an external region, whose hooks are fixed. The
 * pool's hooks say it; what heaps do differently for it is here too.
 *
 * A new kind has a value in hak_heap_kind_t (heap_record.h), a case in each switch,
 * and a file with what it does.
 */
#ifndef HAK_HEAP_KIND_H
#define HAK_HEAP_KIND_H

#include "heap/thread_state.h"

/* --- what slow paths ask ---------------------------------------------------------- */

/* Blocks lie in slabs, runs and mappings; else the kind's own file knows where. */
HAK_HOT bool hak_kind_has_slabs(hak_heap_t *heap) {
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
    case HAK_KIND_SERIAL:
      return true;
    case HAK_KIND_EXTERNAL:
    case HAK_KIND_MALLOCED:
      return false;
  }
  return false;
}
/* Each thread has a cache of the heap, and may at any time give up what lies in it. */
HAK_HOT bool hak_kind_has_thread_caches(hak_heap_t *heap) {
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
      return true;
    case HAK_KIND_SERIAL:
    case HAK_KIND_EXTERNAL:
    case HAK_KIND_MALLOCED:
      return false;
  }
  return false;
}

/* --- the beginning ---------------------------------------------------------------- */

/* Puts into the plan of a heap of which kind it is to be, and opens where its memory
 * comes from. The config is valid. 0, or EINVAL or ENOMEM. May call the process's hooks
 * `os`. */
int hak_kind_open(const hak_os_t *os, const hak_heap_config_t *given,
                  hak_heap_plan_t *plan);
/* The heap of the plan was not made. */
void hak_kind_close(const hak_heap_plan_t *plan);
/* Of a new heap in memory of the caller's, which asks nobody for memory later: makes what
 * all its threads will need. False if memory is short. No lock held. */
bool hak_kind_prepare(hak_heap_t *heap);

/* --- the cache that a thread works on --------------------------------------------- */

/* The cache that slow paths of the thread work on for the heap, made if there is none.
 * NULL, and nothing has changed, if memory for one is short or the kind has none. */
const hak_cache_t *hak_kind_cache(hak_thread_t *me, hak_heap_t *heap);
/* That cache for one more block that the thread allocates or frees: NULL too if the
 * thread uses the heap too seldom to have one of its own. */
const hak_cache_t *hak_kind_cache_earned(hak_thread_t *me, hak_heap_t *heap);
/* A block of the class past any cache; NULL if memory is short or the kind has no blocks
 * in slabs that threads share. */
void *hak_kind_take_one(hak_thread_t *me, hak_heap_t *heap, uint32_t cls);
/* That cache if it is there already, and so needs no memory; or NULL. */
const hak_cache_t *hak_kind_cache_made(hak_thread_t *me, hak_heap_t *heap);
/* While hidden, allocations of this thread from the heap take the slow path, whatever its
 * bins have; those from the default heap do not. */
void hak_kind_hide(hak_thread_t *me, hak_heap_t *heap, bool hidden);

/* --- giving up -------------------------------------------------------------------- */

/* What the thread caches of the heap, and what lies in the heap's transfer cache, goes
 * home. The caller has the heap if it is serial. Takes the heap's lease. */
void hak_kind_flush(hak_thread_t *me, hak_heap_t *heap);
/* The same under the heap's lease; the heap is used. */
void hak_kind_flush_leased(hak_thread_t *me, hak_heap_t *heap);
/* The heap was released: from here on any thread may free its blocks. */
void hak_kind_release(hak_thread_t *me, hak_heap_t *heap);
/* All blocks are gone: forgets them. `end`: the heap goes too. Under the heap's lease. */
void hak_kind_clear(hak_thread_t *me, hak_heap_t *heap, bool end);

/* --- where the memory came from ------------------------------------------------------
 */

/* All memory of the heap is free: what came from hooks of its own, or from the caller,
 * goes back to them. Waits for threads that are inside such hooks; nobody calls them
 * after. Under the heap's lease. */
void hak_kind_end_os(hak_heap_t *heap);
/* The heap may end now. False where nothing may be given back at this moment, and hooks
 * of its own wait for that. */
bool hak_kind_may_end(hak_heap_t *heap);

/* --- looks from outside ------------------------------------------------------------ */

/* No memory is in use. What it says of an orphan holds once that is claimed. */
bool hak_kind_is_empty(hak_heap_t *heap);
/* Walks the invariants that hold at any time. */
bool hak_kind_is_valid(hak_heap_t *heap);

/* What a heap has beside slabs, runs and mappings; blocks of a heap with slabs are large
 * ones. */
typedef struct hak_kind_figures {
  uint64_t blocks, block_bytes; /* in use */
  uint64_t memory;              /* bytes that the caller brought */
} hak_kind_figures_t;
/* Takes no lock, and the record may change heaps meanwhile. */
hak_kind_figures_t hak_kind_figures(hak_heap_t *heap);
/* Visits the blocks in use of a quiet heap that are in no slab, run or mapping, until
 * `visit` returns false. */
void hak_kind_visit(hak_heap_t *heap, bool (*visit)(char *block, size_t size, void *ctx),
                    void *ctx);

#endif
