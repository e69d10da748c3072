#include "pages/idle.h"

#include "base/option.h"
#include "pages/clock.h"

#define NS_PER_MS ((uint64_t)1000000)
/* So far beyond the ceiling nothing goes yet: single slabs that come and go would each
 * cost a call. */
#define SLACK_BYTES ((uint64_t)1 << 20)

hak_atomic_u64_t hak_slots_committed, hak_slots_retained;
hak_atomic_u64_t hak_mappings_committed, hak_mappings_retained;
hak_atomic_u64_t hak_slots_kept;
hak_atomic_u64_t hak_hole_bytes;
hak_atomic_u32_t hak_idle_others, hak_idle_turned;
hak_atomic_u64_t hak_idle_records, hak_idle_records_least;
hak_atomic_u32_t hak_retained_over __attribute__((aligned(HAK_CACHE_LINE)));

hak_rent_t hak_idle_surplus, hak_idle_shrunk;
hak_atomic_u64_t hak_idle_touched;

uint64_t hak_idle_decay(void) { return (uint64_t)hak_option(PURGE_DECAY_MS) * NS_PER_MS; }

uint32_t hak_idle_turns(uint64_t passed, uint32_t all) {
  uint64_t decay = hak_idle_decay(), turns = HAK_IDLE_TURNS;
  if (passed < decay) turns = passed * all / decay;
  return turns < HAK_IDLE_TURNS ? (uint32_t)turns : HAK_IDLE_TURNS;
}

static uint64_t committed(void) {
  return hak_load_relaxed(&hak_slots_committed) +
         hak_load_relaxed(&hak_mappings_committed);
}

static hak_rent_terms_t terms_at(uint64_t now) {
  return (hak_rent_terms_t){now, hak_idle_decay(), committed()};
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* The counts are read one after the other, so the difference may be off for a moment. */
static uint64_t used(uint64_t idle) {
  uint64_t all = committed(), not_used = idle + hak_load_relaxed(&hak_hole_bytes);
  return all > not_used ? all - not_used : 0;
}

static uint64_t floor_of(uint64_t in_use) {
  uint64_t share = (uint64_t)hak_option(RETAIN_SHARE);
  uint64_t part = share == 0 ? 0 : in_use / share;
  return least(most(part, (uint64_t)hak_option(RETAIN_BYTES)),
               (uint64_t)hak_option(RETAIN_BYTES_MAX));
}

static bool is_above_floor(uint64_t idle, uint64_t in_use) {
  uint64_t share = (uint64_t)hak_option(RETAIN_SHARE), times;
  if (idle > (uint64_t)hak_option(RETAIN_BYTES_MAX)) return true;
  if (idle <= (uint64_t)hak_option(RETAIN_BYTES)) return false;
  /* No division, as each change of what is idle comes here. */
  return __builtin_mul_overflow(idle, share, &times) || share == 0 || times > in_use;
}

/* max(floor, used), which is the ceiling without an allowance: the floor is above what is
 * in use only where it is RETAIN_BYTES. */
static uint64_t plain_ceiling(uint64_t in_use) {
  uint64_t few =
      least((uint64_t)hak_option(RETAIN_BYTES), (uint64_t)hak_option(RETAIN_BYTES_MAX));
  return most(few, in_use);
}

static uint64_t soft_ceiling(uint64_t in_use, uint64_t allowed) {
  if (hak_option(PURGE_SURPLUS) == 0) return UINT64_MAX;
  return plain_ceiling(in_use) + allowed;
}

uint64_t hak_idle_floor(void) { return floor_of(used(hak_idle_bytes())); }

/* Beyond the soft ceiling no more may go than there is credit. */
static uint64_t raised(uint64_t soft, uint64_t idle) {
  if (idle <= soft) return soft;
  hak_rent_terms_t terms = terms_at(hak_clock_cached());
  uint64_t touched = hak_load_relaxed(&hak_idle_touched);
  uint64_t credit = hak_rent_credit(&hak_idle_surplus, touched, &terms);
  return credit < idle - soft ? idle - credit : soft;
}

uint64_t hak_idle_ceiling(void) {
  uint64_t idle = hak_idle_bytes();
  uint64_t soft = soft_ceiling(used(idle), hak_load_relaxed(&hak_idle_surplus.allowance));
  uint64_t hard = (uint64_t)hak_option(RETAIN_BYTES_MAX);
  return least(raised(soft, idle), hard);
}

/* While so much is committed the level is HAK_IDLE_SOME from one number of idle bytes to
 * another, so that most changes need no look. Policy: where two threads note it at once,
 * the next look that is made mends it. */
static hak_atomic_u64_t some_committed, some_from, some_to;

static void note_some(uint64_t allowed) {
  uint64_t all = committed(), share = (uint64_t)hak_option(RETAIN_SHARE);
  uint64_t few = plain_ceiling(0), most_idle = (uint64_t)hak_option(RETAIN_BYTES_MAX);
  uint64_t part = share == 0 ? 0 : all / (share + 1);
  uint64_t surplus = most(few + allowed, (all + allowed) / 2);
  if (hak_option(PURGE_SURPLUS) == 0) surplus = most_idle;
  hak_store_relaxed(&some_from, most(few, part) + 1);
  hak_store_relaxed(&some_to, least(surplus, most_idle));
  hak_store_relaxed(&some_committed, all);
}

/* The level is HAK_IDLE_SOME as it was. */
static bool is_still_some(void) {
  uint64_t idle = hak_idle_bytes();
  return hak_load_relaxed(&some_committed) == committed() &&
         idle > hak_load_relaxed(&some_from) && idle <= hak_load_relaxed(&some_to);
}

uint64_t hak_idle_beyond(hak_atomic_u64_t *bytes) {
  uint64_t few = (uint64_t)hak_option(RETAIN_BYTES), all = hak_load_relaxed(bytes);
  return all > few ? all - few : 0;
}

hak_idle_level_t hak_idle_look(void) {
  uint64_t idle = hak_idle_bytes(), in_use = used(idle);
  uint64_t allowed = hak_load_relaxed(&hak_idle_surplus.allowance);
  hak_idle_level_t level = HAK_IDLE_FEW;
  if (is_above_floor(idle, in_use)) {
    uint64_t soft = soft_ceiling(in_use, allowed);
    bool surplus = idle > (uint64_t)hak_option(RETAIN_BYTES_MAX) ||
                   (idle > soft && idle - soft > SLACK_BYTES &&
                    idle - raised(soft, idle) > SLACK_BYTES);
    level = surplus ? HAK_IDLE_SURPLUS : HAK_IDLE_SOME;
    if (!surplus) note_some(allowed);
  }
  if (level == HAK_IDLE_FEW &&
      (hak_load_relaxed(&hak_idle_others) != HAK_IDLE_NO_OTHERS ||
       hak_idle_beyond(&hak_idle_records) != 0)) {
    level = HAK_IDLE_SOME;
    hak_store_relaxed(&some_committed, UINT64_MAX);
  }
  /* Two threads may cross a line at once and leave a wrong level; the next change mends
   * it. */
  if (hak_load_relaxed(&hak_retained_over) != (uint32_t)level) {
    hak_store_relaxed(&hak_retained_over, level);
  }
  return level;
}

void hak_idle_set_others(hak_idle_others_t others) {
  hak_store_relaxed(&hak_idle_others, others);
  hak_idle_look();
}

HAK_SLOW void hak_idle_note_records(int64_t bytes) {
  uint64_t before = hak_add_relaxed(&hak_idle_records, (uint64_t)bytes);
  uint64_t now = before + (uint64_t)bytes;
  if (now < hak_load_relaxed(&hak_idle_records_least)) {
    hak_store_relaxed(&hak_idle_records_least, now);
  }
  hak_idle_look();
}

/* What only the allowance keeps is taken into use: the allowance is not forgotten yet. */
static HAK_SLOW void confirm(void) {
  uint64_t now = hak_clock_cached();
  if (hak_load_relaxed(&hak_idle_surplus.at) == now) return;
  uint64_t idle = hak_idle_bytes();
  if (idle > plain_ceiling(used(idle))) hak_store_relaxed(&hak_idle_surplus.at, now);
}

HAK_SLOW void hak_idle_note_others_slow(void) {
  if (hak_load_relaxed(&hak_slots_committed) > (uint64_t)hak_option(RETAIN_BYTES)) {
    hak_idle_set_others(HAK_IDLE_OTHERS_NEW);
  }
}

void hak_note_retained(hak_atomic_u64_t *retained, int64_t bytes) {
  uint32_t level = hak_load_relaxed(&hak_retained_over);
  bool allowed = hak_load_relaxed(&hak_idle_surplus.allowance) != 0;
  if (bytes < 0 && level != HAK_IDLE_FEW && HAK_UNLIKELY(allowed)) confirm();
  hak_add_relaxed(retained, (uint64_t)bytes);
  /* What is taken into use cannot bring the level up, nor what becomes idle bring it
   * down. */
  if ((bytes < 0 && level == HAK_IDLE_FEW) || (bytes > 0 && level == HAK_IDLE_SURPLUS) ||
      (level == HAK_IDLE_SOME && is_still_some())) {
    return;
  }
  hak_idle_look();
}

void hak_note_kept(int64_t bytes) {
  hak_add_relaxed(&hak_slots_kept, (uint64_t)bytes);
  hak_idle_look();
}

static void rent_stop(hak_rent_t *rent) {
  hak_store_relaxed(&rent->given, 0);
  hak_store_relaxed(&rent->before, 0);
  hak_store_relaxed(&rent->spent, 0);
  hak_store_relaxed(&rent->allowance, 0);
}

void hak_idle_stop(void) {
  hak_store_relaxed(&hak_slots_committed, 0);
  hak_store_relaxed(&hak_slots_retained, 0);
  hak_store_relaxed(&hak_slots_kept, 0);
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_FEW);
  hak_store_relaxed(&hak_hole_bytes, 0);
  hak_store_relaxed(&hak_idle_others, HAK_IDLE_NO_OTHERS);
  hak_store_relaxed(&hak_idle_touched, 0);
  hak_store_relaxed(&hak_idle_records, 0);
  hak_store_relaxed(&hak_idle_records_least, 0);
  rent_stop(&hak_idle_surplus);
  rent_stop(&hak_idle_shrunk);
}

/* --- what it was a mistake to give back -------------------------------------------- */

/* Another allowance draws other lines. */
static void forget_lines(void) { hak_store_relaxed(&some_committed, UINT64_MAX); }

HAK_SLOW void hak_idle_needed_slow(hak_rent_t *rent, uint64_t bytes) {
  hak_rent_terms_t terms = terms_at(hak_clock_cached());
  hak_rent_note_needed(rent, bytes, &terms);
  forget_lines();
}

static uint64_t allowance_at(hak_rent_t *rent, uint64_t now) {
  hak_rent_terms_t terms = terms_at(now);
  uint64_t before = hak_load_relaxed(&rent->allowance);
  uint64_t allowed = hak_rent_allowance(rent, SLACK_BYTES, &terms);
  if (allowed != before) forget_lines();
  return allowed;
}

static void note_given(hak_rent_t *rent, uint64_t bytes, uint64_t now) {
  hak_rent_terms_t terms = terms_at(now);
  hak_rent_note_given(rent, bytes, &terms);
}

void hak_idle_note_given(uint64_t bytes, uint64_t now) {
  note_given(&hak_idle_surplus, bytes, now);
}

void hak_idle_note_shrunk(uint64_t bytes, uint64_t now) {
  note_given(&hak_idle_shrunk, bytes, now);
}

static void allow(uint64_t bytes) {
  hak_rent_terms_t terms = terms_at(hak_clock_cached());
  hak_rent_allow(&hak_idle_surplus, bytes, &terms);
  forget_lines();
}

void hak_idle_allow(uint64_t bytes) {
  hak_clock_refresh();
  allow(hak_load_relaxed(&hak_idle_surplus.allowance) + bytes);
}

void hak_idle_allow_least(uint64_t bytes) { allow(bytes); }

uint64_t hak_idle_allowance(uint64_t now) { return allowance_at(&hak_idle_surplus, now); }

uint64_t hak_idle_shrink_allowance(uint64_t now) {
  uint64_t allowed = allowance_at(&hak_idle_shrunk, now);
  if (allowed != 0) hak_rent_confirm(&hak_idle_shrunk, now); /* it is of use */
  return allowed;
}
