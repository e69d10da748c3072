/* pairs_end.c - actors that end heaps and threads, shut down, or fork: see pairs.h */
#include "child.h"
#include "pairs.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

/* ---- Heaps that end --------------------------------------------------- */

/* With a heap goes what it owns, blocks of heaps released below it included. */
static void forget_of(pair_t *pair, pen_t *pen, _Atomic(item_t *) *place, void *ctx) {
  (void)pair;
  (void)pen;
  item_t *item = atomic_load(place);
  if (item->owner != ctx) return;
  item_forget(item);
  atomic_store(place, NULL);
}

static void verify_item(pair_t *pair, pen_t *pen, _Atomic(item_t *) *place, void *ctx) {
  (void)pair;
  (void)pen;
  (void)ctx;
  item_verify(atomic_load(place));
}

static void reset_round(pair_t *pair, test_rng_t *rng) {
  pen_t *pen = pair->target;
  pen_close(pen);
  if (test_below(rng, 4) == 0) pen_each(pair, pen, verify_item, NULL);
  CHECK_EQ(hak_heap_reset(pen->handle), 0);
  pen_each(pair, pen, forget_of, pen->handle);
  pen_open(pen);
  work_some(pair, ACTOR_HAND, OWN, rng);
}

static void destroy_round(pair_t *pair, test_rng_t *rng) {
  pen_t *pen = pair->target;
  pen_close(pen);
  if (test_below(rng, 4) == 0) pen_each(pair, pen, verify_item, NULL);
  hak_heap_t *below = test_heap(0, "below", pen->handle);
  CHECK_EQ(hak_heap_destroy(pen->handle), EBUSY);
  CHECK_EQ(hak_heap_destroy(below), 0);
  CHECK_EQ(hak_heap_destroy(pen->handle), 0);
  pen_hooks_end(pen);
  pen_each(pair, pen, forget_of, pen->handle);
  if (pen->parent != NULL && test_below(rng, 2) == 0) {
    CHECK_EQ(hak_heap_destroy(pen->parent), 0);
    pen->parent = NULL;
  }
  CHECK(pen_make(pen, rng));
  pen_open(pen);
  work_some(pair, ACTOR_HAND, OWN, rng);
}

/* Released blocks are for all to free, and go with the parent at the latest. */
static void let_loose(pair_t *pair, pen_t *pen, _Atomic(item_t *) *place, void *ctx) {
  test_rng_t *rng = ctx;
  item_t *item = atomic_exchange(place, NULL);
  item_orphan(item, pen->parent == NULL ? hak_heap_default() : pen->parent);
  if (!item_share(&pair->loose, item)) item_free(item, rng);
}

static void free_loose(pair_t *pair, pen_t *pen, _Atomic(item_t *) *place, void *ctx) {
  (void)pair;
  (void)pen;
  item_t *item = atomic_exchange(place, NULL);
  if (item != NULL) item_free(item, ctx);
}

static void free_loose_help(pair_t *pair, unsigned hand, test_rng_t *rng) {
  (void)hand;
  pen_enter_wait(&pair->loose);
  for (size_t i = 0; i < pair->loose.places; i++) {
    item_t *item = atomic_exchange(&pair->loose.shared[i], NULL);
    if (item != NULL) item_free(item, rng);
  }
  pen_leave(&pair->loose);
}

static void end_parent(pair_t *pair, pen_t *pen) {
  pen_close(&pair->loose);
  CHECK_EQ(hak_heap_destroy(pen->parent), 0);
  pen_each(pair, &pair->loose, forget_of, pen->parent);
  pen->parent = NULL;
  pen_open(&pair->loose);
}

static void release_round(pair_t *pair, test_rng_t *rng) {
  pen_t *pen = pair->target;
  if ((pen->kind == KIND_ARENA || pen->kind == KIND_PLOT) && pen->memories == MEMORIES) {
    /* No memory is left that no heap may have. */
    pen_close(pen);
    CHECK_EQ(hak_heap_reset(pen->handle), 0);
    pen_each(pair, pen, forget_of, pen->handle);
    pen_open(pen);
    work_some(pair, ACTOR_HAND, OWN, rng);
    return;
  }
  pen_close(pen);
  CHECK_EQ(hak_heap_release(pen->handle), 0);
  pen->hooks = NULL; /* they serve until the last block goes */
  pen_each(pair, pen, let_loose, rng);
  if (pen->parent != NULL && test_below(rng, 3) == 0) end_parent(pair, pen);
  CHECK(pen_make(pen, rng));
  pen_open(pen);
  if (test_below(rng, 2) == 0) crowd(pair, 2, free_loose_help, rng);
  work_some(pair, ACTOR_HAND, OWN, rng);
}

/* ---- Threads that end ------------------------------------------------- */

static void idle_help(pair_t *pair, unsigned hand, test_rng_t *rng) {
  for (unsigned i = 0; i < 8; i++) {
    work_some(pair, hand, 8, rng);
    hak_thread_idle();
  }
}

static void idle_round(pair_t *pair, test_rng_t *rng) { crowd(pair, 2, idle_help, rng); }

static void exit_help(pair_t *pair, unsigned hand, test_rng_t *rng) {
  for (unsigned i = 0; i < 8; i++) {
    work_some(pair, hand, 8, rng);
    hak_thread_exit();
  }
}

static void exit_round(pair_t *pair, test_rng_t *rng) { crowd(pair, 2, exit_help, rng); }

static void birth_help(pair_t *pair, unsigned hand, test_rng_t *rng) {
  if (hand % 2 == 0) {
    /* More threads than may have a state of their own share one. */
    int error = hak_thread_init();
    CHECK(error == 0 ||
          (error == ENOMEM && hak_option_get(HAK_OPTION_MAX_THREADS) < HANDS));
  }
  work_some(pair, hand, 16, rng);
  if (hand % 3 == 0) hak_thread_exit();
}

static void births_round(pair_t *pair, test_rng_t *rng) {
  crowd(pair, HELPERS, birth_help, rng);
}

/* TSan ends its own work in the last round of destructors and cannot run code after. */
enum {
  LATE_ROUNDS = TEST_TSAN ? 3 : 5
};

pthread_key_t g_late_keys[2];

typedef struct late {
  pair_t *pair;
  unsigned hand, round;
  test_rng_t rng;
} late_t;

static void late_destructor(void *value) {
  late_t *late = value;
  work_some(late->pair, late->hand, 6, &late->rng);
  if (++late->round < LATE_ROUNDS) {
    pthread_setspecific(g_late_keys[late->round % 2], late);
  }
}

static void late_help(pair_t *pair, unsigned hand, test_rng_t *rng) {
  static _Thread_local late_t late;
  late = (late_t){pair, hand, 0, *rng};
  work_some(pair, hand, 8, rng);
  CHECK_EQ(pthread_setspecific(g_late_keys[hand % 2], &late), 0);
}

static void make_late_keys(void) {
  static bool made;
  for (unsigned i = 0; i < 2 && !made; i++) {
    CHECK_EQ(pthread_key_create(&g_late_keys[i], late_destructor), 0);
  }
  made = true;
}

static void late_round(pair_t *pair, test_rng_t *rng) {
  make_late_keys();
  crowd(pair, HELPERS, late_help, rng);
}

/* ---- Shutdown and fork ------------------------------------------------ */

static void shutdown_round(pair_t *pair, test_rng_t *rng) {
  CHECK_EQ(hak_shutdown(0), EBUSY);
  work_some(pair, ACTOR_HAND, 4, rng);
}

/* What a thread that is not there had of a serial heap is in no order. */
static bool is_whole_in_child(const pair_t *pair, const pen_t *pen) {
  return pen->kind != KIND_SERIAL || pen == pair->target;
}

static bool end_one(hak_heap_t *heap, void *ctx) {
  hak_heap_t **heaps = ctx;
  size_t i = 0;
  while (heaps[i] != NULL) i++;
  CHECK(i < 254);
  if (heap != hak_heap_default()) heaps[i] = heap;
  return true;
}

/* Those with heaps below them go in a later round: threads that are not there had made
 * some that nobody knows. */
static void end_heaps_in_child(void) {
  for (unsigned round = 0; round < 4; round++) {
    static hak_heap_t *heaps[256];
    memset(heaps, 0, sizeof heaps);
    CHECK_EQ(hak_visit_heaps(end_one, heaps), 0);
    for (size_t i = 0; heaps[i] != NULL; i++) {
      int error = hak_heap_destroy(heaps[i]);
      CHECK(error == 0 || (error == EBUSY && round < 3));
    }
  }
}

static void in_child(pair_t *pair, test_rng_t *rng) {
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t i = 0; i <= KINDS; i++) {
    pen_t *pen = i == KINDS ? &pair->loose : &pair->pens[i];
    if (!is_whole_in_child(pair, pen)) continue;
    pen_each(pair, pen, verify_item, NULL);
    pen_each(pair, pen, free_loose, rng);
    CHECK_EQ(pthread_rwlock_init(&pen->gate, NULL), 0);
    atomic_store(&pen->wanted, 0);
    for (unsigned step = 0; step < 2 * OWN && i < KINDS; step++) {
      work_step(pair, pen, ACTOR_HAND, rng);
    }
    pen_each(pair, pen, verify_item, NULL);
  }
  CHECK_EQ(hak_check(NULL), 0);
  hak_thread_idle();
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  end_heaps_in_child();
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_stats().threads, 1);
  hak_thread_exit();
}

static void fork_round(pair_t *pair, test_rng_t *rng) {
  work_some(pair, ACTOR_HAND, 8, rng);
  bool serial = pair->kind == KIND_SERIAL;
  if (serial) pen_close(pair->target);
  pid_t pid = test_fork();
  if (pid == 0) {
    in_child(pair, rng);
    _exit(0);
  }
  if (serial) pen_open(pair->target);
  test_fork_end(pid);
}

#define BUT_DEFAULT (ALL_KINDS & ~KIND_BIT(KIND_DEFAULT))

const actor_t end_actors[] = {
    {"reset", reset_round, BUT_DEFAULT, 0},
    {"destroy", destroy_round, BUT_DEFAULT, 0},
    {"release", release_round, BUT_DEFAULT, 0},
    {"thread_idle", idle_round, ALL_KINDS, 0},
    {"thread_exit", exit_round, ALL_KINDS, 0},
    {"thread_births", births_round, ALL_KINDS, 0},
    {"late_destructors", late_round, ALL_KINDS, 0},
    {"shutdown", shutdown_round, ALL_KINDS, ACTOR_ATTACHED},
    {"fork", fork_round, ALL_KINDS, 0},
    {"shutdown_and_births", NULL, ALL_KINDS, ACTOR_ALONE},
};
const size_t end_actor_count = TEST_COUNT(end_actors);
