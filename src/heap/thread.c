#include "heap/thread.h"

#include "base/check.h"
#include "base/option.h"
#include "base/report.h"
#include "base/sys.h"
#include "heap/lifecycle.h"
#include "os/os_release.h"
#include "pages/meta.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/magazine.h"

/* Bins that look empty: every alloc and free of a thread without a state leaves
 * its fast path at the branch that is there anyway. The key makes the link of
 * the empty list bad. */
#define BIN \
  { {HAK_LINK_END, 0, 0}, HAK_LINK_END, 0, 0, 0, 0 }
#define BINS_8 BIN, BIN, BIN, BIN, BIN, BIN, BIN, BIN
#define BINS \
  BINS_8, BINS_8, BINS_8, BINS_8, BINS_8, BINS_8, BINS_8, BIN, BIN, BIN, BIN, BIN

hak_thread_t hak_thread_none = {
    .mask = UINT64_MAX, .key = {0, UINT64_MAX}, .kind = HAK_THREAD_NONE, .bins = {BINS}};

_Thread_local hak_thread_t *hak_thread_self = &hak_thread_none;
/* No slow path makes a state for the thread: it is ending. */
static _Thread_local bool is_ending;

/* Guards the list of states, what is marked [lock] here and [lock: threads] in states. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_THREADS);
static _Atomic(hak_thread_t *) states; /* [lock] all ever made */
static hak_thread_t *free_states;      /* [lock] */
static uint32_t codes_used, attached;  /* [lock] */
static hak_link_key_t key;             /* [const] */
static const hak_os_t *os;             /* [const] */

/* The state of threads without one, and whether a thread is using it. A lease
 * rather than a lock, since hooks run while it is out. */
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

/* --- states ------------------------------------------------------------- */

void hak_thread_reset(hak_thread_t *state) {
  hak_store_relaxed(&state->busy, 0);
  state->deferred.error = 0;
  state->to_report = state == shared;
  state->no_grow = 0;
  state->mask = state->code;
  state->unowned.head = HAK_LINK_END;
  hak_store_relaxed(&state->unowned.room, 0);
  state->trims = 0;
  state->looks = 0;
  state->grown = 0;
  state->in_parts = 0;
  hak_cache_init(state->bins, state->holds, state->store);
}

/* --- a state's memory --------------------------------------------------------- */

/* Slots that every state has memory for. Grows only, under the lock. */
static uint32_t indices_wanted;

/* Blocks that are whole pages all begin in the same set of the first-level cache; the
 * line that every call reads lies in another one. */
enum {
  STATE_OFFSET = HAK_CACHE_LINE
};

static char *range_of(hak_thread_state_t *state) { return (char *)state - STATE_OFFSET; }

/* Of a state's range, so much has memory with the slots below `slot`. */
static size_t bytes_to_index(uint32_t slot) {
  size_t bytes = STATE_OFFSET + offsetof(hak_thread_state_t, indices) +
                 slot * sizeof(hak_indexed_bins_t);
  return hak_align_up(bytes, os->page_size);
}

/* Memory for the slots below `indices`; a part that is there stays as it is. */
static bool commit_indices(hak_thread_state_t *state, uint32_t indices) {
  size_t have = bytes_to_index(state->indices_ready), need = bytes_to_index(indices);
  bool zeroed;
  if (indices <= state->indices_ready) return true;
  if (need > have) {
    if (!hak_os_commit(os, range_of(state) + have, need - have, &zeroed)) return false;
    if (!zeroed) __builtin_memset(range_of(state) + have, 0, need - have);
    hak_add_relaxed(&hak_meta_committed, need - have);
  }
  state->indices_ready = indices;
  return true;
}

static size_t state_size(void) {
  return hak_align_up(STATE_OFFSET + sizeof(hak_thread_state_t), HAK_SLAB_SIZE);
}

static hak_thread_t *state_new(void) {
  char *range = hak_os_reserve(os, state_size(), HAK_SLAB_SIZE);
  if (range == NULL) return NULL;
  size_t need = bytes_to_index(0);
  bool zeroed;
  if (!hak_os_commit(os, range, need, &zeroed)) {
    hak_os_unreserve(os, range, state_size());
    return NULL;
  }
  if (!zeroed) __builtin_memset(range, 0, need);
  hak_add_relaxed(&hak_meta_committed, need);
  hak_add_relaxed(&hak_meta_reserved, state_size());
  return &((hak_thread_state_t *)(void *)(range + STATE_OFFSET))->thread;
}

static void state_release(hak_thread_t *thread) {
  hak_thread_state_t *state = hak_thread_state(thread);
  hak_sub_relaxed(&hak_meta_committed, bytes_to_index(state->indices_ready));
  hak_sub_relaxed(&hak_meta_reserved, state_size());
  /* At shutdown, or before anybody had it. */
  hak_os_unreserve(os, range_of(state), state_size());
}

/* Puts a new state into the list once it has the slots that all have; false if
 * memory for them is short. */
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
    if (!commit_indices(hak_thread_state(thread), wanted)) return false;
  }
}

/* One thread at a time commits slots in all states; a second one goes without. */
static hak_atomic_u32_t committing;

static bool commit_all(uint32_t indices) {
  hak_thread_t *done = NULL;
  for (;;) {
    /* Acquire: pairs with state_publish. States come in front, none goes. */
    hak_thread_t *first = hak_load_acquire(&states);
    for (hak_thread_t *each = first; each != done; each = each->next) {
      if (!commit_indices(hak_thread_state(each), indices)) return false;
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
  hak_thread_t *state = state_new();
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
  state_release(state);
  return NULL;
}

/* A state from the free list or a new one; NULL if codes or memory are short. */
static hak_thread_t *state_get(hak_thread_t **slot) {
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
  hak_thread_reset(state);
  hak_lock_acquire(&lock);
  state->slot = slot;
  hak_store_relaxed(&state->attached, 1);
  if (slot != NULL) attached++;
  hak_lock_release(&lock);
  if (slot != NULL) hak_budget_count_user(&state->store->pool.budget, 1);
  HAK_COUNT(state, thread_attaches, slot != NULL);
  return state;
}

static void state_put(hak_thread_t *state) {
  HAK_COUNT(state, thread_exits, 1);
  hak_budget_count_user(&state->store->pool.budget, -1);
  hak_lock_acquire(&lock);
  hak_store_relaxed(&state->attached, 0);
  state->slot = NULL;
  state->next_free = free_states;
  free_states = state;
  attached--;
  hak_lock_release(&lock);
}

/* Under the lease, like what is kept of other heaps: a visit may be reading it. */
static void flush_default(hak_thread_t *me) {
  hak_heap_t *heap = hak_heap_get_default();
  hak_heap_lease(heap);
  hak_flush_all(me, &me->cache);
  hak_heap_unlease(heap);
}

void hak_thread_flush_one(hak_thread_t *me, hak_heap_t *heap) {
  if (heap->store == me->store) {
    flush_default(me);
  } else {
    hak_cache_flush(me, heap);
  }
}

void hak_thread_flush(hak_thread_t *me) {
  flush_default(me);
  hak_caches_flush(me);
}

/* --- the end of a thread ------------------------------------------------- */

void hak_thread_leave_heaps(hak_thread_t *me) {
  hak_store_relaxed(&me->busy, 1);
  flush_default(me);
  hak_caches_leave(me);
}

/* Runs among the thread's destructors. Later ones may still allocate and free;
 * they share a state, so that nothing is made that nobody would take down. */
static void at_thread_exit(void *state) {
  hak_thread_t *me = state;
  if (me != hak_thread_self) return;
  hak_thread_leave_heaps(me);
  hak_thread_self = &hak_thread_none;
  is_ending = true;
  /* What was found as blocks went home; a handler that allocates shares a state. */
  hak_thread_leave(me, "hak_thread_exit");
  state_put(me);
}

static bool attach(void) {
  hak_thread_t *state = state_get(&hak_thread_self);
  if (state == NULL) return false;
  if (!hak_sys_thread_end_set(state)) {
    state_put(state);
    return false;
  }
  hak_thread_self = state;
  return true;
}

bool hak_thread_attach(void) {
  hak_stay_t stay = hak_stay_started();
  bool ok = stay == HAK_STAY_ATTACHED || (stay == HAK_STAY_COUNTED && attach());
  hak_stay_end(stay);
  return ok;
}

void hak_thread_detach(void) {
  hak_thread_t *me = hak_thread_self;
  if (me->kind != HAK_THREAD_ATTACHED) return;
  hak_sys_thread_end_set(NULL);
  hak_thread_leave_heaps(me);
  hak_thread_self = &hak_thread_none;
  is_ending = true; /* for a handler that allocates */
  hak_thread_leave(me, "hak_thread_exit");
  is_ending = false;
  state_put(me);
}

/* --- one slow call ------------------------------------------------------- */

static hak_thread_t *lease_shared(void) {
  hak_lease_take(&shared_lease);
  return shared;
}

/* Who uses the shared state stays until it leaves. */
HAK_SLOW hak_thread_t *hak_thread_enter_slow(void) {
  hak_thread_t *me;
  hak_stay_t stay = hak_stay_started();
  if (stay == HAK_STAY_NONE) return NULL;
  if (!is_ending && attach()) {
    hak_stay_end(stay);
    me = hak_thread_self;
  } else {
    me = lease_shared();
  }
  hak_store_relaxed(&me->busy, 1);
  return me;
}

hak_thread_t *hak_thread_enter_started(void) {
  hak_stay_t stay = hak_stay();
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return NULL;
  hak_thread_t *me = stay == HAK_STAY_ATTACHED ? hak_thread_self : lease_shared();
  hak_store_relaxed(&me->busy, 1);
  return me;
}

HAK_SLOW void hak_thread_trim_slow(hak_shared_pool_t *pool) {
  hak_thread_t *me = hak_thread_enter_started();
  if (me == NULL) return;
  hak_retention_trim_slow(pool);
  hak_thread_leave(me, HAK_IN_ALLOC);
}

/* `stays`: the shared state was entered, by a call that is counted. */
static void leave(hak_thread_t *me, const char *function, bool stays) {
  hak_error_t error = (hak_error_t)me->deferred.error;
  const void *block = me->deferred.block;
  const char *text = me->deferred.text;
  hak_heap_t *heap = me->deferred.heap;
  me->deferred.error = 0;
  if (me == shared) {
    hak_lease_give(&shared_lease);
    if (stays) hak_stay_end_slow();
  } else {
    me->to_report = 0;
  }
  if (error != 0) hak_report(error, block, heap, function, text);
}

HAK_SLOW void hak_thread_leave_slow(hak_thread_t *me, const char *function) {
  leave(me, function, true);
}

void hak_thread_flush_shared(const hak_thread_t *me, hak_heap_t *heap,
                             const char *function) {
  if (me == shared || !hak_lease_try(&shared_lease)) return;
  hak_store_relaxed(&shared->busy, 1);
  hak_compiler_fence();
  if (heap != NULL) {
    hak_thread_flush_one(shared, heap);
  } else {
    hak_thread_flush(shared);
  }
  hak_compiler_fence();
  hak_store_relaxed(&shared->busy, 0);
  leave(shared, function, false);
}

/* --- all threads ---------------------------------------------------------- */

uint32_t hak_threads_others(void) {
  bool mine = hak_thread_self->kind == HAK_THREAD_ATTACHED;
  hak_lock_acquire(&lock);
  uint32_t others = attached - mine;
  hak_lock_release(&lock);
  return others;
}

void hak_threads_visit(void (*visit)(hak_thread_t *thread, void *ctx), void *ctx) {
  /* Acquire: pairs with state_get. `next` never changes after. */
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

bool hak_threads_start(const hak_os_t *the_os) {
  os = the_os;
  key = hak_link_key_make(hak_os_entropy());
  hak_sys_thread_end_start(at_thread_exit); /* without it no thread is attached */
  shared = state_get(NULL);
  if (shared == NULL) return false;
  shared->to_report = 1;
  return true;
}

void hak_threads_stop(void) {
  hak_lock_acquire(&lock);
  for (hak_thread_t *state = hak_load_relaxed(&states); state != NULL;
       state = state->next) {
    if (state->slot != NULL) *state->slot = &hak_thread_none;
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
    state_release(gone);
    gone = next;
  }
}

hak_lock_t *hak_threads_lock(void) { return &lock; }

hak_thread_t *hak_threads_shared(void) { return shared; }

bool hak_thread_is_lost(hak_thread_t *state) {
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
    state->slot = NULL;
    if (!reuse) continue;
    state->next_free = free_states;
    free_states = state;
  }
}
