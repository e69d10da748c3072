/* learn_lessons.c - what was learned of places as bytes: what is written, and what of
 * bytes that are damaged, too few, or made up with a proper checksum is believed. They
 * end where nobody may read on. */
#include "os_fixture.h"

#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "heap/lifecycle.h"
#include "learn/lessons.h"

enum {
  HEADER = 16,
  LESSON = 32,
  ENDING = 16,
  ROOM = HEADER + (HAK_ORIGINS + 1) * LESSON + ENDING,
  PAGES = (ROOM / 4096 + 2) * 4096
};

/* As lessons.c has it. */
typedef struct lesson {
  uint64_t key;
  float bytes, stays, blocks, seen, stayed;
  uint32_t group;
} lesson_t;

static char g_bytes[ROOM];
static size_t g_length;
static char *g_end; /* nobody may read from here on */

static void save(const void *bytes, size_t length, void *ctx) {
  CHECK(ctx == &g_length && g_length + length <= sizeof g_bytes);
  memcpy(g_bytes + g_length, bytes, length);
  g_length += length;
}
static void write_all(void) {
  g_length = 0;
  hak_lessons_write("build", save, &g_length);
}

static hak_lessons_result_t read_some(size_t length) {
  memcpy(g_end - length, g_bytes, length);
  return hak_lessons_read(hak_lifecycle_os(), "build", g_end - length, length);
}
static hak_lessons_result_t read_all(void) { return read_some(g_length); }

/* Makes the bytes ones of so many lessons, of which the end says `said`. */
static void end_with(uint64_t count, uint64_t said) {
  uint64_t sum = hak_hash_bytes(0, g_bytes, HEADER);
  for (uint64_t i = 0; i < count; i++) {
    sum = hak_hash_bytes(sum, g_bytes + HEADER + i * LESSON, LESSON);
  }
  sum = hak_hash_bytes(sum, &said, sizeof said);
  char *end = g_bytes + HEADER + count * LESSON;
  memcpy(end, &said, sizeof said);
  memcpy(end + sizeof said, &sum, sizeof sum);
  g_length = HEADER + count * LESSON + ENDING;
}

static hak_site_t g_sites[4];

/* A place of which that many samples were seen. */
static hak_wave_place_t *know(uint32_t i, const char *file, uint32_t line, float seen) {
  g_sites[i] = (hak_site_t){.file = file, .line = line, .name = ""};
  uint32_t origin = hak_origin_make(hak_lifecycle_os(), &g_sites[i]);
  hak_wave_place_t *place = &hak_origin_at(origin)->wave;
  place->bytes = 1e6;
  place->stays = 5e5;
  place->blocks = 100;
  place->seen = seen;
  place->stayed = seen / 2;
  place->led = 1;
  return place;
}

static int setup(void **state) {
  (void)state;
  char *memory =
      mmap(NULL, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  g_end = memory + PAGES - 4096;
  CHECK_EQ(mprotect(g_end, 4096, PROT_NONE), 0);
  test_over_os(0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 1), 0);
  return 0;
}
static int teardown(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
  test_over_os_end();
  CHECK_EQ(munmap(g_end + 4096 - PAGES, PAGES), 0);
  return 0;
}
static void run_again(void) {
  test_over_os_end();
  test_over_os(0);
}

static void lessons__are_of_places_that_are_known(void **state) {
  (void)state;
  (void)know(0, "known.c", 1, 9);
  (void)know(1, "unknown.c", 2, 0.5F);
  write_all();
  CHECK_EQ(g_length, HEADER + LESSON + ENDING);
  run_again();
  CHECK_EQ(read_all(), HAK_LESSONS_READ);
  hak_wave_place_t *place = know(0, "known.c", 1, 0);
  uint32_t origin = hak_origin_of(&g_sites[0]);
  hak_lessons_apply(origin);
  CHECK(place->seen == 9 && place->stayed == 4.5F);
  CHECK_EQ(hak_load_relaxed(&hak_origin_groups[origin]), 0); /* as it was written */
  /* What the run knows itself stays. */
  place->seen = 3;
  hak_lessons_apply(origin);
  CHECK(place->seen == 3);
}

/* Places without a record of their own have none, though one is called like them. */
static void lessons__are_of_no_place_that_stands_for_others(void **state) {
  (void)state;
  (void)know(0, "(other places)", 0, 9);
  (void)know(1, "", 0, 9);
  write_all();
  run_again();
  CHECK_EQ(read_all(), HAK_LESSONS_READ);
  hak_lessons_apply(HAK_ORIGIN_NONE);
  hak_lessons_apply(HAK_ORIGIN_OTHERS);
  CHECK(hak_origin_at(HAK_ORIGIN_OTHERS)->wave.seen == 0);
}

static void bytes__that_are_too_few_are_named_and_not_read_beyond(void **state) {
  (void)state;
  (void)know(0, "a.c", 1, 9);
  (void)know(1, "b.c", 2, 9);
  write_all();
  for (size_t length = 0; length < g_length; length++) {
    CHECK_MSG(read_some(length) ==
                  (length < HEADER ? HAK_LESSONS_STRANGE : HAK_LESSONS_DAMAGED),
              "%zu bytes", length);
  }
  /* As if the end stood there: only the bytes' number is wrong. */
  for (size_t more = 1; more < LESSON; more++) {
    size_t length = g_length - LESSON + more;
    uint64_t count = (length - HEADER - ENDING) / LESSON;
    memcpy(g_bytes + length - ENDING, &count, sizeof count);
    CHECK_MSG(read_some(length) == HAK_LESSONS_DAMAGED, "%zu bytes", length);
    write_all();
  }
  g_bytes[0] ^= 1;
  CHECK_EQ(read_all(), HAK_LESSONS_STRANGE);
  g_bytes[0] ^= 1;
  CHECK_EQ(read_all(), HAK_LESSONS_READ);
  CHECK_EQ(read_all(), HAK_LESSONS_TWICE);
}

static void lessons__that_cannot_be_are_not_believed(void **state) {
  (void)state;
  (void)know(0, "a.c", 1, 9);
  write_all();
  lesson_t good, bad[8];
  memcpy(&good, g_bytes + HEADER, LESSON);
  for (size_t i = 0; i < TEST_COUNT(bad); i++) bad[i] = good;
  bad[0].bytes = -1;
  bad[1].stays = 2 * good.bytes;
  bad[2].blocks = 2 * good.bytes;
  bad[3].seen = 2e9F;
  bad[4].stayed = 2 * good.seen;
  bad[5].group = 200;
  bad[6].seen = __builtin_nanf("");
  bad[7].bytes = 1e19F;
  for (size_t i = 0; i < TEST_COUNT(bad); i++) {
    memcpy(g_bytes + HEADER, &bad[i], LESSON);
    end_with(1, 1);
    CHECK_MSG(read_all() == HAK_LESSONS_DAMAGED, "lesson %zu", i);
  }
  memcpy(g_bytes + HEADER, &good, LESSON);
  for (uint64_t said = 0; said < 5; said += 2) { /* none, or more than there are */
    end_with(1, said);
    CHECK_EQ(read_all(), HAK_LESSONS_DAMAGED);
  }
  /* More than there can be places. */
  for (size_t i = 0; i <= HAK_ORIGINS; i++) {
    memcpy(g_bytes + HEADER + i * LESSON, &good, LESSON);
  }
  end_with(HAK_ORIGINS + 1, HAK_ORIGINS + 1);
  CHECK_EQ(read_all(), HAK_LESSONS_DAMAGED);
  /* What was refused is no reason to refuse others; none at all are read once, too. */
  end_with(0, 0);
  CHECK_EQ(read_all(), HAK_LESSONS_READ);
  CHECK_EQ(read_all(), HAK_LESSONS_TWICE);
}

static void lessons__for_which_memory_is_short_may_come_again(void **state) {
  (void)state;
  (void)know(0, "a.c", 1, 9);
  write_all();
  for (size_t i = 1; i < HAK_ORIGINS; i++) {
    memcpy(g_bytes + HEADER + i * LESSON, g_bytes + HEADER, LESSON);
  }
  end_with(HAK_ORIGINS, HAK_ORIGINS);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  CHECK_EQ(read_all(), HAK_LESSONS_NO_MEMORY);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(read_all(), HAK_LESSONS_READ);
}

#define L(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(L(lessons__are_of_places_that_are_known),
                L(lessons__are_of_no_place_that_stands_for_others),
                L(bytes__that_are_too_few_are_named_and_not_read_beyond),
                L(lessons__that_cannot_be_are_not_believed),
                L(lessons__for_which_memory_is_short_may_come_again))
