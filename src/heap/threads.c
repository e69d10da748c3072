#include "heap/threads.h"

#include "base/option.h"
#include "base/sys.h"
#include "tiny/capacity.h"

/* Guards the list of states, what is marked [lock] here and [lock: threads] in states. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_THREADS);
static _Atomic(hak_thread_t *) states; /* [lock] all ever made */
static hak_thread_t *free_states;      /* [lock] */
static uint32_t codes_used, attached;  /* [lock] */
static uint32_t indices_wanted;        /* [lock] every state has memory for; grows only */
static hak_link_key_t key;             /* [const] */
static const hak_os_t *os;             /* [const] */

static hak_thread_t *shared;
static hak_lease_t shared_lease;

/* --- codes -------------------------------------------------------------- */

enum {
  CODE_WEIGHT = 7
};

/* The n-th word with 7 of 15 bits set. Words that have their highest bit lower come
 * first, so that bit is the highest with no more than n of those, and so on below it. */
static uint32_t code_of(uint32_t n) {
  uint32_t word = 0;
  for (uint32_t left = CODE_WEIGHT; left > 0; left--) {
    uint32_t bit = left - 1, lower = 0, next = 1; /* words of `left` bits below a bit */
    while (next <= n) {
      bit++;
      lower = next;
      next = next * (bit + 1) / (bit + 1 - left);
    }
    word |= (uint32_t)1 << bit;
    n -= lower;
  }
  return word;
}

/* --- the list of states ------------------------------------------------------------ */

/* Puts a new state into the list once it has memory for the cache indices that all have
 * it for; false if memory for them is short. */
static bool state_publish(hak_thread_t *thread) {
  for (;;) {
    hak_lock_acquire(&lock);
    uint32_t wanted = indices_wanted;
    bool ready = hak_thread_state(thread)->indices_ready >= wanted;
    if (ready) {
      thread->next = hak_load_relaxed(&states);
      /* Release: publishes the state to hak_threads_visit. */
      hak_store_release(&states, thread);
    }
    hak_lock_release(&lock);
    if (ready) return true;
    if (!hak_thread_state_commit(os, thread, wanted)) return false;
  }
}

/* One thread at a time commits memory in all states; a second one goes without. */
static hak_atomic_u32_t committing;

static bool commit_all(uint32_t indices) {
  hak_thread_t *done = NULL;
  for (;;) {
    /* Acquire: pairs with state_publish. States come in front, none goes. */
    hak_thread_t *first = hak_load_acquire(&states);
    for (hak_thread_t *each = first; each != done; each = each->next) {
      if (!hak_thread_state_commit(os, each, indices)) return false;
    }
    done = first;
    hak_lock_acquire(&lock);
    bool all = hak_load_relaxed(&states) == first;
    if (all) indices_wanted = indices;
    hak_lock_release(&lock);
    if (all) return true;
  }
}

bool hak_threads_commit_indices(uint32_t indices) {
  /* Acquire and release: the next one sees what every state has. */
  if (hak_exchange_acquire(&committing, 1) != 0) return false;
  bool ok = indices_wanted >= indices || commit_all(indices);
  hak_store_release(&committing, 0);
  return ok;
}

static hak_thread_t *state_make(uint32_t n) {
  hak_thread_t *state = hak_thread_state_new(os);
  if (state == NULL) return NULL;
  state->code = code_of(n - 1);
  state->key = key;
  state->registry = hak_registry_root();
  state->registry_limit = HAK_REGISTRY_LEAVES;
  state->store = hak_heap_get_default()->store;
  state->cache =
      (hak_cache_t){state->bins, state->holds,  state->store, hak_entry_cached(0),
                    NULL,        &state->grown, state->code};
  hak_store_relaxed(&state->bins_at[HAK_INDEX_DEFAULT], hak_index_to(state->bins));
  if (state_publish(state)) return state;
  hak_thread_state_release(os, state);
  return NULL;
}

hak_thread_t *hak_threads_get(hak_thread_t **tls) {
  hak_lock_acquire(&lock);
  hak_thread_t *state = free_states;
  uint32_t n = 0;
  if (state != NULL) {
    free_states = state->next_free;
  } else if ((int64_t)codes_used < hak_option(MAX_THREADS) + 1) {
    n = ++codes_used;
  }
  hak_lock_release(&lock);
  if (state == NULL && n == 0) return NULL;
  if (state == NULL) {
    state = state_make(n);
    if (state == NULL) {
      hak_lock_acquire(&lock);
      if (codes_used == n) codes_used--; /* else the code is lost; they are many */
      hak_lock_release(&lock);
      return NULL;
    }
  }
  hak_threads_reset(state);
  hak_lock_acquire(&lock);
  state->tls = tls;
  hak_store_relaxed(&state->attached, 1);
  if (tls != NULL) attached++;
  hak_lock_release(&lock);
  if (tls != NULL) hak_budget_count_user(&state->store->pool.budget, 1);
  HAK_COUNT(state, thread_attaches, tls != NULL);
  return state;
}

void hak_threads_put(hak_thread_t *state) {
  HAK_COUNT(state, thread_exits, 1);
  hak_budget_count_user(&state->store->pool.budget, -1);
  hak_lock_acquire(&lock);
  hak_store_relaxed(&state->attached, 0);
  state->tls = NULL;
  state->next_free = free_states;
  free_states = state;
  attached--;
  hak_lock_release(&lock);
}

/* --- the state that is shared ------------------------------------------------------- */

hak_thread_t *hak_threads_shared(void) { return shared; }

hak_thread_t *hak_threads_lease_shared(void) {
  hak_lease_take(&shared_lease);
  return shared;
}
bool hak_threads_try_lease_shared(void) { return hak_lease_try(&shared_lease); }
void hak_threads_unlease_shared(void) { hak_lease_give(&shared_lease); }

/* --- all threads ---------------------------------------------------------- */

uint32_t hak_threads_others(void) {
  bool mine = hak_thread_self->kind == HAK_THREAD_ATTACHED;
  hak_lock_acquire(&lock);
  uint32_t others = attached - mine;
  hak_lock_release(&lock);
  return others;
}

void hak_threads_visit(void (*visit)(hak_thread_t *thread, void *ctx), void *ctx) {
  /* Acquire: pairs with state_publish. `next` never changes after. */
  hak_thread_t *state = hak_load_acquire(&states);
  for (; state != NULL; state = state->next) visit(state, ctx);
}

typedef struct sum {
  hak_counts_t *counts;
  uint32_t attached;
} sum_t;

static void add_counts(hak_thread_t *thread, void *ctx) {
  sum_t *sum = ctx;
#define HAK_COUNTER(name) \
  hak_count_own(&sum->counts->name, hak_load_relaxed(&thread->counts.name));
#include "tiny/counters.def"
#undef HAK_COUNTER
  if (thread != shared) sum->attached += hak_load_relaxed(&thread->attached);
}

void hak_threads_sum(hak_counts_t *counts, uint32_t *count) {
  sum_t sum = {counts, 0};
  hak_threads_visit(add_counts, &sum);
  *count = sum.attached;
}

/* --- start, end and forks ------------------------------------------------------------
 */

hak_lock_t *hak_threads_lock(void) { return &lock; }

bool hak_threads_start(const hak_os_t *the_os, void (*at_end)(void *state)) {
  os = the_os;
  key = hak_link_key_make(hak_sys_entropy());
  hak_sys_thread_end_start(at_end); /* without it no thread is attached */
  shared = hak_threads_get(NULL);
  if (shared == NULL) return false;
  shared->to_report = 1;
  return true;
}

void hak_threads_stop(void) {
  hak_lock_acquire(&lock);
  for (hak_thread_t *state = hak_load_relaxed(&states); state != NULL;
       state = state->next) {
    if (state->tls != NULL) *state->tls = &hak_thread_none;
  }
  hak_thread_t *gone = hak_load_relaxed(&states);
  hak_store_relaxed(&states, NULL);
  free_states = NULL;
  indices_wanted = 0;
  codes_used = attached = 0;
  shared = NULL;
  hak_lock_release(&lock);
  hak_lease_give(&shared_lease); /* wakes who waited for it */
  hak_sys_thread_end_stop();
  hak_capacity_recount(0);
  while (gone != NULL) {
    hak_thread_t *next = gone->next;
    hak_thread_state_release(os, gone);
    gone = next;
  }
}

void hak_threads_reset(hak_thread_t *state) {
  hak_thread_state_reset(state);
  state->to_report = state == shared;
}

bool hak_threads_is_lost(hak_thread_t *state) {
  return state != hak_thread_self &&
         (state == shared || hak_load_relaxed(&state->attached) != 0);
}

void hak_threads_forget_lost(bool reuse) {
  const hak_thread_t *me = hak_thread_self;
  hak_lease_reset(&shared_lease);
  hak_store_relaxed(&committing, 0);
  attached = me->kind == HAK_THREAD_ATTACHED;
  if (reuse) free_states = NULL;
  for (hak_thread_t *state = hak_load_relaxed(&states); state != NULL;
       state = state->next) {
    if (state == me || state == shared) continue;
    hak_store_relaxed(&state->attached, 0);
    state->tls = NULL;
    if (!reuse) continue;
    state->next_free = free_states;
    free_states = state;
  }
}
