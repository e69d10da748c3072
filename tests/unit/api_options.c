/* api_options.c - options: set, get, describe, and the environment. */
#include "child.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct option_row {
  hak_option_t option;
  const char *name;
  int64_t initial, min, max;
} option_row_t;

static const option_row_t rows[] = {
#define HAK_OPTION(id, env, def, min, max, doc) {HAK_OPTION_##id, env, def, min, max},
#include <hakmem/options.def>
#undef HAK_OPTION
};

/* Children start hakmem themselves: in this process it is never used. */
static int with_library(void) {
  test_restart();
  return 0;
}

static int defaults_child(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, -1), 0); /* the suite turns it off */
  with_library();
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    CHECK_MSG(hak_option_get(rows[i].option) == rows[i].initial, "%s is %" PRId64,
              rows[i].name, hak_option_get(rows[i].option));
  }
  return 0;
}

static void options__start_with_their_defaults(void **state) {
  (void)state;
  CHECK_EQ(TEST_COUNT(rows), HAK_OPTION_COUNT);
  test_child_must_succeed(defaults_child, NULL, 10);
}

TEST_IN_CHILD(options__take_their_whole_range_and_nothing_else, 10) {
  with_library();
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    const option_row_t *row = &rows[i];
    const int64_t right[] = {row->min, row->max, row->initial};
    for (size_t k = 0; k < TEST_COUNT(right); k++) {
      errno = TEST_ERRNO;
      CHECK_EQ(hak_option_set(row->option, right[k]), 0);
      CHECK_EQ(errno, TEST_ERRNO);
      CHECK_EQ(hak_option_get(row->option), right[k]);
    }
    const int64_t wrong[] = {row->min - 1, row->max + 1, INT64_MIN, INT64_MAX};
    for (size_t k = 0; k < TEST_COUNT(wrong); k++) {
      CHECK_EQ(hak_option_set(row->option, wrong[k]), ERANGE);
      CHECK_EQ(hak_option_get(row->option), row->initial);
    }
  }
}

TEST_IN_CHILD(options__unknown_ones_are_refused, 10) {
  with_library();
  const hak_option_t unknown[] = {HAK_OPTION_COUNT, (hak_option_t)(HAK_OPTION_COUNT + 1),
                                  (hak_option_t)-1, (hak_option_t)100000};
  for (size_t i = 0; i < TEST_COUNT(unknown); i++) {
    hak_option_info_t info = {.struct_size = sizeof info};
    CHECK_EQ(hak_option_set(unknown[i], 1), EINVAL);
    CHECK_EQ(hak_option_get(unknown[i]), 0);
    CHECK_EQ(hak_option_describe(unknown[i], &info), ENOENT);
  }
}

TEST_IN_CHILD(options__describe_tells_name_range_and_meaning, 10) {
  with_library();
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    hak_option_info_t info = {.struct_size = sizeof info};
    CHECK_EQ(hak_option_describe(rows[i].option, &info), 0);
    CHECK(strcmp(info.name, rows[i].name) == 0);
    CHECK_EQ(info.value, hak_option_get(rows[i].option));
    CHECK_EQ(info.default_value, rows[i].initial);
    CHECK_EQ(info.min, rows[i].min);
    CHECK_EQ(info.max, rows[i].max);
    CHECK(info.doc != NULL && info.doc[0] != '\0');
    CHECK(info.min <= info.default_value && info.default_value <= info.max);
  }
  hak_option_info_t unsized = {.struct_size = 0};
  CHECK_EQ(hak_option_describe(HAK_OPTION_BIN_BLOCKS, &unsized), EINVAL);
  CHECK_EQ(hak_option_describe(HAK_OPTION_BIN_BLOCKS, NULL), EINVAL);
}

TEST_IN_CHILD(options__set_before_the_first_allocation_hold, 10) {
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 12345678), 0);
  with_library();
  void *block = hak_alloc(100);
  CHECK(block != NULL);
  hak_free(block);
  CHECK_EQ(hak_option_get(HAK_OPTION_RETAIN_BYTES), 12345678);
}

/* ---- Environment ------------------------------------------------------ */

static int environment_child(void *ctx) {
  (void)ctx;
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    char name[64], value[32];
    snprintf(name, sizeof name, "HAKMEM_%s", rows[i].name);
    int64_t wanted = rows[i].option == HAK_OPTION_PREWARM_BYTES ? 65536 : rows[i].min;
    snprintf(value, sizeof value, "%" PRId64, wanted);
    setenv(name, value, 1);
  }
  with_library();
  void *block = hak_alloc(100);
  CHECK(block != NULL);
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    int64_t wanted = rows[i].option == HAK_OPTION_PREWARM_BYTES ? 65536 : rows[i].min;
    CHECK_MSG(hak_option_get(rows[i].option) == wanted, "%s is %" PRId64, rows[i].name,
              hak_option_get(rows[i].option));
  }
  hak_free(block);
  return 0;
}

static void environment__is_read_at_start(void **state) {
  (void)state;
  test_child_must_succeed(environment_child, NULL, 10);
}

TEST_IN_CHILD(environment__units_are_powers_of_1024, 10) {
  setenv("HAKMEM_BIN_BYTES", "16k", 1);
  setenv("HAKMEM_RETAIN_BYTES", "3M", 1);
  setenv("HAKMEM_LARGE_MAX_BYTES", "2m", 1);
  setenv("HAKMEM_BIN_GROWTH_ALL_BYTES", "5G", 1);
  with_library();
  hak_free(hak_alloc(100));
  CHECK_EQ(hak_option_get(HAK_OPTION_BIN_BYTES), 16384);
  CHECK_EQ(hak_option_get(HAK_OPTION_RETAIN_BYTES), 3 << 20);
  CHECK_EQ(hak_option_get(HAK_OPTION_LARGE_MAX_BYTES), 2 << 20);
  CHECK_EQ(hak_option_get(HAK_OPTION_BIN_GROWTH_ALL_BYTES), 5ll << 30);
}

static int former_names_child(void *ctx) {
  (void)ctx;
  setenv("HAKMEM_ARENA_BYTES", "8m", 1);
  setenv("HAKMEM_ARENA_BYTES_MAX", "64m", 1);
  setenv("HAKMEM_TICK_REFILLS", "77", 1);
  setenv("HAKMEM_TRANSFER_SLOTS", "3", 1);
  with_library();
  hak_free(hak_alloc(100));
  CHECK_EQ(hak_option_get(HAK_OPTION_REGION_BYTES), 8 * MIB);
  CHECK_EQ(hak_option_get(HAK_OPTION_REGION_BYTES_MAX), 64 * MIB);
  CHECK_EQ(hak_option_get(HAK_OPTION_TRIM_REFILLS), 77);
  CHECK_EQ(hak_option_get(HAK_OPTION_TRANSFER_MAGAZINES), 3);
  CHECK_EQ(HAK_OPTION_ARENA_BYTES, HAK_OPTION_REGION_BYTES);
  CHECK_EQ(HAK_OPTION_ARENA_BYTES_MAX, HAK_OPTION_REGION_BYTES_MAX);
  CHECK_EQ(HAK_OPTION_TICK_REFILLS, HAK_OPTION_TRIM_REFILLS);
  CHECK_EQ(HAK_OPTION_TRANSFER_SLOTS, HAK_OPTION_TRANSFER_MAGAZINES);
  return 0;
}

static void environment__knows_the_former_names(void **state) {
  (void)state;
  test_child_t child = test_child_run(former_names_child, NULL, 10);
  CHECK_MSG(child.signal == 0 && child.status == 0, "%s", child.output);
  CHECK_MSG(child.length == 0, "said: %s", child.output);
}

/* ctx: a value of HAKMEM_BIN_BLOCKS that is no number in range. */
static int bad_environment_child(void *ctx) {
  setenv("HAKMEM_BIN_BLOCKS", ctx, 1);
  with_library();
  void *block = hak_alloc(100);
  CHECK(block != NULL);
  hak_free(block);
  CHECK_EQ(hak_option_get(HAK_OPTION_BIN_BLOCKS), 32);
  return 0;
}

static void environment__bad_values_are_reported_and_ignored(void **state) {
  (void)state;
  static char *const values[] = {"abc",
                                 "",
                                 "-1",
                                 "3",
                                 "257",
                                 "12abc",
                                 "12 34",
                                 "9223372036854775808",
                                 "99999999999999999999999999",
                                 "-9223372036854775809",
                                 "1e2",
                                 "18446744073709551648"};
  for (size_t i = 0; i < TEST_COUNT(values); i++) {
    test_child_t child = test_child_run(bad_environment_child, values[i], 10);
    CHECK_MSG(child.signal == 0 && child.status == 0 && !child.timed_out,
              "value '%s': signal %d, status %d, said: %s", values[i], child.signal,
              child.status, child.output);
    CHECK_MSG(strstr(child.output, "hakmem: bad option: ") == child.output,
              "value '%s' said: '%s'", values[i], child.output);
    CHECK_MSG(strchr(child.output, '\n') == child.output + child.length - 1,
              "value '%s': more than one line: %s", values[i], child.output);
  }
}

static int unknown_name_child(void *ctx) {
  (void)ctx;
  setenv("HAKMEM_NO_SUCH_OPTION", "1", 1);
  with_library();
  void *block = hak_alloc(100);
  CHECK(block != NULL);
  hak_free(block);
  return 0;
}

static void environment__unknown_names_are_reported_and_ignored(void **state) {
  (void)state;
  test_child_t child = test_child_run(unknown_name_child, NULL, 10);
  CHECK_EQ(child.signal, 0);
  CHECK_EQ(child.status, 0);
  CHECK_MSG(strstr(child.output, "hakmem: bad option: ") == child.output, "said: '%s'",
            child.output);
}

static jmp_buf g_out;
static void leave(const hak_error_info_t *info, void *ctx) {
  CHECK_EQ(info->error, HAK_ERROR_BAD_OPTION);
  ++*(int *)ctx;
  longjmp(g_out, 1);
}

/* Each is the first call, which starts the library. */
static int left_child(void *ctx) {
  static int left;
  int kind = *(int *)ctx;
  setenv("HAKMEM_NO_SUCH_OPTION", "1", 1);
  setenv("HAKMEM_BIN_BLOCKS", "64", 1);
  hak_set_error_handler(leave, &left);
  hak_config_t config = HAK_CONFIG_INIT;
  if (setjmp(g_out) == 0) {
    if (kind == 0) hak_free(hak_alloc(100));
    if (kind == 1) (void)hak_init(&config);
    if (kind == 2) (void)hak_heap_default();
    if (kind == 3) (void)hak_heap_create(NULL);
    if (kind == 4) (void)hak_thread_init();
    if (kind == 5) (void)hak_allocx(NULL, 100, 0, HAK_NO_GROW, NULL);
    fail();
  }
  CHECK_EQ(left, 1);
  /* One that may ask for nothing starts nothing. */
  CHECK_EQ(hak_init(&config), kind == 5 ? 0 : EALREADY);
  CHECK_EQ(hak_option_get(HAK_OPTION_BIN_BLOCKS), 64);
  void *block = hak_alloc(64 * MIB); /* other calls may grow, whatever that one might */
  CHECK(block != NULL);
  hak_free(block);
  CHECK_EQ(hak_shutdown(0), 0);
  hak_free(hak_alloc(100));
  CHECK_EQ(left, 1);
  return 0;
}

static void environment__handlers_may_leave_the_start_by_longjmp(void **state) {
  (void)state;
  for (int kind = 0; kind < 6; kind++) test_child_must_succeed(left_child, &kind, 10);
}

static int no_env_child(void *ctx) {
  (void)ctx;
  setenv("HAKMEM_BIN_BLOCKS", "64", 1);
  setenv("HAKMEM_HELD_SLABS", "nonsense", 1);
  hak_config_t config = {.struct_size = sizeof config};
  if (test_config() != NULL) {
    config = *test_config();
  }
  config.flags = HAK_INIT_NO_ENV;
  CHECK_EQ(hak_init(&config), 0);
  CHECK_EQ(hak_option_get(HAK_OPTION_BIN_BLOCKS), 32);
  hak_free(hak_alloc(10));
  CHECK_EQ(hak_option_get(HAK_OPTION_BIN_BLOCKS), 32);
  return 0;
}

static void environment__is_ignored_when_init_says_so(void **state) {
  (void)state;
  test_child_t child = test_child_run(no_env_child, NULL, 10);
  CHECK_MSG(child.signal == 0 && child.status == 0, "%s", child.output);
  CHECK_MSG(child.length == 0, "said: %s", child.output);
}

static int silent_child(void *ctx) {
  (void)ctx;
  with_library();
  for (size_t size = 1; size < 50 * MIB; size *= 2) {
    void *block = hak_alloc(size);
    CHECK(block != NULL);
    hak_free(block);
  }
  (void)hak_collect(NULL, SIZE_MAX, 0);
  CHECK_EQ(hak_alloc(test_opaque(SIZE_MAX)) == NULL, true);
  return 0;
}

static void library__prints_nothing_unasked(void **state) {
  (void)state;
  test_child_t child = test_child_run(silent_child, NULL, 20);
  CHECK_MSG(child.signal == 0 && child.status == 0, "%s", child.output);
  CHECK_MSG(child.length == 0, "said: %s", child.output);
}

/* ---- Effects ---------------------------------------------------------- */

TEST_IN_CHILD(purge_mode__manual_gives_back_by_collect_only, 20) {
  with_library();
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  for (int round = 0; round < 20; round++) {
    void *blocks[100];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      blocks[i] = hak_alloc(100 * KIB);
      CHECK(blocks[i] != NULL);
      memset(blocks[i], 1, 100 * KIB);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      hak_free(blocks[i]);
    }
  }
  CHECK_EQ(test_stats().os_purge, 0);
  CHECK_MSG(hak_collect(NULL, SIZE_MAX, 0) >= 5 * MIB, "collect gave little back");
  CHECK(test_stats().os_purge + test_stats().os_release > 0);
}

TEST_MAIN_FRESH(T(options__start_with_their_defaults),
                T(options__take_their_whole_range_and_nothing_else),
                T(options__unknown_ones_are_refused),
                T(options__describe_tells_name_range_and_meaning),
                T(options__set_before_the_first_allocation_hold),
                T(environment__is_read_at_start),
                T(environment__units_are_powers_of_1024),
                T(environment__knows_the_former_names),
                T(environment__bad_values_are_reported_and_ignored),
                T(environment__unknown_names_are_reported_and_ignored),
                T(environment__handlers_may_leave_the_start_by_longjmp),
                T(environment__is_ignored_when_init_says_so),
                T(library__prints_nothing_unasked),
                T(purge_mode__manual_gives_back_by_collect_only))
