#include "pages/idle.h"

#include "base/option.h"
#include "pages/clock.h"

#define NS_PER_MS ((uint64_t)1000000)
/* So far beyond the ceiling nothing goes yet: single slabs that come and go would each
 * cost a call. */
#define SLACK_BYTES ((uint64_t)1 << 20)

hak_atomic_u64_t hak_slots_committed, hak_slots_retained;
hak_atomic_u64_t hak_mappings_committed, hak_mappings_retained;
hak_atomic_u64_t hak_idle_given;
hak_atomic_u32_t hak_idle_others;
hak_atomic_u32_t hak_retained_over __attribute__((aligned(HAK_CACHE_LINE)));

/* All are policy: where two threads change them at once one change may be lost. */
static hak_atomic_u64_t given_at;     /* ns; the last time that something went at once */
static hak_atomic_u64_t allowance;    /* bytes */
static hak_atomic_u64_t regretted_at; /* ns; when it last grew or was halved */

uint64_t hak_idle_decay(void) { return (uint64_t)hak_option(PURGE_DECAY_MS) * NS_PER_MS; }

static uint64_t committed(void) {
  return hak_load_relaxed(&hak_slots_committed) +
         hak_load_relaxed(&hak_mappings_committed);
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* The counts are read one after the other, so the difference may be off for a moment. */
static uint64_t used(uint64_t retained) {
  uint64_t all = committed();
  return all > retained ? all - retained : 0;
}

static uint64_t floor_of(uint64_t in_use) {
  uint64_t share = (uint64_t)hak_option(RETAIN_SHARE);
  uint64_t part = share == 0 ? 0 : in_use / share;
  return least(most(part, (uint64_t)hak_option(RETAIN_BYTES)),
               (uint64_t)hak_option(RETAIN_BYTES_MAX));
}

static uint64_t soft_ceiling(uint64_t in_use, uint64_t allowed) {
  if (hak_option(PURGE_SURPLUS) == 0) return UINT64_MAX;
  return most(floor_of(in_use), in_use) + allowed;
}

uint64_t hak_idle_floor(void) { return floor_of(used(hak_retained_bytes())); }

uint64_t hak_idle_ceiling(void) {
  uint64_t soft = soft_ceiling(used(hak_retained_bytes()), hak_load_relaxed(&allowance));
  uint64_t hard = (uint64_t)hak_option(RETAIN_BYTES_MAX);
  return least(soft, hard);
}

hak_idle_level_t hak_idle_look(void) {
  uint64_t retained = hak_retained_bytes(), in_use = used(retained);
  hak_idle_level_t level = HAK_IDLE_FEW;
  if (retained > floor_of(in_use)) {
    uint64_t soft = soft_ceiling(in_use, hak_load_relaxed(&allowance));
    bool surplus = retained > (uint64_t)hak_option(RETAIN_BYTES_MAX) ||
                   (retained > soft && retained - soft > SLACK_BYTES);
    level = surplus ? HAK_IDLE_SURPLUS : HAK_IDLE_SOME;
  }
  if (level == HAK_IDLE_FEW && hak_load_relaxed(&hak_idle_others) != HAK_IDLE_NO_OTHERS) {
    level = HAK_IDLE_SOME;
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

void hak_note_retained(hak_atomic_u64_t *retained, int64_t bytes) {
  hak_add_relaxed(retained, (uint64_t)bytes);
  hak_idle_look();
}

void hak_idle_stop(void) {
  hak_store_relaxed(&hak_slots_committed, 0);
  hak_store_relaxed(&hak_slots_retained, 0);
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_FEW);
  hak_store_relaxed(&hak_idle_given, 0);
  hak_store_relaxed(&hak_idle_others, HAK_IDLE_NO_OTHERS);
  hak_store_relaxed(&allowance, 0);
}

/* --- the allowance ----------------------------------------------------------------- */

void hak_idle_note_given(uint64_t bytes, uint64_t now) {
  if (bytes == 0) return;
  if (now - hak_load_relaxed(&given_at) > hak_idle_decay()) {
    hak_store_relaxed(&hak_idle_given, 0);
  }
  hak_store_relaxed(&given_at, now);
  hak_add_relaxed(&hak_idle_given, bytes);
}

HAK_SLOW void hak_idle_note_needed_slow(uint64_t bytes) {
  uint64_t now = hak_clock_cached(), given = hak_load_relaxed(&hak_idle_given);
  if (now - hak_load_relaxed(&given_at) > hak_idle_decay()) {
    hak_store_relaxed(&hak_idle_given, 0);
    return;
  }
  if (bytes > given) bytes = given;
  hak_store_relaxed(&hak_idle_given, given - bytes);
  /* More than there is need not be allowed for: it would take longer to be forgotten. */
  uint64_t allowed = hak_load_relaxed(&allowance);
  hak_store_relaxed(&allowance, most(allowed, least(allowed + bytes, committed())));
  hak_store_relaxed(&regretted_at, now);
}

void hak_idle_allow(uint64_t bytes) {
  hak_clock_refresh();
  hak_add_relaxed(&allowance, bytes);
  hak_store_relaxed(&regretted_at, hak_clock_cached());
}

uint64_t hak_idle_allowance(uint64_t now) {
  uint64_t allowed = hak_load_relaxed(&allowance), decay = hak_idle_decay();
  uint64_t since = hak_load_relaxed(&regretted_at);
  if (allowed == 0 || now < since || now - since <= decay) return allowed;
  uint64_t halvings = decay == 0 ? 64 : (now - since) / decay;
  allowed = halvings >= 64 ? 0 : allowed >> halvings;
  if (allowed < SLACK_BYTES) allowed = 0;
  hak_store_relaxed(&regretted_at, now);
  hak_store_relaxed(&allowance, allowed);
  return allowed;
}
