/* depot.h - lists of free blocks of a limited heap that no thread's quota has room for.
 *
 * Depends on: base, pages, superslab, home, magazine, single, stray.   Used by: tiny,
 * heap, api.
 *
 * While a hard limit is far, a bin that is full and may not grow puts whole lists into
 * the depot of the heap and class, and refills take whole lists from there: the blocks
 * are not touched, and the lock of the partial list is taken once for many blocks. What
 * lies in a depot is nobody's. Any thread may take it, and whoever meets a limit sends
 * all of it home, so it counts against no quota.
 *
 *     stored == blocks in all lists, at most
 *     stored <= depot_room    after a put
 *
 * Blocks in a depot keep their slabs from becoming free, so a depot has room for what was
 * missed: blocks that refills had to bring from elsewhere. It is no more than an eighth
 * of the limit, and none where so much was missed that the blocks are those of a single
 * burst. What nobody took for a decay goes home, and its room goes.
 *
 * A depot has some stacks, and each thread puts its lists into one of them. It takes from
 * there first, so it finds its own blocks again. When it gives up what it keeps of the
 * heap it sends home what lies there: where all threads have done so, nothing is left.
 */
#ifndef HAK_TINY_DEPOT_H
#define HAK_TINY_DEPOT_H

#include "tiny/magazine.h"

/* A list of free blocks, none of which lies on another list. */
typedef struct hak_depot_list {
  void *list;     /* HAK_LINK_END: there is none */
  uint32_t count; /* blocks, at most: after misuse there are fewer */
} hak_depot_list_t;

/* The list that a place of a depot's magazine stands for. */
hak_depot_list_t hak_depot_unpack(const void *word);

/* Puts a list there; false if there is no room for it, and nothing has changed. The class
 * is cached, of a heap whose limit is far. May take the lock of the partial list. */
bool hak_depot_put(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                   hak_depot_list_t list);

/* Takes a list of at most `most` blocks; none if there is nothing. May take the lock. */
hak_depot_list_t hak_depot_take(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                                uint32_t most);

/* Keeps a block for the next one of its class, if few are kept of its size: else its
 * slab might end, to be begun anew. False, and nothing has changed, if it is not kept.
 * `is_free`: the block may be a kept one, which is reported; no other is kept then. For
 * heaps of which no thread has a cache. Takes the lock. */
bool hak_depot_keep(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void *block,
                    bool is_free);
/* Takes a block that was kept; NULL if none is. May take the lock. */
void *hak_depot_take_kept(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* A refill had to bring so many blocks from elsewhere. */
void hak_depot_note_missed(const hak_cache_t *cache, uint32_t cls, uint32_t blocks);

HAK_HOT bool hak_depot_is_empty(const hak_central_t *central) {
  return hak_load_relaxed(&((hak_central_t *)central)->stored) == 0;
}
/* Sends home what lies in the class's depot, and the room for it goes. A cache without
 * bins will do. No lock is held. */
void hak_depot_send_home(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
/* The same of the stack that the thread puts its lists into. */
void hak_depot_send_own(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
/* Once in a decay: sends home what nobody took since the last time. */
void hak_depot_send_unused(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
/* Sends lists home as long as there is work: *work says how many blocks may go, and is
 * counted down by each. */
void hak_depot_send_some(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                         size_t *work);
/* Forgets what lies in a depot, but not what was missed; nobody may use the heap any
 * more.
 */
void hak_depot_clear(hak_thread_t *me, hak_central_t *central);

#endif
