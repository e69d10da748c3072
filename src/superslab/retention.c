#include "superslab/retention.h"

#include "base/option.h"
#include "base/sys.h"
#include "pages/mapping.h"
#include "superslab/region.h"
#include "superslab/region_release.h"

enum {
  NS_PER_US = 1000,
  LOOKS_PER_DECAY = 64,
  RETRIES_PER_DECAY = 32, /* where the last try has not brought what it should */
  SPLITS_PER_DECAY = 32,  /* a huge page is split once its parts are idle so long */
  PIECE_SLABS = HAK_SUPERSLAB_SLABS,
  VISIT_SLABS = 128, /* the least that a piece counts as, of slabs to be looked at */
  PIECE_NS_FIRST = 150000, /* what a piece costs, before one was measured */
  SPEED_WEIGHT = 4         /* the last piece counts one part in so many */
};
#define REFUSED_NS_FIRST ((uint64_t)16000000)
#define REFUSED_NS_MOST (REFUSED_NS_FIRST << 10)
/* A look at old memory gives back at least that much, if there is as much. */
#define OLD_BYTES_LEAST ((uint64_t)2 << 20)

/* Times in ns. Policy: a change that is lost to another thread's does no harm. */
static hak_atomic_u64_t last_look;        /* at old memory */
static hak_atomic_u64_t stuck_until;      /* there was a surplus, and it would not go */
static hak_atomic_u64_t stuck_given;      /* hak_regions_given then: more may go now */
static hak_atomic_u32_t stuck_left_alone; /* parts of huge pages could have gone then */
static hak_atomic_u64_t piece_ns;         /* what a piece costs of late */
static hak_atomic_u64_t refused_until; /* what was due would not go; see note_refused */
static hak_atomic_u64_t refused_ns;    /* how long that time is, 0: all went */
static hak_atomic_u64_t refused_bytes; /* that lay idle then, or fewer later */
static hak_atomic_u64_t refused_at;    /* what lies idle from before that was not due */

void hak_retention_stop(void) {
  hak_store_relaxed(&last_look, 0);
  hak_store_relaxed(&stuck_until, 0);
  hak_store_relaxed(&refused_until, 0);
  hak_store_relaxed(&refused_ns, 0);
}

size_t hak_retention_collect(hak_shared_pool_t *pool, uint64_t before, size_t max_bytes,
                             size_t *slabs) {
  size_t given = hak_region_purge(before, max_bytes, slabs);
  if (given < max_bytes) given += hak_mapping_purge(before, max_bytes - given, slabs);
  if (given < max_bytes) given += hak_pool_purge(pool, before, max_bytes - given, slabs);
  return given;
}

/* --- in the order of age ------------------------------------------------------------ */

/* What one call may still do. */
typedef struct bounds {
  size_t slabs;   /* may still be looked at */
  uint64_t end;   /* when the call is to be over, by the fine clock; 0: any time */
  bool late;      /* the time is up, and there was more to do */
  bool no_region; /* the OS refuses */
  bool no_mapping;
} bounds_t;

static bounds_t bounds_of_call(void) {
  uint64_t us = (uint64_t)hak_option(PURGE_CALL_US);
  uint64_t end = us == 0 ? 0 : hak_sys_fine_ns() + us * NS_PER_US;
  return (bounds_t){.slabs = SIZE_MAX, .end = end};
}

/* Slabs of the next piece: as many as fit into the time that is left; 0: none do. The
 * first piece of a call, `began` false, is a slab at least. */
static size_t next_piece(bounds_t *bounds, bool began) {
  size_t slabs = bounds->slabs < PIECE_SLABS ? bounds->slabs : PIECE_SLABS;
  if (bounds->end == 0) return slabs;
  uint64_t now = hak_sys_fine_ns(), cost = hak_load_relaxed(&piece_ns);
  if (cost == 0) cost = PIECE_NS_FIRST;
  uint64_t left = now < bounds->end ? bounds->end - now : 0;
  uint64_t fit = left * PIECE_SLABS / cost;
  if (fit == 0 && !began) fit = 1;
  if (fit == 0) bounds->late = true;
  return fit < slabs ? (size_t)fit : slabs;
}

static void note_speed(uint64_t ns, size_t bytes) {
  if (bytes == 0) return;
  uint64_t cost = ns * HAK_SUPERSLAB_SIZE / bytes, last = hak_load_relaxed(&piece_ns);
  if (last == 0) last = PIECE_NS_FIRST;
  hak_store_relaxed(&piece_ns, last + cost / SPEED_WEIGHT - last / SPEED_WEIGHT + 1);
}

/* Gives back up to max_bytes of what has waited longest. *any: something was there. */
static size_t give_piece(hak_pool_idle_t idle, size_t max_bytes, bounds_t *bounds,
                         size_t slabs, bool *any) {
  uint64_t before = idle.before;
  uint64_t region = bounds->no_region ? UINT64_MAX : hak_region_oldest();
  uint64_t mapping = bounds->no_mapping ? UINT64_MAX : hak_mapping_oldest();
  uint64_t pool = hak_pool_queue_oldest();
  size_t left = slabs, given;
  uint64_t other = mapping < pool ? mapping : pool;
  if (region <= before && region <= other) {
    /* The bound in bytes holds. Where there is time what hooks refuse does not end it. */
    left = bounds->end != 0 ? PIECE_SLABS : SIZE_MAX;
    uint64_t idle_since = other < before ? other : before;
    /* What may stay is not to go with the last huge page. */
    bool whole = hak_retained_bytes() >= hak_idle_floor() + HAK_SUPERSLAB_SIZE;
    /* A call that is told how many bytes takes no more than that. */
    if (bounds->end == 0 && max_bytes < HAK_SUPERSLAB_SIZE) whole = false;
    given =
        (whole ? hak_region_purge_whole : hak_region_purge)(idle_since, max_bytes, &left);
    bounds->no_region = given == 0;
    left = left < slabs ? left : slabs;
    *any = true;
  } else if (mapping <= before && mapping <= pool) {
    /* Nothing less than a slab goes, so a remainder would stay due for ever. Where only
     * time is short a huge page goes as a whole: it costs less than to split it. */
    size_t piece = bounds->end != 0 ? hak_mapping_piece() : HAK_SLAB_SIZE;
    size_t most = hak_align_up(max_bytes, piece);
    if (left < most / HAK_SLAB_SIZE) left = most / HAK_SLAB_SIZE;
    given = hak_mapping_purge(pool < before ? pool : before, most, &left);
    bounds->no_mapping = given == 0;
    *any = true;
  } else {
    given = hak_pool_purge_oldest(idle, max_bytes, &left, any);
  }
  /* To find a pool and to bring its tree up to date costs as much as many slabs do. */
  size_t looked = left < slabs && slabs - left > VISIT_SLABS ? slabs - left : VISIT_SLABS;
  bounds->slabs -= looked < bounds->slabs ? looked : bounds->slabs;
  return given;
}

/* Gives back what has been idle for long enough, the longest idle first. */
static size_t give(hak_pool_idle_t idle, size_t max_bytes, bounds_t *bounds) {
  size_t given = 0;
  bool any = true;
  for (bool began = false; given < max_bytes && any; began = true) {
    size_t slabs = next_piece(bounds, began);
    if (slabs == 0) break;
    size_t most = slabs * HAK_SLAB_SIZE;
    if (most > max_bytes - given) most = max_bytes - given;
    uint64_t start = bounds->end == 0 ? 0 : hak_sys_fine_ns();
    size_t got = give_piece(idle, most, bounds, slabs, &any);
    if (bounds->end != 0) note_speed(hak_sys_fine_ns() - start, got);
    given += got;
  }
  return given;
}

/* --- what is due ------------------------------------------------------------------- */

static size_t bytes_above(uint64_t line) {
  uint64_t idle = hak_idle_bytes();
  return idle > line ? (size_t)(idle - line) : 0;
}

hak_retention_terms_t hak_retention_old(void) {
  uint64_t now = hak_clock_cached(), decay = hak_idle_decay();
  return (hak_retention_terms_t){now > decay ? now - decay : 0,
                                 bytes_above(hak_idle_floor())};
}

hak_retention_terms_t hak_retention_surplus(void) {
  uint64_t now = hak_clock_cached();
  (void)hak_idle_allowance(now);
  return (hak_retention_terms_t){now, bytes_above(hak_idle_ceiling())};
}

/* So much lies beyond the ceiling that the program seems to be done with it. While a
 * program frees all that it has at random, about E slots of a SuperSlab are still in use
 * when 32 / E - 1 times as much is idle, so what is left of each is about to be free;
 * where the last slot of each stays, 31 times as much is. */
static bool is_left_alone(void) {
  uint64_t times = (uint64_t)hak_option(HUGE_SPLIT);
  return times == 0 || hak_retained_bytes() / times > hak_idle_ceiling();
}

static hak_pool_idle_t idle_of_surplus(uint64_t now) {
  uint64_t grace = hak_idle_decay() / SPLITS_PER_DECAY;
  if (is_left_alone()) return (hak_pool_idle_t){now, now, true};
  return (hak_pool_idle_t){now, now > grace ? now - grace : 0, false};
}

/* What lies beyond the ceiling, whatever its age. */
static size_t give_surplus(size_t max_bytes, bounds_t *bounds) {
  hak_retention_terms_t terms = hak_retention_surplus();
  if (terms.bytes > max_bytes) terms.bytes = max_bytes;
  size_t given = give(idle_of_surplus(terms.before), terms.bytes, bounds);
  hak_idle_note_given(given, terms.before);
  return given;
}

static size_t give_old(size_t max_bytes, bounds_t *bounds) {
  hak_retention_terms_t terms = hak_retention_old();
  if (terms.bytes > max_bytes) terms.bytes = max_bytes;
  return give((hak_pool_idle_t){terms.before, terms.before, false}, terms.bytes, bounds);
}

/* When what has lain idle longest began to; UINT64_MAX: nothing does. */
static HAK_SLOW uint64_t oldest(void) {
  uint64_t region = hak_region_oldest(), mapping = hak_mapping_oldest();
  uint64_t pool = hak_pool_queue_oldest(), other = region < mapping ? region : mapping;
  return other < pool ? other : pool;
}

/* How much of what is old goes now, `passed` ns after the last look. */
static size_t share_of_time(uint64_t now, uint64_t passed) {
  uint64_t decay = hak_idle_decay(), due = oldest();
  due = due > UINT64_MAX - decay ? UINT64_MAX : due + decay;
  return (size_t)hak_rent_share(bytes_above(hak_idle_floor()), OLD_BYTES_LEAST, passed,
                                now > due ? now - due : 0, decay);
}

static uint64_t stuck_ns(void) { return hak_idle_decay() / RETRIES_PER_DECAY + 1; }

static void note_stuck(uint64_t now) {
  hak_store_relaxed(&stuck_left_alone, is_left_alone());
  hak_store_relaxed(&stuck_given, hak_load_relaxed(&hak_regions_given));
  hak_store_relaxed(&stuck_until, now + stuck_ns());
}

/* ns until then; 0 if it is past, or is `most` away, as after the option was set. */
static uint64_t later(const hak_atomic_u64_t *until, uint64_t now, uint64_t most) {
  uint64_t ns = hak_load_relaxed(until) - now;
  return ns <= most ? ns : 0;
}

/* The last try to give back what lies beyond the ceiling brought too little, and no whole
 * SuperSlab came free since. */
static bool is_stuck(uint64_t now) {
  return later(&stuck_until, now, stuck_ns()) != 0 &&
         hak_load_relaxed(&stuck_given) == hak_load_relaxed(&hak_regions_given);
}

/* So much is idle now that parts of huge pages may go, which might not then. */
static bool is_stuck_no_more(void) {
  return hak_load_relaxed(&stuck_left_alone) == 0 && is_left_alone();
}

static HAK_SLOW bool is_surplus_due(uint64_t now) {
  return hak_load_relaxed(&hak_retained_over) == HAK_IDLE_SURPLUS &&
         (!is_stuck(now) || is_stuck_no_more());
}

bool hak_retention_is_time(const hak_shared_pool_t *pool) {
  /* A call that works in memory of the caller's does nothing else; nor does one in a heap
   * that keeps all, whose threads may have no time for the system. */
  if (!hak_os_may_give() || hak_pool_is_enclosed(pool) || pool->keeps_all) return false;
  hak_clock_refresh();
  uint64_t now = hak_clock_cached();
  return is_surplus_due(now) ||
         now - hak_load_relaxed(&last_look) >= hak_idle_decay() / LOOKS_PER_DECAY;
}

void hak_retention_trim_slow(const hak_shared_pool_t *pool) {
  if (!hak_retention_is_time(pool)) return;
  uint64_t now = hak_clock_cached(), decay = hak_idle_decay();
  bounds_t bounds = bounds_of_call();
  hak_idle_look();
  if (is_surplus_due(now)) {
    give_surplus(SIZE_MAX, &bounds);
    if (!bounds.late && hak_idle_look() == HAK_IDLE_SURPLUS) {
      note_stuck(now);
    }
  }
  uint64_t looked = hak_load_relaxed(&last_look), passed = now - looked;
  if (now < looked || bounds.late || passed < decay / LOOKS_PER_DECAY) return;
  /* One thread looks; a second one that loses the race has nothing to do. */
  if (!hak_cas_relaxed(&last_look, &looked, now)) return;
  give_old(share_of_time(now, passed), &bounds);
  hak_idle_look(); /* while pages went they counted as in use */
  if (!bounds.late) (void)hak_region_release(hak_retention_old().before);
  /* What there was no time for is the next call's. */
  if (bounds.late) hak_store_relaxed(&last_look, looked);
}

/* ns until something is due, whether or not it would go. */
static HAK_SLOW uint64_t next_due(uint64_t now) {
  if (hak_retention_surplus().bytes > 0) return 0;
  if (bytes_above(hak_idle_floor()) == 0) return UINT64_MAX;
  uint64_t since = oldest(), decay = hak_idle_decay();
  if (since == UINT64_MAX) return UINT64_MAX;
  return since + decay > now ? since + decay - now : 0;
}

/* Something is due, and nothing would go: hooks of the program's refuse, or something is
 * in the way that may pass. A program that sleeps until more is due asks again after
 * that time, which doubles until something goes. Asked before, the time stays. What is
 * refused counts as idle since `began` or later from here on. */
static HAK_SLOW void note_refused(uint64_t began, uint64_t now) {
  if (next_due(now) != 0) return;
  hak_store_relaxed(&refused_bytes, hak_idle_bytes());
  hak_store_relaxed(&refused_at, began);
  if (later(&refused_until, now, REFUSED_NS_MOST) != 0) return;
  uint64_t ns = 2 * hak_load_relaxed(&refused_ns);
  if (ns < REFUSED_NS_FIRST) ns = REFUSED_NS_FIRST;
  if (ns > REFUSED_NS_MOST) ns = REFUSED_NS_MOST;
  hak_store_relaxed(&refused_ns, ns);
  hak_store_relaxed(&refused_until, now + ns);
}

/* ns until it is of use to ask again after that. What lies idle beyond what did then may
 * go; and what was too young then goes in its time. */
static HAK_SLOW uint64_t refused_for(uint64_t now) {
  uint64_t idle = hak_idle_bytes(), until = hak_load_relaxed(&refused_until);
  if (idle > hak_load_relaxed(&refused_bytes)) return 0;
  hak_store_relaxed(&refused_bytes, idle);
  uint64_t since = oldest();
  if (since < hak_load_relaxed(&refused_at)) {
    since += hak_idle_decay();
    if (since < until) until = since;
  }
  return until > now ? until - now : 0;
}

HAK_SLOW size_t hak_retention_give_due(size_t max_bytes, size_t *slabs) {
  hak_clock_refresh();
  uint64_t began = hak_clock_cached();
  bounds_t bounds = {.slabs = *slabs};
  size_t given = give_old(max_bytes, &bounds);
  if (given < max_bytes) given += give_surplus(max_bytes - given, &bounds);
  *slabs = bounds.slabs;
  hak_idle_look();
  /* What is due and could not be given is kept, or refused: it is no use to come back at
   * once. */
  if (given == 0 && max_bytes > 0) {
    note_stuck(hak_clock_cached());
    if (bounds.slabs > 0) note_refused(began, hak_clock_cached());
  } else if (given > 0) {
    hak_store_relaxed(&refused_ns, 0);
  }
  if (given < max_bytes) (void)hak_region_release(hak_retention_old().before);
  return given;
}

HAK_SLOW uint64_t hak_retention_due_in(void) {
  hak_clock_refresh();
  uint64_t now = hak_clock_cached(), due = next_due(now);
  uint64_t least = later(&stuck_until, now, stuck_ns()), refused = refused_for(now);
  if (refused > least) least = refused;
  return due > least ? due : least;
}
