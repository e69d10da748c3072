/* resize.c - how large blocks are, and blocks that change their size.
 *
 * A call that is given a block stays (heap/stay.h), so that hak_thread_enter has a state
 * for it.
 */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "base/report.h"
#include "heap/groups.h"
#include "heap/harden.h"
#include "heap/pressure.h"
#include "heap/samples.h"
#include "heap/teardown.h"
#include "learn/sample.h"
#include "os/malloc.h"
#include "pages/cell.h"
#include "pool/large.h"
#include "tiny/canary.h"
#include "tiny/single.h"

enum {
  RUN_SHARE = 8 /* of a block that has SuperSlabs of its own: what is copied costs little
                   beside what had been written */
};
/* Growing large blocks beyond this get a mapping of their own, so that the next
 * growth moves pages instead of copying them. */
#define REMAP_FROM HAK_LARGE_SPAN_MAX

/* --- sizes ------------------------------------------------------------------ */

static HAK_SLOW size_t size_of_large(size_t size) {
  hak_stay_t stay = hak_stay();
  const hak_os_t *os = stay == HAK_STAY_NONE ? hak_os_default() : hak_lifecycle_os();
  size_t good = hak_large_good_size(os, size);
  hak_stay_end(stay);
  return good > PTRDIFF_MAX ? 0 : hak_canary_below(good);
}
/* Of a block that is not guarded. */
HAK_HOT size_t size_of_ordinary(size_t size) {
  size = (size == 0 ? 1 : size) + HAK_CANARY_BYTES;
  if (HAK_UNLIKELY(size > HAK_CLASS_MAX)) return size_of_large(size);
  return hak_canary_below(hak_class_size(hak_class_of(size)));
}

/* The library has not started, and what blocks it will have may be said by variables that
 * the start reads. */
static bool may_become_exact(void) {
  return !hak_malloced_is_off() && !hak_malloced_is_on() &&
         (hak_malloced_may_come() || hak_options_are_in_environment());
}

size_t hak_good_size(size_t size) {
  if (size > PTRDIFF_MAX) return 0;
  /* A program may write as far as this says, and a guarded block ends where it was asked
   * to. So does one of malloc's. */
  bool guarded = hak_api_guards() && size <= HAK_CELL_SIZE_MOST;
  if (guarded || hak_malloced_is_on() || may_become_exact()) return size == 0 ? 1 : size;
  return size_of_ordinary(size);
}

/* --- samples ----------------------------------------------------------------- */

/* The block is a sample of its place, or was. */
static bool is_sampled(const hak_place_t *place) {
  if (place->cls == HAK_CLASS_EXTERNAL) return false;
  hak_heap_t *heap = hak_heap_of_extent(place->extent);
  return heap != NULL && hak_heap_is_samples(heap);
}

/* The sample that was taken out of the table for a resize has `size` bytes now and lies
 * at `block`, if that is still where frees are seen; of another place, if `site` is not
 * NULL. */
static void put_sample(hak_sample_t *sample, const void *block, size_t size,
                       hak_site_t *site) {
  hak_place_t place = hak_locate((uintptr_t)block);
  if (place.extent == NULL || !is_sampled(&place)) return;
  sample->block = block;
  sample->heap_id = hak_load_relaxed(&place.extent->heap);
  sample->size = size;
  if (site == NULL) {
    hak_sample_put(sample);
  } else {
    hak_asker_t asker = hak_api_asker(site);
    sample->origin = asker.origin;
    sample->stack = (uint16_t)asker.stack;
    hak_sample_put_new(sample);
  }
}

/* A sample that moves stays one where memory for that can be had. */
static void *alloc_sample(const hak_place_t *place, size_t size, size_t alignment,
                          unsigned flags) {
  hak_thread_t *me = hak_thread_self;
  if (me->kind != HAK_THREAD_ATTACHED || (flags & HAK_NO_GROW) != 0) return NULL;
  return hak_samples_alloc(me, hak_heap_of_extent(place->extent), size, alignment, false);
}

/* --- in place ---------------------------------------------------------------- */

/* The usable size after an attempt in place, 0 if it failed. */
static size_t resize_in_place(const hak_place_t *place, void *ptr, size_t usable,
                              size_t min_size, size_t want_size) {
  if (place->cls < HAK_CLASSES || place->cls == HAK_CLASS_MALLOCED ||
      hak_cells_have(ptr)) {
    return min_size <= usable ? usable : 0;
  }
  if (place->cls == HAK_CLASS_EXTERNAL) {
    return hak_api_external_resize(place, ptr, min_size, want_size,
                                   "hak_resize_in_place");
  }
  hak_shared_pool_t *pool = &hak_heap_of_extent(place->extent)->store->pool;
  if (min_size > usable && hak_budget_is_forbidden(&pool->budget)) return 0;
  hak_thread_t *me = hak_thread_enter();
  size_t now = hak_large_resize(pool, place, min_size + HAK_CANARY_BYTES,
                                want_size + HAK_CANARY_BYTES);
  if (now != 0) hak_harden_resized(ptr, usable + HAK_CANARY_BYTES, now);
  now = hak_canary_below(now);
  if (now != 0) hak_thread_count_large(me, 0, (int64_t)now - (int64_t)usable);
  hak_thread_leave(me, "hak_resize_in_place");
  return now;
}

static size_t resize_found(void *ptr, size_t min_size, size_t want_size) {
  hak_place_t place;
  size_t usable = hak_api_usable_live(ptr, &place, "hak_resize_in_place");
  if (usable == 0) return 0;
  size_t asked = want_size;
  if (place.cls == HAK_CLASS_LARGE && want_size <= HAK_MID_MAX)
    want_size = HAK_MID_MAX + 1;
  size_t now = resize_in_place(&place, ptr, usable, min_size, want_size);
  if (asked > now) asked = now; /* that is all of it that is had */
  hak_sample_t sample;
  if (HAK_UNLIKELY(now != 0 && is_sampled(&place)) && hak_sample_take(ptr, &sample)) {
    put_sample(&sample, ptr, asked == 0 ? 1 : asked, NULL);
  }
  if (now > usable) hak_pressure_soft(hak_heap_of_extent(place.extent));
  hak_heap_t *heap = hak_heap_of_extent(place.extent);
  if (now != 0) hak_api_tell_resize(heap, ptr, usable, ptr, asked, NULL);
  return now;
}

size_t hak_resize_in_place(void *ptr, size_t min_size, size_t want_size) {
  if (ptr == NULL || min_size > PTRDIFF_MAX) return 0;
  if (want_size < min_size) want_size = min_size;
  if (want_size > PTRDIFF_MAX) want_size = PTRDIFF_MAX;
  hak_stay_t stay = hak_api_stay(ptr, "hak_resize_in_place");
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return 0;
  size_t now = resize_found(ptr, min_size, want_size);
  hak_stay_end(stay);
  return now;
}

/* --- realloc ----------------------------------------------------------------- */

/* A block of a released heap moves into its owner's. */
static hak_heap_t *heap_to_move_to(const hak_place_t *place) {
  return hak_heap_record(hak_api_owner(place->extent));
}

/* A block of a group stays there, if one can be had; else NULL. */
static void *alloc_in_its_group(const hak_place_t *place, size_t size, size_t alignment,
                                unsigned flags) {
  hak_heap_t *heap = hak_heap_of_extent(place->extent);
  if (HAK_LIKELY(!hak_heap_is_group(heap))) return NULL;
  if (size > HAK_MID_MAX || !hak_groups_take(hak_heap_above(heap))) return NULL;
  return hak_api_group_alloc(heap, size, alignment, flags & ~(unsigned)HAK_ZERO);
}

static void *alloc_to_move(const hak_place_t *place, size_t usable, size_t size,
                           size_t alignment, unsigned flags) {
  bool grows = size > usable, no_grow = (flags & HAK_NO_GROW) != 0, zeroed;
  void *block = alloc_in_its_group(place, size, alignment, flags);
  if (HAK_UNLIKELY(block != NULL)) return block;
  hak_heap_t *heap = heap_to_move_to(place);
  grows = grows && hak_kind_has_slabs(heap); /* elsewhere nothing grows by pages */
  bool watched = hak_heap_is_watched(heap);
  if (HAK_UNLIKELY(is_sampled(place)) && !watched) {
    block = alloc_sample(place, size, alignment, flags);
    return block != NULL ? block : hak_api_alloc(heap, size, alignment, flags);
  }
  if (grows && usable >= REMAP_FROM) {
    block = hak_api_mapping(heap, size, alignment, no_grow, &zeroed);
  } else if (grows && size > HAK_MID_MAX) {
    block = hak_api_growing(heap, size, alignment, no_grow, &zeroed);
  } else {
    return hak_api_alloc(heap, size, alignment, flags & ~(unsigned)HAK_ZERO);
  }
  if (HAK_UNLIKELY(watched) && block != NULL) hak_api_tell_alloc(heap, block, size, NULL);
  return block;
}

static void *move(const hak_place_t *place, void *ptr, size_t usable, size_t size,
                  size_t alignment, unsigned flags) {
  void *block = alloc_to_move(place, usable, size, alignment, flags);
  if (block == NULL) return NULL;
  size_t kept = usable < size ? usable : size;
  memcpy(block, ptr, kept);
  hak_link_unmark_copy(&hak_thread_self->key, block, kept);
  hak_api_free(ptr, (flags & HAK_NO_CACHE) != 0);
  return block;
}

/* To make a block smaller never fails, which programs take for granted: where no other
 * can be had it stays what it is. Nobody is asked for room for that. */
static HAK_SLOW void *move_smaller(const hak_place_t *place, void *ptr, size_t usable,
                                   size_t size, size_t alignment, unsigned flags) {
  int saved = errno;
  hak_budget_call_t call;
  hak_budget_call_begin(&call); /* as within another request */
  void *block = move(place, ptr, usable, size, alignment, flags);
  hak_budget_call_end(&call);
  if (HAK_LIKELY(block != NULL)) return block;
  errno = saved;
  return ptr;
}

/* The block, which has room for the size, stays where it is with the class that the size
 * has, if both are over 56 KiB, and unless such memory was lately needed again, as is
 * always so of none. True if it has the size now. */
static bool shrink_single(const hak_place_t *place, size_t size) {
  size += HAK_CANARY_BYTES;
  if (size <= HAK_MID_MAX) return false;
  uint32_t cls = hak_class_of(size);
  size_t before = hak_class_size(place->cls), now = hak_class_size(cls);
  if (hak_large_grows_again(before - now)) return false;
  hak_thread_t *me = hak_thread_enter();
  hak_shared_pool_t *pool = &hak_heap_of_extent(place->extent)->store->pool;
  hak_single_shrink(me, pool, place->slab, cls);
  hak_harden_resized(place->start, before, now);
  hak_thread_leave(me, "hak_realloc");
  return true;
}

/* Of a large block. A run that becomes a small part of itself, and stays where it is,
 * leaves SuperSlabs with their pages that none of its length fits into. It moves, if that
 * costs little, so that the next one has all of them; else NULL. */
static void *move_out_of_run(const hak_place_t *place, void *ptr, size_t usable,
                             size_t size, size_t alignment, unsigned flags) {
  if (size > usable / RUN_SHARE || (flags & HAK_NO_GROW) != 0) return NULL;
  if (!hak_large_is_run(place)) return NULL;
  hak_budget_t *budget = &hak_heap_of_extent(place->extent)->store->pool.budget;
  if (hak_budget_room(budget) < usable || hak_large_grows_again(usable - size))
    return NULL;
  void *block = move_smaller(place, ptr, usable, size, alignment, flags);
  return block == ptr ? NULL : block;
}

static HAK_SLOW void report_lost(hak_thread_t *me, hak_heap_t *heap, const void *block,
                                 size_t usable) {
  hak_thread_count_large(me, -1, -(int64_t)usable);
  void *handle =
      hak_heap_is_anothers(heap) ? hak_heap_owner(heap) : hak_heap_handle(heap);
  hak_thread_defer_report(me, handle, HAK_ERROR_BAD_STATE, block,
                          "a hook moved the block out of reach, and it is lost");
}

/* *lost: the hook moved the block where no block can be, which is reported; nothing may
 * be done with its old address. */
static void *try_remap(const hak_place_t *place, size_t usable, size_t size,
                       size_t alignment, unsigned flags, bool *lost) {
  if (place->cls != HAK_CLASS_LARGE || size <= usable || (flags & HAK_NO_GROW) != 0 ||
      alignment > HAK_OS_REMAP_ALIGNMENT) {
    return NULL;
  }
  hak_thread_t *me = hak_thread_enter();
  hak_heap_t *heap = hak_heap_of_extent(place->extent);
  size += HAK_CANARY_BYTES;
  void *block = hak_large_remap(&heap->store->pool, place, size, lost);
  if (HAK_UNLIKELY(*lost)) {
    report_lost(me, heap, place->start, usable + HAK_CANARY_BYTES);
  } else if (block != NULL) {
    size_t now = hak_large_good_size(place->extent->os, size);
    hak_harden_resized(block, usable + HAK_CANARY_BYTES, now);
    now = hak_canary_below(now);
    hak_thread_count_large(me, 0, (int64_t)now - (int64_t)usable);
  }
  hak_thread_leave(me, "hak_realloc");
  if (block != NULL && block != place->start) {
    hak_api_tell_resize(heap, place->start, usable, block, size - HAK_CANARY_BYTES, NULL);
  }
  return block;
}

typedef struct resize_request {
  void *ptr;
  hak_place_t place;
  size_t usable, size, alignment;
  unsigned flags;
  bool *lost; /* nothing may be tried any more */
} resize_request_t;

/* The block is no large one any more, nor of an alignment that slabs do not have. */
static bool leaves_annex(const resize_request_t *r) {
  hak_heap_t *heap = hak_heap_of_extent(r->place.extent);
  return r->size <= HAK_MID_MAX && r->size <= r->usable &&
         r->alignment <= HAK_SLAB_SIZE && (r->flags & HAK_NO_MOVE) == 0 && heap != NULL &&
         hak_kind_has_slabs(heap);
}

/* A block in memory of the caller's: exact sizes, in place wherever there is room. What
 * is no large block any more leaves the annex; if the memory is full it gives up what it
 * does not need where it is. */
static void *resize_enclosed(const resize_request_t *r, const char *function) {
  bool aligned = r->alignment == 0 || hak_is_aligned((uintptr_t)r->ptr, r->alignment);
  void *block = r->ptr;
  if (aligned && leaves_annex(r)) {
    block = move_smaller(&r->place, r->ptr, r->usable, r->size, r->alignment, r->flags);
  }
  if (block != r->ptr) {
    /* It has left. */
  } else if (aligned && hak_api_external_resize(&r->place, r->ptr, r->size, r->size,
                                                function) != 0) {
    hak_heap_t *heap = hak_heap_of_extent(r->place.extent);
    hak_api_tell_resize(heap, block, r->usable, block, r->size, NULL);
  } else if ((r->flags & HAK_NO_MOVE) == 0) {
    block = move(&r->place, r->ptr, r->usable, r->size, r->alignment, r->flags);
  } else {
    return hak_fail(ENOMEM);
  }
  if (block != NULL && (r->flags & HAK_ZERO) != 0) {
    hak_api_zero_from(block, r->usable < r->size ? r->usable : r->size);
  }
  return block;
}

/* Other heaps below the limit that refused may have caches to give up. */
static void *try_malloced(hak_heap_t *heap, const void *request,
                          hak_budget_call_t *call) {
  const resize_request_t *r = request;
  hak_malloced_t *m = hak_heap_malloced(heap);
  bool no_grow = (r->flags & HAK_NO_GROW) != 0;
  hak_thread_t *me = hak_thread_enter();
  void *block = hak_malloced_move(m, r->ptr, r->size, r->alignment);
  if (HAK_UNLIKELY(block == NULL && call->refused_by != NULL && !no_grow)) {
    hak_pressure_relieve(me, heap, call->refused_by);
    call->refused_by = NULL;
    block = hak_malloced_move(m, r->ptr, r->size, r->alignment);
  }
  if (no_grow) call->refused_by = NULL;
  hak_thread_leave(me, "hak_realloc");
  return block;
}

/* Moves the block within its heap, where the two never count at once. A shrink asks no
 * limit. */
static void *move_malloced(hak_heap_t *heap, const resize_request_t *r) {
  void *block;
  if (r->size > r->usable) {
    block = hak_pressure_request(heap, r->size, try_malloced, r);
  } else {
    hak_budget_call_t call = {0};
    block = try_malloced(heap, r, &call);
  }
  if (block == NULL) return NULL;
  hak_api_tell_resize(heap, r->ptr, r->usable, block, r->size, NULL);
  hak_malloc_put(r->ptr); /* only now may another block get the address */
  return block;
}

/* A block of malloc's: wherever it may it moves with every change, so that whoever still
 * uses its old address, or what it has given up, is found. One that shrinks stays if
 * there is no memory for another. */
static void *resize_malloced(const resize_request_t *r) {
  bool aligned = r->alignment == 0 || hak_is_aligned((uintptr_t)r->ptr, r->alignment);
  if ((r->flags & HAK_NO_MOVE) != 0) {
    return aligned && r->size <= r->usable ? r->ptr : hak_fail(ENOMEM);
  }
  if (aligned && r->size == r->usable) return r->ptr;
  hak_heap_t *heap = hak_heap_of_extent(r->place.extent);
  int saved = errno;
  void *block = NULL;
  if (heap_to_move_to(&r->place) != heap) {
    block = move(&r->place, r->ptr, r->usable, r->size, r->alignment, r->flags);
  }
  if (block == NULL) block = move_malloced(heap, r);
  if (block == NULL && aligned && r->size < r->usable) {
    errno = saved;
    return r->ptr;
  }
  if (block == NULL) return hak_fail(ENOMEM);
  if ((r->flags & HAK_ZERO) != 0 && r->size > r->usable)
    hak_api_zero_from(block, r->usable);
  return block;
}

/* What a large block is to have in the place where it is. One that grows by little mostly
 * goes on so: it gets a little more, where that costs no slab more and no limit counts
 * it.
 */
static size_t size_in_place(const hak_place_t *place, size_t usable, size_t size) {
  if (size <= HAK_MID_MAX) return HAK_MID_MAX + 1;
  size_t more = hak_api_growth_slack(size), end = size + HAK_CANARY_BYTES;
  if (HAK_CHECKS >= 3 || size <= usable || size - usable > more) return size;
  const hak_heap_t *heap = hak_heap_of_extent(place->extent);
  if (hak_budget_is_limited(&heap->store->pool.budget)) return size;
  end = hak_align_up(end, HAK_SLAB_SIZE) - HAK_CANARY_BYTES;
  return end - size < more ? end : size + more;
}

/* In place, or by moving pages, or the block. */
static HAK_SLOW void *resize(const resize_request_t *r) {
  void *ptr = r->ptr;
  hak_place_t place = r->place;
  size_t usable = r->usable, size = r->size, alignment = r->alignment;
  unsigned flags = r->flags;
  bool aligned = alignment == 0 || hak_is_aligned((uintptr_t)ptr, alignment);
  bool may_move = (flags & HAK_NO_MOVE) == 0;
  if (aligned) {
    bool fits = size <= usable && (!may_move || size > usable / HAK_SHRINK_SHARE);
    if (place.cls < HAK_CLASSES) {
      if (fits && may_move && shrink_single(&place, size)) {
        if ((flags & HAK_ZERO) != 0) hak_api_zero_from(ptr, size);
        return ptr;
      }
      /* The block of a small class is what it is. */
      if (fits || (size <= usable && size_of_ordinary(size) == usable)) return ptr;
    } else if (size > HAK_MID_MAX || !may_move) {
      if (size == usable) return ptr;
      void *moved =
          may_move ? move_out_of_run(&place, ptr, usable, size, alignment, flags) : NULL;
      if (moved != NULL) {
        if ((flags & HAK_ZERO) != 0) hak_api_zero_from(moved, size);
        return moved;
      }
      size_t want = size_in_place(&place, usable, size);
      if ((flags & HAK_NO_GROW) == 0 || size <= usable) {
        if (resize_in_place(&place, ptr, usable, size, want) != 0) {
          if ((flags & HAK_ZERO) != 0)
            hak_api_zero_from(ptr, usable < size ? usable : size);
          return ptr;
        }
        if (size <= usable) return ptr;
      }
    }
  }
  if (!may_move) return hak_fail(ENOMEM);
  void *block =
      aligned ? try_remap(&place, usable, size, alignment, flags, r->lost) : NULL;
  if (HAK_UNLIKELY(*r->lost)) return hak_fail(ENOMEM);
  if (block == NULL && aligned && size <= usable) {
    block = move_smaller(&place, ptr, usable, size, alignment, flags);
  } else if (block == NULL) {
    block = move(&place, ptr, usable, size, alignment, flags);
  }
  if (block != NULL && (flags & HAK_ZERO) != 0) {
    hak_api_zero_from(block, usable < size ? usable : size);
  }
  return block;
}

static void *try_resize(hak_heap_t *heap, const void *request, hak_budget_call_t *call) {
  const resize_request_t *r = request;
  void *block = resize(r);
  if (*r->lost) call->refused_by = NULL; /* nobody is asked, nor is it tried again */
  if (HAK_LIKELY(block != NULL || call->refused_by == NULL)) return block;
  hak_thread_t *me = hak_thread_enter();
  hak_pressure_relieve(me, heap, call->refused_by);
  hak_thread_leave(me, "hak_realloc");
  call->refused_by = NULL;
  return resize(r);
}

/* The block may be the last one of a released heap, which must not end before those who
 * set limits have been asked. */
static void *resize_pinned(hak_heap_t *heap, const resize_request_t *r) {
  bool pin = hak_heap_pin(heap);
  void *block = hak_pressure_request(heap, r->size, try_resize, r);
  if (!pin) return block;
  hak_thread_t *me = hak_thread_enter();
  hak_teardown_unpin(me, heap);
  hak_thread_leave(me, "hak_realloc");
  return block;
}

static void *resize_block(const resize_request_t *r) {
  if (r->size <= r->usable || (r->flags & HAK_NO_GROW) != 0) return resize(r);
  return resize_pinned(hak_heap_of_extent(r->place.extent), r);
}

/* What becomes of a sample, or of another block that may become one, by a resize for a
 * place, or for none. Each byte of a block is picked once, when the block has grown to
 * have it (learn/chance.h): so growth counts like an allocation of as many bytes, and a
 * sample that grows is one of its new size. Where nobody names a place, nothing is
 * picked. Returns where the block is. */
static void *count_resize(const resize_request_t *r, void *block, hak_site_t *site,
                          hak_sample_t *sample) {
  bool moved = block != r->ptr;
  size_t growth = site != NULL && r->size > r->usable ? r->size - r->usable : 0;
  if (HAK_LIKELY(sample == NULL)) {
    if (HAK_LIKELY(growth == 0)) return block;
    return hak_api_grown_at(block, r->size, growth, r->alignment, r->flags, site);
  }
  if (growth != 0) hak_sample_grow(sample, r->size);
  put_sample(sample, block, r->size, moved ? site : NULL);
  return block;
}

static void *resize_any(void *ptr, size_t size, size_t alignment, unsigned flags,
                        hak_site_t *site, const char *function) {
  bool lost = false;
  resize_request_t r = {.ptr = ptr, .size = size == 0 ? 1 : size, .lost = &lost};
  r.alignment = alignment;
  r.flags = flags;
  r.usable = hak_api_usable_live(ptr, &r.place, function);
  if (HAK_UNLIKELY(r.usable == 0)) return hak_fail(EINVAL);
  if (r.place.cls == HAK_CLASS_EXTERNAL) return resize_enclosed(&r, function);
  if (r.place.cls == HAK_CLASS_MALLOCED) return resize_malloced(&r);
  hak_sample_t sample;
  bool sampled = is_sampled(&r.place) && hak_sample_take(ptr, &sample);
  hak_heap_t *heap = hak_heap_of_extent(r.place.extent);
  void *block = resize_block(&r);
  if (block == ptr) hak_api_tell_resize(heap, ptr, r.usable, ptr, r.size, site);
  if (HAK_LIKELY(block != NULL)) {
    return count_resize(&r, block, site, sampled ? &sample : NULL);
  }
  if (sampled && !lost) put_sample(&sample, ptr, (size_t)sample.size, NULL);
  return NULL;
}

void *hak_api_resize_at(void *ptr, size_t size, size_t alignment, unsigned flags,
                        hak_site_t *site, const char *function) {
  if (HAK_UNLIKELY(size > PTRDIFF_MAX)) return hak_fail(ENOMEM);
  hak_stay_t stay = hak_api_stay(ptr, function);
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return hak_fail(EINVAL);
  void *block = resize_any(ptr, size, alignment, flags, site, function);
  hak_stay_end(stay);
  return block;
}

void *hak_realloc(void *ptr, size_t size) {
  if (ptr == NULL) return hak_alloc(size);
  return hak_api_resize(ptr, size, "hak_realloc");
}

void *hak_reallocarray(void *ptr, size_t count, size_t size) {
  size_t bytes;
  if (HAK_UNLIKELY(hak_mul_overflows(count, size, &bytes))) return hak_fail(ENOMEM);
  if (ptr == NULL) return hak_alloc(bytes);
  return hak_api_resize(ptr, bytes, "hak_reallocarray");
}
