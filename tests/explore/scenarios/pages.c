/* pages.c - the registry, budgets, and callers' memory by address. */
#include "base/bits.h"
#include "pages/budget.h"
#include "pages/external_range.h"
#include "pages/registry.h"
#include "start.h"
#include "superslab/locate.h"

static hak_os_t os;
static void start(void) {
  os = *start_hooks();
  EXPLORE_CHECK(hak_registry_start(&os));
}

/* --- registry: leaves and extents
 * ------------------------------------------------------- */

#define ADDRESS ((uintptr_t)0x200000000000)

static hak_extent_t extents[2];

static void cover(void) {
  EXPLORE_CHECK(hak_registry_cover(&os, ADDRESS, HAK_SUPERSLAB_SIZE));
  hak_registry_t *registry = hak_registry_root();
  EXPLORE_CHECK(hak_registry_leaf(registry, ADDRESS >> HAK_LEAF_SHIFT) != NULL);
}
static void publish_extent(void) {
  cover();
  extents[0].base = (char *)ADDRESS;
  hak_store_relaxed(&extents[0].kind, HAK_EXTENT_MAPPING);
  hak_registry_set_extent(ADDRESS, HAK_SUPERSLAB_SIZE, &extents[0]);
}
static void withdraw_extent(void) {
  publish_extent();
  hak_registry_set_extent(ADDRESS, HAK_SUPERSLAB_SIZE, NULL);
}
static void look_extent(void) {
  hak_registry_t *registry = hak_registry_root();
  hak_leaf_t *leaf = hak_registry_leaf(registry, ADDRESS >> HAK_LEAF_SHIFT);
  if (leaf == NULL) return;
  hak_extent_t *extent = hak_registry_extent(ADDRESS);
  if (extent == NULL) return;
  EXPLORE_CHECK(extent == &extents[0] && extent->base == (char *)ADDRESS);
  EXPLORE_CHECK(hak_load_relaxed(&extent->kind) == HAK_EXTENT_MAPPING);
}
static void look_extents(void) {
  look_extent();
  look_extent();
}
/* By the way that frees take, which lead to plain fields. */
static void locate_extent(void) {
  hak_place_t place = hak_locate(ADDRESS);
  if (place.extent != NULL) EXPLORE_CHECK(place.extent->base == (char *)ADDRESS);
}
/* Two make the same leaf; one of them is too late and gives its own back. */
static void covered(void) {
  hak_registry_t *registry = hak_registry_root();
  EXPLORE_CHECK(hak_registry_leaf(registry, ADDRESS >> HAK_LEAF_SHIFT) != NULL);
}

/* And the extent, whichever of the two leaves it came to. */
static void published(void) {
  covered();
  EXPLORE_CHECK(hak_registry_extent(ADDRESS) == &extents[0]);
}

const explore_scenario_t registry_publish = {.name = "registry.publish",
                                             .setup = start,
                                             .thread = {publish_extent, look_extents},
                                             .check = covered};
const explore_scenario_t registry_locate = {.name = "registry.locate",
                                            .setup = start,
                                            .thread = {publish_extent, locate_extent},
                                            .check = covered};
const explore_scenario_t registry_withdraw = {.name = "registry.withdraw",
                                              .setup = start,
                                              .thread = {withdraw_extent, look_extents},
                                              .check = covered};
const explore_scenario_t registry_cover_twice = {
    .name = "registry.cover_twice",
    .setup = start,
    .thread = {cover, publish_extent, look_extent},
    .check = published};

/* The first use makes the registry itself. */
static void look_first(void) {
  hak_registry_t *registry = hak_registry_root();
  if (registry == NULL) return;
  EXPLORE_CHECK(hak_registry_leaf(registry, ADDRESS >> HAK_LEAF_SHIFT) == NULL);
}
const explore_scenario_t registry_start = {.name = "registry.start",
                                           .thread = {start, look_first}};

/* --- registry: leaves that are put aside
 * ------------------------------------------------ */

static void set_aside(void) {
  hak_spare_leaves_t own;
  EXPLORE_CHECK(hak_registry_prepare(HAK_SUPERSLAB_SIZE, &own));
  hak_registry_done(&own);
}
static void set_aside_and_use(void) {
  hak_spare_leaves_t own;
  EXPLORE_CHECK(hak_registry_prepare(HAK_SUPERSLAB_SIZE, &own));
  EXPLORE_CHECK(hak_registry_cover_moved(ADDRESS, HAK_SUPERSLAB_SIZE, &own));
  hak_registry_done(&own);
}
const explore_scenario_t registry_spares = {
    .name = "registry.spares",
    .setup = start,
    .thread = {set_aside, set_aside_and_use, look_extent}};

/* --- budgets --------------------------------------------------------------------------
 */

enum {
  LIMIT = 100
};
static hak_budget_t parent, child[2];
static uint32_t pages; /* that are there, of what is charged; each charge's own */

static void limit(void) {
  hak_budget_init(&parent);
  hak_budget_begin(&parent, NULL);
  hak_budget_set_limits(&parent, LIMIT / 2, LIMIT);
  for (int i = 0; i < 2; i++) {
    hak_budget_init(&child[i]);
    hak_budget_begin(&child[i], &parent);
  }
}
static void limit_with_records(void) {
  limit();
  hak_store_relaxed(&child[0].fixed, 10);
}
static void charge(hak_budget_t *budget, size_t bytes) {
  if (!hak_budget_charge(budget, bytes)) return;
  uint64_t most = hak_load_relaxed(&parent.charged), own = hak_load_relaxed(&budget->own);
  EXPLORE_CHECK(most <= LIMIT && own >= bytes + hak_budget_fixed(budget));
  hak_budget_uncharge(budget, bytes);
}
static void charge_60(void) { charge(&child[0], 60); }
static void charge_50(void) { charge(&child[1], 50); }
static void charge_70(void) { charge(&child[1], 70); }
static void charge_30(void) { charge(&child[0], 30); }
static void charge_same(void) { charge(&child[0], 40); }

static void nothing_charged(void) {
  EXPLORE_CHECK(hak_load_relaxed(&parent.charged) == 0);
  for (int i = 0; i < 2; i++) {
    EXPLORE_CHECK(hak_load_relaxed(&child[i].own) == 0);
    EXPLORE_CHECK(hak_load_relaxed(&child[i].charged) == 0);
  }
  EXPLORE_CHECK(hak_load_relaxed(&parent.peak) <= LIMIT);
  EXPLORE_CHECK(hak_load_relaxed(&hak_budget_alarms) == hak_load_relaxed(&parent.alarm));
}
const explore_scenario_t budget_two = {.name = "budget.two",
                                       .setup = limit,
                                       .thread = {charge_60, charge_50},
                                       .check = nothing_charged};
const explore_scenario_t budget_three = {.name = "budget.three",
                                         .setup = limit,
                                         .thread = {charge_60, charge_50, charge_30},
                                         .check = nothing_charged};
/* The heap's own records are charged with its first bytes and go with its last. */
const explore_scenario_t budget_fixed = {.name = "budget.fixed",
                                         .setup = limit_with_records,
                                         .thread = {charge_30, charge_same},
                                         .check = nothing_charged};
/* They are charged already, and are not once more for who finds another sum there. */
static void begin_with_records(void) {
  limit_with_records();
  EXPLORE_CHECK(hak_budget_charge(&child[0], 40));
}
static void charge_20(void) { EXPLORE_CHECK(hak_budget_charge(&child[0], 20)); }
static void uncharge_20(void) { hak_budget_uncharge(&child[0], 20); }
static void nothing_else_charged(void) {
  hak_budget_uncharge(&child[0], 40);
  nothing_charged();
}
const explore_scenario_t budget_begun = {.name = "budget.begun",
                                         .setup = begin_with_records,
                                         .thread = {charge_20, uncharge_20},
                                         .check = nothing_else_charged};
/* The records no longer fit when their turn comes: another heap was faster. */
const explore_scenario_t budget_fixed_refused = {
    .name = "budget.fixed_refused",
    .setup = limit_with_records,
    .thread = {charge_30, charge_same, charge_70},
    .check = nothing_charged};

/* Two threads act on one alarm: one of them has it. */
static hak_atomic_u32_t alarms_taken;

static void cross_soft_limit(void) {
  limit();
  EXPLORE_CHECK(hak_budget_charge(&child[0], LIMIT / 2 + 1));
}
static void take_alarm(void) {
  if (hak_budget_take_alarm(&child[0]) == NULL) return;
  hak_add_relaxed(&alarms_taken, 1);
}
static void one_alarm_taken(void) {
  EXPLORE_CHECK(hak_load_relaxed(&alarms_taken) == 1);
  EXPLORE_CHECK(hak_load_relaxed(&hak_budget_alarms) == 0);
}
const explore_scenario_t budget_alarm = {.name = "budget.alarm",
                                         .setup = cross_soft_limit,
                                         .thread = {take_alarm, take_alarm},
                                         .check = one_alarm_taken};

/* Pages are there only while they are charged: the second charge fits when the first
 * one's pages have gone. */
static void all_charged(void) {
  limit();
  EXPLORE_CHECK(hak_budget_charge(&child[0], LIMIT));
  pages = LIMIT;
}
static void give_back(void) {
  pages -= LIMIT;
  hak_budget_uncharge(&child[0], LIMIT);
}
static void take_over(void) {
  if (!hak_budget_charge(&child[1], LIMIT)) return;
  pages += LIMIT;
  EXPLORE_CHECK(pages == LIMIT);
  pages -= LIMIT;
  hak_budget_uncharge(&child[1], LIMIT);
}
const explore_scenario_t budget_pages = {.name = "budget.pages",
                                         .setup = all_charged,
                                         .thread = {give_back, take_over, take_over},
                                         .check = nothing_charged};

static void quota(void) {
  if (!hak_budget_quota_take(&child[0], 4)) return;
  EXPLORE_CHECK(hak_load_relaxed(&parent.cached) <= LIMIT / 16);
  hak_budget_quota_return(&child[0], 4);
}
static void nothing_cached(void) {
  EXPLORE_CHECK(hak_load_relaxed(&parent.cached) == 0);
  EXPLORE_CHECK(hak_load_relaxed(&child[0].cached) == 0);
}
const explore_scenario_t budget_quota = {.name = "budget.quota",
                                         .setup = limit,
                                         .thread = {quota, quota, quota},
                                         .check = nothing_cached};

/* --- external ranges ------------------------------------------------------------------
 */

/* Ranges of one unit, in places of 4 KiB. One of them stays and has to be found whatever
 * is done beside it. */
enum {
  STAYS = 6 /* its place */
};
static hak_external_range_t stays, ranges[3];

static char *place(unsigned at) { return (char *)ADDRESS + at * 4096; }
static void add(hak_external_range_t *range, unsigned at, unsigned places) {
  EXPLORE_CHECK(hak_external_range_add(&os, range, place(at), places * 4096) == 0);
}
static hak_external_range_t *find(unsigned at) {
  uintptr_t inside = (uintptr_t)place(at) + 100;
  return hak_external_range_find(hak_registry_external(inside), inside);
}

static void one_stays(void) {
  start();
  EXPLORE_CHECK(hak_registry_cover(&os, ADDRESS, HAK_SUPERSLAB_SIZE));
  add(&stays, STAYS, 1);
}
static void lower_one(void) {
  one_stays();
  add(&ranges[0], 0, 1);
}
static void lower_two(void) {
  lower_one();
  add(&ranges[1], 2, 1);
}
static void find_stays(void) { EXPLORE_CHECK(find(STAYS) == &stays); }

/* What is found has the address; nothing is found only where nothing was at some time. */
static void find_others(void) {
  hak_external_range_t *found = find(0);
  EXPLORE_CHECK(found == NULL || found == &ranges[0]);
  EXPLORE_CHECK(find(5) == NULL);
}

static void come_lowest(void) { add(&ranges[0], 0, 1); }
static void come_between(void) { add(&ranges[2], 4, 1); }
static void go_lowest(void) { hak_external_range_remove(&ranges[0]); }
/* The record of the range below serves another place, and is larger there. */
static void move_and_grow(void) {
  go_lowest();
  add(&ranges[0], STAYS + 1, 8);
}
/* A new one lies behind the one that goes, whose link passes on to it. */
static void come_behind_lowest_that_goes(void) {
  add(&ranges[2], 4, 1);
  go_lowest();
}
static void come_behind_second_that_goes(void) {
  add(&ranges[2], 4, 1);
  hak_external_range_remove(&ranges[1]);
}

#define RANGE_SCENARIO(id, begin, ...)                                  \
  const explore_scenario_t range_##id = {.name = "external_range." #id, \
                                         .setup = begin,                \
                                         .thread = {__VA_ARGS__},       \
                                         .check = find_stays,           \
                                         .stale = 5}
RANGE_SCENARIO(add_lowest, one_stays, come_lowest, find_stays);
RANGE_SCENARIO(add_between, lower_one, come_between, find_stays);
RANGE_SCENARIO(remove, lower_one, go_lowest, find_stays, find_others);
RANGE_SCENARIO(move, lower_one, move_and_grow, find_stays);
RANGE_SCENARIO(pass_on, lower_one, come_behind_lowest_that_goes, find_stays);
RANGE_SCENARIO(pass_on_second, lower_two, come_behind_second_that_goes, find_stays);
RANGE_SCENARIO(two_change, lower_one, come_between, go_lowest, find_stays);
