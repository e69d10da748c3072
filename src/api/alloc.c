/* alloc.c - allocation.
 *
 * hak_alloc -> bin of the class has a block: done
 *   alloc_slow -> hak_refill_bin (tiny/refill.c): the bin's other lists, magazine,
 *       transfer cache, held slab, partial list, slab from the pool, SuperSlab from
 *       the OS
 *     -> nothing: give back what this thread cached, drain, once more; NULL
 *   alloc_slow, for a large block -> hak_api_large -> pool/large.c
 *   alloc_slow, where blocks are malloc's -> malloced.c: every bin is empty
 *
 * A hardened build has no fast path: all ways lead through hak_api_alloc, and each block
 * passes heap/harden.h on its way to the program.
 *
 * hak_free and its like are in free.c.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "api/api.h"
#include "base/option.h"
#include "base/report.h"
#include "heap/harden.h"
#include "heap/pressure.h"
#include "pages/density.h"
#include "pool/large.h"
#include "tiny/refill.h"
#include "tiny/stray.h"

/* --- blocks of a size class ----------------------------------------------------- */

HAK_SLOW void hak_api_report_no_block(const void *block) {
  hak_extent_t *extent = hak_locate((uintptr_t)block).extent;
  hak_heap_t *owner = extent == NULL ? NULL : hak_api_owner(extent);
  hak_api_report_stray(hak_stray_error(block), block, owner, HAK_IN_ALLOC);
}

void *hak_api_pop(const hak_link_key_t *key, hak_pace_t *pace, hak_bin_t *bin,
                  uint32_t cls) {
  void *block = NULL;
  while (!hak_bin_take_is_due(key, pace, bin, cls, &block)) {
    bool other = HAK_UNLIKELY(hak_class_is_single(cls)) &&
                 !hak_stray_is_named(hak_thread_self, bin, block) &&
                 hak_stray_is_other(cls, block);
    if (HAK_LIKELY(!other && !hak_stray_refuses(cls, block))) return block;
    hak_stray_leave(key, bin, cls, block);
    hak_api_report_no_block(block);
  }
  return NULL;
}

typedef struct small_request {
  uint32_t cls;
  bool no_grow, no_cache;
} small_request_t;

static void *small(hak_thread_t *me, hak_heap_t *heap, uint32_t cls) {
  /* A thread cache is a record that the OS may be asked for. */
  const hak_cache_t *cache =
      me->no_grow ? hak_kind_cache_made(me, heap) : hak_kind_cache_earned(me, heap);
  if (cache == NULL) return hak_kind_take_one(me, heap, cls);
  void *block;
  hak_bin_t *bin = &cache->bins[cls];
  /* A thread that shares its state has no fast path: the bin may have blocks. */
  if (hak_link_pop_fails(&me->key, &bin->ready, &block)) {
    block = hak_refill_bin(me, cache, cls);
  } else {
    uint32_t count = hak_load_relaxed(&bin->ready_count);
    hak_store_relaxed(&bin->ready_count, (uint16_t)(count - 1));
    if (HAK_UNLIKELY(hak_stray_is_other(cls, block) || hak_stray_refuses(cls, block))) {
      hak_stray_report(me, cache, block);
      hak_stray_leave(&me->key, bin, cls, block);
      block = hak_refill_bin(me, cache, cls);
    }
  }
  return block;
}

static void *take_small(hak_thread_t *me, hak_heap_t *heap, const void *request) {
  const small_request_t *r = request;
  me->no_grow = r->no_grow;
  bool past = r->no_cache && hak_kind_has_thread_caches(heap);
  void *block = past ? hak_kind_take_one(me, heap, r->cls) : small(me, heap, r->cls);
  me->no_grow = 0;
  return block;
}

/* A free block of a larger class that is aligned at least as well; nothing is asked for
 * it. A heap that can get no more would else refuse a size although blocks little larger
 * lie free. At first one of up to twice the size; after a few callbacks whatever they
 * freed is better than none. */
static void *take_larger(hak_thread_t *me, hak_heap_t *heap, const void *request,
                         uint32_t rounds) {
  enum {
    FACTOR = 2,
    FACTOR_ROUNDS = 8
  };
  const small_request_t *r = request;
  uint32_t most = rounds < FACTOR_ROUNDS ? FACTOR * hak_class_size(r->cls) : HAK_MID_MAX;
  void *block = NULL;
  me->no_grow = 1;
  for (uint32_t cls = r->cls + 1; block == NULL; cls++) {
    if (hak_class_is_single(cls) || hak_class_size(cls) > most) break;
    if ((hak_class_askew[r->cls] & ~hak_class_askew[cls]) != 0) continue;
    block = small(me, heap, cls);
  }
  me->no_grow = 0;
  return block;
}

static void *try_small(hak_heap_t *heap, const void *request, hak_budget_call_t *call) {
  const small_request_t *r = request;
  return hak_pressure_take(heap, take_small, take_larger, request, r->no_grow, call);
}

HAK_WARM static void *alloc_shared(hak_heap_t *heap, uint32_t cls, bool no_grow,
                                   bool no_cache) {
  hak_stay_t stay = hak_lifecycle_stay();
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return hak_fail(ENOMEM);
  if (heap == NULL) heap = hak_heap_get_default();
  small_request_t request = {cls, no_grow, no_cache};
  void *block = hak_pressure_request(heap, hak_class_size(cls), try_small, &request);
  hak_thread_trim(&heap->store->pool);
  hak_stay_end(stay);
  if (block == NULL) return hak_fail(ENOMEM);
  hak_event_emit(hak_class_is_single(cls) ? HAK_EVENT_LARGE_ALLOC : HAK_EVENT_REFILL,
                 block, hak_class_size(cls));
  return block;
}

HAK_WARM void *hak_api_small(hak_heap_t *heap, uint32_t cls, bool no_grow) {
  return alloc_shared(heap, cls, no_grow, false);
}

/* The common refill; everything else goes the long way. */
static HAK_WARM void *alloc_refill(uint32_t cls) {
  hak_thread_t *me = hak_thread_self;
  if (HAK_UNLIKELY(me->kind != HAK_THREAD_ATTACHED || hak_event_wanted() ||
                   hak_budget_calls != NULL)) {
    return hak_api_small(NULL, cls, false);
  }
  hak_busy_begin(me);
  hak_shared_pool_t *pool = &me->store->pool;
  void *block = hak_refill_bin(me, &me->cache, cls);
  hak_thread_leave(me, HAK_IN_ALLOC); /* an error handler may detach the thread */
  if (HAK_UNLIKELY(block == NULL)) return hak_api_small(NULL, cls, false);
  hak_thread_trim(pool);
  hak_pressure_soft(hak_heap_get_default());
  return block;
}

void *hak_api_hole(uint32_t cls) {
  hak_thread_t *me = hak_thread_self;
  if (me->kind != HAK_THREAD_ATTACHED || hak_event_wanted() || hak_budget_calls != NULL) {
    return NULL;
  }
  void *block = hak_api_pop(&me->key, &me->pace, &me->bins[cls], cls);
  if (block != NULL) return block;
  hak_busy_begin(me);
  me->no_grow = 1;
  block = hak_refill_bin(me, &me->cache, cls);
  me->no_grow = 0;
  hak_thread_leave(me, HAK_IN_ALLOC);
  return block;
}

/* --- large blocks ------------------------------------------------------------ */

typedef void *(large_fn)(hak_shared_pool_t *pool, size_t size, size_t alignment,
                         bool no_grow, bool *zeroed);

typedef struct large_request {
  large_fn *alloc;
  size_t size, alignment;
  bool no_grow, *zeroed;
} large_request_t;

static void *take_large(hak_thread_t *me, hak_heap_t *heap, const void *request) {
  const large_request_t *r = request;
  hak_shared_pool_t *pool = &heap->store->pool;
  *r->zeroed = false;
  /* The annex counts its blocks, and has no canaries. */
  if (hak_pool_is_enclosed(pool)) {
    return hak_api_annex_alloc(heap, r->size - HAK_CANARY_BYTES, r->alignment);
  }
  void *block = r->alloc(pool, r->size, r->alignment, r->no_grow, r->zeroed);
  if (block == NULL) return NULL;
  hak_thread_count_large(me, 1, (int64_t)hak_large_good_size(pool->os, r->size));
  return block;
}

static void *try_large(hak_heap_t *heap, const void *request, hak_budget_call_t *call) {
  const large_request_t *r = request;
  return hak_pressure_take(heap, take_large, NULL, request, r->no_grow, call);
}

static HAK_SLOW void *large(large_fn *alloc_large, hak_heap_t *heap, size_t size,
                            size_t alignment, bool no_grow, bool *zeroed) {
  if (size > PTRDIFF_MAX) return hak_fail(ENOMEM);
  hak_stay_t stay = hak_lifecycle_stay();
  if (stay == HAK_STAY_NONE) return hak_fail(ENOMEM);
  if (heap == NULL) heap = hak_heap_get_default();
  size += HAK_CANARY_BYTES;
  large_request_t request = {alloc_large, size, alignment, no_grow, zeroed};
  void *block;
  do {
    block = hak_pressure_request(heap, size, try_large, &request);
  } while (block != NULL && !hak_harden_give_large(heap, block, *zeroed));
  hak_shared_pool_t *pool = &heap->store->pool;
  /* In an annex nobody empties what is freed, and there are no canaries. */
  bool apart = hak_pool_is_enclosed(pool);
  if (HAK_CHECKS >= 3 && !apart) *zeroed = true;
  if (apart) size -= HAK_CANARY_BYTES;
  hak_thread_trim(pool);
  hak_api_annex_report(heap, HAK_IN_ALLOC);
  if (block != NULL) {
    hak_event_emit(HAK_EVENT_LARGE_ALLOC, block, hak_large_good_size(pool->os, size));
  }
  hak_stay_end(stay);
  return block;
}

HAK_WARM void *hak_api_large(hak_heap_t *heap, size_t size, size_t alignment,
                             bool no_grow, bool *zeroed) {
  return large(hak_large_alloc, heap, size, alignment, no_grow, zeroed);
}

void *hak_api_growing(hak_heap_t *heap, size_t size, size_t alignment, bool no_grow,
                      bool *zeroed) {
  return large(hak_large_alloc_growing, heap, size, alignment, no_grow, zeroed);
}

void *hak_api_mapping(hak_heap_t *heap, size_t size, size_t alignment, bool no_grow,
                      bool *zeroed) {
  return large(hak_large_map, heap, size, alignment, no_grow, zeroed);
}

/* --- any size, and what it is to contain ------------------------------------------- */

/* Alignments that every block of its size has anyway. */
static bool is_natural(size_t alignment, size_t size) {
  return alignment <= 16 && (alignment <= 8 || size > 8);
}

HAK_SLOW void hak_api_zero_from(char *block, size_t from) {
  size_t usable = hak_usable_size(block), end = usable;
  hak_place_t place = hak_locate((uintptr_t)block);
  /* No canary lies there, nor what a guarded block has behind its end. */
  if (HAK_CHECKS < 3 && place.cls == HAK_CLASS_LARGE && !hak_cells_have(block)) {
    size_t whole = hak_align_up(from, place.extent->os->page_size);
    if (whole < usable && hak_large_renew(&place, whole)) end = whole;
  }
  memset(block + from, 0, end - from);
}

/* A large block, which is `zeroed` or has old contents. */
static HAK_SLOW void make_zero(void *block, size_t size, bool zeroed) {
  if (zeroed) {
    if (size >= (size_t)hak_option(ZERO_PURGE_BYTES)) hak_density_note_zero(block, size);
    return;
  }
  hak_api_zero_from(block, 0);
}

void *hak_api_alloc(hak_heap_t *heap, size_t size, size_t alignment, unsigned flags) {
  if (heap != NULL && hak_heap_is_watched(heap)) {
    return hak_api_watched_alloc(heap, size, alignment, flags, NULL);
  }
  return hak_api_alloc_untold(heap, size, alignment, flags);
}

void *hak_api_group_alloc(hak_heap_t *group, size_t size, size_t alignment,
                          unsigned flags) {
  int saved = errno;
  void *block = hak_api_alloc(group, size, alignment, flags);
  errno = saved;
  return block;
}

/* A block of the class out of this thread's bin, or NULL. */
static void *take_ready(hak_heap_t *heap, uint32_t cls, unsigned flags) {
  hak_thread_t *me = hak_thread_self;
  /* No bin has one for such a call. */
  if ((flags & HAK_NO_CACHE) != 0 || hak_class_is_single(cls)) return NULL;
  if (heap != NULL) return hak_api_ready(heap, cls);
  return hak_api_pop(&me->key, &me->pace, &me->bins[cls], cls);
}

static void *take_shared(hak_heap_t *heap, uint32_t cls, unsigned flags) {
  return alloc_shared(heap, cls, (flags & HAK_NO_GROW) != 0, (flags & HAK_NO_CACHE) != 0);
}

/* A block of `size` bytes, for which the class will do. */
static void *alloc_class(hak_heap_t *heap, uint32_t cls, size_t size, size_t alignment,
                         unsigned flags) {
  bool zero = (flags & HAK_ZERO) != 0;
  void *block = take_ready(heap, cls, flags);
  bool refilled = block == NULL;
  if (HAK_UNLIKELY(refilled) && hak_api_guard_is_due() && (flags & HAK_NO_GROW) == 0) {
    block = hak_api_guarded(heap, size, alignment);
    if (block != NULL) return block;
  }
  if (refilled) block = take_shared(heap, cls, flags);
  /* What is no free block after all stays out. */
  while (HAK_CHECKS >= 3 && block != NULL && !hak_harden_give(heap, cls, block)) {
    block = take_ready(heap, cls, flags);
    refilled = block == NULL;
    if (refilled) block = take_shared(heap, cls, flags);
  }
  if (HAK_CHECKS >= 3 || !zero || block == NULL) return block;
  /* A refill may have brought one of a larger class than was asked for. */
  size_t bytes = HAK_UNLIKELY(refilled) ? hak_usable_size(block) : hak_class_size(cls);
  return memset(block, 0, bytes);
}

void *hak_api_alloc_untold(hak_heap_t *heap, size_t size, size_t alignment,
                           unsigned flags) {
  bool zero = (flags & HAK_ZERO) != 0, no_grow = (flags & HAK_NO_GROW) != 0;
  if (HAK_UNLIKELY(size > PTRDIFF_MAX)) return hak_fail(ENOMEM);
  if (heap == NULL ? hak_api_is_malloced() : !hak_kind_has_slabs(heap)) {
    return hak_api_alloc_elsewhere(heap, size, alignment, flags);
  }
  uint32_t cls = HAK_CLASSES;
  size_t least = (size == 0 ? 1 : size) + HAK_CANARY_BYTES;
  bool apart = heap != NULL && hak_heap_annex(heap) != NULL;
  /* Larger blocks that are to be zero may come from pages that are. */
  if (least <= (zero || apart ? HAK_MID_MAX : HAK_CLASS_MAX)) {
    cls = is_natural(alignment, least) ? hak_class_of(least)
                                       : hak_class_of_aligned(least, alignment);
    if (heap != NULL && heap->store->coarse) cls = hak_class_coarse(cls);
  }
  if (cls < HAK_CLASSES) return alloc_class(heap, cls, size, alignment, flags);
  bool zeroed;
  void *block = hak_api_large(heap, size == 0 ? 1 : size, alignment, no_grow, &zeroed);
  if (zero && block != NULL) make_zero(block, size, zeroed);
  return block;
}

void *hak_calloc(size_t count, size_t size) {
  size_t bytes;
  if (HAK_UNLIKELY(hak_mul_overflows(count, size, &bytes))) return hak_fail(ENOMEM);
  if (HAK_LIKELY(bytes <= HAK_TINY_MAX)) {
    void *block = hak_alloc(bytes);
    if (HAK_LIKELY(block != NULL)) memset(block, 0, bytes);
    return block;
  }
  return hak_api_alloc(NULL, bytes, 0, HAK_ZERO);
}

/* --- hak_alloc --------------------------------------------------------------------- */

/* Large sizes, and those whose bin is empty. */
static HAK_WARM void *alloc_slow(size_t size) {
  if (hak_api_is_malloced()) return hak_api_alloc_elsewhere(NULL, size, 0, 0);
  if (HAK_UNLIKELY(size > HAK_CLASS_MAX)) {
    bool zeroed;
    return hak_api_large(NULL, size, HAK_SLAB_SIZE, false, &zeroed);
  }
  if (HAK_UNLIKELY(hak_api_guard_is_due())) {
    void *block = hak_api_guarded(NULL, size, 0);
    if (block != NULL) return block;
  }
  return alloc_refill(hak_class_of(size));
}

/* In full checks, where no block is ready: the list that frees have made meanwhile. A
 * call in its last place has hak_alloc save no registers. */
static HAK_WARM void *alloc_flip(hak_bin_t *bin, size_t size) {
  hak_thread_t *me = hak_thread_self;
  void *block;
  if (HAK_UNLIKELY(hak_bin_flip_is_due(&me->key, &me->pace.flips, bin, &block))) {
    return alloc_slow(size);
  }
  return block;
}

/* From the class's bin: a block that is ready, or else the list that frees have
 * made meanwhile. */
HAK_HOT void *alloc_small(hak_thread_t *me, hak_bin_t *bin, size_t size) {
  void *block;
  if (HAK_CHECKS == 2) {
    return HAK_UNLIKELY(hak_link_pop_fails(&me->key, &bin->ready, &block))
               ? alloc_flip(bin, size)
               : block;
  }
  if (HAK_UNLIKELY(hak_bin_pop_is_due(&me->key, &me->pace.flips, bin, &block))) {
    return alloc_slow(size);
  }
  return block;
}

/* What alloc_mid and alloc_single seldom need, each a call in its last place: then they
 * have no registers to save. */
static HAK_SLOW void *alloc_again(hak_bin_t *bin, void *block, size_t size) {
  hak_thread_t *me = hak_thread_self;
  hak_stray_leave(&me->key, bin, hak_bin_class(me, bin), block);
  hak_api_report_no_block(block);
  return hak_alloc(size);
}
/* Of a class over HAK_MID_MAX, and the block's entry does not name the bin. */
static HAK_WARM void *alloc_unnamed(hak_bin_t *bin, void *block, size_t size) {
  uint32_t cls = hak_class_of_large(size);
  if (HAK_UNLIKELY(hak_stray_is_other(cls, block) || hak_stray_refuses(cls, block))) {
    return alloc_again(bin, block, size);
  }
  return block;
}
static HAK_WARM void *alloc_ready(hak_bin_t *bin, size_t size) {
  void *block;
  hak_thread_t *me = hak_thread_self;
  if (HAK_UNLIKELY(hak_bin_pop_mid_fails(&me->key, bin, &block))) return alloc_slow(size);
  uint32_t cls = hak_bin_class(me, bin);
  if (HAK_UNLIKELY(hak_class_is_single(cls) && !hak_stray_is_named(me, bin, block))) {
    return alloc_unnamed(bin, block, size);
  }
  if (HAK_UNLIKELY(hak_stray_refuses_mid(hak_class_askew[cls], block))) {
    return alloc_again(bin, block, size);
  }
  return block;
}
static HAK_WARM void *alloc_counted(hak_bin_t *bin, size_t size) {
  return hak_pace_is_due(&hak_thread_self->pace) ? alloc_slow(size)
                                                 : alloc_ready(bin, size);
}
static HAK_WARM void *alloc_odd(size_t size) {
  /* Size 0 looks into its bin like any other: a refill needs an empty one. */
  return size == 0 ? hak_alloc(1) : alloc_slow(size);
}

/* From the bin of a class over HAK_TINY_MAX. `single`: one over HAK_MID_MAX, of whose
 * blocks the registry is asked too. */
HAK_HOT void *take_last(size_t size, bool single) {
  hak_thread_t *me = hak_thread_self;
  const hak_mid_class_t *mid = &hak_mid_classes[hak_class_eighth(size)];
  hak_bin_t *bin = (hak_bin_t *)(void *)((char *)me + mid->bin_offset);
  void *block;
  if (HAK_UNLIKELY(hak_room_is_gone(&me->pace.pops))) return alloc_counted(bin, size);
  if (HAK_UNLIKELY(hak_bin_pop_last_fails(&me->key, bin, &block))) {
    return alloc_ready(bin, size);
  }
  if (single && HAK_UNLIKELY(!hak_stray_is_named(me, bin, block))) {
    return alloc_unnamed(bin, block, size);
  }
  if (HAK_UNLIKELY(hak_stray_refuses_mid(mid->askew, block))) {
    return alloc_again(bin, block, size);
  }
  return block;
}

/* Over HAK_MID_MAX, or 0. */
static HAK_WARM void *alloc_single(size_t size) {
  if (HAK_UNLIKELY(size - 1 >= HAK_CLASS_MAX)) return alloc_odd(size);
  return take_last(size, true);
}

/* Over HAK_TINY_MAX, or 0. Fast when frees have left a block of the class. */
static HAK_WARM void *alloc_mid(size_t size) {
  if (HAK_UNLIKELY(size - 1 >= HAK_MID_MAX)) return alloc_single(size);
  return take_last(size, false);
}

/* Fast when the class's bin has a block ready. First use, an empty bin, a bad
 * link and out of memory all leave through alloc_slow: a thread that has no
 * state simply has empty bins. */
HAK_HOT void *alloc(size_t size) {
  size_t step = (size - 1) >> 3;
  HAK_OPAQUE(step); /* else size - 1 is kept beside it, for the comparison */
  if (HAK_UNLIKELY(step >= HAK_TINY_STEPS)) return alloc_mid(size);
  hak_thread_t *me = hak_thread_self;
  return alloc_small(me, (hak_bin_t *)(void *)((char *)me + hak_bin_offset_of_step[step]),
                     size);
}

HAK_ENTRY void *hak_alloc(size_t size) {
  return HAK_CHECKS >= 3 ? hak_api_alloc(NULL, size, 0, 0) : alloc(size);
}
