/* base_callee.c - a function of the program's is never called with the context of another
 * one. */
#include "threads.h"

#include "base/callee.h"

enum {
  PAIRS = 3
};

static int g_ctx[PAIRS];
static void fn_0(void) {}
static void fn_1(void) {}
static void fn_2(void) {}
static hak_any_fn *const g_fn[PAIRS] = {fn_0, fn_1, fn_2};

static void callee__is_nothing_at_first_and_what_was_set_last_then(void **state) {
  (void)state;
  hak_callee_t callee = {0};
  void *ctx = &callee;
  CHECK(hak_callee_get(&callee, &ctx) == NULL && ctx == NULL);
  for (int i = 0; i < PAIRS; i++) {
    hak_callee_set(&callee, g_fn[i], &g_ctx[i]);
    CHECK(hak_callee_get(&callee, &ctx) == g_fn[i] && ctx == &g_ctx[i]);
    CHECK_EQ(hak_load_relaxed(&callee.changes), 2 * (i + 1));
  }
  hak_callee_set(&callee, NULL, NULL);
  CHECK(hak_callee_get(&callee, &ctx) == NULL && ctx == NULL);
}

/* As a signal handler finds it that interrupted the change: it would wait for ever. */
static void callee__that_is_being_changed_is_nothing_after_a_while(void **state) {
  (void)state;
  hak_callee_t callee = {0};
  hak_callee_set(&callee, g_fn[0], &g_ctx[0]);
  hak_add_relaxed(&callee.changes, 1);
  void *ctx;
  CHECK(hak_callee_get(&callee, &ctx) == NULL);
}

static hak_callee_t g_callee;
static hak_atomic_u32_t g_stop, g_seen;

static void *look(void *unused) {
  while (hak_load_relaxed(&g_stop) == 0) {
    void *ctx;
    hak_any_fn *fn = hak_callee_get(&g_callee, &ctx);
    size_t i = 0;
    while (i < PAIRS && g_fn[i] != fn) i++;
    CHECK(i < PAIRS && ctx == &g_ctx[i]);
    hak_add_relaxed(&g_seen, 1);
  }
  return unused;
}

static void pairs__that_change_are_seen_whole(void **state) {
  (void)state;
  pthread_t threads[2];
  hak_callee_set(&g_callee, g_fn[0], &g_ctx[0]);
  test_threads_begin(threads, 2, look, NULL);
  while (hak_load_relaxed(&g_seen) == 0) hak_cpu_relax();
  for (size_t n = 0; n < test_scale(2000000); n++) {
    hak_callee_set(&g_callee, g_fn[n % PAIRS], &g_ctx[n % PAIRS]);
  }
  hak_store_relaxed(&g_stop, 1);
  test_threads_end(threads, 2);
}

TEST_MAIN(T(callee__is_nothing_at_first_and_what_was_set_last_then),
          T(callee__that_is_being_changed_is_nothing_after_a_while),
          T(pairs__that_change_are_seen_whole))
