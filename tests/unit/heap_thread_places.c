/* heap_thread_places.c - places of threads' states: what they take, states whose pages
 * have gone, and places that another thread has made meanwhile. */
#include "os_fixture.h"

#include "child.h"
#include "heap/lifecycle.h"
#include "heap/threads.h"
#include "pages/idle.h"
#include "pages/meta.h"

enum {
  FEW = 6,
  BARE = 3,   /* of them lose their pages */
  PLACES = 16 /* that are made at once */
};

static hak_thread_t *g_states[FEW], *g_tls[FEW];

static void get_all(void) {
  for (int i = 0; i < FEW; i++) CHECK((g_states[i] = hak_threads_get(&g_tls[i])) != NULL);
}
static void put_all(void) {
  for (int i = 0; i < FEW; i++) hak_threads_put(g_states[i]);
}
static void strip(size_t count) {
  CHECK(hak_threads_try_memory());
  (void)hak_threads_purge(SIZE_MAX, &count);
  hak_threads_end_memory();
}

static void count_one(hak_thread_t *state, void *ctx) {
  (void)state;
  ++*(uint32_t *)ctx;
}
static uint32_t seen(void) {
  uint32_t count = 0;
  hak_threads_visit(count_one, &count);
  return count;
}
static uint64_t idle(void) {
  return hak_load_relaxed(&hak_idle_records) / sizeof(hak_thread_t);
}

/* Over the system's own calls, as states lose pages there alone. */
TEST_IN_CHILD(states__without_pages_are_not_seen_and_nothing_that_is_idle, 20) {
  hak_free(hak_alloc(100));
  get_all();
  uint32_t bare = hak_meta_may_go(hak_lifecycle_os()) ? BARE : 0;
  uint32_t all = seen();
  CHECK_EQ(idle(), 0);
  put_all();
  CHECK_EQ(idle(), FEW);
  strip(BARE);
  CHECK_EQ(seen(), all - bare);
  CHECK_EQ(idle(), FEW - bare);
  get_all();
  CHECK_EQ(seen(), all);
  CHECK_EQ(idle(), 0);
  put_all();
}

/* What they have comes to more after their pages came again. */
TEST_IN_CHILD(states__that_serve_again_have_the_memory_that_they_had, 20) {
  hak_free(hak_alloc(100));
  get_all();
  CHECK(hak_threads_commit_indices(16));
  put_all();
  strip(FEW);
  get_all();
  CHECK(hak_threads_commit_indices(32));
  uint64_t bytes = hak_load_relaxed(&hak_meta_committed);
  for (int i = 0; i < 2; i++) {
    put_all();
    get_all();
    CHECK_EQ(hak_load_relaxed(&hak_meta_committed), bytes);
  }
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK_EQ(hak_load_relaxed(&hak_meta_committed), 0);
}

/* Two records in a row lie side by side, unless one is the first of a range. */
static void states__share_the_memory_that_their_places_have(void **state) {
  (void)state;
  uint32_t apart = 0;
  get_all();
  for (uint32_t number = 0; number % PLACES != PLACES - 1;) {
    static hak_thread_t *tls;
    char *before = hak_meta_alloc(hak_lifecycle_os(), 64, 64);
    number = hak_threads_get(&tls)->number;
    char *after = hak_meta_alloc(hak_lifecycle_os(), 64, 64);
    apart += after != before + 64;
  }
  CHECK_MSG(apart <= 1, "%u", (unsigned)apart);
}

/* --- memory for cache indices ------------------------------------------------------- */

enum {
  COMMIT = 1 << TEST_OS_COMMIT
};

static void states__that_cannot_have_what_all_have_are_not_seen(void **state) {
  (void)state;
  hak_thread_t *tls;
  get_all();
  CHECK(hak_threads_commit_indices(16));
  uint32_t all = seen();
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, COMMIT, 2);
  CHECK(hak_threads_get(&tls) == NULL);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(seen(), all);
}

TEST_IN_CHILD(states__without_pages_stay_so_where_they_cannot_have_what_all_have, 20) {
  hak_free(hak_alloc(100));
  hak_thread_t *tls;
  get_all();
  uint32_t all = seen(), bare = hak_meta_may_go(hak_lifecycle_os()) ? 1 : 0;
  hak_threads_put(g_states[0]);
  strip(1);
  CHECK(hak_threads_commit_indices(64));
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED); /* the system is not asked */
  CHECK((hak_threads_get(&tls) == NULL) == (bare != 0));
  hak_os_leave(before);
  CHECK_EQ(seen(), all - bare);
  CHECK((hak_threads_get(&tls) == g_states[0]) == (bare != 0));
}

static void indices__are_refused_where_a_state_cannot_have_them(void **state) {
  (void)state;
  enum {
    WITH_ROOM = 64, /* states that have room for all */
    ROOM = 32
  };
  static hak_thread_t *tls[WITH_ROOM + 1];
  get_all();
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, COMMIT, 2);
  CHECK(!hak_threads_commit_indices(ROOM));
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(hak_threads_try_memory());
  CHECK(!hak_threads_commit_indices(ROOM)); /* another thread is at it */
  hak_threads_end_memory();
  int64_t before = hak_option_get(HAK_OPTION_THREAD_HEAPS);
  test_set(HAK_OPTION_THREAD_HEAPS, ROOM);
  for (int i = 0; i < WITH_ROOM; i++) CHECK(hak_threads_get(&tls[i]) != NULL);
  CHECK(hak_threads_commit_indices(ROOM));
  CHECK(!hak_threads_commit_indices(ROOM + 16));
  test_set(HAK_OPTION_THREAD_HEAPS, before);
}

/* As a crash handler may ask. */
static void counters__are_read_while_the_lock_is_held(void **state) {
  (void)state;
  hak_counts_t counts = {0};
  uint32_t attached = 0;
  get_all();
  hak_lock_acquire(hak_threads_lock());
  hak_threads_sum(&counts, &attached);
  CHECK(hak_load_relaxed(&hak_threads_lock()->held) != HAK_WORD_FREE);
  hak_lock_release(hak_threads_lock());
  CHECK_EQ(attached, FEW);
}

/* --- places that another thread has made meanwhile -----------------------------------
 */

static hak_thread_t *g_inner, *g_inner_tls;
static bool g_call, g_refuse;

/* A hook in the place of the thread. */
static int commit(void *ctx, void *address, size_t size, bool *zeroed) {
  if (g_call) {
    g_call = false;
    g_inner = hak_threads_get(&g_inner_tls);
    if (g_refuse) return -1;
  }
  return g_os.hooks.commit(ctx, address, size, zeroed);
}

static void init_over_calls(void) {
  static hak_os_t hooks;
  test_os_open(&g_os, 0);
  hooks = g_os.hooks;
  hooks.commit = commit;
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = &hooks};
  CHECK_EQ(hak_init(&config), 0);
}

TEST_IN_CHILD(places__that_are_there_by_then_stay, 20) {
  static hak_thread_t *tls[2 * PLACES];
  init_over_calls();
  int i = 0;
  while (hak_threads_get(&tls[i++])->number % PLACES != PLACES - 1) {}
  /* More memory for records is to be asked for. */
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  while (hak_meta_alloc(hak_lifecycle_os(), 64, 64) != NULL) {}
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  g_call = true;
  hak_thread_t *outer = hak_threads_get(&tls[i]), *inner = g_inner;
  CHECK(outer != NULL && inner != NULL && outer != inner);
  hak_threads_put(outer);
  hak_threads_put(inner);
  CHECK(hak_threads_get(&tls[i]) == inner);
  CHECK(hak_threads_get(&g_inner_tls) == outer);
}

/* The next number was taken meanwhile. */
TEST_IN_CHILD(number__of_a_state_that_is_refused_is_nobody_elses, 20) {
  hak_thread_t *tls[3];
  init_over_calls();
  CHECK(hak_threads_get(&tls[0]) != NULL);
  g_call = g_refuse = true;
  CHECK(hak_threads_get(&tls[1]) == NULL && !g_call && g_inner != NULL);
  for (int i = 1; i < 3; i++) {
    hak_thread_t *next = hak_threads_get(&tls[i]);
    CHECK(next != NULL && next->number != g_inner->number);
  }
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  test_os_close(&g_os);
}

#define P(function) TEST_OVER_OS(function, 0)

TEST_MAIN_FRESH(T(places__that_are_there_by_then_stay),
                T(number__of_a_state_that_is_refused_is_nobody_elses),
                P(states__that_cannot_have_what_all_have_are_not_seen),
                P(indices__are_refused_where_a_state_cannot_have_them),
                P(counters__are_read_while_the_lock_is_held),
                T(states__without_pages_are_not_seen_and_nothing_that_is_idle),
                T(states__without_pages_stay_so_where_they_cannot_have_what_all_have),
                T(states__that_serve_again_have_the_memory_that_they_had),
                P(states__share_the_memory_that_their_places_have))
