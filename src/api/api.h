/* api.h - what the files of the public interface share.
 *
 * Depends on: base, heap, learn, pages, pool, superslab.   Used by: api.
 *
 * A parameter `heap` is a record here, NULL for the default heap where that is said;
 * `handle` is what the program named. `function` is the public function on whose behalf
 * misuse is reported. No function may be called with a lock held.
 */
#ifndef HAK_API_API_H
#define HAK_API_API_H

#include "base/check.h"
#include "base/event.h"
#include "base/option.h"
#include "heap/give_up.h"
#include "heap/heap.h"
#include "heap/kind.h"
#include "heap/lifecycle.h"
#include "heap/serial.h"
#include "heap/thread.h"
#include "heap/thread_cache.h"
#include "heap/threads.h"
#include "learn/sample.h"
#include "pages/cell.h"
#include "pool/large.h"
#include "superslab/locate.h"

/* --- alloc.c ------------------------------------------------------------------------ */

/* Any size, alignment and flags that hak_allocx takes, already checked. NULL and errno =
 * ENOMEM if memory is short. NULL as `heap` is the default heap. */
void *hak_api_alloc(hak_heap_t *heap, size_t size, size_t alignment, unsigned flags);

/* The same, and no hook of the heap's hears of it. */
void *hak_api_alloc_untold(hak_heap_t *heap, size_t size, size_t alignment,
                           unsigned flags);

/* The same of a group's heap, for a request that the default heap can serve too: NULL,
 * and errno is kept, if the group cannot. */
void *hak_api_group_alloc(hak_heap_t *group, size_t size, size_t alignment,
                          unsigned flags);

/* A block of a shared class of the default heap for which the OS is not asked; NULL if
 * there is none, or only in a longer way. errno is kept. */
void *hak_api_hole(uint32_t cls);

/* What hak_api_alloc makes of it: a block of a size class; a large block; one that lies
 * where it can grow, if there is such a place; a block in a mapping of its own, whatever
 * its size. *zeroed: all of its bytes are zero. */
void *hak_api_small(hak_heap_t *heap, uint32_t cls, bool no_grow);
void *hak_api_large(hak_heap_t *heap, size_t size, size_t alignment, bool no_grow,
                    bool *zeroed);
void *hak_api_growing(hak_heap_t *heap, size_t size, size_t alignment, bool no_grow,
                      bool *zeroed);
void *hak_api_mapping(hak_heap_t *heap, size_t size, size_t alignment, bool no_grow,
                      bool *zeroed);
/* Zeroes what a block has from there on, which of a large one need not touch its pages.
 */
void hak_api_zero_from(char *block, size_t from);

/* A block of the class that lies in the bin, or NULL: now and then although there is one,
 * so that the caller goes on to a refill (tiny/recall.h). An address in the bin that is
 * no block is reported and left out. */
void *hak_api_pop(const hak_link_key_t *key, hak_pace_t *pace, hak_bin_t *bin,
                  uint32_t cls);
/* What lay in a bin is no block. */
void hak_api_report_no_block(const void *block);

/* --- guarded.c: sampled blocks that lie alone ----------------------------------------
 */

/* The thread's next allocation is to be guarded, if it can be. Called in slow paths. */
HAK_SLOW bool hak_api_guard_counts(void);
/* Some blocks are guarded; by default none are but in hardened builds. */
HAK_HOT bool hak_api_guards(void) {
  int64_t wanted = hak_option(GUARD_SAMPLE);
  return HAK_CHECKS >= 3 ? wanted != 0 : HAK_UNLIKELY(wanted > 0);
}
HAK_HOT bool hak_api_guard_is_due(void) {
  if (!hak_api_guards()) return false;
  return HAK_UNLIKELY(hak_thread_self->guard.left <= 0) && hak_api_guard_counts();
}
/* A block between pages that nobody may touch, zeroed; NULL as `heap` is the default one.
 * NULL, and errno is kept, if none can be had. */
void *hak_api_guarded(hak_heap_t *heap, size_t size, size_t alignment);
/* The block was allocated for the place of an origin, or may have been guarded. */
HAK_SLOW void hak_api_guard_set_origin(const void *block, uint32_t origin);
HAK_HOT void hak_api_guard_name(const void *block, uint32_t origin) {
  if (HAK_UNLIKELY(hak_cells_have(block))) hak_api_guard_set_origin(block, origin);
}

/* A guarded block is about to be freed: what it has in its pages beside it is looked at,
 * and reported. `calls` are those that the thread is in, for hak_cell_set_free. */
void hak_api_guard_freeing(const void *block, const char *function, hak_calls_t *calls);
/* What a free of an address in a cell is that is no block in use. */
hak_error_t hak_api_guard_error(const void *address);
/* What the program's hook for stacks says (stacks.c); 0: nothing, or there is none. */
size_t hak_api_calls(void **frames, size_t most);
/* The handle of the heap that a guarded block is of, or was; NULL where nothing is known.
 */
hak_heap_t *hak_api_guard_heap(const void *address);

/* --- heap_alloc.c, serial.c -----------------------------------------------------------
 */

/* A block of the class out of the cache that this thread works on for the heap (not
 * NULL), or NULL. */
void *hak_api_ready(hak_heap_t *heap, uint32_t cls);

/* The same, where the thread's bin has no block ready: from wherever the heap has one.
 * Not of the default heap. NULL and errno = ENOMEM if memory is short. */
void *hak_api_class(hak_heap_t *heap, uint32_t cls);

/* hak_heap_alloc past its fast path: a handle of any kind, and any size. */
void *hak_api_heap_slow(hak_heap_t *handle, size_t size);

/* hak_heap_alloc for the handle of a serial heap, where the fast path found no block. */
void *hak_api_serial_alloc(hak_heap_t *handle, size_t size);

/* --- free.c, resize_class.c, resize.c ----------------------------------------------- */

/* Where a block lies, and its usable size; 0 after a report if `ptr` is no block. */
size_t hak_api_usable(const void *ptr, hak_place_t *place, const char *function);
/* The same for a call that does not free the block: in full checks 0 too, after a report,
 * for a block that is free. */
size_t hak_api_usable_live(const void *ptr, hak_place_t *place, const char *function);

/* hak_free, or with `no_cache` hak_freex with HAK_NO_CACHE. */
void hak_api_free(void *ptr, bool no_cache);

/* A block (not NULL) that shrinks to less than this share of itself is moved, so that the
 * rest becomes useful; nearer ones stay. */
enum {
  HAK_SHRINK_SHARE = 2
};
/* A large block that grows by no more than this many bytes gets as many besides, and
 * keeps them until it shrinks by more. */
HAK_HOT size_t hak_api_growth_slack(size_t size) {
  enum {
    SHARE = 32
  };
  return size / SHARE < HAK_SLAB_SIZE ? size / SHARE : HAK_SLAB_SIZE;
}
/* Any realloc of a block (not NULL) without alignment and flags where its class or its
 * pages do for the size too, or this thread's bin has a block that does. NULL, and
 * nothing has changed: it is for hak_api_resize to say. */
void *hak_api_resize_class(void *ptr, size_t size);
/* Any realloc of a block (not NULL) for a place in the program, which the block counts
 * for if it moves; NULL for none. The size, alignment and flags are already checked. */
void *hak_api_resize_at(void *ptr, size_t size, size_t alignment, unsigned flags,
                        hak_site_t *site, const char *function);
/* The same without alignment and flags, for no place. */
HAK_HOT void *hak_api_resize(void *ptr, size_t size, const char *function) {
  void *block = hak_api_resize_class(ptr, size);
  if (HAK_LIKELY(block != NULL)) return block;
  return hak_api_resize_at(ptr, size, 0, 0, NULL, function);
}

/* Reports that `ptr` is no block in use: it was freed, lies inside of a block, or is not
 * hakmem's. */
void hak_api_report_stray(hak_error_t error, const void *ptr, hak_heap_t *owner,
                          const char *function);

/* hak_stay for a call that is given a block. HAK_STAY_NONE comes after a report, as no
 * address is a block while the library is not running. */
void hak_api_report_not_running(const void *ptr, const char *function);
HAK_HOT hak_stay_t hak_api_stay(const void *ptr, const char *function) {
  hak_stay_t stay = hak_stay();
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) hak_api_report_not_running(ptr, function);
  return stay;
}

/* --- watch.c: heaps of which a hook hears ------------------------------------------- */

/* hak_api_alloc of a watched heap, whose hook hears of it. */
void *hak_api_watched_alloc(hak_heap_t *heap, size_t size, size_t alignment,
                            unsigned flags, const hak_site_t *site);
/* A block of a watched heap was made otherwise. */
void hak_api_tell_alloc(hak_heap_t *heap, void *block, size_t requested,
                        const hak_site_t *site);
/* A block of a watched heap, of `usable` bytes, is about to be freed. */
void hak_api_tell_free(hak_heap_t *heap, void *ptr, size_t usable);
/* A block of any heap that was at `old`, with so many usable bytes, was resized without
 * being copied. */
void hak_api_tell_resize(hak_heap_t *heap, void *old, size_t old_size, void *block,
                         size_t requested, const hak_site_t *site);
/* Who has to hear that all blocks of a heap are gone; nobody if it is not watched. */
typedef struct hak_farewell {
  hak_block_event_fn *fn; /* or NULL */
  void *ctx;
  hak_heap_t *handle;
} hak_farewell_t;
hak_farewell_t hak_api_farewell(hak_heap_t *heap);
void hak_api_tell_all_gone(const hak_farewell_t *farewell);

/* --- external.c: blocks in little memory of the caller's, and in the annex of much ----
 */

/* A large block in the heap's annex; NULL if that has no room. */
void *hak_api_annex_alloc(hak_heap_t *heap, size_t size, size_t alignment);
/* Reports a freed block of the annex that was found to be written to, if any. No lock
 * held. */
void hak_api_annex_report(hak_heap_t *heap, const char *function);
/* The heap's blocks of this size are of no class. */
HAK_HOT bool hak_api_is_large(hak_heap_t *heap, size_t size) {
  return size > HAK_MID_MAX && (size > HAK_CLASS_MAX || hak_heap_annex(heap) != NULL);
}
/* NULL and errno = ENOMEM if the heap's memory is full. */
void *hak_api_external_alloc(hak_heap_t *heap, size_t size, size_t alignment,
                             unsigned flags);
/* The usable size of a block; 0 after a report if `ptr` is no block. */
size_t hak_api_external_usable(const hak_place_t *place, const void *ptr,
                               const char *function);
/* Of a block that was looked at before. If another thread frees it meanwhile, that is
 * reported. */
void hak_api_external_free(const hak_place_t *place, void *ptr, size_t usable,
                           const char *function);
/* The usable size after a resize in place to `want` bytes, or at least `least`; 0 if
 * neither fits, and nothing has changed. */
size_t hak_api_external_resize(const hak_place_t *place, void *ptr, size_t least,
                               size_t want, const char *function);

/* --- malloced.c: blocks that are malloc's
 * --------------------------------------------- */

/* A block for a heap that has none in slabs; NULL is the default heap, where its blocks
 * are malloc's. */
void *hak_api_alloc_elsewhere(hak_heap_t *heap, size_t size, size_t alignment,
                              unsigned flags);

/* The default heap's blocks are malloc's. What is not decided yet is decided by starting
 * the library. */
bool hak_api_malloced_decides(void);
HAK_HOT bool hak_api_is_malloced(void) {
  return HAK_UNLIKELY(!hak_malloced_is_off()) && hak_api_malloced_decides();
}

/* The block of malloc's, given by a heap of the library's, that an address lies in; false
 * if it lies in none. *size: its bytes. */
bool hak_api_malloced_place(const void *ptr, hak_place_t *place, size_t *size);
/* Of a block that was looked at before. If another thread frees it meanwhile, that is
 * reported. */
void hak_api_malloced_free(const hak_place_t *place, void *ptr, const char *function);
/* The tool that watches malloc, or else the error handler, is told that `ptr` is no block
 * in use. */
void hak_api_malloced_report(const void *ptr, const char *function);

/* --- heaps.c, ready.c
 * -------------------------------------------------------------------- */

/* The record of the heap that a handle names; of the default heap for NULL. NULL if the
 * heap is gone, or the library could not start. */
hak_heap_t *hak_api_heap(hak_heap_t *handle);
/* The same for a program that asks the heap for a block: a heap that is gone is reported,
 * and errno is EINVAL or ENOMEM. */
hak_heap_t *hak_api_heap_or_report(hak_heap_t *handle, const char *function);

/* The handle under which the program knows the owner of an extent; NULL for no owner. */
hak_heap_t *hak_api_owner(hak_extent_t *extent);

/* hak_heap_prefault of a record. */
int hak_api_prefault(hak_heap_t *heap, size_t bytes);

/* --- stats.c
 * ------------------------------------------------------------------------------ */

/* Blocks of a heap that the program holds, by class where they have one. */
typedef struct hak_live {
  uint64_t blocks[HAK_CLASSES];
  uint64_t other_blocks, other_bytes; /* large, or in little memory of the caller's */
} hak_live_t;

/* Exact, for a heap that nobody uses at this moment; allocates nothing. */
void hak_api_count_live(hak_heap_t *heap, hak_live_t *out);

/* --- leaks.c
 * ------------------------------------------------------------------------------ */

/* Reports the blocks of a heap that the program still holds; the heap is quiet. */
void hak_api_report_leaks(hak_heap_t *heap, const char *function);

/* --- aligned.c
 * ---------------------------------------------------------------------------- */

/* True if hakmem.h allows the alignment; else errno is EINVAL. */
bool hak_api_alignment_is_valid(size_t alignment);

/* --- site.c
 * ------------------------------------------------------------------------------- */

/* hak_api_alloc for a place in the program, of which the block may become a sample; for
 * NULL as `site` the same as hak_api_alloc. */
void *hak_api_alloc_at(hak_heap_t *heap, size_t size, size_t alignment, unsigned flags,
                       hak_site_t *site);

/* A block has grown by `growth` bytes to `size`, and is no sample: it may become one of
 * the place, and moves then. Returns where it is. */
void *hak_api_grown_at(void *block, size_t size, size_t growth, size_t alignment,
                       unsigned flags, hak_site_t *site);
/* The number of the place's origin (learn/origin.h). */
uint32_t hak_api_origin(hak_site_t *site);
/* The number of the stack by which the thread reached the place of an origin, where the
 * program asks for stacks (learn/stack.h); may call the OS, and the program's hook. */
uint32_t hak_api_stack(uint32_t origin);
/* Both, of who asks now. Leaves errno alone. */
hak_asker_t hak_api_asker(hak_site_t *site);

#endif
