#include "tiny/capacity.h"

#include "base/event.h"
#include "base/option.h"
#include "external/external_region.h"
#include "pages/clock.h"
#include "tiny/magazine.h"

enum {
  LISTS = 3,       /* lists of a bin, but for one of a single class, which has one */
  LEFT_SHARES = 8, /* a bin of mid blocks grows by this part of what is left at a time */
  /* Of the quota of a heap whose limit is far a quarter is for classes that begin. One
   * bin grows up to a 128th of the quota, or up to its share of the rest while it is
   * small. */
  FAR_BEGIN = 4,
  FAR_PART = 128,
  FAR_CLASSES = 8,  /* that a thread is thought to use at least */
  FAR_BLOCKS = 512, /* so long a list costs little to put into a depot, and to take out */
  FAR_PATIENCE = 16 /* overflows after one at which a bin could not grow */
};

#define NS_PER_TICK ((uint64_t)4000000) /* the coarse clock may not tell less */

static hak_atomic_u64_t granted; /* bytes, to all threads */

void hak_capacity_recount(uint64_t bytes) { hak_store_relaxed(&granted, bytes); }

/* --- threads that share slabs ---------------------------------------------------------
 */

enum {
  SHORT = 128,       /* a thread with fewer refills was short */
  SHORT_MOST = 32,   /* short ones that are counted */
  SHORT_ENOUGH = 16, /* of these */
  SHORT_WEIGHT = 2,  /* one that was not short leaves one part in so many */
  SHARED_OF_MANY = HAK_SLAB_SIZE,
  SHARED_OF_HEAP = 4096 /* bytes */
};

/* Threads that were short. Policy: where two end at once one may not be counted. */
static hak_atomic_u32_t short_ends;

void hak_capacity_note_end(uint32_t refills) {
  uint32_t ends = hak_load_relaxed(&short_ends);
  if (refills == 0) return;
  if (refills >= SHORT) {
    hak_store_relaxed(&short_ends, ends / SHORT_WEIGHT);
  } else if (ends < SHORT_MOST) {
    hak_store_relaxed(&short_ends, ends + 1);
  }
}

void hak_capacity_forget_ends(void) { hak_store_relaxed(&short_ends, 0); }

static bool begins_shared(const hak_cache_t *cache, uint32_t cls) {
  if (hak_class_is_single(cls)) return false;
  if (cache->store->shares) return true;
  return !cache->store->pool.starts_small &&
         hak_load_relaxed(&short_ends) >= SHORT_ENOUGH;
}

HAK_SLOW void hak_capacity_note_shared(const hak_cache_t *cache, uint32_t cls,
                                       uint32_t count) {
  hak_hold_t *hold = &cache->holds[cls];
  uint32_t all = cache->store->shares ? SHARED_OF_HEAP : SHARED_OF_MANY;
  hold->shared += count;
  if (hold->shared * hak_class_size(cls) >= all) hold->shared = HAK_SHARED_ENOUGH;
}

/* --- beginnings -----------------------------------------------------------------------
 */

/* The bin's capacity is what it was given at the cache's beginning. If a limit has come
 * since, or gone, that is seen as it is later (quota.h). */
HAK_SLOW void hak_capacity_begin_slow(const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_bin_t *bin = &cache->bins[cls];
  bool limited = hak_budget_is_limited(&cache->store->pool.budget);
  hold->spare = HAK_LINK_END;
  hold->capacity_least = bin->capacity;
  if (bin->capacity == 0) hold->quota = limited ? HAK_QUOTA_NONE : 0;
  if (bin->capacity == 0 && !limited) {
    hold->capacity_least = hak_capacity_least(cls);
    bin->capacity = (uint16_t)hold->capacity_least;
    hak_bin_set_room(bin, bin->capacity);
  }
  hold->magazine_blocks = hak_magazine_blocks(cls);
  if (cache->begun != NULL) cache->begun[cls / 64] |= (uint64_t)1 << cls % 64;
  hold->shared = begins_shared(cache, cls) ? 0 : HAK_SHARED_NOT;
  if (hak_class_is_single(cls)) return;
  uint32_t slabs =
      (uint32_t)hak_option(HELD_SLABS) / cache->store->geometry[cls].span_next;
  hold->slabs_most = slabs < 16 ? 16 : slabs;
}

static uint64_t bytes_of(uint32_t cls, uint32_t blocks) {
  uint64_t lists = hak_class_is_single(cls) ? 1 : LISTS;
  return lists * blocks * hak_class_size(cls);
}

static uint64_t far_bytes(uint32_t cls, uint32_t blocks) {
  return (uint64_t)HAK_FAR_LISTS * blocks * hak_class_size(cls);
}

/* Blocks that a bin may grow by of a heap whose limit is far. Where growth ends the
 * heap's depot serves: a thread that worked alone, and sleeps, leaves quotas to those
 * that come after it. O(classes). */
static uint32_t far_growth(const hak_cache_t *cache, uint32_t cls) {
  uint64_t quota = cache->holds[cls].quota, classes = 0;
  uint64_t all = far_bytes(cls, cache->bins[cls].capacity);
  for (uint32_t c = 0; c < HAK_CLASSES; c++) {
    if (c != cls) all += cache->holds[c].granted;
    classes += cache->holds[c].granted != 0;
  }
  uint64_t each = far_bytes(cls, 1), bins = quota - quota / FAR_BEGIN;
  if (classes < FAR_CLASSES) classes = FAR_CLASSES;
  uint64_t most = quota / FAR_PART / each, share = bins / classes / each;
  if (share > FAR_BLOCKS) share = FAR_BLOCKS;
  if (most < share) most = share;
  uint64_t capacity = cache->bins[cls].capacity;
  if (most <= capacity || all >= bins) return 0;
  uint64_t blocks = (bins - all) / each;
  return (uint32_t)(blocks < most - capacity ? blocks : most - capacity);
}

/* Grants the bin up to `more` blocks in each list; returns how many. */
static uint32_t grant(const hak_cache_t *cache, uint32_t cls, uint32_t more) {
  hak_bin_t *bin = &cache->bins[cls];
  uint64_t *grown = cache->grown;
  uint32_t most = (uint32_t)hak_option(BIN_GROWTH_BLOCKS);
  if (bin->capacity >= most) return 0;
  if (more > most - bin->capacity) more = most - bin->capacity;
  uint64_t limit = (uint64_t)hak_option(BIN_GROWTH_BYTES);
  const hak_shared_pool_t *pool = &cache->store->pool;
  if (hak_pool_is_enclosed(pool)) {
    /* No thread can have the external memory that another one keeps. */
    uint64_t quota = hak_external_region_quota(pool->os);
    if (limit > quota) limit = quota;
  }
  uint64_t all = (uint64_t)hak_option(BIN_GROWTH_ALL_BYTES);
  uint64_t left = *grown < limit ? limit - *grown : 0;
  uint64_t in_use = hak_load_relaxed(&granted);
  if (in_use >= all) return 0;
  if (left > all - in_use) left = all - in_use;
  uint64_t fits = left / bytes_of(cls, 1);
  const hak_hold_t *hold = &cache->holds[cls];
  bool mid = cls >= HAK_TINY_CLASSES && !hak_class_is_single(cls);
  if (mid && hold->far == HAK_FAR_NOT) {
    /* With larger bins each thread would come to keep what all of them need. */
    if (hak_cache_is_exchanged(cache, cls)) return 0;
    /* Else the first bin of larger blocks takes all of it for blocks that the program
     * keeps, and the others stay small. */
    fits = hak_div_up(fits, LEFT_SHARES);
  }
  if (more > fits) more = (uint32_t)fits;
  if (more == 0) return 0;
  if (hold->far != HAK_FAR_NOT && !hak_class_is_single(cls)) {
    uint32_t fitting = far_growth(cache, cls);
    if (more > fitting) more = fitting;
    cache->holds[cls].patience = fitting == 0 ? FAR_PATIENCE : 0;
    if (more == 0) return 0;
  }
  if (hold->far != HAK_FAR_NOT &&
      !hak_capacity_widen(cache, cls, far_bytes(cls, bin->capacity + more))) {
    return 0;
  }
  /* Threads that grow at once may pass the process's limit by one grant each. */
  hak_add_relaxed(&granted, bytes_of(cls, more));
  *grown += bytes_of(cls, more);
  bin->capacity = (uint16_t)(bin->capacity + more);
  return more;
}

void hak_capacity_shrink(const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  if (bin->capacity > hold->capacity_least) {
    uint64_t bytes = bytes_of(cls, (uint32_t)bin->capacity - hold->capacity_least);
    *cache->grown -= bytes;
    hak_sub_relaxed(&granted, bytes);
    bin->capacity = (uint16_t)hold->capacity_least;
  }
  hold->taken = 0;
  hold->patience = 0;
  hold->seen = 0;
  hak_bin_set_room(bin, bin->capacity);
}

HAK_SLOW void hak_capacity_reset(const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  hak_capacity_shrink(cache, cls);
  hak_budget_t *budget = &cache->store->pool.budget;
  bool limited = hak_budget_is_limited(budget);
  hak_budget_quota_return(budget, hold->granted);
  uint32_t blocks = limited ? 0 : hak_capacity_least(cls);
  hold->capacity_least = blocks;
  hold->quota = limited ? HAK_QUOTA_NONE : 0;
  hold->granted = 0;
  hold->far = HAK_FAR_NOT;
  bin->capacity = (uint16_t)blocks;
  hak_bin_set_room(bin, blocks);
}

void hak_capacity_give_back(uint64_t *grown) {
  hak_sub_relaxed(&granted, *grown);
  *grown = 0;
}

uint32_t hak_capacity_grow(const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  uint32_t taken = hold->taken;
  hold->taken = 0;
  if (HAK_UNLIKELY(hold->patience > 0)) {
    hold->patience--;
    return 0;
  }
  bool grows = !hak_capacity_is_cut(hold) ||
               (hold->far == HAK_FAR_NO_ROOM && cache->bins[cls].capacity > 0);
  if (!grows || taken == 0) return 0;
  uint32_t more = taken / 2 + 1;
  if (taken > (uint32_t)hak_option(BIN_GROWTH_BLOCKS)) {
    /* What comes and goes is too much for the bin, but not for the depot. */
    uint32_t capacity = cache->bins[cls].capacity;
    if (hold->far == HAK_FAR_NOT || capacity >= FAR_BLOCKS) return 0;
    more = FAR_BLOCKS - capacity;
  }
  return grant(cache, cls, more);
}

/* Notes that a block of a single class is brought from the pool; true if that was often
 * of late. */
static bool is_often(hak_hold_t *hold) {
  enum {
    OFTEN = 16 /* times in a tick, half of those in the tick before with them */
  };
  uint32_t now = (uint32_t)(hak_clock_cached() / NS_PER_TICK);
  uint32_t passed = now - hold->given_before;
  if (passed != 0) hold->given = passed == 1 ? hold->given / 2 : 0;
  hold->given_before = now;
  if (hold->given < OFTEN) hold->given++;
  return hold->given >= OFTEN;
}

HAK_SLOW void hak_capacity_grow_single(hak_thread_t *me, const hak_cache_t *cache,
                                       uint32_t cls) {
  if (hak_cache_is_shared_way(cache)) return;
  hak_hold_t *hold = &cache->holds[cls];
  uint32_t homed = hold->taken;
  hold->taken = 0;
  if (!hak_capacity_has_singles(me, cache) && !is_often(hold)) return;
  /* A listener for events is to hear of every large block, so no bin may keep one. */
  if (homed == 0 || hak_capacity_is_cut(hold) || hak_event_wanted()) return;
  (void)grant(cache, cls, homed);
  hak_bin_set_room(&cache->bins[cls], cache->bins[cls].capacity);
}

/* --- of a heap with a limit ------------------------------------------------------- */

uint64_t hak_capacity_quotas(const hak_hold_t *holds) {
  uint64_t bytes = 0;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) bytes += holds[cls].granted;
  return bytes;
}

bool hak_capacity_widen(const hak_cache_t *cache, uint32_t cls, uint64_t need) {
  enum {
    AHEAD = 4,      /* a class is granted a quarter more than it needs now, */
    AHEAD_LEFT = 16 /* and a sixteenth of what is left at most */
  };
  hak_hold_t *hold = &cache->holds[cls];
  if (HAK_LIKELY(need <= hold->granted)) return true;
  hak_budget_t *budget = &cache->store->pool.budget;
  uint64_t more = need - hold->granted, all = hak_capacity_quotas(cache->holds);
  uint64_t left = hold->quota > all ? hold->quota - all : 0;
  if (more > left || hak_budget_quota_is_scarce(budget)) return false;
  uint64_t ahead = hold->far == HAK_FAR ? need / AHEAD : 0;
  uint64_t most = (left - more) / AHEAD_LEFT;
  if (ahead > most) ahead = most;
  if (!hak_budget_quota_take(budget, more + ahead)) {
    ahead = 0;
    if (!hak_budget_quota_take(budget, more)) return false;
  }
  hold->granted += more + ahead;
  return true;
}
