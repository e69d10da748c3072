#include "tiny/recall.h"

#include "os/os.h"
#include "pages/clock.h"
#include "tiny/capacity.h"

enum {
  RECALLS_PER_DECAY = 64,
  AGAIN = 64, /* bins that are told once more, between two times that all are told */
  FLIPS_MOST = 32,
  FLIPS_SOON = 4 /* once no bin is told any more */
};
#define NS_LEAST ((uint64_t)4000000) /* the coarse clock may not tell less */

/* The bin's list has no room for more than it has now. */
static void take_room(const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  uint32_t listed = hak_bin_listed(bin);
  if (bin->spilling != 0 || listed >= hak_bin_capacity(bin)) return;
  if (hak_capacity_is_begun(cache, cls) && hak_capacity_is_cut(&cache->holds[cls]))
    return;
  hak_store_relaxed(&bin->armed, (uint16_t)listed);
  hak_store_relaxed(&bin->list.room, 0);
}

static void take_all_room(const hak_cache_t *cache) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) take_room(cache, cls);
}

/* How many classes a thread is to give up what it has cached of: one at least. */
static uint32_t classes_of(uint64_t passed) {
  uint32_t turns = hak_idle_turns(passed, HAK_CLASSES);
  return turns < HAK_IDLE_TURNS ? turns + 1 : turns;
}

HAK_SLOW void hak_recall_slow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (hak_cache_is_shared_way(cache) || !hak_os_may_give()) return;
  uint64_t now = hak_clock_cached(), wait = hak_idle_decay() / RECALLS_PER_DECAY;
  if (wait < NS_LEAST) wait = NS_LEAST;
  if (now - me->recalled_at >= wait) {
    /* The state that is shared is not to be written to where others look at it. */
    if (me->kind == HAK_THREAD_ATTACHED) me->to_empty = classes_of(now - me->recalled_at);
    me->recalled_at = now;
    me->recalls = AGAIN;
    take_all_room(cache);
    /* What it works with from now on may be the default heap's. */
    if (cache != &me->cache && !hak_cache_is_shared_way(&me->cache)) {
      take_all_room(&me->cache);
    }
  } else if (me->recalls > 0 && cls < HAK_SHARED_CLASSES) {
    me->recalls--;
    take_room(cache, cls);
  } else if (hak_load_relaxed(&cache->pace->flips) > FLIPS_SOON) {
    me->guard.flips -= hak_load_relaxed(&cache->pace->flips) - FLIPS_SOON;
    hak_store_relaxed(&cache->pace->flips, FLIPS_SOON);
  }
}

/* How many flips are to come before the next look, so that NS_LEAST pass about. */
static uint32_t next_flips(uint32_t last, uint64_t passed) {
  if (passed < NS_LEAST) return last * 2 < FLIPS_MOST ? last * 2 : FLIPS_MOST;
  uint64_t flips = last * NS_LEAST / passed;
  return flips == 0 ? 1 : (uint32_t)flips;
}

HAK_SLOW void hak_recall_look(hak_thread_t *me, const hak_cache_t *cache) {
  uint32_t flips = FLIPS_MOST;
  if (hak_load_relaxed(&hak_retained_over) != HAK_IDLE_FEW) {
    hak_clock_refresh();
    uint64_t now = hak_clock_cached();
    flips = next_flips(cache->pace->given, now - cache->pace->looked_at);
    cache->pace->looked_at = now;
    hak_recall_slow(me, cache, HAK_CLASSES);
  }
  cache->pace->given = flips;
  me->guard.flips = (int32_t)flips;
  hak_store_relaxed(&cache->pace->flips, (int32_t)flips);
}

bool hak_recall_ends(const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  uint32_t listed = hak_bin_listed(bin), capacity = hak_bin_capacity(bin);
  if (bin->spilling != 0 || listed >= capacity) return false;
  if (hak_capacity_is_cut(&cache->holds[cls])) return false;
  hak_store_relaxed(&bin->armed, (uint16_t)capacity);
  hak_store_relaxed(&bin->list.room, (int32_t)(capacity - listed));
  return true;
}
