/* shared_pool.h - the free slabs of one heap: any of them serves any class and
 * any span.
 *
 * Depends on: base, os, superslab, region, registry.   Used by: retention, tiny,
 * pool, heap.
 *
 * The pool has the heap's SuperSlabs in a tree by address. A request takes the
 * lowest free run that fits: neighbours in time are neighbours in memory, and
 * SuperSlabs empty from the top. One that is wholly free goes back to its region
 * at once, where any heap finds it; its pages stay until they are purged.
 *
 * Invariant, checked by hak_pool_is_valid(): every SuperSlab in the tree has the
 * pool's heap, at least one slot taken (unless some are kept), and `run` and
 * `tree_run` tell the truth; slabs taken + slabs free == 32 x SuperSlabs.
 *
 * Cost: O(log of the heap's SuperSlabs).
 */
#ifndef HAK_SUPERSLAB_SHARED_POOL_H
#define HAK_SUPERSLAB_SHARED_POOL_H

#include "base/lock.h"
#include "pages/clock.h"
#include "superslab/region.h"

typedef struct hak_shared_pool {
  hak_lock_t lock;
  const hak_os_t *os;             /* [const] the process's hooks, or the heap's own */
  void *heap;                     /* [const] the heap that has this pool, its handle */
  bool starts_small;              /* [const] the first SuperSlabs never have huge pages */
  int32_t huge_pages;             /* [const] HAK_HUGE_* of the heap */
  uint32_t colour;                /* [const] where it begins, so that heaps used in turn
                                     do not meet in the same cache lines and TLB
                                     entries: each would begin a SuperSlab */
  bool keeps_free;                /* [lock] some SuperSlabs may be wholly free */
  uint64_t empty;                 /* [lock] free slots that have pages */
  uint64_t kept_slabs;            /* [lock] so many slots, taken or empty, are not given
                                     back; */
  uint64_t kept_superslabs;       /* [lock]   likewise SuperSlabs */
  uint32_t readying;              /* [lock] calls that make memory ready: nothing goes */
  uint64_t in_hand;               /* [lock] slots taken for that, or to be given back */
  hak_superslab_t *root;          /* [lock] */
  hak_superslab_t *runs;          /* [lock] first SuperSlabs of blocks, by `next` */
  hak_superslab_queue_t retained; /* [lock] SuperSlabs with empty committed slots */
  hak_atomic_u64_t superslabs;    /* [lock] in the tree; read by others as a statistic */
  hak_atomic_u64_t taken;         /* [lock] slots; likewise */
  hak_budget_t budget;            /* what the heap is charged */
  hak_atomic_u64_t mapped_blocks, mapped_bytes; /* in mappings of their own */
} hak_shared_pool_t;

/* With less room in its budget a heap has small pages: it could not pay for much that
 * it does not use. */
#define HAK_ROOM_FOR_HUGE_PAGES (64 * HAK_MIB)

void hak_pool_init(hak_shared_pool_t *pool, const hak_os_t *os, void *heap);
/* The pool of a budget that is a heap's. */
HAK_HOT hak_shared_pool_t *hak_pool_of_budget(hak_budget_t *budget) {
  return HAK_CONTAINER_OF(budget, hak_shared_pool_t, budget);
}
/* All its memory is the caller's (external_region.h): it cannot grow, and asks for
 * nothing. */
HAK_HOT bool hak_pool_is_enclosed(const hak_shared_pool_t *pool) {
  return hak_os_is_fixed(pool->os);
}
/* A pool without SuperSlabs passes to another heap. */
void hak_pool_pass_on(hak_shared_pool_t *pool, const hak_os_t *os, void *heap);

/* `span` slabs side by side, the first at a multiple of `alignment` bytes (at
 * least a slab, at most a SuperSlab), with their first `bytes` bytes committed;
 * the first one's record, or NULL. *zeroed: the bytes read as zero. No lock
 * held. */
hak_slab_t *hak_pool_get(hak_shared_pool_t *pool, unsigned span, size_t alignment,
                         size_t bytes, bool no_grow, bool *zeroed);

/* A slab of small blocks was got. If its SuperSlab began with small pages and
 * enough of its slots are taken now, it becomes a huge page. No lock held. */
void hak_pool_densify(hak_shared_pool_t *pool, hak_slab_t *slab);

/* Gives `span` slabs back. Nobody else can reach them. A partial list's lock may be
 * held. */
void hak_pool_put(hak_shared_pool_t *pool, hak_slab_t *first, unsigned span);

/* Grows a span in place by `more` slabs if those behind it are free; their pages
 * are not committed. */
bool hak_pool_extend(hak_shared_pool_t *pool, hak_slab_t *first, unsigned span,
                     unsigned more);

/* As hak_region_purge, for the heap's own SuperSlabs; what is to be kept stays. */
size_t hak_pool_purge(hak_shared_pool_t *pool, uint64_t before, size_t max_bytes,
                      size_t *slabs);

/* It has the SuperSlab in its tree. */
bool hak_pool_contains(hak_shared_pool_t *pool, const hak_superslab_t *ss);
/* The pool's address space is `bytes` at least from here on, for the pool alone. */
bool hak_pool_reserve(hak_shared_pool_t *pool, size_t bytes);
/* Commits and touches so many bytes of free slabs, the lowest first, and keeps as
 * many, beside what is in use now. No lock held. */
bool hak_pool_prefault(hak_shared_pool_t *pool, size_t bytes);
/* Keeps all pages that it has or gets; or, from what was reserved and prefaulted,
 * none. */
void hak_pool_keep_all(hak_shared_pool_t *pool);
void hak_pool_keep_none(hak_shared_pool_t *pool);

/* In the child of a fork: nobody makes memory of it ready, or gives it back, any more.
 * True if a thread had slots for that. */
bool hak_pool_forget_lost(hak_shared_pool_t *pool);

/* Calls `visit` for each SuperSlab cut into slabs, under the lock. */
void hak_pool_visit(hak_shared_pool_t *pool,
                    bool (*visit)(hak_superslab_t *ss, void *ctx), void *ctx);

/* A run of SuperSlabs that is one block of the heap: noted, so that it is found
 * when the heap goes; `ss` is its first. */
void hak_pool_add_run(hak_shared_pool_t *pool, hak_superslab_t *ss);
void hak_pool_remove_run(hak_shared_pool_t *pool, hak_superslab_t *ss);
/* In the child of a fork: likewise if it is one of them. */
void hak_pool_forget_run(hak_shared_pool_t *pool, const hak_superslab_t *ss);

/* Large blocks that went with a heap, by usable size. */
typedef struct hak_pool_gone {
  uint64_t large_blocks, large_bytes;
} hak_pool_gone_t;

/* Every block in the pool's SuperSlabs and runs is gone, in O(SuperSlabs). `keep`:
 * SuperSlabs cut into slabs stay, with their pages. Nobody uses the heap. */
void hak_pool_clear(hak_shared_pool_t *pool, bool keep, hak_pool_gone_t *gone);

bool hak_pool_is_valid(hak_shared_pool_t *pool);

#endif
