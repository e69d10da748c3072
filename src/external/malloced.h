/* malloced.h - blocks that are malloc's, for tools that watch malloc.
 *
 * Where the option BACKEND says so, the heaps of a program have no memory of their own:
 * each of their blocks is one of malloc's, of exactly the size that was asked for, and
 * goes back by free. A sanitizer or valgrind sees what the program does to them. Here is
 * kept which blocks there are and whose they are: so they count for the heap's budget,
 * and go with the heap.
 *
 * A block has no header, which would part it from what the tool puts around it. A tree by
 * address has a record of each block, outside of it. Addresses are stored inverted:
 * nothing here keeps a block alive in the eyes of those who look for leaks.
 *
 * Depends on: base, os, pages.   Used by: heap, api.
 *
 * Cost of a block that comes or goes: malloc's, two short holds of one lock for all
 * heaps, and the depth of the tree.
 *
 * Invariant, checked by hak_malloced_is_valid(): the counters are what the list says, and
 * the tree finds each block of the list.
 *
 * Access: see base/lock.h; [const] is while the heap is live
 */
#ifndef HAK_EXTERNAL_MALLOCED_H
#define HAK_EXTERNAL_MALLOCED_H

#include "base/lock.h"
#include "pages/budget.h"
#include "pages/extent.h"

/* The record of a block. */
typedef struct hak_malloced_block hak_malloced_block_t;

/* What a heap has of malloc's blocks. */
typedef struct hak_malloced {
  hak_extent_t extent;         /* in no registry: it leads from a place to the heap */
  hak_budget_t *budget;        /* [const] that is charged the blocks' sizes */
  hak_malloced_block_t *first; /* [lock: malloced] all of them, the youngest first */
  hak_atomic_u64_t blocks;     /* [lock: malloced] others read it as a statistic */
  hak_atomic_u64_t bytes;      /* [lock: malloced] the same; counted as they are charged,
                                  a moment before the block is there */
} hak_malloced_t;

/* Whose the program's blocks are; HAK_BACKEND_* of the option is what was wished. */
typedef enum hak_malloced_state {
  HAK_MALLOCED_UNDECIDED = 0, /* the library is not running */
  HAK_MALLOCED_OFF,
  HAK_MALLOCED_ON
} hak_malloced_state_t;

HAK_EXTERN hak_atomic_u32_t
    hak_malloced_state; /* [owner: who starts or ends the library] */

HAK_HOT bool hak_malloced_is_off(void) {
  return HAK_LIKELY(hak_load_relaxed(&hak_malloced_state) == HAK_MALLOCED_OFF);
}
HAK_HOT bool hak_malloced_is_on(void) {
  return HAK_UNLIKELY(hak_load_relaxed(&hak_malloced_state) == HAK_MALLOCED_ON);
}
/* While the library is not running: they may be malloc's once it does, as far as options
 * say by now. */
bool hak_malloced_may_come(void);

/* Decides, for as long as the library runs. `hooked`: the program brought hooks for its
 * memory, which serve unless it names the backend. May call malloc. The state says it
 * from hak_malloced_open on, the last step of a start: the child of a fork may be left
 * with what a lost thread had started. */
void hak_malloced_start(const hak_os_t *os, bool hooked);
bool hak_malloced_is_chosen(void);
void hak_malloced_open(void);
/* Gives all blocks back, at shutdown; their records are about to go. */
void hak_malloced_stop(void);

/* A heap without blocks, as extents name it; `m` is zeroes or was a heap's before. */
void hak_malloced_begin(hak_malloced_t *m, void *heap_id, hak_budget_t *budget);

/* A block of `size` bytes (not 0), as hak_malloc_get. NULL, and nothing has changed, if
 * memory is short or a limit is in the way, which the call under way then knows. */
void *hak_malloced_alloc(hak_malloced_t *m, size_t size, size_t alignment, bool zero);
/* Frees a block; false if none starts there. Of two threads that free it at once one has
 * true. */
bool hak_malloced_free(void *block);
/* Puts a block with the same contents in the place of one of the heap's: of `size` bytes
 * (not 0), as hak_malloc_get. The heap is charged the difference alone, and nothing where
 * the size is no larger. `old` is the caller's then, for hak_malloc_put. NULL, and
 * nothing has changed, as for hak_malloced_alloc, or if another thread frees the old one.
 */
void *hak_malloced_move(hak_malloced_t *m, void *old, size_t size, size_t alignment);
/* Frees all blocks of a heap. */
void hak_malloced_clear(hak_malloced_t *m);

/* The block that an address lies in. False if it is none of malloc's that the library
 * gave. */
typedef struct hak_malloced_found {
  hak_malloced_t *owner;
  char *start;
  size_t size; /* bytes */
} hak_malloced_found_t;
bool hak_malloced_find(const void *address, hak_malloced_found_t *found);

/* Calls `visit` for each block while it returns true. The heap is quiet. */
void hak_malloced_visit(const hak_malloced_t *m,
                        bool (*visit)(char *block, size_t size, void *ctx), void *ctx);

HAK_HOT uint64_t hak_malloced_blocks(const hak_malloced_t *m) {
  return hak_load_relaxed(&((hak_malloced_t *)m)->blocks);
}
/* Under the lock: of two threads, one of which frees the last block and then looks
 * whether the heap is released, and one of which releases it and then looks here, one
 * sees what the other did. One that is being made or freed is charged, and counts. */
bool hak_malloced_is_empty(const hak_malloced_t *m);
HAK_HOT uint64_t hak_malloced_bytes(const hak_malloced_t *m) {
  return hak_load_relaxed(&((hak_malloced_t *)m)->bytes);
}

bool hak_malloced_is_valid(hak_malloced_t *m);

/* The lock of this module, for fork. */
hak_lock_t *hak_malloced_lock(void);
/* In the child of a fork, whose budgets are forgotten: counts and charges what the heap
 * has. What a lost thread was getting or giving back is malloc's loss. */
void hak_malloced_recharge(hak_malloced_t *m);

#endif
