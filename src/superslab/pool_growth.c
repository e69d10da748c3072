#include "superslab/pool_growth.h"

#include "base/event.h"
#include "base/option.h"
#include "superslab/huge.h"
#include "superslab/region.h"
#include "superslab/tree.h"

/* What the heap wants of SuperSlabs that will be dense, or will not be. */
static bool wants_huge(hak_shared_pool_t *pool, bool dense) {
  int64_t mode = hak_option(HUGE_PAGES);
  if (pool->huge_pages == HAK_HUGE_NEVER) return false;
  if (hak_budget_room(&pool->budget) < HAK_ROOM_FOR_HUGE_PAGES) return false;
  if (pool->huge_pages == HAK_HUGE_ALWAYS) return true;
  return mode == 2 || (mode == 1 && dense);
}

bool hak_pool_is_huge_everywhere(hak_shared_pool_t *pool) {
  return wants_huge(pool, false);
}

bool hak_pool_choose_pages(hak_shared_pool_t *pool, hak_superslab_t *ss, bool dense) {
  if (hak_os_is_fixed(ss->extent.os)) return false;
  if (hak_superslab_committed(ss) == 0) {
    return hak_huge_begin(ss, wants_huge(pool, dense));
  }
  if (pool->huge_pages != HAK_HUGE_DEFAULT) hak_huge_set(ss, wants_huge(pool, dense));
  return false;
}

/* --- momentum ----------------------------------------------------------------------- */

/* Each grant is so many times the last. */
enum {
  GRANT_GROWTH = 4,
  MANY_HEAPS = 4 /* a heap that may be one of many must have so many times as much */
};

/* SuperSlabs of the heap that are looked at, or NULL. */
typedef struct probes {
  hak_superslab_t *youngest, *settled;
} probes_t;

static char *base_of(const hak_superslab_t *ss) {
  return ss == NULL ? NULL : ss->extent.base;
}

/* Bytes of a span that were written to for sure: where blocks were cut a link was. Of a
 * span that changes hands meanwhile the answer is of no use, and does no harm. */
static size_t written_in_span(const hak_superslab_t *ss, hak_slab_t *slab,
                              unsigned span) {
  size_t page = ss->extent.os->page_size, bytes = span * HAK_SLAB_SIZE;
  uint32_t carved = hak_slab_carved(slab), capacity = hak_slab_capacity(slab);
  if (capacity == 0) return 0;
  if (carved > capacity) carved = capacity;
  size_t each = bytes / capacity; /* of blocks larger than a page only one is sure */
  return carved * (each < page ? each : page);
}

/* Per cent of a SuperSlab with huge pages that small ones would have had to be there for.
 * All its pages are resident, so the system does not know. */
static int64_t written_locked(const hak_shared_pool_t *pool, hak_superslab_t *ss) {
  hak_lock_assert_held(&pool->lock);
  if (ss == NULL || !hak_superslab_is_huge(ss)) return 0;
  size_t written = 0;
  for (unsigned i = 0, span; i < HAK_SUPERSLAB_SLABS; i += span) {
    span = 1;
    if ((hak_superslab_free(ss) >> i & 1) != 0) continue;
    unsigned most = HAK_SUPERSLAB_SLABS - i, all = hak_slab_span(&ss->slabs[i]);
    span = all == 0 ? 1 : all < most ? all : most;
    written += written_in_span(ss, &ss->slabs[i], span);
  }
  return (int64_t)(written * 100 / HAK_SUPERSLAB_SIZE);
}

/* Slots that nothing was ever in, and those in spans with a single block: what of them
 * has not been touched by now never will be. Who has the slots may be changing them: a
 * policy. */
static unsigned settled_slots(const hak_superslab_t *ss) {
  uint32_t free = hak_superslab_free(ss);
  unsigned settled = hak_count_bits(free & ~hak_superslab_retained(ss));
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS;) {
    const hak_slab_t *slab = &ss->slabs[i];
    unsigned span = (free >> i & 1) != 0 ? 1 : hak_slab_span(slab);
    if (span == 0 || span > HAK_SUPERSLAB_SLABS - i) span = 1;
    if ((free >> i & 1) == 0 && hak_slab_capacity(slab) == 1) settled += span;
    i += span;
  }
  return settled < HAK_SUPERSLAB_SLABS ? settled : HAK_SUPERSLAB_SLABS;
}

/* Per cent of the SuperSlab that must be resident, or else written to, for huge pages. */
static int64_t wanted_of(const hak_superslab_t *ss) {
  int64_t settled = settled_slots(ss), other = HAK_SUPERSLAB_SLABS - settled;
  return (settled * hak_option(HUGE_DENSITY_LARGE) + other * hak_option(HUGE_DENSITY)) /
         HAK_SUPERSLAB_SLABS;
}

/* The one that was granted last was written to nearly everywhere, so none with small
 * pages is needed to see that the heap is dense. */
static bool is_written_locked(const hak_shared_pool_t *pool) {
  hak_lock_assert_held(&pool->lock);
  return pool->granted != NULL &&
         written_locked(pool, pool->granted) >= wanted_of(pool->granted);
}

/* What becomes of the next SuperSlab. */
typedef enum turn {
  TURN_HUGE,  /* it is granted */
  TURN_SMALL, /* as many as may be granted have been, and it is to be looked at next */
  TURN_LOOK   /* as the others are found to be */
} turn_t;

/* Takes one of the SuperSlabs that are granted, or learns what is to be looked at. */
static turn_t next_turn(hak_shared_pool_t *pool, probes_t *probes) {
  uint32_t most = (uint32_t)hak_option(HUGE_GRANT);
  hak_lock_acquire(&pool->lock);
  turn_t turn = TURN_LOOK;
  if (pool->huge_left == 0 && pool->huge_granted >= most && is_written_locked(pool)) {
    pool->huge_left = (uint16_t)most;
  }
  if (pool->huge_left > 0) {
    pool->huge_left--;
    turn = TURN_HUGE;
  } else if (pool->huge_granted >= most) {
    pool->huge_granted = (uint16_t)(most / GRANT_GROWTH);
    turn = TURN_SMALL;
  }
  *probes = (probes_t){pool->youngest, pool->settled};
  hak_lock_release(&pool->lock);
  return turn;
}

static void grant(hak_shared_pool_t *pool, bool dense) {
  uint32_t most = (uint32_t)hak_option(HUGE_GRANT);
  hak_lock_acquire(&pool->lock);
  uint32_t next =
      pool->huge_granted == 0 ? 1u : pool->huge_granted * (uint32_t)GRANT_GROWTH;
  if (next > most) next = most;
  pool->huge_granted = (uint16_t)(dense ? next : 0);
  pool->huge_left = (uint16_t)(dense ? next - 1 : 0);
  hak_lock_release(&pool->lock);
}

/* Bytes of the SuperSlab that are resident; -1: nobody knows, or there is none. If it has
 * gone meanwhile the answer is of no use, and does no harm; the caller keeps its region
 * from going. */
static HAK_SLOW int64_t resident_of(const hak_shared_pool_t *pool,
                                    const hak_superslab_t *ss) {
  char *base = base_of(ss);
  return base == NULL ? -1 : hak_os_resident(pool->os, base, HAK_SUPERSLAB_SIZE);
}

/* So much of the SuperSlab is resident as must be for a huge page. */
static HAK_SLOW bool is_dense_with(const hak_superslab_t *ss, int64_t resident) {
  return resident >= 0 && resident * 100 / (int64_t)HAK_SUPERSLAB_SIZE >= wanted_of(ss);
}

/* The youngest SuperSlab tells it if it is dense already. Of spans that were taken for
 * many classes, or by many threads, a part is touched later, so half of that is enough
 * where the one before it has become dense. */
static HAK_SLOW bool is_dense(const hak_shared_pool_t *pool, const probes_t *probes) {
  int64_t resident = resident_of(pool, probes->youngest);
  return is_dense_with(probes->youngest, resident) ||
         (is_dense_with(probes->youngest, 2 * resident) &&
          is_dense_with(probes->settled, resident_of(pool, probes->settled)));
}

/* The heap's next SuperSlab for slabs will be touched nearly everywhere. */
static HAK_SLOW bool will_be_dense(hak_shared_pool_t *pool) {
  if (hak_option(HUGE_PAGES) != 1 || pool->huge_pages != HAK_HUGE_DEFAULT) return false;
  uint64_t least = (uint64_t)hak_option(HUGE_PAGES_AFTER);
  if (pool->starts_small) least *= MANY_HEAPS;
  if (hak_load_relaxed(&pool->superslabs) < least) return false;
  probes_t probes;
  /* From before the pool says which SuperSlabs it has until they have been looked at. */
  uint64_t visit = hak_regions_visit_begin();
  turn_t turn = next_turn(pool, &probes);
  bool dense = turn == TURN_LOOK ? is_dense(pool, &probes) : turn == TURN_HUGE;
  hak_regions_visit_end(visit);
  if (turn == TURN_LOOK) grant(pool, dense);
  return dense;
}

/* The heap has been found dense. One of its SuperSlabs that came with small pages, before
 * that was known or to be looked at, gets a huge one if it is dense, too. */
static void mend_one(hak_shared_pool_t *pool) {
  enum {
    STEPS = 16
  };
  if (hak_option(HUGE_MEND) == 0) return;
  uint64_t visit = hak_regions_visit_begin(); /* or its region might go meanwhile */
  hak_lock_acquire(&pool->lock);
  hak_superslab_t *ss = hak_tree_above(pool->root, pool->mended_to);
  for (int i = 0; i < STEPS && ss != NULL && hak_superslab_is_huge(ss); i++) {
    pool->mended_to = ss->extent.base;
    ss = hak_tree_above(pool->root, pool->mended_to);
  }
  pool->mended_to = base_of(ss);
  hak_lock_release(&pool->lock);
  if (ss != NULL && !hak_superslab_is_huge(ss) &&
      is_dense_with(ss, resident_of(pool, ss))) {
    hak_huge_mend(ss);
  }
  hak_regions_visit_end(visit);
}

/* A SuperSlab with so few small pages may give them back for huge ones: what it has
 * costs less to give back than what it lacks costs to touch. */
#define STRIPPED_MOST (HAK_SUPERSLAB_SIZE / 4 * 3)

static bool may_be_stripped(const hak_superslab_t *ss) {
  return !hak_superslab_is_huge(ss) && hak_os_may_give() &&
         hak_superslab_committed(ss) <= STRIPPED_MOST;
}

/* True if it has no pages any more. */
static bool strip(hak_superslab_t *ss) {
  size_t given = hak_superslab_purge(ss, 0, HAK_SUPERSLAB_SLABS);
  if (given > 0) hak_event_emit(HAK_EVENT_PURGE, ss->extent.base, given);
  return hak_superslab_committed(ss) == 0;
}

static void note_youngest(hak_shared_pool_t *pool, hak_superslab_t *ss) {
  hak_lock_acquire(&pool->lock);
  pool->settled = pool->youngest;
  pool->youngest = ss;
  hak_lock_release(&pool->lock);
}

/* --- SuperSlabs that are filled again ------------------------------------------------
 */

enum {
  REFILL_SLOTS = HAK_SUPERSLAB_SLABS / 4, /* with pages at most, where it is worth it */
  REFILL_SUPERSLABS = 16                  /* that the heap has at least */
};

/* The heap is large, and needs new pages whichever slots it takes. In a small one that
 * shrinks and grows much of a huge page would lie idle, and go again. */
static bool is_growing(hak_shared_pool_t *pool) {
  if (hak_load_relaxed(&pool->superslabs) < REFILL_SUPERSLABS) return false;
  hak_lock_acquire(&pool->lock);
  bool growing = pool->empty <= REFILL_SLOTS;
  hak_lock_release(&pool->lock);
  return growing;
}

/* Most of its pages are gone, and those in use are all there: a huge page brings nothing
 * that is not counted. */
static bool is_nearly_bare(hak_superslab_t *ss) {
  uint32_t used = ~hak_superslab_free(ss), whole = hak_load_relaxed(&ss->whole);
  uint32_t with = hak_superslab_retained(ss) | (used & whole);
  if (HAK_LIKELY(hak_count_bits(with) > REFILL_SLOTS)) return false;
  for (uint32_t rest = used; rest != 0; rest &= rest - 1) {
    unsigned slot = hak_lowest_bit(rest);
    hak_slab_t *slab = &ss->slabs[slot];
    bool has_part = hak_slab_pages(slab) != 0 && (whole >> slot & 1) == 0;
    if (has_part || hak_load_relaxed(&slab->holes) != 0) return false;
  }
  return true;
}

/* Commits slots that the caller has taken. What the budget or the OS refuses stays as it
 * was. */
static void commit_slots(hak_superslab_t *ss, uint32_t slots) {
  size_t pages = hak_os_pages(ss->extent.os, HAK_SLAB_SIZE);
  bool zeroed, ok = true;
  while (slots != 0 && ok) {
    unsigned first = hak_lowest_bit(slots), count = hak_lowest_run(slots);
    slots &= ~hak_mask32(first, count);
    ok = hak_superslab_commit(ss, first, count, count * pages, false, &zeroed);
  }
}

/* The huge page brought pages to all slots: those that nobody has count them now. */
static void fill(hak_shared_pool_t *pool, hak_superslab_t *ss) {
  hak_lock_acquire(&pool->lock);
  uint32_t slots = hak_superslab_free(ss) & ~hak_superslab_retained(ss);
  hak_pool_take_in_hand_locked(pool, ss, slots);
  hak_lock_release(&pool->lock);
  commit_slots(ss, slots);
  hak_lock_acquire(&pool->lock);
  hak_pool_put_in_hand_locked(pool, ss, slots, hak_clock_cached());
  hak_lock_release(&pool->lock);
}

void hak_pool_refill_slow(hak_shared_pool_t *pool, hak_superslab_t *ss) {
  if (hak_superslab_is_huge(ss) || !is_nearly_bare(ss) || !is_growing(pool)) return;
  hak_store_relaxed(&ss->parts, HAK_PARTS_BACK);
  if (!wants_huge(pool, will_be_dense(pool))) {
    note_youngest(pool, ss);
  } else if (hak_huge_again(ss)) {
    fill(pool, ss);
  }
}

static void note_granted(hak_shared_pool_t *pool, hak_superslab_t *ss) {
  hak_lock_acquire(&pool->lock);
  pool->granted = ss;
  hak_lock_release(&pool->lock);
}

hak_superslab_t *hak_pool_new_superslab(hak_shared_pool_t *pool) {
  hak_superslab_t *ss = hak_region_acquire(pool->os, 1, HAK_SUPERSLAB_SIZE,
                                           HAK_EXTENT_SLABS, pool->heap, false);
  if (ss == NULL) return NULL;
  if (!hak_superslab_charge_to(ss, &pool->budget)) {
    hak_region_give(ss, 1, hak_clock_cached());
    return NULL;
  }
  bool bare = hak_superslab_committed(ss) == 0;
  bool dense = (bare || may_be_stripped(ss)) && will_be_dense(pool);
  if (dense && !bare) bare = strip(ss);
  if (hak_pool_choose_pages(pool, ss, dense)) {
    hak_superslab_commit_huge(ss);
    if (dense) {
      note_granted(pool, ss);
      mend_one(pool);
    }
  } else if (!hak_superslab_is_huge(ss)) {
    note_youngest(pool, ss);
  }
  return ss;
}
