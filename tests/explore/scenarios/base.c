/* base.c - locks, gates, readers, a function with its context. */
#include "base/callee.h"
#include "base/gate.h"
#include "base/lock.h"
#include "base/readers.h"
#include "scenarios.h"

static uint32_t guarded; /* not atomic: whoever is at it must be alone */

/* --- a lock: three threads, of which two may have to sleep -----------------------------
 */

static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_META);

static void lock_once(void) {
  hak_lock_acquire(&lock);
  guarded++;
  hak_lock_release(&lock);
}
static void lock_if_free(void) {
  if (!hak_lock_try(&lock)) return;
  guarded += 16;
  hak_lock_release(&lock);
}
static void lock_check(void) { EXPLORE_CHECK(guarded == 3); }
static void lock_try_check(void) { EXPLORE_CHECK(guarded == 2 || guarded == 18); }
static void lock_twice(void) {
  lock_once();
  lock_once();
}
static void lock_check_twice(void) { EXPLORE_CHECK(guarded == 4); }

const explore_scenario_t base_lock = {.name = "base.lock",
                                      .thread = {lock_once, lock_once, lock_once},
                                      .check = lock_check};
const explore_scenario_t base_lock_twice = {.name = "base.lock_twice",
                                            .thread = {lock_twice, lock_twice},
                                            .check = lock_check_twice};
const explore_scenario_t base_lock_try = {.name = "base.lock_try",
                                          .thread = {lock_once, lock_once, lock_if_free},
                                          .check = lock_try_check};

/* --- a gate: what is behind it is there until all have left ----------------------------
 */

static hak_gate_t gate;
static uint32_t *behind;
static uint32_t thing;

static void gate_look(void) {
  if (!hak_gate_enter(&gate)) return;
  EXPLORE_CHECK(behind != NULL && *behind == 7);
  hak_gate_leave(&gate);
}
static void gate_make_and_end(void) {
  thing = 7;
  behind = &thing;
  hak_gate_open(&gate);
  hak_gate_close(&gate);
  (void)hak_gate_wait(&gate, 0);
  thing = 0;
  behind = NULL;
}
/* Why it was closed is known to those who are refused. */
static uint32_t reason;
static void gate_close_for_a_reason(void) {
  reason = 5;
  hak_gate_close(&gate);
}
static void gate_ask_why(void) {
  if (hak_gate_enter(&gate)) {
    hak_gate_leave(&gate);
  } else {
    EXPLORE_CHECK(reason == 5);
  }
}
static void gate_is_open(void) { hak_gate_open(&gate); }

const explore_scenario_t base_gate = {
    .name = "base.gate", .thread = {gate_make_and_end, gate_look, gate_look}};
const explore_scenario_t base_gate_reason = {
    .name = "base.gate_reason",
    .setup = gate_is_open,
    .thread = {gate_close_for_a_reason, gate_ask_why, gate_ask_why}};

/* --- readers: what is not in use any more is taken only from under nobody
 * ---------------
 */

static hak_readers_t readers;
static hak_atomic_u32_t unused;
static uint32_t record; /* not atomic, as `guarded` */
static void readers_begin(void) { record = 7; }
static void readers_look(void) {
  uint64_t entered = hak_readers_enter(&readers);
  if (hak_load_relaxed(&unused) == 0) EXPLORE_CHECK(record == 7);
  hak_readers_leave(&readers, entered);
}
static void readers_take(void) {
  hak_store_relaxed(&unused, 1);
  if (hak_readers_none(&readers)) record = 0;
}

const explore_scenario_t base_readers = {
    .name = "base.readers",
    .setup = readers_begin,
    .thread = {readers_take, readers_look, readers_look}};

/* There may be somebody all the time: those who matter have left after two turns. */
static void readers_take_in_turn(void) {
  hak_store_relaxed(&unused, 1);
  uint32_t since = hak_load_relaxed(&readers.turn);
  for (int i = 0; i < 2; i++) {
    if (!hak_readers_left(hak_readers_turn(&readers), since)) continue;
    record = 0;
    return;
  }
}
const explore_scenario_t base_readers_turn = {
    .name = "base.readers_turn",
    .setup = readers_begin,
    .thread = {readers_take_in_turn, readers_look}};

/* --- a function and its context change together ----------------------------------------
 */

static hak_callee_t callee;
static uint32_t contexts[3];
static void one(void) {}
static void two(void) {}

static void callee_begin(void) { hak_callee_set(&callee, one, &contexts[1]); }
static void callee_change(void) {
  contexts[2] = 2; /* made for the new function */
  hak_callee_set(&callee, two, &contexts[2]);
}
static void callee_change_back(void) { hak_callee_set(&callee, one, &contexts[1]); }
static void callee_call(void) {
  void *ctx;
  hak_any_fn *fn = hak_callee_get(&callee, &ctx);
  EXPLORE_CHECK(fn == one || fn == two);
  EXPLORE_CHECK(ctx == &contexts[fn == one ? 1 : 2]);
  if (fn == two) EXPLORE_CHECK(contexts[2] == 2);
}

const explore_scenario_t base_callee = {
    .name = "base.callee", .setup = callee_begin, .thread = {callee_change, callee_call}};
const explore_scenario_t base_callee_both = {
    .name = "base.callee_both",
    .setup = callee_begin,
    .thread = {callee_change, callee_change_back, callee_call}};
