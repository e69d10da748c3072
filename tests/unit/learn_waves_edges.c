/* learn_waves_edges.c - lanes beside what a run before knew, samples that came unseen or
 * after the peak, and places that are too large to lie apart. */
#include "support.h"

#include <string.h>

#include "learn/lanes.h"
#include "learn/sample.h"
#include "learn/waves.h"
#include "pages/meta.h"

enum {
  MEAN = 65536, /* bytes that each sample stands for */
  SIZE = 256,
  PLACES = 4,
  MOST = 2000 /* samples at a time */
};

static char heap, other_heap; /* their addresses are ids */
static char memory[MOST * 16];
static hak_site_t sites[PLACES];
static int place_of[MOST]; /* of a sample that lives, and 1 */

static uint32_t origin_of(int place) {
  sites[place] = (hak_site_t){"edges.c", 10 + (uint32_t)place, "", {0}};
  return hak_origin_make(hak_os_default(), &sites[place]);
}
static hak_wave_place_t *known(int place) {
  return &hak_origin_at(origin_of(place))->wave;
}
static uint32_t group_of(int place) {
  return hak_load_relaxed(&hak_origin_groups[origin_of(place)]);
}

static int add(int place, const void *id) {
  int at = 0;
  while (place_of[at] != 0) at++;
  place_of[at] = place + 1;
  CHECK(hak_sample_add((hak_asker_t){origin_of(place), 0}, &memory[at * 16], SIZE, MEAN,
                       MEAN, id));
  return at;
}
static void drop(int at) {
  CHECK(hak_sample_remove(&memory[at * 16]));
  place_of[at] = 0;
}
static void add_many(int place, int count) {
  for (int i = 0; i < count; i++) (void)add(place, &heap);
}
/* All of the place but so many. */
static void drop_but(int place, int left) {
  for (int at = 0; at < MOST; at++) {
    if (place_of[at] == place + 1 && left-- <= 0) drop(at);
  }
}
static void come_and_go(int place, int count) {
  for (int i = 0; i < count; i++) drop(add(place, &heap));
}
/* The calm after a wave. */
static void calm(void) { come_and_go(2, 150); }

static int setup(void **state) {
  (void)state;
  memset(place_of, 0, sizeof place_of);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 1), 0);
  CHECK(hak_samples_prepare(hak_os_default()));
  hak_waves_watch(&heap);
  return 0;
}
static int teardown(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
  hak_samples_stop();
  hak_origins_stop();
  hak_meta_stop();
  return 0;
}

/* --- what a run before has learned of a place --------------------------------------- */

static void know(int place) {
  hak_wave_place_t *it = known(place);
  it->bytes = it->stays = 40. * MEAN;
  it->blocks = 40. * MEAN / SIZE;
  it->seen = it->stayed = 40;
  it->led = HAK_LANE;
  hak_store_relaxed(&hak_origin_groups[origin_of(place)], HAK_LANE);
}

static void place__that_a_run_before_has_put_apart_is_there_on_no_trial(void **state) {
  (void)state;
  know(1);
  come_and_go(1, 1); /* before there are lanes, */
  CHECK_EQ(group_of(1), HAK_LANE);
  add_many(0, 190);
  add_many(1, 5);
  come_and_go(1, 1); /* beside them, */
  CHECK_EQ(group_of(1), HAK_LANE);
  add_many(2, 1);
  CHECK_EQ(group_of(2), HAK_LANE);
  add_many(1, 60); /* and where it is more than an eighth, of which it takes nothing */
  CHECK(group_of(1) == HAK_LANE && group_of(2) == HAK_LANE);
}

/* What is in lanes is of those that have one. */
static void lane__that_outgrows_its_part_is_left_whatever_others_free(void **state) {
  (void)state;
  add_many(0, 190);
  come_and_go(0, 1);
  add_many(2, 25);
  CHECK_EQ(group_of(2), HAK_LANE);
  come_and_go(0, 5);
  add_many(2, 20);
  CHECK_EQ(group_of(2), 0);
}

static void lanes__are_on_paper_where_the_learner_only_watches(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
  add_many(0, 190);
  come_and_go(0, 1);
  add_many(1, 5);
  CHECK(known(1)->led == HAK_LANE && group_of(1) == 0);
}

/* Their blocks have no place that could be led elsewhere. */
static void places__without_a_record_of_their_own_have_no_lane(void **state) {
  (void)state;
  for (int at = MOST - 6; at < MOST; at++) {
    CHECK(hak_sample_add((hak_asker_t){HAK_ORIGIN_OTHERS, 0}, &memory[at * 16], SIZE,
                         MEAN, MEAN, &heap));
  }
  add_many(0, 190);
  come_and_go(0, 1);
  CHECK_EQ(hak_origin_at(HAK_ORIGIN_OTHERS)->wave.led, 0);
  CHECK_EQ(hak_load_relaxed(&hak_origin_groups[HAK_ORIGIN_OTHERS]), 0);
}

/* Places move from what they had: lanes are given up before, and what is known is not. */
static void place__that_is_apart_already_does_not_move_with_lanes(void **state) {
  (void)state;
  know(1);
  for (int i = 0; i < 10; i++) {
    add_many(0, 25);
    add_many(1, 2);
    add_many(3, 1);
  }
  CHECK(group_of(1) == HAK_LANE && group_of(3) == HAK_LANE);
  drop_but(0, 0);
  calm();
  CHECK_EQ(hak_waves_read().count, 1);
  CHECK(group_of(1) == HAK_LANE && group_of(3) == HAK_LANE);
  CHECK_EQ(hak_waves_read().moves, 1);
}

/* --- what counts ---------------------------------------------------------------------
 */

/* They came while their heap was not the one that is watched. */
static void samples__that_came_unseen_do_not_end_those_that_were_seen(void **state) {
  (void)state;
  int blocks[3];
  for (int i = 0; i < 3; i++) blocks[i] = add(0, &other_heap);
  hak_waves_watch(&other_heap);
  for (int i = 0; i < 3; i++) drop(blocks[i]);
  hak_waves_watch(&heap);
  add_many(0, 300);
  drop_but(0, 3);
  calm();
  CHECK_EQ(hak_waves_read().count, 1);
  uint64_t trough = hak_waves_read().trough;
  CHECK_MSG(trough >= 3 * MEAN && trough < 4 * MEAN, "%llu", (unsigned long long)trough);
}

/* Groups save what they do at the peak. */
static void place__that_comes_after_the_peak_has_no_part_in_what_groups_save(
    void **state) {
  (void)state;
  for (int w = 0; w < 2; w++) {
    drop_but(1, 0);
    drop_but(3, 0);
    for (int i = 0; i < 15; i++) {
      add_many(0, 20);
      add_many(1, 1);
    }
    drop_but(0, 200);
    add_many(3, 10);
    drop_but(0, 0);
    calm();
    CHECK_EQ(hak_waves_read().count, w + 1);
    CHECK(group_of(1) != 0);
  }
  CHECK(known(1)->saved != 0);
  CHECK_MSG(known(3)->saved == 0, "%f", (double)known(3)->saved);
}

/* It would leave less behind, and more lay apart than it may. */
static void place__of_nearly_half_of_the_bytes_stays_among_others(void **state) {
  (void)state;
  for (int i = 0; i < 20; i++) {
    add_many(0, 11);
    add_many(1, 9);
  }
  drop_but(0, 0);
  calm();
  hak_waves_t told = hak_waves_read();
  CHECK_EQ(told.count, 1);
  CHECK(told.best < told.together);
  CHECK(group_of(0) == 0 && group_of(1) == 0);
  CHECK_EQ(told.moves, 0);
}

#define W(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN(W(place__that_a_run_before_has_put_apart_is_there_on_no_trial),
          W(lane__that_outgrows_its_part_is_left_whatever_others_free),
          W(lanes__are_on_paper_where_the_learner_only_watches),
          W(places__without_a_record_of_their_own_have_no_lane),
          W(place__that_is_apart_already_does_not_move_with_lanes),
          W(samples__that_came_unseen_do_not_end_those_that_were_seen),
          W(place__that_comes_after_the_peak_has_no_part_in_what_groups_save),
          W(place__of_nearly_half_of_the_bytes_stays_among_others))
