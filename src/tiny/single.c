#include "tiny/single.h"

#include "base/option.h"
#include "superslab/locate.h"
#include "tiny/capacity.h"

HAK_WARM void *hak_single_new(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  size_t size = hak_class_size(cls);
  unsigned span = (unsigned)hak_div_up(size, HAK_SLAB_SIZE);
  bool zeroed;
  hak_slab_t *slab = hak_pool_get(&cache->store->pool, span, HAK_SLAB_SIZE, size,
                                  me->no_grow != 0, &zeroed);
  if (slab == NULL) return NULL;
  HAK_COUNT(me, slab_fresh, 1);
  char *start = hak_slab_start(slab);
  slab->list.head = HAK_LINK_END;
  slab->list.block_size = (uint32_t)size;
  hak_store_relaxed(&slab->carved, 1);
  hak_store_relaxed(&slab->capacity, 1);
  hak_slab_set_class(slab, cls);
  slab->span = (uint8_t)span;
  slab->queue = HAK_QUEUE_NONE;
  slab->dirty = 0;
  hak_slab_set_out(slab, 1, 0);
  /* Relaxed: nobody else has the block. */
  hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_FULL, 0));
  hak_locate_set_class((uintptr_t)start, span, cls);
  HAK_COUNT(me, entry_writes, 1);
  hak_registry_set_entries((uintptr_t)start, 1, hak_cache_entry(cache, cls));
  return start;
}

HAK_WARM void hak_single_home(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                              void *block) {
  hak_place_t place = hak_locate((uintptr_t)block);
  hak_slab_t *slab = place.slab;
  if (HAK_UNLIKELY(place.cls == cls && place.start != block)) {
    hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_INTERIOR_POINTER,
                            block, "the address is inside a block, not its start");
    return;
  }
  uint64_t full = hak_word_make(HAK_SLAB_FULL, 0);
  /* Relaxed: the pool's lock orders it for the next owner. */
  if (HAK_UNLIKELY(
          place.cls != cls ||
          !hak_cas_relaxed(&slab->word, &full, hak_word_make(HAK_SLAB_FREE, 0)))) {
    hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_DOUBLE_FREE, block,
                            "no block is there any more");
    return;
  }
  if (hak_capacity_has_singles(me, cache)) cache->holds[cls].taken++;
  HAK_COUNT(me, slab_retired, 1);
  unsigned span = slab->span;
  hak_slab_set_out(slab, 0, 0);
  HAK_COUNT(me, entry_writes, 1);
  hak_registry_set_entries((uintptr_t)block, 1, 0);
  hak_locate_set_class((uintptr_t)block, span, HAK_CLASS_NONE);
  hak_clock_refresh();
  hak_pool_put(&cache->store->pool, slab, span);
}
