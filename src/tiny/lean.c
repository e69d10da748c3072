#include "tiny/lean.h"

#include "base/option.h"
#include "pages/clock.h"
#include "tiny/capacity.h"
#include "tiny/slab.h"

enum {
  HELD_BACK_SHIFT =
      3,      /* the holder hears of a slab when 1/8 of its blocks are still out */
  BURSTS = 4, /* times in a row */
  CALM = 64,  /* periods without, after which a bin shrinks */
  NS_PER_MS = 1000000,
  DROP_PERIODS = 2,  /* between two drops */
  DROPPED_SHARE = 4, /* of a thread's slabs have gone when it drops what it has */
  LISTS = 2          /* of a bin that spills may have blocks */
};

static uint64_t period_ns(void) { return (uint64_t)hak_option(LEAN_MS) * NS_PER_MS; }

/* A heap with a limit has its quotas, and a shared way keeps nothing. */
static bool may_be(const hak_cache_t *cache, uint32_t cls) {
  return !hak_capacity_is_cut(&cache->holds[cls]) && !hak_cache_is_shared_way(cache) &&
         !hak_class_is_single(cls);
}

/* Takes a beginning of so much `weight` out of what is allowed; false if none is left. */
static bool take(uint64_t *used_up, uint64_t period, uint32_t weight) {
  uint64_t now = hak_clock_cached(), next = *used_up > now ? *used_up : now;
  if (next > now + (BURSTS - 1) * period) return false;
  *used_up = next + period * weight;
  return true;
}

/* Since the last time `used_up` was taken from a while has passed. */
static bool is_anew(uint64_t used_up) {
  uint64_t now = hak_clock_cached();
  return now > used_up && now - used_up >= CALM * period_ns();
}

bool hak_lean_begins(const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  if (period_ns() == 0 || !may_be(cache, cls)) return false;
  hak_clock_refresh();
  bool anew = is_anew(hold->lean_next);
  uint32_t least = hold->capacity_least == 0 ? 1 : hold->capacity_least;
  uint32_t weight = hak_bin_capacity(&cache->bins[cls]) / least;
  if (!take(&hold->lean_next, period_ns(), weight == 0 ? 1 : weight)) return false;
  hold->lean = anew ? HAK_LEAN_ANEW : HAK_LEAN;
  return true;
}

HAK_SLOW void hak_lean_note_ended(hak_thread_t *thread, uint64_t spans) {
  uint32_t before = hak_load_relaxed(&thread->ended), now;
  do {
    now = spans < UINT32_MAX - before ? before + (uint32_t)spans : UINT32_MAX;
  } while (!hak_cas_relaxed(&thread->ended, &before, now));
}

/* Relaxed: a count, which only makes the thread drop sooner or later. */
static void forget_ended(hak_thread_t *me) {
  if (hak_load_relaxed(&me->ended) == 0) return;
  uint64_t ended = hak_exchange_relaxed(&me->ended, 0);
  me->spans -= ended < me->spans ? ended : me->spans;
}

bool hak_lean_drops_slow(hak_thread_t *me) {
  forget_ended(me);
  if ((uint64_t)me->dropped * DROPPED_SHARE < me->spans + me->dropped) return false;
  me->dropped = 0;
  if (me->drops == 0) {
    hak_clock_refresh();
    uint64_t period = DROP_PERIODS * period_ns();
    me->drops_anew = is_anew(me->drop_next);
    if (period == 0 || !take(&me->drop_next, period, 1)) return false;
  }
  me->drops++;
  return true;
}

bool hak_lean_drop(const hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  if (hold->lean == HAK_LEAN_NOT) {
    if (!may_be(cache, cls)) return false;
    hold->lean = me->drops_anew ? HAK_LEAN_ANEW : HAK_LEAN;
    hak_lean_hear(cache, cls);
  }
  return true;
}

void hak_lean_shrink(const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_bin_t *bin = &cache->bins[cls];
  if (hold->lean != HAK_LEAN_ANEW || bin->list.head != HAK_LINK_END) return;
  hold->lean = HAK_LEAN;
  if (bin->capacity > hold->capacity_least) hak_capacity_shrink(cache, cls);
}

uint32_t hak_lean_kept(const hak_cache_t *cache, uint32_t cls) {
  return LISTS * (hak_bin_capacity(&cache->bins[cls]) / HAK_SPILLING_SHARE + 1);
}

uint32_t hak_lean_hears_at(const hak_cache_t *cache, hak_slab_t *slab) {
  uint32_t cls = hak_slab_class(slab), carved = hak_slab_carved(slab);
  uint32_t eighth = carved >> HELD_BACK_SHIFT;
  if (HAK_LIKELY(cache->holds[cls].lean == HAK_LEAN_NOT)) {
    return carved == hak_slab_capacity(slab) ? eighth : 0;
  }
  uint32_t kept = hak_lean_kept(cache, cls);
  return eighth > kept ? eighth : kept;
}

void hak_lean_hear(const hak_cache_t *cache, uint32_t cls) {
  enum {
    MOST = 16 /* slabs; of those behind them the thread hears later */
  };
  hak_slab_t *slab = cache->holds[cls].first;
  for (int i = 0; i < MOST && slab != NULL; i++, slab = slab->next) {
    hak_slab_hear_at(slab, hak_lean_hears_at(cache, slab));
  }
}
