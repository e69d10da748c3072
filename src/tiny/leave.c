#include "tiny/leave.h"

#include "tiny/flush.h"
#include "tiny/hold.h"
#include "tiny/partial_list.h"

bool hak_leave_pays(hak_store_t *store, hak_slab_t *slab, uint32_t cls) {
  hak_slab_state_t state = hak_word_state(hak_load_relaxed(&slab->word));
  if (state != HAK_SLAB_PARTIAL && state != HAK_SLAB_HELD) return false;
  return hak_partial_might_leave(&store->centrals[cls], slab);
}

/* What this thread has of the class goes where slabs are compared, so that no copy lands
 * in one that is to leave. */
static void give_up(hak_thread_t *me, const hak_cache_t *cache, hak_central_t *central,
                    uint32_t cls) {
  if ((hak_load_relaxed(&central->groups) & 1u << HAK_PARTIAL_LEAVING) == 0) {
    hak_flush_bin(me, cache, cls);
  }
  if (cache->holds[cls].slabs > 1) hak_hold_list(me, cache, cls, UINT32_MAX);
}

static bool leave_locked(hak_thread_t *me, const hak_cache_t *cache,
                         hak_central_t *central, hak_slab_t *slab, uint32_t cls) {
  hak_lock_assert_held(&central->lock);
  uint64_t word = hak_load_relaxed(&slab->word);
  if (hak_word_is_leaving(word)) return true;
  if (hak_word_state(word) != HAK_SLAB_PARTIAL || hak_slab_class(slab) != cls ||
      !hak_partial_may_leave_locked(central, slab)) {
    return false;
  }
  hak_slab_leave_locked(cache, slab);
  hak_partial_leave_locked(central, slab);
  hak_hold_set_entry(me, cache, slab, 0);
  return true;
}

bool hak_leave(hak_thread_t *me, const hak_cache_t *cache, bool bare, hak_slab_t *slab,
               uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  uint64_t word = hak_load_relaxed(&slab->word);
  if (hak_word_state(word) != HAK_SLAB_PARTIAL) {
    /* Others have what they hold to themselves; and a single slab that this thread holds
     * may be the one that copies come from. */
    if (!hak_word_is_mine(cache, word) || cache->holds[cls].slabs <= 1) return false;
  }
  if (!bare) give_up(me, cache, central, cls);
  hak_lock_acquire(&central->lock);
  HAK_COUNT(me, shelf_visits, 1);
  bool leaving = leave_locked(me, cache, central, slab, cls);
  hak_lock_release(&central->lock);
  return leaving;
}
