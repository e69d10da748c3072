/* shared_pool.h - the free slabs of one heap: any of them serves any class and
 * any span.
 *
 * Depends on: base, pages, clean, fit, huge, locate, pool_growth, pool_slots, region,
 * tails, tree. Used by: retention, tiny, pool, heap.
 *
 * The pool has the heap's SuperSlabs in a tree by address. A request takes the
 * lowest free run that fits: neighbours in time are neighbours in memory, and
 * SuperSlabs empty from the top. One that is wholly free goes back to its region
 * at once, where any heap finds it; its pages stay until they are purged.
 *
 * Cost: O(log of the heap's SuperSlabs).
 */
#ifndef HAK_SUPERSLAB_SHARED_POOL_H
#define HAK_SUPERSLAB_SHARED_POOL_H

#include "superslab/pool_slots.h"

void hak_pool_init(hak_shared_pool_t *pool, const hak_os_t *os, void *heap);
/* A pool without SuperSlabs passes to another heap. */
void hak_pool_pass_on(hak_shared_pool_t *pool, const hak_os_t *os, void *heap);

/* `span` slabs side by side, the first at a multiple of `alignment` bytes (at
 * least a slab, at most a SuperSlab), with their first `bytes` bytes committed;
 * the first one's record, or NULL. *zeroed: the bytes read as zero. No lock
 * held. */
hak_slab_t *hak_pool_get(hak_shared_pool_t *pool, unsigned span, size_t alignment,
                         size_t bytes, bool no_grow, bool *zeroed);

/* The same, of slabs behind which others are free as well, `room` of them with the span,
 * so that it can grow in place. NULL where the pool has none, and enough of other free
 * slabs. Nor is there any in a heap of 16 MiB and more, or in one with a limit, where
 * small holes are to be filled first. Not for memory of the caller's. */
hak_slab_t *hak_pool_get_roomy(hak_shared_pool_t *pool, unsigned span, unsigned room,
                               size_t bytes, bool *zeroed);

/* Gives `span` slabs back. Nobody else can reach them. A partial list's lock may be
 * held. */
void hak_pool_put(hak_shared_pool_t *pool, hak_slab_t *first, unsigned span);

/* Grows a span in place by `more` slabs if those behind it are free; their pages
 * are not committed. */
bool hak_pool_extend(hak_shared_pool_t *pool, hak_slab_t *first, unsigned span,
                     unsigned more);

/* Gives pages of free slots back that have been idle since `before` or longer, up to
 * max_bytes and *slabs looked at; what is to be kept stays. Returns the bytes. No lock
 * held. */
size_t hak_pool_purge(hak_shared_pool_t *pool, uint64_t before, size_t max_bytes,
                      size_t *slabs);

/* Gives pages of empty slots back where few are to keep theirs (fit.h), whatever their
 * age, of one SuperSlab. No lock held. */
void hak_pool_purge_surplus(hak_shared_pool_t *pool);

/* The same of whatever is free, also of what is to be kept: the heap is at its limit. */
size_t hak_pool_purge_kept(hak_shared_pool_t *pool, size_t max_bytes);

/* What may go: what has been idle since `before` or longer. Where a huge page would have
 * to be split for it, so that what stays has small ones from then on, it is since
 * `split`: mostly the rest of its SuperSlab is about to be free, and goes whole. */
typedef struct hak_pool_idle {
  uint64_t before, split; /* ns */
  bool again;             /* pools that have lately given nothing are looked at, too */
} hak_pool_idle_t;

/* The same in the pool that has waited longest, whatever heap it is of; *any: there was
 * one. A pool that gives nothing is not looked at again for a while. */
size_t hak_pool_purge_oldest(hak_pool_idle_t idle, size_t max_bytes, size_t *slabs,
                             bool *any);
/* In the child of a fork: a thread that is not there was at that. */
void hak_pool_forget_visit(hak_shared_pool_t *pool);

/* The pool has the SuperSlab in its tree. */
bool hak_pool_contains(hak_shared_pool_t *pool, const hak_superslab_t *ss);

/* Calls `visit` for each SuperSlab cut into slabs, under the lock. */
void hak_pool_visit(hak_shared_pool_t *pool,
                    bool (*visit)(hak_superslab_t *ss, void *ctx), void *ctx);

/* Notes a run of SuperSlabs that is one block of the heap, so that it is found when the
 * heap goes; or forgets it. `ss` is its first. */
void hak_pool_add_run(hak_shared_pool_t *pool, hak_superslab_t *ss);
void hak_pool_remove_run(hak_shared_pool_t *pool, hak_superslab_t *ss);
/* In the child of a fork: takes a run out if it is one of the pool's. */
void hak_pool_forget_run(hak_shared_pool_t *pool, const hak_superslab_t *ss);

/* Large blocks that went with a heap, by usable size. */
typedef struct hak_pool_gone {
  uint64_t large_blocks, large_bytes;
} hak_pool_gone_t;

/* Ends every block in the pool's SuperSlabs and runs, in O(SuperSlabs). `keep`:
 * SuperSlabs cut into slabs stay, with their pages. Nobody uses the heap. */
void hak_pool_clear(hak_shared_pool_t *pool, bool keep, hak_pool_gone_t *gone);

bool hak_pool_is_valid(hak_shared_pool_t *pool);
/* In a hardened build the first line of free slots that was written to since what lay
 * there was freed, or NULL. Costs a look at each resident page of them. */
const void *hak_pool_find_written(hak_shared_pool_t *pool);

#endif
