#include "pages/budget.h"

#include "base/check.h"

enum {
  /* All that threads cache of a limited heap is at most this share of its limit. */
  CACHED_SHARE = 16,
  /* Of that this part is for who begins. */
  BEGIN_SHARE = 4,
  /* Once the charge lies this part of a soft limit below it, the next crossing counts. */
  REARM_SHARE = 16,
  /* While it does not, each growth by this part counts. */
  STEP_SHARE = 64,
  /* With less than this part left a hard limit is near, and far again with half as much
   * more: threads that come and go at the border do not empty their bins each time. */
  NEAR_SHARE = 8
};

_Thread_local hak_budget_call_t *hak_budget_calls;
hak_atomic_u32_t hak_budget_alarms;
hak_atomic_u32_t hak_budget_auditing;

void hak_budgets_stop(void) { hak_store_relaxed(&hak_budget_alarms, 0); }

void hak_budget_init(hak_budget_t *budget) {
  hak_store_relaxed(&budget->hard, HAK_BUDGET_NONE);
  hak_store_relaxed(&budget->soft, HAK_BUDGET_NONE);
  hak_store_relaxed(&budget->alarm_at, HAK_BUDGET_NONE);
}

void hak_budget_set_limits(hak_budget_t *budget, size_t soft, size_t hard) {
  hak_store_relaxed(&budget->hard, hard == 0 ? HAK_BUDGET_NONE : hard);
  hak_store_relaxed(&budget->soft, soft == 0 ? HAK_BUDGET_NONE : soft);
  hak_store_relaxed(&budget->alarm_at, hak_load_relaxed(&budget->soft));
}

void hak_budget_begin(hak_budget_t *budget, hak_budget_t *parent) {
  hak_assert(hak_load_relaxed(&budget->charged) == 0);
  hak_assert(hak_load_relaxed(&budget->users) == 0);
  hak_assert(hak_load_relaxed(&budget->cached) == 0);
  hak_budget_set_limits(budget, 0, 0);
  hak_store_relaxed(&budget->parent, parent);
  hak_store_relaxed(&budget->refused, 0);
  hak_store_relaxed(&budget->peak, 0);
  budget->on_pressure = NULL;
  budget->ctx = NULL;
  if (hak_exchange_relaxed(&budget->alarm, 0) != 0)
    hak_sub_relaxed(&hak_budget_alarms, 1);
}

/* --- charging ------------------------------------------------------------------ */

/* The charge at which the next alarm comes if it is so much now. */
static uint64_t next_alarm(const hak_budget_t *level, uint64_t charged) {
  uint64_t soft = hak_load_relaxed(&((hak_budget_t *)level)->soft);
  if (soft == HAK_BUDGET_NONE) return soft;
  uint64_t next = charged + soft / STEP_SHARE;
  return next > soft ? next : soft;
}

static void note_soft(hak_budget_t *level, uint64_t charged) {
  uint64_t at = hak_load_relaxed(&level->alarm_at);
  /* A thread that loses the race leaves the alarm to the other. */
  if (HAK_LIKELY(charged <= at) ||
      !hak_cas_relaxed(&level->alarm_at, &at, next_alarm(level, charged))) {
    return;
  }
  if (hak_exchange_relaxed(&level->alarm, 1) == 0) hak_add_relaxed(&hak_budget_alarms, 1);
}

static bool add_to_level(hak_budget_t *level, uint64_t bytes) {
  uint64_t now = hak_load_relaxed(&level->charged);
  do {
    uint64_t hard = hak_load_relaxed(&level->hard);
    if (now > hard || bytes > hard - now) return false;
    /* Acquire: pairs with take_from_level; what was there has gone. */
  } while (!hak_cas_acquire(&level->charged, &now, now + bytes));
  note_soft(level, now + bytes);
  return true;
}

static void take_from_level(hak_budget_t *level, uint64_t bytes) {
  /* Release: the pages have gone before their bytes are others'. */
  uint64_t before = hak_sub_release(&level->charged, bytes), now = before - bytes;
  hak_assert(before >= bytes);
  (void)before;
  uint64_t soft = hak_load_relaxed(&level->soft);
  if (HAK_LIKELY(hak_load_relaxed(&level->alarm_at) == soft)) return;
  if (now <= soft - soft / REARM_SHARE) hak_store_relaxed(&level->alarm_at, soft);
}

static void take_up_to(hak_budget_t *budget, const hak_budget_t *end, uint64_t bytes) {
  for (; budget != end; budget = hak_budget_parent(budget)) {
    take_from_level(budget, bytes);
  }
}

static bool add_to_chain(hak_budget_t *budget, uint64_t bytes) {
  for (hak_budget_t *level = budget; level != NULL; level = hak_budget_parent(level)) {
    if (add_to_level(level, bytes)) continue;
    take_up_to(budget, level, bytes);
    hak_budget_call_t *call = hak_budget_calls;
    if (call != NULL && call->inside == NULL) call->refused_by = level;
    return false;
  }
  return true;
}

/* After a charge: requests of others that a level refused may be in it for a moment. */
static void note_peaks(hak_budget_t *level) {
  for (; level != NULL; level = hak_budget_parent(level)) {
    uint64_t now = hak_load_relaxed(&level->charged),
             peak = hak_load_relaxed(&level->peak);
    while (now > peak && !hak_cas_relaxed(&level->peak, &peak, now)) {}
  }
}

/* The chain is charged before `own` is, and after it when bytes go: so whoever makes
 * `own` begin or end knows that the chain has the fixed bytes. */
bool hak_budget_charge(hak_budget_t *budget, size_t bytes) {
  if (budget == NULL || bytes == 0) return true;
  uint64_t own = hak_load_relaxed(&budget->own);
  uint64_t fixed = own == 0 ? hak_budget_fixed(budget) : 0;
  if (!add_to_chain(budget, bytes + fixed)) return false;
  while (!hak_cas_relaxed(&budget->own, &own, own + bytes + fixed)) {
    if (fixed != 0) { /* `own` was 0: another thread has made it begin */
      take_up_to(budget, NULL, fixed);
      fixed = 0;
    } else if (own == 0) { /* and has made it end */
      fixed = hak_budget_fixed(budget);
      if (!add_to_chain(budget, fixed)) {
        take_up_to(budget, NULL, bytes);
        return false;
      }
    }
  }
  note_peaks(budget);
  return true;
}

void hak_budget_uncharge(hak_budget_t *budget, size_t bytes) {
  if (budget == NULL || bytes == 0) return;
  uint64_t own = hak_load_relaxed(&budget->own), gone;
  do {
    hak_assert(own >= bytes);
    gone = own - bytes == hak_budget_fixed(budget) ? own : bytes;
  } while (!hak_cas_relaxed(&budget->own, &own, own - gone));
  take_up_to(budget, NULL, gone);
}

void hak_budget_forget(hak_budget_t *budget) {
  hak_store_relaxed(&budget->own, 0);
  hak_store_relaxed(&budget->charged, 0);
}

void hak_budget_recharge(hak_budget_t *budget, size_t bytes) {
  if (hak_load_relaxed(&budget->own) == 0) bytes += hak_budget_fixed(budget);
  hak_add_relaxed(&budget->own, bytes);
  for (; budget != NULL; budget = hak_budget_parent(budget)) {
    hak_add_relaxed(&budget->charged, bytes);
  }
}

/* --- questions ------------------------------------------------------------------ */

uint64_t hak_budget_room(hak_budget_t *budget) {
  uint64_t room = HAK_BUDGET_NONE;
  for (; budget != NULL; budget = hak_budget_parent(budget)) {
    uint64_t hard = hak_load_relaxed(&budget->hard);
    if (hard == HAK_BUDGET_NONE) continue;
    uint64_t charged = hak_load_relaxed(&budget->charged);
    uint64_t left = charged < hard ? hard - charged : 0;
    if (left < room) room = left;
  }
  return room;
}

uint64_t hak_budget_quota(hak_budget_t *budget) {
  uint64_t quota = HAK_BUDGET_NONE;
  for (; budget != NULL; budget = hak_budget_parent(budget)) {
    uint64_t hard = hak_load_relaxed(&budget->hard);
    if (hard == HAK_BUDGET_NONE) continue;
    /* A power of two, so that what threads may cache changes seldom. */
    uint64_t users = hak_load_relaxed(&budget->users), part = hard / CACHED_SHARE;
    for (uint64_t parts = 1; parts < users; parts *= 2) part /= 2;
    if (part < quota) quota = part;
  }
  return quota == 0 ? 1 : quota;
}

bool hak_budget_is_far(hak_budget_t *budget, bool was_far) {
  for (; budget != NULL; budget = hak_budget_parent(budget)) {
    uint64_t hard = hak_load_relaxed(&budget->hard);
    if (hard == HAK_BUDGET_NONE) continue;
    uint64_t least = hard / NEAR_SHARE;
    if (!was_far) least += least / 2;
    /* Stale by a few charges, which may fail at any time: a policy, not a bound. */
    if (hak_load_relaxed(&budget->charged) > hard - least) return false;
  }
  return true;
}

void hak_budget_count_user(hak_budget_t *budget, int32_t users) {
  for (; budget != NULL; budget = hak_budget_parent(budget)) {
    hak_add_relaxed(&budget->users, (uint32_t)users);
  }
}

static bool grant_at(hak_budget_t *level, uint64_t bytes) {
  uint64_t hard = hak_load_relaxed(&level->hard);
  uint64_t most = hard == HAK_BUDGET_NONE ? HAK_BUDGET_NONE : hard / CACHED_SHARE;
  uint64_t now = hak_load_relaxed(&level->cached);
  do {
    if (now > most || bytes > most - now) return false;
  } while (!hak_cas_relaxed(&level->cached, &now, now + bytes));
  return true;
}

static void return_up_to(hak_budget_t *budget, const hak_budget_t *end, uint64_t bytes) {
  for (; budget != end; budget = hak_budget_parent(budget)) {
    hak_sub_relaxed(&budget->cached, bytes);
  }
}

bool hak_budget_quota_take(hak_budget_t *budget, uint64_t bytes) {
  for (hak_budget_t *level = budget; level != NULL; level = hak_budget_parent(level)) {
    if (grant_at(level, bytes)) continue;
    return_up_to(budget, level, bytes);
    return false;
  }
  return true;
}

bool hak_budget_quota_is_scarce(hak_budget_t *budget) {
  for (; budget != NULL; budget = hak_budget_parent(budget)) {
    uint64_t most = hak_load_relaxed(&budget->hard) / CACHED_SHARE;
    if (hak_load_relaxed(&budget->cached) > most - most / BEGIN_SHARE) return true;
  }
  return false;
}

void hak_budget_quota_return(hak_budget_t *budget, uint64_t bytes) {
  if (bytes != 0) return_up_to(budget, NULL, bytes);
}

void hak_budget_quota_retake(hak_budget_t *budget, uint64_t bytes) {
  return_up_to(budget, NULL, 0 - bytes);
}

bool hak_budget_is_below(const hak_budget_t *budget, const hak_budget_t *level) {
  while (budget != NULL && budget != level) budget = hak_budget_parent(budget);
  return budget != NULL;
}

HAK_SLOW void hak_budget_calls_leave(void) {
  while (hak_budget_calls != NULL && hak_budget_calls->inside == NULL) {
    hak_budget_calls = hak_budget_calls->outer;
  }
}

bool hak_budget_is_forbidden_slow(const hak_budget_t *budget) {
  for (const hak_budget_call_t *c = hak_budget_calls; c != NULL; c = c->outer) {
    if (c->inside != NULL && hak_budget_is_below(budget, c->inside)) return true;
  }
  return false;
}

hak_budget_t *hak_budget_take_alarm(hak_budget_t *budget) {
  for (; budget != NULL; budget = hak_budget_parent(budget)) {
    if (hak_load_relaxed(&budget->alarm) != 0 &&
        hak_exchange_relaxed(&budget->alarm, 0) != 0) {
      hak_sub_relaxed(&hak_budget_alarms, 1);
      return budget;
    }
  }
  return NULL;
}

void hak_budget_rearm(hak_budget_t *level) {
  hak_store_relaxed(&level->alarm_at,
                    next_alarm(level, hak_load_relaxed(&level->charged)));
}
