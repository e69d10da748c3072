/* pages_rent.c - what goes and what stays of idle memory costs no more than the bound of
 * docs/MEMORY.md, whatever the demand is. The lines of pages/idle.c decide here over
 * memory that exists as numbers only; superslab_retention.c is about the real one. */
#include "registry_fixture.h"

#include <stdio.h>

#include "demand.h"
#include "pages/clock.h"
#include "pages/idle.h"

#define DECAY ((uint64_t)500000000)
#define TICK (DECAY / 64)
/* Of the optimum: docs/MEMORY.md, and a look that comes a 64th of a decay late. */
#define BOUND (3.5 + 1. / 64)

static uint64_t g_time;

static uint64_t now_ns(void *ctx) {
  (void)ctx;
  return g_time;
}

typedef struct memory {
  demand_t demand;
  uint64_t resident, looked; /* bytes; ns */
  double cost, kept_for_ever;
  double worst; /* cost / least */
} memory_t;

static int setup(void **state) {
  (void)state;
  test_registry_setup(state);
  g_os.hooks.now_ns = now_ns;
  g_time += 1000 * DECAY;
  hak_clock_refresh();
  hak_idle_stop();
  return 0;
}

static int teardown(void **state) {
  hak_idle_stop();
  return test_registry_teardown(state);
}

static uint64_t idle_of(const memory_t *memory) {
  return memory->resident - memory->demand.used;
}

static void give(memory_t *memory, uint64_t bytes) {
  memory->resident -= bytes;
  hak_sub_relaxed(&hak_slots_committed, bytes);
  hak_note_retained(&hak_slots_retained, -(int64_t)bytes);
  CHECK_EQ(hak_idle_bytes(), idle_of(memory));
}

static void give_surplus(memory_t *memory) {
  (void)hak_idle_allowance(g_time);
  if (hak_idle_look() != HAK_IDLE_SURPLUS) return;
  uint64_t bytes = hak_idle_bytes() - hak_idle_ceiling();
  give(memory, bytes);
  hak_idle_note_given(bytes, g_time);
}

static void give_old(memory_t *memory) {
  uint64_t passed = g_time - memory->looked, floor = hak_idle_floor();
  if (passed < TICK || idle_of(memory) <= floor) return;
  memory->looked = g_time;
  uint64_t from = demand_old(&memory->demand, g_time - DECAY);
  if (from < memory->demand.used) from = memory->demand.used;
  if (from >= memory->resident) return;
  uint64_t due = demand_since(&memory->demand, memory->resident) + DECAY;
  uint64_t share = hak_rent_share(idle_of(memory) - floor, 2 * MIB, passed,
                                  g_time > due ? g_time - due : 0, DECAY);
  uint64_t old = memory->resident - from;
  give(memory, share < old ? share : old);
}

static void look(memory_t *memory) {
  hak_clock_refresh();
  if (hak_load_relaxed(&hak_retained_over) == HAK_IDLE_FEW) return;
  give_surplus(memory);
  give_old(memory);
}

static void check(memory_t *memory) {
  double least = demand_least(&memory->demand);
  double ratio = least > 0 ? (memory->cost - memory->kept_for_ever) / least : 0;
  if (ratio > memory->worst) memory->worst = ratio;
}

/* Time passes, and the program makes slow paths all the while. */
static void pass(memory_t *memory, uint64_t ns) {
  for (uint64_t end = g_time + ns; g_time < end;) {
    uint64_t step = end - g_time < TICK ? end - g_time : TICK;
    uint64_t idle = idle_of(memory), floor = hak_idle_floor();
    memory->cost += (double)idle * (double)step / (double)DECAY;
    memory->kept_for_ever +=
        (double)(idle < floor ? idle : floor) * (double)step / (double)DECAY;
    g_time += step;
    look(memory);
  }
  check(memory);
}

/* So many bytes are in use from now on. */
static void use(memory_t *memory, uint64_t bytes) {
  uint64_t used = memory->demand.used;
  hak_clock_refresh();
  if (bytes > used) {
    uint64_t more = bytes - used, idle = idle_of(memory), again = more;
    if (again > idle) again = idle;
    hak_note_retained(&hak_slots_retained, -(int64_t)again);
    if (more > again) {
      hak_add_relaxed(&hak_slots_committed, more - again);
      hak_idle_note_needed(more - again);
      memory->resident += more - again;
      memory->cost += (double)(more - again);
    }
  } else {
    hak_note_retained(&hak_slots_retained, (int64_t)(used - bytes));
  }
  demand_at(&memory->demand, g_time, bytes);
  look(memory);
  check(memory);
}

/* --- the optimum ------------------------------------------------------------------- */

static void least__is_what_levels_cost_that_are_kept_or_touched_anew(void **state) {
  (void)state;
  demand_t demand;
  demand_begin(&demand, 100);
  demand_at(&demand, 0, 10);
  CHECK(demand_least(&demand) == 10);
  demand_at(&demand, 0, 4);
  demand_at(&demand, 50, 2);
  demand_at(&demand, 100, 6); /* 2 bytes were out of use for 50, 2 for 100 */
  CHECK(demand_least(&demand) == 10 + 1 + 2);
  demand_at(&demand, 400,
            12); /* 4 bytes for 400, which cost no more than to touch them */
  CHECK(demand_least(&demand) == 10 + 1 + 2 + 4 + 2);
  demand_at(&demand, 500, 0);
  demand_at(&demand, 9999, 0); /* what never comes back costs nothing */
  CHECK(demand_least(&demand) == 19);
  CHECK_EQ(demand_old(&demand, 499), UINT64_MAX);
  CHECK_EQ(demand_old(&demand, 500), 0);
  CHECK_EQ(demand_since(&demand, 12), 500);
  demand_end(&demand);
}

/* --- the decisions ----------------------------------------------------------------- */

/* Ends a demand; how much more it has cost than the least. */
static double end(memory_t *memory) {
  pass(memory, 3 * DECAY);
  demand_end(&memory->demand);
  return memory->worst;
}

static memory_t begin(void) {
  memory_t memory = {.looked = g_time};
  demand_begin(&memory.demand, DECAY);
  return memory;
}

static void spike__goes_at_once_and_costs_nothing_but_its_first_touch(void **state) {
  (void)state;
  memory_t memory = begin();
  use(&memory, 128 * MIB);
  use(&memory, 4 * MIB);
  CHECK(memory.resident <= 9 * MIB);
  CHECK(end(&memory) < 1.1);
}

static void rounds__are_kept_from_the_second_on(void **state) {
  (void)state;
  memory_t memory = begin();
  for (int round = 0; round < 50; round++) {
    use(&memory, 64 * MIB);
    pass(&memory, DECAY / 20);
    use(&memory, 0);
    pass(&memory, DECAY / 50);
    if (round > 0) CHECK_EQ(memory.resident, 64 * MIB);
  }
  CHECK(end(&memory) <= BOUND);
}

/* Whoever waits until the allowance is forgotten, and takes back at once what went, can
 * do so only as often as memory is touched that is not of this kind. */
static void mistakes__are_no_more_than_what_was_touched_besides(void **state) {
  (void)state;
  memory_t memory = begin();
  for (int round = 0; round < 50; round++) {
    use(&memory, 64 * MIB);
    pass(&memory, 40 * DECAY);
    CHECK_EQ(hak_idle_allowance(g_time), 0);
    use(&memory, 0);
    if (round >= 2) CHECK_EQ(memory.resident, 64 * MIB);
  }
  CHECK(memory.cost <= 2 * 64. * MIB + 1);
  CHECK(end(&memory) <= BOUND);
}

/* A credit that mistakes have spent is there again with the next wave. */
static void credit__comes_back_with_what_is_touched_anew(void **state) {
  (void)state;
  memory_t memory = begin();
  for (int wave = 0; wave < 3; wave++) {
    for (int round = 0; round < 3; round++) {
      use(&memory, 64 * MIB);
      pass(&memory, 40 * DECAY);
      use(&memory, 0);
    }
    CHECK_EQ(memory.resident, 64 * MIB); /* it waits to be old */
    pass(&memory, 2 * DECAY);
    CHECK(memory.resident <= 1 * MIB);
  }
  use(&memory, 64 * MIB);
  pass(&memory, 40 * DECAY);
  use(&memory, 0);
  CHECK(memory.resident <= 1 * MIB);
  CHECK(end(&memory) <= BOUND);
}

static void old__is_gone_one_and_a_half_decays_after_its_use(void **state) {
  (void)state;
  memory_t memory = begin();
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  use(&memory, 512 * MIB);
  use(&memory, 0);
  pass(&memory, DECAY - TICK);
  CHECK(memory.resident == 512 * MIB);
  pass(&memory, DECAY / 4 + TICK);
  CHECK(memory.resident > 220 * MIB && memory.resident < 280 * MIB);
  pass(&memory, DECAY / 4);
  CHECK_EQ(memory.resident, hak_idle_floor());
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 1), 0);
  CHECK(end(&memory) <= BOUND);
}

/* --- any demand -------------------------------------------------------------------- */

static uint64_t some_time(test_rng_t *rng) {
  return (uint64_t)1000 << (test_random(rng) % 23); /* 1 us to 8 decays */
}

/* One that comes back as soon as something went. */
static void provoke(memory_t *memory, test_rng_t *rng) {
  uint64_t used = memory->demand.used, resident = memory->resident;
  use(memory, used / (1 + test_random(rng) % 8));
  for (int i = 0; i < 200 && memory->resident == resident; i++) pass(memory, TICK);
  use(memory, used);
}

static void step(memory_t *memory, test_rng_t *rng, uint64_t most) {
  uint64_t any = test_random(rng) % most;
  switch (test_random(rng) % 8) {
    case 0:
      provoke(memory, rng);
      break;
    case 1:
      use(memory, 0);
      break;
    case 2:
      use(memory, most);
      break;
    case 3:
      use(memory, memory->demand.used / 2);
      break;
    case 4:
      pass(memory, 20 * DECAY);
      break;
    default:
      use(memory, any);
      break;
  }
  if (test_random(rng) % 2 == 0) pass(memory, some_time(rng));
}

/* Steps of any kind; or a few of them again and again, which finds what no mistake is
 * learnt from. */
static double play(uint64_t run) {
  test_rng_t rng = test_rng(test_seed(), run);
  memory_t memory = begin();
  uint64_t most = MIB << (2 + run % 7), few = run % 2 == 0 ? 100 : 2 + run % 5;
  for (uint64_t i = 0; i < 100; i += few) {
    test_rng_t again = rng;
    for (uint64_t k = 0; k < few; k++) step(&memory, &again, most);
  }
  double worst = end(&memory);
  give(&memory, idle_of(&memory));
  return worst;
}

static void any_demand__costs_no_more_than_the_bound(void **state) {
  (void)state;
  double worst = 0;
  for (uint64_t run = 0; run < 200; run++) {
    hak_idle_stop();
    double ratio = play(run);
    if (ratio > worst) worst = ratio;
  }
  printf("the worst of 200 demands costs %.3f times the least\n", worst);
  CHECK(worst <= BOUND);
}

/* --- one step ----------------------------------------------------------------------- */

enum {
  SPAN = 100, /* ns, a decay */
  ALL = 1000  /* bytes that are committed */
};
static hak_rent_terms_t at(uint64_t now) { return (hak_rent_terms_t){now, SPAN, ALL}; }

/* Bytes that went, and later that so many went; what may go after two decays. */
static uint64_t credit_after(uint64_t first, uint64_t second) {
  hak_rent_t rent = {0};
  hak_rent_terms_t then = at(SPAN), later = at(SPAN + SPAN / 2), now = at(2 * SPAN + 10);
  hak_rent_note_given(&rent, first, &then);
  hak_rent_note_given(&rent, second, &later);
  return hak_rent_credit(&rent, ALL, &now);
}

/* Bytes that went in the last decay may be needed yet; that none went is no such news. */
static void given__is_found_right_once_a_decay_has_passed(void **state) {
  (void)state;
  CHECK_EQ(credit_after(50, 10), ALL - 60);
  CHECK_EQ(credit_after(50, 0), ALL);
}

static void credit__is_none_where_more_was_spent(void **state) {
  (void)state;
  hak_rent_t rent = {0};
  hak_rent_terms_t now = at(SPAN);
  hak_rent_note_given(&rent, 500, &now);
  CHECK_EQ(hak_rent_credit(&rent, 500, &now), 0);
  CHECK_EQ(hak_rent_credit(&rent, 400, &now), 0);
  CHECK_EQ(hak_rent_credit(&rent, 600, &now), 100);
}

/* A thread may have read the clock before another did. */
static void allowance__never_becomes_less_by_a_need_or_an_earlier_time(void **state) {
  (void)state;
  hak_rent_t rent = {0};
  hak_rent_terms_t now = at(10 * SPAN), before = at(SPAN);
  hak_rent_allow(&rent, 500, &now);
  hak_rent_allow(&rent, 100, &now);
  CHECK_EQ(hak_rent_allowance(&rent, 1, &now), 500);
  CHECK_EQ(hak_rent_allowance(&rent, 1, &before), 500);
  CHECK_EQ(hak_rent_allowance(&rent, 1, &now), 500);
}

#define R(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(
    cmocka_unit_test(least__is_what_levels_cost_that_are_kept_or_touched_anew),
    R(spike__goes_at_once_and_costs_nothing_but_its_first_touch),
    R(rounds__are_kept_from_the_second_on),
    R(mistakes__are_no_more_than_what_was_touched_besides),
    R(credit__comes_back_with_what_is_touched_anew),
    R(old__is_gone_one_and_a_half_decays_after_its_use),
    cmocka_unit_test(given__is_found_right_once_a_decay_has_passed),
    cmocka_unit_test(credit__is_none_where_more_was_spent),
    cmocka_unit_test(allowance__never_becomes_less_by_a_need_or_an_earlier_time),
    R(any_demand__costs_no_more_than_the_bound))
