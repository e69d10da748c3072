/* litmus.c - tests of the explorer: small programs of which the memory model says how
 * they may end. Each has to end in all of these ways and in no other.
 */
#include "base/atomic.h"
#include "explore.h"
#include "scenarios.h"

static hak_atomic_u32_t x, y, z;
static uint32_t a, b, c, d;
static int plain;

/* An outcome is a number whose bits say what the threads read. */
static void two(void) { explore_outcome(a + 2 * b); }
static void four(void) { explore_outcome(a + 2 * b + 4 * c + 8 * d); }

#define BIT(n) ((uint64_t)1 << (n))
#define ALL_FOUR (BIT(0) | BIT(1) | BIT(2) | BIT(3))

/* --- message passing: b without a is the outcome in question -------------------------
 */

static void mp_write_relaxed(void) {
  hak_store_relaxed(&x, 1);
  hak_store_relaxed(&y, 1);
}
static void mp_write_release(void) {
  hak_store_relaxed(&x, 1);
  hak_store_release(&y, 1);
}
static void mp_read_relaxed(void) {
  b = hak_load_relaxed(&y);
  a = hak_load_relaxed(&x);
}
static void mp_read_acquire(void) {
  b = hak_load_acquire(&y);
  a = hak_load_relaxed(&x);
}
const explore_scenario_t litmus_mp = {.name = "litmus.mp",
                                      .thread = {mp_write_release, mp_read_acquire},
                                      .check = two,
                                      .outcomes = ALL_FOUR & ~BIT(2)};
const explore_scenario_t litmus_mp_no_release = {
    .name = "litmus.mp_no_release",
    .thread = {mp_write_relaxed, mp_read_acquire},
    .check = two,
    .outcomes = ALL_FOUR};
const explore_scenario_t litmus_mp_no_acquire = {
    .name = "litmus.mp_no_acquire",
    .thread = {mp_write_release, mp_read_relaxed},
    .check = two,
    .outcomes = ALL_FOUR};

/* --- store buffering: neither sees the other's store ----------------------------------
 */

static void sb_left(void) {
  hak_store_release(&x, 1);
  a = hak_load_acquire(&y);
}
static void sb_right(void) {
  hak_store_release(&y, 1);
  b = hak_load_acquire(&x);
}
const explore_scenario_t litmus_sb = {.name = "litmus.sb",
                                      .thread = {sb_left, sb_right},
                                      .check = two,
                                      .outcomes = ALL_FOUR};

/* --- load buffering: the model allows both to read 1, the explorer never shows it -----
 */

static void lb_left(void) {
  a = hak_load_relaxed(&x);
  hak_store_relaxed(&y, 1);
}
static void lb_right(void) {
  b = hak_load_relaxed(&y);
  hak_store_relaxed(&x, 1);
}
const explore_scenario_t litmus_lb = {.name = "litmus.lb",
                                      .thread = {lb_left, lb_right},
                                      .check = two,
                                      .outcomes = ALL_FOUR & ~BIT(3)};

/* --- two writers, two readers that see them in different orders ------------------------
 */

static void iriw_x(void) { hak_store_release(&x, 1); }
static void iriw_y(void) { hak_store_release(&y, 1); }
static void iriw_xy(void) {
  a = hak_load_acquire(&x);
  b = hak_load_acquire(&y);
}
static void iriw_yx(void) {
  c = hak_load_acquire(&y);
  d = hak_load_acquire(&x);
}
const explore_scenario_t litmus_iriw = {.name = "litmus.iriw",
                                        .thread = {iriw_x, iriw_y, iriw_xy, iriw_yx},
                                        .check = four,
                                        .outcomes = 0xffff};

/* --- coherence: who has read the new value does not read the old one -------------------
 */

static void corr_write(void) { hak_store_relaxed(&x, 1); }
static void corr_read(void) {
  b = hak_load_relaxed(&x);
  a = hak_load_relaxed(&x);
}
const explore_scenario_t litmus_corr = {.name = "litmus.corr",
                                        .thread = {corr_write, corr_read},
                                        .check = two,
                                        .outcomes = ALL_FOUR & ~BIT(2)};

/* The same by way of a third thread, which passes on that it has read. */
static void corr_pass(void) {
  a = hak_load_relaxed(&x);
  hak_store_release(&y, 1);
}
static void corr_late(void) {
  b = hak_load_acquire(&y);
  c = hak_load_relaxed(&x);
}
static void corr_passed(void) { explore_outcome(a == 1 && b == 1 && c == 0); }
const explore_scenario_t litmus_corr_passed = {
    .name = "litmus.corr_passed",
    .thread = {corr_write, corr_pass, corr_late},
    .check = corr_passed,
    .outcomes = BIT(0)};

/* --- a release sequence: an add between release and acquire does not break it ----------
 */

static void rs_write(void) {
  hak_store_relaxed(&x, 1);
  hak_store_release(&y, 1);
}
static void rs_add(void) { hak_add_relaxed(&y, 1); }
static void rs_read(void) {
  b = hak_load_acquire(&y);
  a = hak_load_relaxed(&x);
}
static void rs(void) { explore_outcome(b == 2 && a == 0); }
const explore_scenario_t litmus_rs = {.name = "litmus.rs",
                                      .thread = {rs_write, rs_add, rs_read},
                                      .check = rs,
                                      .outcomes = BIT(0)};
/* But a store does. */
static void rs_store(void) {
  if (hak_load_relaxed(&y) == 1) hak_store_relaxed(&y, 2);
}
const explore_scenario_t litmus_rs_broken = {.name = "litmus.rs_broken",
                                             .thread = {rs_write, rs_store, rs_read},
                                             .check = rs,
                                             .outcomes = BIT(0) | BIT(1)};

/* --- transitivity ------------------------------------------------------------------- */

static void wrc_pass(void) {
  if (hak_load_acquire(&x) == 1) hak_store_release(&y, 1);
}
static void wrc_read(void) {
  b = hak_load_acquire(&y);
  a = hak_load_relaxed(&x);
}
static void wrc(void) { explore_outcome(b == 1 && a == 0); }
const explore_scenario_t litmus_wrc = {.name = "litmus.wrc",
                                       .thread = {iriw_x, wrc_pass, wrc_read},
                                       .check = wrc,
                                       .outcomes = BIT(0)};

/* --- read-modify-writes lose nothing -------------------------------------------------
 */

static void add_one(void) { hak_add_relaxed(&z, 1); }
static void added(void) { explore_outcome(hak_load_relaxed(&z)); }
const explore_scenario_t litmus_adds = {.name = "litmus.adds",
                                        .thread = {add_one, add_one, add_one},
                                        .check = added,
                                        .outcomes = BIT(3)};
static void count_one(void) { hak_count_own(&z, 1); }
const explore_scenario_t litmus_counts = {.name = "litmus.counts",
                                          .thread = {count_one, count_one, count_one},
                                          .check = added,
                                          .outcomes = BIT(1) | BIT(2) | BIT(3)};

/* --- compare-and-swap: a strong one fails for a reason, a weak one for none -----------
 */

static void cas_strong(void) {
  uint32_t none = 0;
  a = hak_cas_relaxed(&x, &none, 1);
}
static void cas_weak(void) {
  uint32_t none = 0;
  a = EXPLORE_CAS(&x, &none, 1, WEAK, RELAXED);
}
static void cas_done(void) { explore_outcome(a); }
const explore_scenario_t litmus_cas = {
    .name = "litmus.cas", .thread = {cas_strong}, .check = cas_done, .outcomes = BIT(1)};
const explore_scenario_t litmus_cas_weak = {.name = "litmus.cas_weak",
                                            .thread = {cas_weak},
                                            .check = cas_done,
                                            .outcomes = BIT(0) | BIT(1)};
/* One that fails may read an old value, so another's has not been seen yet. */
static void cas_other(void) {
  hak_store_relaxed(&x, 1);
  hak_store_relaxed(&x, 2);
}
static void cas_fails(void) {
  uint32_t expected = 7;
  (void)hak_cas_relaxed(&x, &expected, 9);
  a = expected;
  b = hak_load_relaxed(&x);
}
static void cas_read(void) { explore_outcome(a + 3 * b); }
const explore_scenario_t litmus_cas_old = {
    .name = "litmus.cas_old",
    .thread = {cas_other, cas_fails},
    .check = cas_read,
    .outcomes = BIT(0) | BIT(3) | BIT(4) | BIT(6) | BIT(7) | BIT(8)};

/* --- waits ---------------------------------------------------------------------------
 */

static void spin_write(void) {
  plain = 1;
  hak_store_release(&x, 1);
}
static void spin_read(void) {
  while (hak_load_acquire(&x) == 0) hak_cpu_relax();
  a = (uint32_t)plain;
}
static void spun(void) { explore_outcome(a); }
const explore_scenario_t litmus_spin = {.name = "litmus.spin",
                                        .thread = {spin_write, spin_read},
                                        .check = spun,
                                        .outcomes = BIT(1)};

/* --- what has to be found -------------------------------------------------------------
 */

static void race_read(void) { a = (uint32_t)plain; }
const explore_scenario_t litmus_race = {
    .name = "litmus.race", .thread = {spin_write, race_read}, .is_broken = true};

static void spin_read_relaxed(void) {
  while (hak_load_relaxed(&x) == 0) hak_cpu_relax();
  a = (uint32_t)plain;
}
const explore_scenario_t litmus_race_relaxed = {.name = "litmus.race_relaxed",
                                                .thread = {spin_write, spin_read_relaxed},
                                                .is_broken = true};

static void spin_for_ever(void) {
  while (hak_load_relaxed(&x) == 0) hak_cpu_relax();
}
const explore_scenario_t litmus_stuck = {
    .name = "litmus.stuck", .thread = {spin_for_ever}, .is_broken = true};

/* A list that one thread pops with a pointer swap, while another pops two and puts the
 * first back: the swap succeeds, and the second is on the list and taken. */
typedef struct item {
  struct item *next;
  hak_atomic_u32_t owners;
} item_t;
static item_t items[2] = {{&items[1], 0}, {NULL, 0}};
static _Atomic(item_t *) top = &items[0];

static item_t *pop(void) {
  item_t *first = hak_load_acquire(&top);
  while (first != NULL && !hak_cas_acquire(&top, &first, first->next)) {}
  if (first != NULL) EXPLORE_CHECK(hak_add_relaxed(&first->owners, 1) == 0);
  return first;
}
static void push(item_t *item) {
  hak_sub_relaxed(&item->owners, 1);
  item_t *before = hak_load_relaxed(&top);
  do {
    item->next = before;
  } while (!hak_cas_release(&top, &before, item));
}
static void aba_one(void) {
  (void)pop();
  (void)pop();
}
static void aba_other(void) {
  item_t *first = pop(), *second = pop();
  if (first != NULL) push(first);
  (void)second;
}
const explore_scenario_t litmus_aba = {
    .name = "litmus.aba", .thread = {aba_one, aba_other}, .is_broken = true};

/* --- waits that time ends, and forks ---------------------------------------------------
 */

static bool gave_up;
static void set_flag(void) { hak_store_relaxed(&x, 1); }
static void wait_a_while(void) {
  int rounds = 0;
  for (; hak_load_relaxed(&x) == 0 && rounds < 10; rounds++) hak_cpu_relax();
  gave_up = rounds == 10;
}
static void waited(void) { explore_outcome(gave_up); }
const explore_scenario_t litmus_waits = {.name = "litmus.waits",
                                         .thread = {wait_a_while, set_flag},
                                         .check = waited,
                                         .outcomes = 1 << 0};
/* It gives up before the flag is set, or as another thread is about to set it. */
const explore_scenario_t litmus_hasty = {.name = "litmus.hasty",
                                         .hasty = 1,
                                         .thread = {wait_a_while, set_flag},
                                         .check = waited,
                                         .outcomes = 1 << 0 | 1 << 1};

/* The child finds the first of two plain stores, or both, or none. */
static unsigned first_store, second_store, in_child;
static void fork_and_read(void) {
  explore_fork();
  in_child = first_store + 2 * second_store;
}
static void store_both(void) {
  first_store = 1;
  hak_compiler_fence();
  second_store = 1;
}
static void forked(void) { explore_outcome(in_child); }
const explore_scenario_t litmus_fork = {.name = "litmus.fork",
                                        .forks = true,
                                        .thread = {fork_and_read, store_both},
                                        .check = forked,
                                        .outcomes = 1 << 0 | 1 << 1 | 1 << 3};
