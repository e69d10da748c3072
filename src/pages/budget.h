/* budget.h - what a heap's memory is charged to: a chain of counters with limits.
 *
 * Depends on: base.   Used by: mapping_lists, superslab.
 *
 * A budget is a level: that of a heap, with the levels of the heaps that it is part
 * of above it. Bytes are reserved at every level before pages are committed and given
 * up after they have gone, so at no moment is more committed than is charged, and
 * never is more charged than a hard limit allows.
 *
 *     own == committed slots, runs and mappings of the heap + their records
 *            + (own > 0 ? fixed : 0)
 *     charged == own + charged of the levels right below
 *
 * (the second while nobody changes it; `charged` is the larger meanwhile). The heap's
 * fixed records are charged only while it has other memory, so that a heap without
 * any is charged nothing.
 *
 * Access:  see base/lock.h; [const] is while the heap is live
 */
#ifndef HAK_PAGES_BUDGET_H
#define HAK_PAGES_BUDGET_H

#include "base/atomic.h"
#include "base/public.h"

#define HAK_BUDGET_NONE UINT64_MAX

typedef struct hak_budget {
  hak_atomic_u64_t own;         /* [any] bytes of the heap itself */
  hak_atomic_u64_t charged;     /* [any] bytes, levels below included */
  hak_atomic_u64_t hard, soft;  /* [any] HAK_BUDGET_NONE: no limit */
  hak_atomic_u64_t peak;        /* [any] the most that `charged` has been, as far as it
                                   was seen when charges had succeeded */
  hak_atomic_ptr_t parent;      /* [any] the level above, or NULL */
  hak_atomic_u64_t refused;     /* [any] requests that ended in NULL for its limit */
  hak_atomic_u32_t users;       /* [any] who may cache of its heap and those below */
  hak_atomic_u32_t alarm;       /* [any] nobody has acted on the last one yet */
  hak_atomic_u64_t cached;      /* [any] bytes that the users may cache, in all */
  hak_atomic_u64_t alarm_at;    /* [any] bytes; more is an alarm. It is `soft`, and more
                                   than that from an alarm on until the charge is well
                                   below */
  hak_atomic_u64_t audit;       /* [any] what hak_check adds up */
  hak_atomic_u32_t fixed;       /* [const] bytes of the heap's own records */
  hak_pressure_fn *on_pressure; /* [const] or NULL */
  void *ctx;                    /* [const] */
} hak_budget_t;

/* One call of the program that may meet a limit, on its stack; innermost first. */
typedef struct hak_budget_call {
  struct hak_budget_call *outer;
  hak_budget_t *refused_by;   /* the level that was last in the way, or NULL */
  const hak_budget_t *inside; /* its callback is running, or NULL */
  uint32_t rounds;            /* callbacks asked so far for the request */
  size_t needed;              /* bytes of the request, or 0 */
} hak_budget_call_t;

extern _Thread_local hak_budget_call_t *hak_budget_calls;

HAK_HOT void hak_budget_call_begin(hak_budget_call_t *call) {
  *call = (hak_budget_call_t){hak_budget_calls, NULL, NULL, 0, 0};
  hak_budget_calls = call;
}
HAK_HOT void hak_budget_call_end(const hak_budget_call_t *call) {
  hak_budget_calls = call->outer;
}
/* The thread is in no request, but for those out of which a callback was called. */
void hak_budget_calls_leave(void);

/* Soft limits that were crossed and that nobody has acted on yet. */
HAK_EXTERN hak_atomic_u32_t hak_budget_alarms;

/* 1: a thread adds budgets up, in their `audit`. */
HAK_EXTERN hak_atomic_u32_t hak_budget_auditing;

/* At shutdown, when no budget is charged any more. */
void hak_budgets_stop(void);

void hak_budget_init(hak_budget_t *budget);
/* A level without charge below `parent` (or NULL); its limits in bytes, 0 = none. */
void hak_budget_begin(hak_budget_t *budget, hak_budget_t *parent);
void hak_budget_set_limits(hak_budget_t *budget, size_t soft, size_t hard);

HAK_HOT hak_budget_t *hak_budget_parent(const hak_budget_t *budget) {
  return hak_load_relaxed((hak_atomic_ptr_t *)&budget->parent);
}

HAK_HOT uint32_t hak_budget_fixed(const hak_budget_t *budget) {
  return hak_load_relaxed(&((hak_budget_t *)budget)->fixed);
}

/* True if the bytes fit at every level, where they then count; else the call under way
 * knows which level was in the way. NULL as budget: always true. */
bool hak_budget_charge(hak_budget_t *budget, size_t bytes);
void hak_budget_uncharge(hak_budget_t *budget, size_t bytes);
/* These two count charges anew, while one thread alone is there: the first leaves no
 * charge anywhere, then the second charges what there is without a question. */
void hak_budget_forget(hak_budget_t *budget);
void hak_budget_recharge(hak_budget_t *budget, size_t bytes);

/* True if a level in the chain has a hard limit. */
HAK_HOT bool hak_budget_is_limited(const hak_budget_t *budget) {
  for (; budget != NULL; budget = hak_budget_parent(budget)) {
    if (hak_load_relaxed(&((hak_budget_t *)budget)->hard) != HAK_BUDGET_NONE) return true;
  }
  return false;
}
/* Bytes that can still be charged. */
uint64_t hak_budget_room(hak_budget_t *budget);
/* Bytes that one user may cache of the heap: the smallest quota of a level, where
 * each user of a level has as much. Never 0; HAK_BUDGET_NONE without a limit. */
uint64_t hak_budget_quota(hak_budget_t *budget);
/* True if every hard limit in the chain is far: more than an eighth of it is left, and
 * three sixteenths where it was not far before. */
bool hak_budget_is_far(hak_budget_t *budget, bool was_far);
/* Users that begin, or end (-1), to cache blocks of the heap. */
void hak_budget_count_user(hak_budget_t *budget, int32_t users);
/* True if a user may cache so many bytes more, which then count. False while others have
 * yet to see that their quota has become smaller: all users together never have more
 * than one would have alone. */
bool hak_budget_quota_take(hak_budget_t *budget, uint64_t bytes);
/* True if so much is cached that the rest is left to users, and classes, that begin. */
bool hak_budget_quota_is_scarce(hak_budget_t *budget);
/* A user caches so many bytes less. */
void hak_budget_quota_return(hak_budget_t *budget, uint64_t bytes);
/* Takes a quota without a question, where quotas are counted anew. */
void hak_budget_quota_retake(hak_budget_t *budget, uint64_t bytes);

/* True if `budget` is `level` or lies below. */
bool hak_budget_is_below(const hak_budget_t *budget, const hak_budget_t *level);
/* True if the callback of one of the budget's levels is running in this thread. */
bool hak_budget_is_forbidden_slow(const hak_budget_t *budget);
HAK_HOT bool hak_budget_is_forbidden(const hak_budget_t *budget) {
  return HAK_UNLIKELY(hak_budget_calls != NULL) && hak_budget_is_forbidden_slow(budget);
}

/* A level in the chain whose soft limit was crossed, for the caller to act on, or
 * NULL. */
hak_budget_t *hak_budget_take_alarm(hak_budget_t *budget);
/* The caller has acted on an alarm: the next one comes when the charge has grown by a
 * sixty-fourth of the soft limit from here and is above the limit, or crosses the limit
 * after it has been a sixteenth of it below. */
void hak_budget_rearm(hak_budget_t *level);

#endif
