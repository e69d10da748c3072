#include "heap/samples.h"

#include <string.h>

#include "base/event.h"
#include "base/report.h"
#include "heap/harden.h"
#include "heap/pressure.h"
#include "heap/thread.h"
#include "heap/thread_cache.h"
#include "pages/registry.h"
#include "pool/large.h"
#include "superslab/locate.h"
#include "superslab/pool_prefault.h"
#include "tiny/depot.h"
#include "tiny/refill.h"
#include "tiny/single.h"

static bool is_sampled(hak_heap_t *heap) {
  const hak_shared_pool_t *pool = &heap->store->pool;
  return hak_heap_kind(heap) != HAK_KIND_MALLOCED && !hak_heap_is_watched(heap) &&
         !hak_heap_is_enclosed(heap) && !hak_heap_is_anothers(heap) &&
         pool->os == hak_registry_os();
}

static HAK_SLOW hak_heap_t *make(hak_heap_t *heap) {
  /* Half of all records are for heaps that the program makes. */
  if (hak_heaps_made() > HAK_HEAPS_MAX / 2) return NULL;
  if (!is_sampled(heap) || !hak_heap_begin_samples(heap)) return NULL;
  hak_heap_plan_t plan = {.parent = heap,
                          .huge_pages = HAK_HUGE_NEVER,
                          .is_small = heap->store->coarse,
                          .serves = HAK_HEAP_SAMPLES};
  hak_heap_t *samples = hak_heap_make(hak_registry_os(), &plan);
  if (samples != NULL) hak_pool_keep_as(&samples->store->pool, &heap->store->pool);
  hak_heap_set_samples(heap, samples);
  return samples;
}

hak_heap_t *hak_samples_heap(hak_heap_t *heap) {
  hak_heap_t *samples = hak_heap_samples(heap);
  return samples != NULL ? samples : make(heap);
}

/* --- blocks ------------------------------------------------------------------------- */

static void *alloc_large(hak_thread_t *me, hak_shared_pool_t *pool, size_t size,
                         size_t alignment, bool zero, bool *zeroed) {
  if (alignment < HAK_SLAB_SIZE) alignment = HAK_SLAB_SIZE;
  void *block = hak_large_alloc(pool, size, alignment, false, zeroed);
  if (block == NULL) return NULL;
  hak_thread_count_large(me, 1, (int64_t)hak_large_good_size(pool->os, size));
  if (HAK_CHECKS < 3 && zero && !*zeroed) {
    hak_place_t place = hak_locate((uintptr_t)block);
    memset(block, 0, hak_large_usable(&place));
  }
  return block;
}

/* A block with a span to itself. It comes past all lists, whose blocks lose their marks
 * as they are taken. */
static void *alloc_single(hak_thread_t *me, hak_heap_t *samples, uint32_t cls) {
  hak_cache_t bare = hak_cache_bare(me, samples);
  void *block = hak_single_new(me, &bare, cls);
  me->guard.left--; /* as refills do */
  if (HAK_LIKELY(block != NULL)) hak_link_unmark(block);
  return block;
}

/* A block of the class: one that was kept, if there is one; see hak_samples_keep. */
static void *alloc_small(hak_thread_t *me, hak_heap_t *samples, uint32_t cls) {
  hak_store_t *store = samples->store;
  if (cls < HAK_SHARED_CLASSES && hak_store_has_spans(store, cls) &&
      !hak_depot_is_empty(&store->centrals[cls])) {
    hak_cache_t bare = hak_cache_bare(me, samples);
    void *block = hak_depot_take_kept(me, &bare, cls);
    if (HAK_LIKELY(block != NULL)) {
      me->guard.left--; /* as refills do */
      return block;
    }
  }
  if (hak_store_is_single(store, cls)) return alloc_single(me, samples, cls);
  return hak_refill_one(me, store, cls, 0);
}

/* The class of the block; HAK_CLASSES of a large one. */
static uint32_t class_for(hak_heap_t *samples, size_t size, size_t alignment) {
  if (size > HAK_CLASS_MAX) return HAK_CLASSES;
  uint32_t cls =
      alignment <= 8 ? hak_class_of(size) : hak_class_of_aligned(size, alignment);
  return samples->store->coarse ? hak_class_coarse(cls) : cls;
}

/* Of a block with a span to itself, or a large one. */
static void tell(const void *block, uint32_t cls) {
  hak_place_t place = hak_locate((uintptr_t)block);
  hak_event_emit(HAK_EVENT_LARGE_ALLOC, block,
                 cls < HAK_CLASSES ? hak_class_size(cls) : hak_large_usable(&place));
}

void *hak_samples_alloc(hak_thread_t *me, hak_heap_t *samples, size_t size,
                        size_t alignment, bool zero) {
  size += HAK_CANARY_BYTES;
  uint32_t cls = class_for(samples, size, alignment);
  bool large = cls >= HAK_CLASSES, zeroed = false;
  hak_busy_begin(me);
  void *block =
      large ? alloc_large(me, &samples->store->pool, size, alignment, zero, &zeroed)
            : alloc_small(me, samples, cls);
  hak_thread_leave(me, HAK_IN_ALLOC);
  hak_pressure_soft(samples);
  if (block == NULL) return NULL;
  if (HAK_CHECKS < 3 && zero && !large) memset(block, 0, hak_class_size(cls));
  bool given = large ? hak_harden_give_large(samples, block, zeroed)
                     : hak_harden_give(samples, 0, block);
  if (HAK_UNLIKELY(!given)) return NULL;
  if (hak_class_is_single(cls)) tell(block, cls);
  return block;
}

bool hak_samples_keep(hak_thread_t *me, hak_heap_t *samples, uint32_t cls, void *block,
                      bool is_free) {
  if (cls >= HAK_SHARED_CLASSES) return false;
  /* Those of a heap that was released are below the default heap, too, and end with their
   * last block. */
  if (samples != hak_heap_samples(hak_heap_get_default())) return false;
  hak_cache_t bare = hak_cache_bare(me, samples);
  return hak_depot_keep(me, &bare, cls, block, is_free);
}
