/* learn_sample.c - the table of samples, and the sums that it adds up to. */
#include "support.h"

#include <string.h>

#include "learn/chance.h"
#include "learn/sample.h"
#include "learn/waves.h"

enum {
  MEAN = 4096,
  SIZE = 64,
  MODEL = 2000
};

static char memory[MODEL * 16];
static hak_site_t sites[8];

static uint32_t origin_of(int i) {
  hak_site_t *site = &sites[i];
  if (site->file == NULL) *site = (hak_site_t){"learn_sample.c", 10 + i, "site", {0}};
  return hak_origin_make(hak_os_default(), site);
}

static hak_origin_sums_t sums_of(int i) { return hak_origin_read(origin_of(i)).sums; }

static bool add(int origin, int block, const void *heap) {
  return hak_sample_add((hak_asker_t){origin_of(origin), 0}, &memory[block * 16], SIZE,
                        MEAN, MEAN, heap);
}

static int setup(void **state) {
  (void)state;
  CHECK(hak_samples_prepare(hak_os_default()));
  return 0;
}

static int teardown(void **state) {
  (void)state;
  hak_samples_forget(memory);
  hak_samples_forget(sites);
  CHECK(hak_samples_are_valid());
  return 0;
}

static void origin__texts_share_their_room(void **state) {
  (void)state;
  char longest[200];
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  static const struct {
    bool file, name;
    size_t file_length, name_length;
  } rows[] = {{true, true, 47, 47}, {true, false, 94, 0}, {false, true, 0, 94}};
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    hak_site_t site = {
        rows[i].file ? longest : NULL, 1, rows[i].name ? longest : NULL, {0}};
    uint32_t number = hak_origin_make(hak_os_default(), &site);
    const hak_origin_t *origin = hak_origin_at(number);
    CHECK_EQ(strlen(hak_origin_file(origin)), rows[i].file_length);
    CHECK_EQ(strlen(hak_origin_name(origin)), rows[i].name_length);
  }
}

static void origin__is_given_once_and_keeps_copies(void **state) {
  (void)state;
  hak_site_t site = {
      "a/long/path/that/has/more/than/eighty-eight/characters/so/that/its/"
      "beginning/does/not/fit/file.c",
      7,
      "fields",
      {0}};
  uint32_t number = hak_origin_make(hak_os_default(), &site);
  CHECK(number > HAK_ORIGIN_OTHERS && number == hak_origin_of(&site));
  CHECK_EQ(hak_origin_make(hak_os_default(), &site), number);
  CHECK_EQ(hak_origin_groups[number], 0);
  const hak_origin_t *origin = hak_origin_at(number);
  CHECK_EQ(origin->line, 7);
  const char *file = hak_origin_file(origin);
  CHECK(strcmp(hak_origin_name(origin), "fields") == 0 && strlen(file) == 88);
  CHECK(strcmp(file + 88 - 6, "file.c") == 0);
  /* Its object was unloaded, and is loaded again. */
  memset(site.reserved, 0, sizeof site.reserved);
  CHECK_EQ(hak_origin_of(&site), HAK_ORIGIN_NONE);
  CHECK_EQ(hak_origin_make(hak_os_default(), &site), number);
  /* Another object came to lie there. */
  site = (hak_site_t){"other.c", 7, NULL, {0}};
  CHECK(hak_origin_make(hak_os_default(), &site) != number);
}

static void sample__stands_for_what_its_chance_says(void **state) {
  (void)state;
  hak_origin_sums_t before = sums_of(0);
  CHECK(add(0, 0, memory));
  hak_origin_sums_t sums = sums_of(0);
  CHECK_EQ(sums.samples, before.samples + 1);
  CHECK_EQ(sums.live_samples, 1);
  CHECK(sums.live_blocks > 64 && sums.live_blocks < 65);
  CHECK(sums.live_bytes > 64 * SIZE && sums.live_bytes < 65 * SIZE);
  CHECK(sums.smallest == SIZE && sums.largest == SIZE);
  CHECK(hak_sample_remove(memory));
  CHECK(!hak_sample_remove(memory));
  sums = sums_of(0);
  CHECK(sums.live_bytes == 0 && sums.live_blocks == 0 && sums.live_samples == 0);
  CHECK(sums.blocks - before.blocks > 64 && sums.peak_bytes > 64 * SIZE);
}

static void sample__that_is_resized_stands_for_as_many_blocks(void **state) {
  (void)state;
  CHECK(add(0, 0, memory));
  double blocks = sums_of(0).live_blocks;
  hak_sample_t sample;
  CHECK(hak_sample_take(memory, &sample));
  CHECK_EQ(sums_of(0).live_samples, 0);
  sample.block = &memory[160];
  sample.size = 2 * SIZE;
  hak_sample_put(&sample);
  CHECK(sums_of(0).live_blocks == blocks && sums_of(0).live_bytes == blocks * 2 * SIZE);
  CHECK(!hak_sample_remove(memory) && hak_sample_remove(&memory[160]));
}

static void table__finds_what_comes_and_goes_at_random(void **state) {
  (void)state;
  static bool there[MODEL];
  memset(there, 0, sizeof there);
  test_rng_t rng = test_rng(test_seed(), 1);
  for (int i = 0; i < 20000; i++) {
    int at = (int)test_below(&rng, MODEL);
    if (there[at]) {
      CHECK(hak_sample_remove(&memory[at * 16]));
    } else {
      CHECK(!hak_sample_remove(&memory[at * 16]));
      CHECK(add(at % 4, at, at % 2 == 0 ? (void *)memory : (void *)sites));
    }
    there[at] = !there[at];
    if (i % 1000 == 0) CHECK(hak_samples_are_valid());
  }
  hak_samples_forget(memory);
  CHECK(hak_samples_are_valid());
  for (int i = 0; i < MODEL; i++) {
    CHECK_EQ(hak_sample_remove(&memory[i * 16]), there[i] && i % 2 == 1);
  }
}

static void sample__of_a_heap_that_ended_makes_room_for_the_next(void **state) {
  (void)state;
  CHECK(add(0, 5, memory) && add(1, 5, sites));
  CHECK(sums_of(0).live_samples == 0 && sums_of(1).live_samples == 1);
  hak_samples_forget(memory);
  CHECK_EQ(sums_of(1).live_samples, 1);
}

static void way__picks_as_many_as_it_should_and_rarer_where_many_live(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, MEAN), 0);
  hak_sample_way_t way = {.left = 0};
  int picked = 0;
  for (int i = 0; i < 100000; i++) {
    if ((way.left -= SIZE) < 0) picked += hak_sample_due(&way, 1) == MEAN;
  }
  CHECK_MSG(picked > 1400 && picked < 1730, "%d of 1562", picked);
  for (int i = 0; i < MODEL; i++) CHECK(add(0, i, memory));
  while (way.left >= 0) way.left -= SIZE;
  CHECK_EQ(hak_sample_due(&way, 1), MEAN); /* drawn before */
  way.left = -1;
  CHECK(hak_sample_due(&way, 1) >= 2 * MEAN);
  for (int i = 0; i < MODEL; i++) CHECK(hak_sample_remove(&memory[i * 16]));
  way.left = -1;
  (void)hak_sample_due(&way, 1);
  way.left = -1;
  CHECK_EQ(hak_sample_due(&way, 1), MEAN);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 0), 0);
  way.left = -1;
  CHECK_EQ(hak_sample_due(&way, 1), 0);
  CHECK(way.left > (int64_t)MIB);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 262144), 0);
}

/* Its parts are what it would be in one. */
static void way__that_is_long_is_gone_in_parts(void **state) {
  (void)state;
  enum {
    PICKS = 1000
  };
  const uint64_t mean = 1024 * (uint64_t)MIB;
  const int64_t part = 64 * (int64_t)MIB;
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, (int64_t)mean), 0);
  hak_sample_way_t way = {.left = -1};
  double gone = 0;
  for (int picks = 0; picks < PICKS;) {
    picks += hak_sample_due(&way, 1) == mean;
    CHECK(way.left >= 0 && way.left <= part);
    gone += (double)way.left + 1;
    way.left = -1;
  }
  double each = gone / PICKS / (double)mean;
  CHECK_MSG(each > 0.85 && each < 1.15, "%.3f", each);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 262144), 0);
}

static uint64_t follows(int i) {
  hak_origin_t origin = hak_origin_read(origin_of(i));
  return hak_sample_follows_with(&origin, MEAN);
}
/* All places ask for so many bytes. */
static void pass(int other, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; i += MEAN) {
    hak_sample_count((hak_asker_t){origin_of(other), 0}, SIZE, MEAN);
  }
}

static void place__of_brief_lives_is_followed_less_until_it_keeps_blocks(void **state) {
  (void)state;
  enum {
    BRIEF = 4,
    LONGER,
    LONG,
    OTHER,
    KNOWN = 32
  };
  for (int i = 0; i < KNOWN; i++) {
    CHECK_EQ(follows(BRIEF), MEAN); /* it is not known yet */
    CHECK(add(BRIEF, 0, memory) && hak_sample_remove(memory));
  }
  CHECK_EQ(follows(BRIEF), 8 * MEAN);
  for (int i = 0; i < KNOWN; i++) {
    CHECK(add(LONGER, 1, memory) && add(LONG, 2, memory));
    pass(OTHER, HAK_LIFE_MOST(0));
    CHECK(hak_sample_remove(&memory[16]));
    pass(OTHER, HAK_LIFE_MOST(1));
    CHECK(hak_sample_remove(&memory[32]));
  }
  CHECK(follows(LONGER) == 4 * MEAN && follows(LONG) == MEAN);
  /* What lives allows (4 MEAN)^2 / L. */
  double peak = sums_of(BRIEF).peak_bytes;
  hak_asker_t asker = {origin_of(BRIEF), 0};
  CHECK(hak_sample_add(asker, memory, SIZE, MEAN, 8 * MEAN, memory));
  CHECK(follows(BRIEF) > 19 * MEAN / 10 && follows(BRIEF) <= 2 * MEAN);
  CHECK(sums_of(BRIEF).live_bytes > 7 * MEAN && sums_of(BRIEF).peak_bytes == peak);
  CHECK(hak_sample_add(asker, &memory[16], SIZE, MEAN, 8 * MEAN, memory));
  CHECK_EQ(follows(BRIEF), MEAN);
  CHECK(add(BRIEF, 2, memory) && sums_of(BRIEF).peak_bytes > 16 * MEAN);
  /* Blocks that are picked count as allocated with the usual chance. */
  double blocks = sums_of(BRIEF).blocks;
  CHECK(hak_sample_add(asker, &memory[48], SIZE, MEAN, 8 * MEAN, memory));
  blocks = sums_of(BRIEF).blocks - blocks;
  CHECK(blocks > 64 && blocks < 65);
}

#define S(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

static bool add_sized(int origin, const void *block, size_t size, const void *heap) {
  return hak_sample_add((hak_asker_t){origin_of(origin), 0}, block, size, MEAN, MEAN,
                        heap);
}

static void sums__of_a_place_keep_its_extremes_and_nothing_of_what_is_gone(void **state) {
  (void)state;
  static const size_t sizes[] = {100, 50, 7000, 333, 77, 1001};
  enum {
    PLACE = 5
  };
  double peak = 0;
  for (int i = 0; i < (int)TEST_COUNT(sizes); i++) {
    CHECK(add_sized(PLACE, &memory[i * 16], sizes[i], memory));
    peak = sums_of(PLACE).live_bytes;
  }
  hak_origin_sums_t sums = sums_of(PLACE);
  CHECK_EQ(sums.smallest, 50);
  CHECK_EQ(sums.largest, 7000);
  CHECK(sums.peak_bytes == peak);
  for (int i = 0; i < (int)TEST_COUNT(sizes); i++) {
    CHECK(hak_sample_remove(&memory[i * 16]));
    CHECK(sums_of(PLACE).peak_bytes == peak);
  }
  sums = sums_of(PLACE);
  CHECK(sums.live_bytes == 0 && sums.live_blocks == 0 && sums.live_variance == 0);
}

static void sample__that_shrinks_keeps_its_chance(void **state) {
  (void)state;
  hak_sample_t sample = {.mean = MEAN, .chance = hak_chance_of(1000, MEAN)};
  double chance = sample.chance;
  hak_sample_grow(&sample, 10);
  CHECK(sample.chance == chance);
  hak_sample_grow(&sample, 2000);
  CHECK(sample.chance > chance);
}

static void samples__become_more_frequent_again_once_few_live(void **state) {
  (void)state;
  enum {
    SOME = 400
  };
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, MEAN), 0);
  for (int i = 0; i < MODEL; i++) CHECK(add(0, i, memory));
  uint64_t rare = hak_samples_mean();
  CHECK(rare > MEAN);
  for (int i = SOME; i < MODEL; i++) CHECK(hak_sample_remove(&memory[i * 16]));
  CHECK_EQ(hak_samples_mean(), rare);
  for (int i = 0; i < SOME; i++) CHECK(hak_sample_remove(&memory[i * 16]));
  CHECK_EQ(hak_samples_mean(), MEAN);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 262144), 0);
}

static void table__is_never_full(void **state) {
  (void)state;
  enum {
    MOST = 3072, /* samples, of */
    PLACES = 4096
  };
  int count = 0;
  uint64_t before = sums_of(6).samples;
  while (add_sized(6, &memory[count], SIZE, memory)) count++;
  CHECK_EQ(count, MOST);
  CHECK_EQ(sums_of(6).live_samples, MOST);
  CHECK(!add_sized(6, &memory[count], SIZE, memory));
  CHECK_EQ(sums_of(6).samples, before + MOST);
  CHECK(!hak_sample_remove(&memory[count]));
  /* Those that were taken out to be resized all come back at once. */
  hak_sample_t sample;
  CHECK(hak_sample_take(memory, &sample));
  for (; count < PLACES + 3; count++) {
    sample.block = &memory[count];
    hak_sample_put(&sample);
  }
  CHECK_EQ(sums_of(6).live_samples, PLACES - 1);
  CHECK(!hak_sample_remove(&sites[0])); /* the search for what is not there ends */
  CHECK(hak_samples_are_valid());
}

/* --- waves
 * -------------------------------------------------------------------------------- */

enum {
  WAVE = 200, /* samples, each of */
  WAVE_MEAN = 1 << 16
};

static void add_to_wave(int origin, int block, size_t size, const void *heap) {
  CHECK(hak_sample_add((hak_asker_t){origin_of(origin), 0}, &memory[block * 16], size,
                       WAVE_MEAN, WAVE_MEAN, heap));
}

/* Blocks of the heap come and go, and those of the others, which are another heap's or
 * large, come and stay. */
static hak_waves_t make_wave(bool others) {
  hak_waves_watch(memory);
  for (int i = 0; i < WAVE; i++) {
    add_to_wave(3 + i % 2, i, 1000, memory);
    if (others) add_to_wave(4, WAVE + i, i % 2 == 0 ? 1000 : 60000, sites);
    if (others) add_to_wave(4, 2 * WAVE + i, 60000, memory);
  }
  for (int i = 0; i < WAVE; i++) {
    CHECK(hak_sample_remove(&memory[i * 16]));
    if (others && i % 2 == 0) CHECK(hak_sample_remove(&memory[(WAVE + i) * 16]));
  }
  /* The next rise says that it is over. */
  for (int i = 0; i < WAVE; i++) add_to_wave(3, i, 1000, memory);
  hak_waves_t waves = hak_waves_read();
  hak_samples_forget(memory);
  hak_samples_forget(sites);
  return waves;
}

static void wave__is_of_the_blocks_of_one_heap_that_share_slabs(void **state) {
  (void)state;
  hak_waves_t alone = make_wave(false);
  CHECK_EQ(alone.count, 1);
  CHECK(alone.peak > 8 * MIB);
  double share = hak_wave_share(&hak_origin_at(origin_of(4))->wave);
  CHECK(share == 0);
  hak_waves_t beside = make_wave(true);
  CHECK(beside.count > 1);
  CHECK_EQ(beside.peak, alone.peak);
  CHECK_EQ(beside.trough, alone.trough);
  CHECK(hak_wave_share(&hak_origin_at(origin_of(4))->wave) == 0);
  hak_waves_watch(NULL);
}

TEST_MAIN(S(origin__is_given_once_and_keeps_copies), S(origin__texts_share_their_room),
          S(sample__stands_for_what_its_chance_says),
          S(sample__that_is_resized_stands_for_as_many_blocks),
          S(table__finds_what_comes_and_goes_at_random),
          S(sample__of_a_heap_that_ended_makes_room_for_the_next),
          S(place__of_brief_lives_is_followed_less_until_it_keeps_blocks),
          S(way__picks_as_many_as_it_should_and_rarer_where_many_live),
          S(way__that_is_long_is_gone_in_parts),
          S(sums__of_a_place_keep_its_extremes_and_nothing_of_what_is_gone),
          S(sample__that_shrinks_keeps_its_chance),
          S(samples__become_more_frequent_again_once_few_live), S(table__is_never_full),
          S(wave__is_of_the_blocks_of_one_heap_that_share_slabs))
