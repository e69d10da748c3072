/* learn_waves.c - what waves of load say of places, with samples that nothing was
 * allocated for. */
#include "support.h"

#include <string.h>

#include "learn/lanes.h"
#include "learn/sample.h"
#include "learn/waves.h"
#include "pages/meta.h"

enum {
  MEAN = 65536, /* bytes that each sample stands for */
  SIZE = 256,
  PLACES = 65,
  FEW = 64,  /* places of few samples; the last one is of the calm */
  MOST = 400 /* samples at a time */
};

static char heap, other_heap; /* their addresses are ids */
static char memory[4 * MOST * 16];
static hak_site_t sites[PLACES];
static size_t sizes[PLACES]; /* of blocks; 0: SIZE */

/* Samples that live, with their places; those that stay move to `kept`. */
static struct {
  int live[MOST], place[MOST], count;
  int kept[3 * MOST], kept_count;
  bool used[4 * MOST];
} model;

static uint32_t origin_of(int place) {
  hak_site_t *site = &sites[place];
  if (site->file == NULL) *site = (hak_site_t){"waves.c", 10 + (uint32_t)place, "", {0}};
  return hak_origin_make(hak_os_default(), site);
}
static uint32_t group_of(int place) {
  return hak_load_relaxed(&hak_origin_groups[origin_of(place)]);
}

static int add(int place, const void *id) {
  int block = 0;
  while (model.used[block]) block++;
  model.used[block] = true;
  size_t size = sizes[place] == 0 ? SIZE : sizes[place];
  CHECK(hak_sample_add((hak_asker_t){origin_of(place), 0}, &memory[block * 16], size,
                       MEAN, MEAN, id));
  return block;
}
static const hak_wave_place_t *place_of(int place) {
  return &hak_origin_at(origin_of(place))->wave;
}
static void drop(int block) {
  CHECK(hak_sample_remove(&memory[block * 16]));
  model.used[block] = false;
}

static void add_many(int place, int count) {
  for (int i = 0; i < count; i++) {
    model.place[model.count] = place;
    model.live[model.count++] = add(place, &heap);
  }
}

/* The calm after a wave: blocks that come and go. */
static void calm(int place) {
  for (int i = 0; i < MOST / 3; i++) drop(add(place, &heap));
}

/* The same, of sizes whose sums are rounded: what a block adds is not quite what it takes
 * away again. */
static void calm_of_any_sizes(test_rng_t *rng, int place, int blocks) {
  for (int i = 0; i < blocks; i++) {
    size_t size = 20 + (size_t)test_below(rng, 3000);
    char *block = &memory[(4 * MOST - 1) * 16];
    CHECK(hak_sample_add((hak_asker_t){origin_of(place), 0}, block, size, MEAN, MEAN,
                         &heap));
    CHECK(hak_sample_remove(block));
  }
}

/* Ends a wave: of each place the share stays, in thousandths; a calm follows. */
static void fall(test_rng_t *rng, const int *stays, int calm_place) {
  for (int i = 0; i < model.count; i++) {
    if (test_below(rng, 1000) < (uint64_t)stays[model.place[i]]) {
      model.kept[model.kept_count++] = model.live[i];
    } else {
      drop(model.live[i]);
    }
  }
  model.count = 0;
  calm(calm_place);
}
/* What stayed of earlier waves is gone. */
static void drop_kept(void) {
  for (int i = 0; i < model.kept_count; i++) drop(model.kept[i]);
  model.kept_count = 0;
}

/* 300 samples of place 0, 15 of place 1, of which all or nothing stays. */
static void wave(test_rng_t *rng, int stays_0, int stays_1) {
  const int stays[PLACES] = {stays_0, stays_1};
  drop_kept();
  for (int i = 0; i < 15; i++) {
    add_many(0, stays_0 < stays_1 ? 20 : 1);
    add_many(1, stays_0 < stays_1 ? 1 : 20);
  }
  fall(rng, stays, 2);
}

static int setup(void **state) {
  (void)state;
  memset(&model, 0, sizeof model);
  memset(sizes, 0, sizeof sizes);
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

static void place__of_which_all_stays_is_set_apart(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 1);
  wave(&rng, 0, 1000);
  hak_waves_t told = hak_waves_read();
  CHECK_EQ(told.count, 1);
  CHECK_EQ(told.moves, 1);
  CHECK(group_of(0) == 0 && group_of(1) != 0 && group_of(2) == 0);
  CHECK(hak_wave_share(&hak_origin_at(origin_of(0))->wave) == 0);
  CHECK(hak_wave_share(&hak_origin_at(origin_of(1))->wave) == 1);
  CHECK(told.peak == 315 * MEAN + told.peak % MEAN);
  CHECK(told.together > 4 * told.best && told.apart == told.best);
  for (int i = 0; i < 3; i++) wave(&rng, 0, 1000);
  told = hak_waves_read();
  CHECK_EQ(told.moves, 1);
  CHECK_EQ(told.apart, told.best);
}

/* Of load that comes for the first time: of place 0 much, of place 1 little. */
static void first_rise(void) {
  for (int i = 0; i < 10; i++) {
    add_many(0, 10);
    add_many(1, 1);
  }
}

static void place__that_only_grows_has_a_lane_before_the_first_wave_is_over(
    void **state) {
  (void)state;
  add_many(1, 1);
  add_many(0, 150);
  CHECK_EQ(group_of(1), 0); /* so little is not worth a group */
  first_rise();
  CHECK(group_of(0) == 0 && group_of(1) == HAK_LANE);
  CHECK_EQ(hak_waves_read().moves, 0);
  /* It does not only grow. */
  drop(add(1, &heap));
  CHECK_EQ(group_of(1), 0);
}

static void lanes__have_an_eighth_at_most(void **state) {
  (void)state;
  add_many(1, 5);
  add_many(0, 200);
  CHECK(group_of(0) == 0 && group_of(1) == HAK_LANE);
  add_many(2, 1);
  CHECK_EQ(group_of(2), HAK_LANE);
  add_many(1, 35);
  CHECK_EQ(group_of(1), 0); /* it has outgrown it, and leaves room for others */
  add_many(3, 1);
  CHECK_EQ(group_of(3), HAK_LANE);
}

static void lanes__are_given_up_with_the_first_wave_that_gains_nothing(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 10);
  const int stays[PLACES] = {0};
  for (int i = 0; i < 3; i++) first_rise();
  CHECK_EQ(group_of(1), HAK_LANE);
  fall(&rng, stays, 2);
  CHECK_EQ(hak_waves_read().count, 1);
  CHECK(group_of(1) == 0 && hak_waves_read().moves == 0);
  for (int i = 0; i < 3; i++) first_rise();
  CHECK_EQ(group_of(1), 0); /* now it is known */
}

/* A sixth of the bytes, of which all stays, and pins all others. */
static void more_than_an_eighth__lies_apart_if_it_saves_many_times_that(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 11);
  const int stays[PLACES] = {0, 1000};
  for (int i = 0; i < 50; i++) {
    add_many(0, 5);
    add_many(1, 1);
  }
  CHECK_EQ(group_of(1), 0);
  fall(&rng, stays, 2);
  CHECK(group_of(0) == 0 && group_of(1) != 0);
}

/* Their blocks share no slabs, so nothing is pinned. */
static void places__of_different_sizes_stay_where_they_are(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 14);
  sizes[0] = sizes[2] = 1024;
  sizes[1] = 64;
  drop(add(1, &heap)); /* it has no lane */
  for (int i = 0; i < 4; i++) wave(&rng, 0, 1000);
  hak_waves_t told = hak_waves_read();
  CHECK(told.count == 4 && told.together > 2 * told.best);
  CHECK_EQ(told.moves, 0);
  sizes[1] = 1024;
  for (int i = 0; i < 2; i++) wave(&rng, 0, 1000);
  CHECK(group_of(1) != group_of(0));
}

/* A place that is known late, and saves little more, joins those that are like it though
 * they are more than an eighth. */
static void place__that_is_known_late_joins_more_than_an_eighth(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 13);
  const int stays[PLACES] = {0, 1000, 0, 1000};
  for (int w = 0; w < 6; w++) {
    drop_kept();
    for (int i = 0; i < 50; i++) {
      add_many(0, 5);
      add_many(1, 1);
    }
    if (w > 1) add_many(3, 6);
    fall(&rng, stays, 2);
    CHECK(group_of(0) == 0 && group_of(1) != 0);
  }
  CHECK_EQ(group_of(3), group_of(1));
}

/* What is counted by place and size is of one peak of some 300 in a wave. */
static void waves__are_told_the_same_after_thousands_of_peaks(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 12);
  int64_t saved = 0;
  for (int i = 0; i < 32; i++) {
    wave(&rng, 0, 1000);
    int64_t now = hak_waves_read().saved;
    if (i == 8) saved = now;
    if (i < 8) continue;
    CHECK_MSG(
        now > (int64_t)MIB && now <= saved + saved / 10 && now >= saved - saved / 10,
        "%lld in wave %d, %lld", (long long)now, i, (long long)saved);
  }
}

static void places__that_change_are_apart_again_in_three_waves(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 2);
  for (int i = 0; i < 5; i++) wave(&rng, 0, 1000);
  for (int i = 0; i < 3; i++) wave(&rng, 1000, 0);
  CHECK(group_of(0) != group_of(1));
  hak_waves_t told = hak_waves_read();
  CHECK(told.apart < told.together / 4);
}

/* The wave is over though its trough seems a hair lower with each block. */
static void wave__is_over_in_a_calm_of_any_sizes(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 9);
  (void)add(1, &heap); /* once nothing lives, nothing is left of rounding */
  for (uint64_t w = 1; w <= 20; w++) {
    add_many(0, 300);
    for (int i = 0; i < model.count; i++) drop(model.live[i]);
    model.count = 0;
    calm_of_any_sizes(&rng, 2, 100);
    CHECK_EQ(hak_waves_read().count, w);
  }
}

/* Its blocks stayed, and now it has most of a wave. */
static void place__that_outgrows_what_may_lie_apart_is_led_back_in_the_wave(
    void **state) {
  (void)state;
  for (int learn = 0; learn < 2; learn++) {
    test_rng_t rng = test_rng(1, 13);
    CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, learn), 0);
    wave(&rng, 0, 1000);
    const hak_wave_place_t *place = &hak_origin_at(origin_of(1))->wave;
    CHECK(place->led != 0 && group_of(1) == (learn != 0 ? place->led : 0u));
    add_many(1, 315 / 8);
    CHECK(place->led != 0 && group_of(1) == (learn != 0 ? place->led : 0u));
    add_many(1, 315 / 16);
    CHECK(place->led == 0 && group_of(1) == 0);
    CHECK_EQ(hak_waves_read().count, 1);
    CHECK_EQ(hak_waves_read().moves, learn != 0 ? 2 : 0);
    teardown(NULL);
    setup(NULL);
  }
}

/* One that is small is let be, and so is one whose blocks take no other's place: nothing
 * of the default heap is idle. */
static void place__that_outgrows_it_stays_apart_where_no_memory_is_idle(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 14);
  for (int i = 0; i < 3; i++) wave(&rng, 0, 1000);
  CHECK(group_of(1) != 0);
  drop_kept();
  add_many(0, 100);
  add_many(1, 200);
  CHECK(group_of(1) != 0);
  CHECK_EQ(hak_waves_read().moves, 1);
}

/* Of two places that are apart it is the one that has grown in this wave, and not the one
 * that has more from the waves before. */
static void place__that_has_outgrown_it_is_told_from_one_that_is_old(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 15);
  const int stays[PLACES] = {0, 1000, 0, 1000};
  for (int w = 0; w < 4; w++) {
    add_many(0, 250);
    add_many(1, 40);
    add_many(3, 4);
    fall(&rng, stays, 2);
  }
  CHECK(group_of(1) != 0 && group_of(3) != 0);
  add_many(3, 140);
  CHECK(group_of(1) != 0 && group_of(3) == 0);
}

/* No wave of this run has planned how much may lie apart. */
static void place__that_a_run_before_has_put_apart_may_grow(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 16);
  const int stays[PLACES] = {400};
  add_many(0, 300);
  fall(&rng, stays, 2);
  CHECK(hak_waves_read().count == 1 && hak_waves_read().moves == 0);
  hak_origin_at(origin_of(1))->wave.led = 1;
  add_many(1, 150);
  CHECK_EQ(hak_origin_at(origin_of(1))->wave.led, 1);
}

/* They stay apart, whichever of them it is whose blocks stay. */
static void places__that_take_turns_do_not_move_with_each(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 3);
  for (int i = 0; i < 12; i++) {
    wave(&rng, i % 2 == 0 ? 0 : 1000, i % 2 == 0 ? 1000 : 0);
  }
  CHECK(hak_waves_read().count >= 10);
  CHECK(group_of(0) != group_of(1));
  CHECK_MSG(hak_waves_read().moves <= 3, "%d moves", (int)hak_waves_read().moves);
}

static void group__that_is_of_no_use_is_given_up(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 4);
  wave(&rng, 0, 1000);
  CHECK(group_of(1) != 0);
  for (int i = 0; i < 6; i++) wave(&rng, 0, 0);
  CHECK_EQ(group_of(1), 0);
  CHECK_EQ(hak_waves_read().moves, 2);
}

static void learner__that_only_watches_moves_nothing(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 5);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
  for (int i = 0; i < 3; i++) wave(&rng, 0, 1000);
  hak_waves_t told = hak_waves_read();
  CHECK(told.count == 3 && told.moves == 0 && told.best < told.together / 4);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 1), 0);
  wave(&rng, 0, 1000);
  CHECK(group_of(1) != 0);
  /* It is switched off: from the next wave on all lies together again. */
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
  wave(&rng, 0, 1000);
  CHECK_EQ(group_of(1), 0);
}

/* Puts blocks of a wave into places; `places` is of the program. */
typedef void rise_fn(test_rng_t *rng, int places);

/* Of so many programs in which the place says nothing of what becomes of a block: in how
 * many are places moved? Their waves have blocks of the first `fallen` places, at most.
 */
enum {
  PROGRAMS = 200
};
static int deceived(uint64_t seed, int places_most, rise_fn *rise, int fallen) {
  enum {
    WAVES = 6
  };
  int count = 0;
  for (int p = 0; p < PROGRAMS; p++) {
    test_rng_t rng = test_rng(seed, (uint64_t)p);
    setup(NULL);
    int stays[PLACES], share = (int)test_below(&rng, 400), places = places_most;
    if (places_most > 2) places = 2 + (int)test_below(&rng, (uint64_t)places_most - 1);
    for (int i = 0; i < PLACES; i++) stays[i] = share;
    for (int w = 0; w < WAVES; w++) {
      drop_kept();
      rise(&rng, places);
      fall(&rng, stays, fallen);
    }
    CHECK(hak_waves_read().count >= WAVES / 2);
    count += hak_waves_read().moves > 0;
    teardown(NULL);
  }
  return count;
}

static void rise_by_chance(test_rng_t *rng, int places) {
  int count = 150 + (int)test_below(rng, 200);
  for (int i = 0; i < count; i++) add_many((int)test_below(rng, (uint64_t)places), 1);
}

static void chance__is_seldom_taken_for_a_reason(void **state) {
  (void)state;
  int count = deceived(2, 7, rise_by_chance, 7);
  CHECK_MSG(count <= PROGRAMS / 100, "%d of %d", count, PROGRAMS);
}

/* A wave in which each of many places has one sample or none, but for place 0. */
static void wave_of_few(test_rng_t *rng, const int *stays) {
  drop_kept();
  add_many(0, 200);
  for (int i = 1; i < FEW; i++) {
    if (test_below(rng, 2) == 0) add_many(i, 1);
  }
  fall(rng, stays, FEW);
}

/* All of one place in four stays. No wave says enough of any of them. */
static void places__of_few_samples_in_each_wave_are_known_after_some(void **state) {
  (void)state;
  if (test_is_strict()) skip(); /* slabs go as a whole there: other partitions pay */
  test_rng_t rng = test_rng(1, 8);
  int stays[PLACES] = {0};
  for (int i = 1; i < FEW; i++) stays[i] = i % 4 == 0 ? 1000 : 0;
  for (int w = 0; w < 8; w++) wave_of_few(&rng, stays);
  int apart = 0, wrong = 0;
  for (int i = 0; i < FEW; i++) {
    bool is_apart = group_of(i) != group_of(0);
    apart += is_apart && stays[i] > 0;
    wrong += is_apart && stays[i] == 0;
  }
  CHECK_MSG(apart >= 13 && wrong == 0, "%d of 15, and %d others", apart, wrong);
  hak_waves_t told = hak_waves_read();
  CHECK(told.apart < told.together / 4);
}

static void rise_of_few(test_rng_t *rng, int places) {
  (void)places;
  for (int i = 0; i < FEW; i++) add_many(i, (int)test_below(rng, 1 + (uint64_t)i / 5));
}

/* Of few samples all or nothing stays where the share is the same for all. */
static void chance__is_seldom_taken_for_a_reason_where_samples_are_few(void **state) {
  (void)state;
  int count = deceived(3, 0, rise_of_few, FEW);
  CHECK_MSG(count <= PROGRAMS / 50, "%d of %d", count, PROGRAMS);
}

static void samples__of_other_heaps_are_not_looked_at(void **state) {
  (void)state;
  int blocks[200];
  for (int i = 0; i < 200; i++) blocks[i] = add(0, &other_heap);
  for (int i = 0; i < 200; i++) drop(blocks[i]);
  calm(2);
  CHECK_EQ(hak_waves_read().count, 0);
}

static void fall__of_little_is_no_wave(void **state) {
  (void)state;
  const int stays[PLACES] = {0, 1000};
  test_rng_t rng = test_rng(1, 6);
  add_many(0, 55);
  add_many(1, 5);
  fall(&rng, stays, 2);
  CHECK_EQ(hak_waves_read().count, 0);
}

/* They are taken out of the table and put back. */
static void samples__that_are_resized_are_what_they_were(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 7);
  for (int w = 0; w < 3; w++) {
    const int stays[PLACES] = {0, 1000};
    drop_kept();
    add_many(0, 300);
    add_many(1, 15);
    for (int i = 0; i < model.count; i++) {
      hak_sample_t sample;
      CHECK(hak_sample_take(&memory[model.live[i] * 16], &sample));
      sample.size += 16;
      hak_sample_put(&sample);
    }
    fall(&rng, stays, 2);
  }
  CHECK(group_of(0) == 0 && group_of(1) != 0);
  CHECK(hak_samples_are_valid());
}

/* One is out of the table while load reaches a new peak. */
static void sample__that_is_resized_over_a_peak_counts_once(void **state) {
  (void)state;
  const int stays[PLACES] = {0};
  test_rng_t rng = test_rng(1, 17);
  add_many(0, 300);
  hak_sample_t sample;
  CHECK(hak_sample_take(&memory[model.live[0] * 16], &sample));
  add_many(1, 4);
  for (int i = 0; i < 2; i++) drop(model.live[--model.count]);
  hak_sample_put(&sample);
  CHECK(hak_sample_take(&memory[model.live[1] * 16], &sample));
  hak_sample_put(&sample);
  fall(&rng, stays, 2);
  CHECK_EQ(hak_waves_read().count, 1);
  CHECK_MSG(place_of(0)->seen == 300, "%f", (double)place_of(0)->seen);
}

/* What stayed of the wave before, and goes in this one, says nothing of it. */
static void samples__of_an_earlier_wave_do_not_count_again(void **state) {
  (void)state;
  const int stays[PLACES] = {0, 1000};
  test_rng_t rng = test_rng(1, 18);
  wave(&rng, 0, 1000);
  CHECK(place_of(1)->seen == 15);
  add_many(0, 300);
  drop_kept();
  fall(&rng, stays, 2);
  CHECK_EQ(hak_waves_read().count, 2);
  CHECK(place_of(1)->seen == 15 && hak_wave_share(place_of(1)) == 1);
}

/* A fall that pauses is one. */
static void wave__is_not_over_where_load_stays_for_a_moment(void **state) {
  (void)state;
  add_many(0, 300);
  while (model.count > 140) drop(model.live[--model.count]);
  for (int i = 0; i < 3; i++) drop(add(2, &heap));
  CHECK_EQ(hak_waves_read().count, 0);
  while (model.count > 0) drop(model.live[--model.count]);
  calm(2);
  CHECK_EQ(hak_waves_read().count, 1);
  CHECK(hak_waves_read().trough < MEAN / 2);
}

static void lane__is_not_left_in_the_fall(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) first_rise();
  CHECK_EQ(group_of(1), HAK_LANE);
  int last = -1;
  for (int i = 0; i < model.count; i++) {
    if (model.place[i] == 0) drop(model.live[i]);
    if (model.place[i] == 1) last = model.live[i];
  }
  drop(last);
  CHECK(hak_waves_read().count == 0 && group_of(1) == HAK_LANE);
}

/* They came while their heap was not the one that is watched. */
static void samples__that_came_unseen_are_not_missed(void **state) {
  (void)state;
  int blocks[3];
  const int stays[PLACES] = {0};
  test_rng_t rng = test_rng(1, 19);
  for (int i = 0; i < 3; i++) blocks[i] = add(0, &other_heap);
  hak_waves_watch(&other_heap);
  for (int i = 0; i < 3; i++) drop(blocks[i]);
  hak_waves_watch(&heap);
  add_many(0, 300);
  fall(&rng, stays, 2);
  CHECK_EQ(hak_waves_read().count, 1);
  CHECK_MSG(place_of(0)->seen == 300, "%f", (double)place_of(0)->seen);
}

#define W(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN(W(place__of_which_all_stays_is_set_apart),
          W(place__that_only_grows_has_a_lane_before_the_first_wave_is_over),
          W(lanes__have_an_eighth_at_most),
          W(lanes__are_given_up_with_the_first_wave_that_gains_nothing),
          W(more_than_an_eighth__lies_apart_if_it_saves_many_times_that),
          W(places__of_different_sizes_stay_where_they_are),
          W(place__that_is_known_late_joins_more_than_an_eighth),
          W(waves__are_told_the_same_after_thousands_of_peaks),
          W(places__that_change_are_apart_again_in_three_waves),
          W(wave__is_over_in_a_calm_of_any_sizes),
          W(place__that_outgrows_what_may_lie_apart_is_led_back_in_the_wave),
          W(place__that_outgrows_it_stays_apart_where_no_memory_is_idle),
          W(place__that_has_outgrown_it_is_told_from_one_that_is_old),
          W(place__that_a_run_before_has_put_apart_may_grow),
          W(places__that_take_turns_do_not_move_with_each),
          W(group__that_is_of_no_use_is_given_up),
          W(learner__that_only_watches_moves_nothing),
          W(places__of_few_samples_in_each_wave_are_known_after_some),
          T(chance__is_seldom_taken_for_a_reason),
          T(chance__is_seldom_taken_for_a_reason_where_samples_are_few),
          W(samples__of_other_heaps_are_not_looked_at), W(fall__of_little_is_no_wave),
          W(samples__that_are_resized_are_what_they_were),
          W(sample__that_is_resized_over_a_peak_counts_once),
          W(samples__of_an_earlier_wave_do_not_count_again),
          W(wave__is_not_over_where_load_stays_for_a_moment),
          W(lane__is_not_left_in_the_fall), W(samples__that_came_unseen_are_not_missed))
