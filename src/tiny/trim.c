#include "tiny/trim.h"

#include "base/option.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/hold.h"

enum {
  SAMPLE = 16,         /* slabs of the queue that are looked at for an estimate */
  USE_FACTOR = 2,      /* so many times the blocks that were lately used may be held */
  LOOKS_PER_ROUND = 16 /* looks at one class, after which all classes are looked at */
};

/* Ends a period of the class, and gives up surplus slabs; see trim.h. */
static void look(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_central_t *central = &cache->store->centrals[cls];
  uint32_t given = hold->given, before = hold->given_before;
  hold->given = 0;
  hold->given_before = given;
  if (!hak_store_has_spans(cache->store, cls)) return;
  /* The hint may be stale: then magazines would lie in places that nobody looks at. */
  if (hak_load_relaxed(&central->hint) <= 0) {
    hak_store_relaxed(&central->hint, HAK_TRANSFER_PLACES);
  }
  if (hold->slabs == 0) return;
  uint32_t looked = 0, free = 0;
  for (hak_slab_t *slab = hold->first; slab != NULL && looked < SAMPLE;
       slab = slab->next) {
    looked++;
    free += hak_slab_carved(slab) - hak_slab_out(slab);
  }
  uint64_t held = (uint64_t)free * hold->slabs / looked;
  uint64_t allowed = (uint64_t)USE_FACTOR * (given + before) +
                     2 * (uint64_t)hak_bin_capacity(&cache->bins[cls]);
  if (held <= allowed) {
    if (hold->surplus_periods > 0) hold->surplus_periods = 0;
    return;
  }
  /* The first period with a surplus may be a pause between two phases of the program, so
   * half of the surplus goes from the second one on. */
  if (hold->surplus_periods++ <= 0) return;
  uint32_t each = free / looked;
  if (each == 0) each = 1;
  hak_hold_list(me, cache, cls, (uint32_t)((held - allowed) / each / 2) + 1);
}

HAK_SLOW void hak_trim_later(const hak_cache_t *cache, uint32_t cls, size_t count) {
  size_t period = (size_t)hak_option(TRIM_REFILLS) * hak_bin_batch(&cache->bins[cls]);
  size_t periods = count / period + 1;
  cache->holds[cls].surplus_periods =
      periods < INT32_MAX ? -(int32_t)periods : -INT32_MAX;
}

void hak_trim_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  look(me, cache, cls);
  if (++me->trims < LOOKS_PER_ROUND) return;
  me->trims = 0;
  for (uint32_t c = 0; c < HAK_SHARED_CLASSES; c++) {
    if (hak_capacity_is_begun(cache, c)) look(me, cache, c);
  }
}

/* --- bins that have grown ---------------------------------------------------------- */

/* A hash of the bin: it changes with every push, pop and refill, unless they undo each
 * other. */
static uint64_t now_seen(hak_bin_t *bin, uint32_t given) {
  return hak_mix64((uintptr_t)bin->ready) ^ (uintptr_t)bin->list.head ^
         (uint64_t)(uint32_t)hak_load_relaxed(&bin->list.room) ^ (uint64_t)given << 32;
}

HAK_SLOW void hak_trim_bin_slow(hak_thread_t *me, const hak_cache_t *cache) {
  if (hak_cache_is_shared_way(cache)) return;
  uint32_t cls = me->looks / HAK_TRIM_CALLS % HAK_CLASSES;
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  if (!hak_capacity_is_begun(cache, cls) || bin->capacity <= hold->capacity_least) return;
  uint64_t seen = now_seen(bin, hold->given);
  if (seen != hold->seen) {
    hold->seen = seen;
    return;
  }
  hak_flush_bin(me, cache, cls);
  hak_capacity_shrink(cache, cls);
}
