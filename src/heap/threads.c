#include "heap/threads.h"

#include "base/check.h"
#include "base/option.h"
#include "base/readers.h"
#include "base/sys.h"
#include "heap/thread_range.h"
#include "os/turn.h"
#include "pages/idle.h"
#include "pages/meta.h"
#include "tiny/capacity.h"

/* What is kept of a state apart from it, so that its pages can go while no thread has it.
 */
typedef struct place {
  hak_atomic_ptr_t state;    /* [lock: threads] hak_thread_t; set once */
  uint32_t number;           /* [const] of the place */
  hak_atomic_u32_t bare;     /* [lock: threads] 1: the state has no pages, or somebody
                                takes them away or fills them in; nobody looks at it */
  uint32_t room;             /* [const] cache indices that it has address space for */
  struct place *next_free;   /* [lock: threads] states that no thread has */
  hak_cache_chunk_t *chunks; /* [owner: who took the bare state from its list] */
  uint32_t indices;          /* [owner: the same] it has memory for */
  size_t bytes;              /* [owner: the same] of its pages, that were given back */
} place_t;

enum {
  CHUNK_PLACES = 16, /* few programs have more threads; they share a page with others */
  /* HAKMEM_MAX_THREADS is 6400 at most, and one state is shared. */
  CHUNKS = 6400 / CHUNK_PLACES + 1
};
typedef struct chunk {
  place_t places[CHUNK_PLACES];
} chunk_t;

/* Guards what is marked [lock] here and [lock: threads] in states. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_THREADS);
static _Atomic(chunk_t *) chunks[CHUNKS];  /* [lock] places of states, by code */
static hak_atomic_u32_t codes_used;        /* [lock] */
static uint32_t attached, published;       /* [lock] */
static hak_readers_t readers;              /* [any] meanwhile no state becomes bare */
static place_t *free_places, *bare_places; /* [lock] */
static hak_counts_t ended;                 /* [lock] counters of bare states */
static uint32_t room_least = HAK_CACHE_INDICES; /* [lock] of all states */
static uint32_t indices_wanted;                 /* [lock] every state that is not bare has
                                                   memory for; grows only */
static hak_link_key_t key;                      /* [const] */
static const hak_os_t *os;                      /* [const] */

static hak_thread_t *shared;
static hak_turn_t shared_turn;
static uint32_t shared_calls; /* [owner: who has the turn] one in a hook of another */

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

/* --- places ------------------------------------------------------------------------ */

static hak_thread_t *state_at(place_t *place) {
  /* Acquire: pairs with publish, and with itself where a state was bare. */
  bool bare = hak_load_acquire(&place->bare) != 0;
  return bare ? NULL : hak_load_acquire(&place->state);
}

/* The n-th place, or NULL if it was not made yet. */
static place_t *place_at(uint32_t n) {
  /* Acquire: pairs with place_make. */
  chunk_t *chunk = hak_load_acquire(&chunks[n / CHUNK_PLACES]);
  return chunk == NULL ? NULL : &chunk->places[n % CHUNK_PLACES];
}

/* NULL if memory is short. */
static place_t *place_make(uint32_t n) {
  place_t *place = place_at(n);
  if (place != NULL) return place;
  /* NULL, and nothing changes, if memory is short. */
  chunk_t *chunk = hak_meta_alloc(os, sizeof *chunk, HAK_CACHE_LINE);
  hak_lock_acquire(&lock);
  /* Release: pairs with place_at. If another thread was faster, some memory is lost. */
  if (place_at(n) == NULL) hak_store_release(&chunks[n / CHUNK_PLACES], chunk);
  hak_lock_release(&lock);
  return place_at(n);
}

static place_t *place_of(hak_thread_t *state) {
  place_t *place = place_at(state->number);
  hak_assert(hak_load_relaxed(&place->state) == state);
  return place;
}

/* The n-th state; NULL if it was not made yet, or is bare. */
static hak_thread_t *nth_state(uint32_t n) {
  place_t *place = place_at(n);
  return place == NULL ? NULL : state_at(place);
}

/* Calls `visit` for every state with pages. */
static void each_state(void (*visit)(hak_thread_t *state, void *ctx), void *ctx) {
  /* Relaxed: states that come meanwhile may be left out. */
  uint32_t used = hak_load_relaxed(&codes_used);
  for (uint32_t n = 0; n < used; n++) {
    hak_thread_t *state = nth_state(n);
    if (state != NULL) visit(state, ctx);
  }
}

static void note(place_t *const *list, int32_t count) {
  if (list == &free_places) hak_idle_note_records(count * (int64_t)sizeof(hak_thread_t));
}

static void push_locked(place_t **list, place_t *place) {
  hak_lock_assert_held(&lock);
  place->next_free = *list;
  *list = place;
  note(list, 1);
}

static place_t *pop_locked(place_t **list) {
  hak_lock_assert_held(&lock);
  place_t *place = *list;
  if (place == NULL) return NULL;
  *list = place->next_free;
  note(list, -1);
  return place;
}

/* --- memory for cache indices ------------------------------------------------------ */

/* Shows a state to all once it has memory for the cache indices that all have it for;
 * false if memory for them is short, or the state has no room for them. */
static bool publish(place_t *place, hak_thread_t *state) {
  for (;;) {
    hak_lock_acquire(&lock);
    uint32_t wanted = indices_wanted;
    bool ready = state->indices_ready >= wanted;
    if (ready) {
      published++;
      if (place->room < room_least) room_least = place->room;
      /* Release, both: publish the state to state_at. */
      hak_store_release(&place->state, state);
      hak_store_release(&place->bare, 0);
    }
    hak_lock_release(&lock);
    if (ready) return true;
    if (wanted > place->room || !hak_thread_state_commit(os, state, wanted)) return false;
  }
}

/* One thread at a time commits memory in all states, or gives some of it back; a second
 * one goes without. */
static hak_atomic_u32_t committing;

bool hak_threads_try_memory(void) {
  /* Acquire and release: the next one sees what every state has. */
  return hak_exchange_acquire(&committing, 1) == 0;
}
void hak_threads_end_memory(void) { hak_store_release(&committing, 0); }

static bool commit_each(uint32_t indices) {
  uint32_t used = hak_load_relaxed(&codes_used);
  for (uint32_t n = 0; n < used; n++) {
    hak_thread_t *state = nth_state(n);
    if (state == NULL) continue;
    if (!hak_thread_state_commit(os, state, indices)) return false;
  }
  return true;
}

static bool commit_all(uint32_t indices) {
  for (;;) {
    hak_lock_acquire(&lock);
    uint32_t before = published;
    bool fits = indices <= room_least;
    hak_lock_release(&lock);
    if (!fits || !commit_each(indices)) return false;
    hak_lock_acquire(&lock);
    bool all = published == before;
    if (all) indices_wanted = indices;
    hak_lock_release(&lock);
    if (all) return true;
  }
}

HAK_SLOW bool hak_threads_commit_indices(uint32_t indices) {
  if (!hak_threads_try_memory()) return false;
  bool ok = indices_wanted >= indices || commit_all(indices);
  hak_threads_end_memory();
  return ok;
}

/* --- states ------------------------------------------------------------------------ */

/* Where the process may have so much address space and no more, blocks need it more than
 * heaps that may never come: of it each state takes one part for its indices. */
static uint32_t room_within(size_t limit, uint32_t room) {
  enum {
    PARTS = 4096,
    LEAST = 16
  };
  size_t most = limit / PARTS / sizeof(hak_indexed_bins_t);
  if (most < LEAST) most = LEAST;
  return most < room ? (uint32_t)most : room;
}

/* Cache indices that the n-th state gets address space for. */
static uint32_t room_of(uint32_t n, size_t limit) {
  enum {
    FEW = 64,  /* states that have room for all indices */
    SHARE = 32 /* of a limit that these may take */
  };
  size_t few = FEW;
  uint32_t room = (uint32_t)hak_option(THREAD_HEAPS);
  if (limit != SIZE_MAX) {
    room = room_within(limit, room);
    few = limit / SHARE / (HAK_CACHE_INDICES * sizeof(hak_indexed_bins_t));
  }
  hak_lock_acquire(&lock);
  bool all = n < (few < FEW ? few : FEW) || indices_wanted > room;
  hak_lock_release(&lock);
  return all ? HAK_CACHE_INDICES : room;
}

/* Fills in a state that is zeroed. */
static void fill_in(hak_thread_t *state, const place_t *place) {
  state->room = place->room;
  state->number = place->number;
  state->code = code_of(place->number);
  state->key = key;
  state->registry = hak_registry_root();
  state->registry_limit = HAK_REGISTRY_LEAVES;
  state->store = hak_heap_get_default()->store;
  state->cache =
      (hak_cache_t){state->bins,   state->holds, state->store, hak_entry_cached(0), NULL,
                    &state->grown, &state->pace, state->code,  state->begun};
  hak_store_relaxed(&state->bins_of[HAK_INDEX_DEFAULT], hak_index_to(state, state->bins));
}

static hak_thread_t *state_make(uint32_t n) {
  place_t *place = place_make(n);
  size_t limit = hak_os_limit(os);
  for (uint32_t room = place == NULL ? 0 : room_of(n, limit); room != 0;) {
    bool alone = room == HAK_CACHE_INDICES || limit != SIZE_MAX;
    char *range = hak_thread_range_get(os, &lock, n, room, alone);
    hak_thread_t *state = range == NULL ? NULL : hak_thread_state_new(os, range, room);
    if (state == NULL) return NULL;
    place->number = n;
    place->room = room;
    fill_in(state, place);
    if (publish(place, state)) return state;
    hak_thread_state_release(os, state, room);
    /* More indices are in use than there was room for when it was begun. */
    room = room < HAK_CACHE_INDICES && room_of(n, limit) > room ? HAK_CACHE_INDICES : 0;
  }
  return NULL;
}

/* A bare state with pages again; NULL, and it stays bare, if memory is short. */
static hak_thread_t *state_revive(place_t *place) {
  hak_thread_t *state = hak_load_relaxed(&place->state);
  hak_thread_state_dress(state, place->chunks, place->indices, place->bytes);
  place->bytes = 0;
  fill_in(state, place);
  if (publish(place, state)) return state;
  place->indices = state->indices_ready;
  hak_lock_acquire(&lock);
  push_locked(&bare_places, place);
  hak_lock_release(&lock);
  return NULL;
}

static hak_thread_t *state_new(uint32_t n) {
  hak_thread_t *state = state_make(n);
  if (state != NULL) return state;
  hak_lock_acquire(&lock);
  /* Else the code is lost; they are many. */
  if (hak_load_relaxed(&codes_used) == n + 1) hak_store_relaxed(&codes_used, n);
  hak_lock_release(&lock);
  return NULL;
}

static hak_thread_t *state_get(void) {
  hak_lock_acquire(&lock);
  place_t *place = pop_locked(&free_places);
  hak_thread_t *state = place == NULL ? NULL : hak_load_relaxed(&place->state);
  if (place == NULL) place = pop_locked(&bare_places);
  uint32_t n = hak_load_relaxed(&codes_used);
  bool fresh = place == NULL && (int64_t)n < hak_option(MAX_THREADS) + 1;
  if (fresh) hak_store_relaxed(&codes_used, n + 1);
  hak_lock_release(&lock);
  if (state != NULL) return state;
  if (place != NULL) return state_revive(place);
  return fresh ? state_new(n) : NULL;
}

hak_thread_t *hak_threads_get(hak_thread_t **tls) {
  hak_thread_t *state = state_get();
  if (state == NULL) return NULL;
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
  push_locked(&free_places, place_of(state));
  attached--;
  hak_lock_release(&lock);
}

/* --- the state that is shared ------------------------------------------------------- */

hak_thread_t *hak_threads_shared(void) { return shared; }

/* Hooks that allocate run while their thread has the state. */
HAK_SLOW hak_thread_t *hak_threads_lease_shared(void) {
  (void)hak_turn_take(&shared_turn);
  shared_calls++;
  return shared;
}
HAK_SLOW bool hak_threads_try_lease_shared(void) {
  bool taken = hak_turn_try(&shared_turn);
  if (taken) shared_calls++;
  return taken;
}
HAK_SLOW void hak_threads_unlease_shared(void) {
  hak_turn_give(&shared_turn, --shared_calls == 0);
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
  uint64_t entered = hak_readers_enter(&readers);
  each_state(visit, ctx);
  hak_readers_leave(&readers, entered);
}

typedef struct sum {
  hak_counts_t *counts;
  uint32_t attached;
} sum_t;

static void add_counts(hak_counts_t *sum, hak_counts_t *counts) {
#define HAK_COUNTER(name) hak_count_own(&sum->name, hak_load_relaxed(&counts->name));
#include "tiny/counters.def"
#undef HAK_COUNTER
}

static void add_thread(hak_thread_t *thread, void *ctx) {
  sum_t *sum = ctx;
  add_counts(sum->counts, &thread->counts);
  if (thread != shared) sum->attached += hak_load_relaxed(&thread->attached);
}

void hak_threads_sum(hak_counts_t *counts, uint32_t *count) {
  sum_t sum = {counts, 0};
  /* Under the lock no state's counters pass to those of bare states meanwhile. The caller
   * may be a crash handler, and the thread that it stopped may have the lock: then they
   * may be missing. */
  bool locked = hak_lock_try_briefly(&lock);
  uint64_t entered = hak_readers_enter(&readers);
  add_counts(counts, &ended);
  each_state(add_thread, &sum);
  hak_readers_leave(&readers, entered);
  if (locked) hak_lock_release_unranked(&lock);
  *count = sum.attached;
}

/* --- pages of what nobody uses ----------------------------------------------------- */

/* Whoever is among the states read of which heap a cache is before; see
 * hak_threads_visit. */
HAK_SLOW size_t hak_threads_purge_caches(uint32_t index, size_t *looks) {
  size_t given = 0;
  bool seen = !hak_readers_none(&readers);
  uint32_t used = seen ? 0 : hak_load_relaxed(&codes_used);
  for (uint32_t n = 0; *looks != 0 && n < used; n++) {
    hak_thread_t *state = nth_state(n);
    if (state == NULL) continue;
    (void)hak_thread_cache_purge(os, hak_cache_at(state, index), looks, &given);
  }
  return given;
}

/* Takes a state that no thread has; NULL if there is none, or somebody looks at them. */
static place_t *take_free(void) {
  hak_lock_acquire(&lock);
  place_t *place = pop_locked(&free_places);
  if (place != NULL) {
    hak_thread_t *state = hak_load_relaxed(&place->state);
    hak_store_relaxed(&place->bare, 1);
    if (hak_readers_none(&readers)) {
      add_counts(&ended, &state->counts);
      __builtin_memset(&state->counts, 0, sizeof state->counts);
    } else {
      /* Release: pairs with state_at. */
      hak_store_release(&place->bare, 0);
      push_locked(&free_places, place);
      place = NULL;
    }
  }
  hak_lock_release(&lock);
  return place;
}

/* True if the state has no pages now. */
static bool make_bare(place_t *place, size_t *looks, size_t *given) {
  hak_thread_t *state = hak_load_relaxed(&place->state);
  bool all = hak_thread_caches_purge(os, state, looks, given);
  uint32_t indices = state->indices_ready;
  hak_cache_chunk_t *stripped = hak_thread_state_strip(state);
  /* Before the pages go: the child of a fork finds it here. */
  place->chunks = stripped;
  place->indices = indices;
  size_t bytes = all ? hak_thread_state_purge(os, state) : 0;
  place->bytes = bytes;
  *given += bytes;
  return bytes != 0;
}

size_t hak_threads_purge(size_t max_bytes, size_t *looks) {
  size_t given = 0;
  bool bare = true;
  while (bare && *looks > 0 && given < max_bytes) {
    place_t *place = take_free();
    if (place == NULL) break;
    --*looks;
    bare = make_bare(place, looks, &given);
    hak_lock_acquire(&lock);
    push_locked(bare ? &bare_places : &free_places, place);
    if (!bare) hak_store_relaxed(&place->bare, 0);
    hak_lock_release(&lock);
  }
  return given;
}

/* --- start, end and forks ------------------------------------------------------------
 */

hak_lock_t *hak_threads_lock(void) { return &lock; }

bool hak_threads_start(const hak_os_t *the_os, void (*at_end)(void *state)) {
  os = the_os;
  key = hak_link_key_make(hak_sys_entropy());
  hak_seal_start();
  hak_sys_thread_end_start(at_end); /* without it no thread is attached */
  shared = hak_threads_get(NULL);
  if (shared == NULL) return false;
  shared->to_report = 1;
  return true;
}

static void detach(hak_thread_t *state, void *ctx) {
  (void)ctx;
  if (state->tls != NULL) *state->tls = &hak_thread_none;
}

static void release_all(uint32_t used) {
  for (uint32_t n = 0; n < used; n++) {
    place_t *place = place_at(n);
    hak_thread_t *state = place == NULL ? NULL : hak_load_relaxed(&place->state);
    if (state == NULL) continue;
    if (hak_load_relaxed(&place->bare) != 0) {
      hak_thread_state_dress(state, NULL, place->indices, place->bytes);
    }
    hak_thread_state_release(os, state, place->room);
  }
  for (uint32_t i = 0; i < CHUNKS; i++) hak_store_relaxed(&chunks[i], NULL);
}

HAK_SLOW void hak_threads_stop(void) {
  hak_lock_acquire(&lock);
  each_state(detach, NULL);
  uint32_t used = hak_load_relaxed(&codes_used);
  hak_store_relaxed(&codes_used, 0);
  free_places = bare_places = NULL;
  indices_wanted = 0;
  room_least = HAK_CACHE_INDICES;
  attached = 0;
  shared = NULL;
  __builtin_memset(&ended, 0, sizeof ended);
  hak_lock_release(&lock);
  shared_calls = 0;
  hak_turn_give(&shared_turn, true); /* wakes who waited for it */
  hak_sys_thread_end_stop();
  hak_capacity_recount(0);
  hak_capacity_forget_ends();
  release_all(used);
  hak_thread_rows_release(os, &lock);
}

void hak_threads_reset(hak_thread_t *state) {
  hak_thread_state_reset(state);
  state->to_report = state == shared;
}

bool hak_threads_is_lost(hak_thread_t *state) {
  if (state == shared) return !hak_turn_is_mine(&shared_turn);
  return state != hak_thread_self && hak_load_relaxed(&state->attached) != 0;
}

/* Bare states that a lost thread was taking the pages of, or filling in, are as good as
 * others: they are filled in before they serve. */
HAK_SLOW void hak_threads_forget_lost(bool reuse) {
  const hak_thread_t *me = hak_thread_self;
  if (!hak_turn_is_mine(&shared_turn)) shared_calls = 0;
  hak_turn_forget_others(&shared_turn);
  hak_store_relaxed(&committing, 0);
  hak_lock_acquire(&lock);
  hak_readers_reset(&readers);
  hak_thread_rows_forget_lost_locked(&lock);
  attached = me->kind == HAK_THREAD_ATTACHED;
  if (reuse) {
    while (pop_locked(&free_places) != NULL) {}
    bare_places = NULL;
  }
  for (uint32_t n = 0; n < hak_load_relaxed(&codes_used); n++) {
    place_t *place = place_at(n);
    hak_thread_t *state = place == NULL ? NULL : hak_load_relaxed(&place->state);
    if (state == NULL || state == me || state == shared) continue;
    bool bare = hak_load_relaxed(&place->bare) != 0;
    if (!bare) {
      hak_store_relaxed(&state->attached, 0);
      state->tls = NULL;
    }
    if (reuse) push_locked(bare ? &bare_places : &free_places, place);
  }
  hak_lock_release(&lock);
}
