/* base_option.c - options out of the environment: numbers, units, names, and what is
 * said of the rest. That the library reads it once at its start is in api_options.c. */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/option.h"

static void read_and_report(void) {
  hak_options_read_environment();
  hak_options_report();
}

/* Reads one variable, of which `reports` things are said; the option's value. */
static int64_t value_of(const char *text, unsigned reports) {
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 7), 0);
  CHECK_EQ(setenv("HAKMEM_RETAIN_BYTES", text, 1), 0);
  test_reports_begin();
  errno = TEST_ERRNO;
  read_and_report();
  CHECK_EQ(errno, TEST_ERRNO);
  test_reports_end(reports, HAK_ERROR_BAD_OPTION);
  unsetenv("HAKMEM_RETAIN_BYTES");
  return hak_option_get(HAK_OPTION_RETAIN_BYTES);
}

static void numbers__may_have_a_unit_in_either_case(void **state) {
  (void)state;
  CHECK_EQ(value_of("0", 0), 0);
  CHECK_EQ(value_of("123456789", 0), 123456789);
  CHECK_EQ(value_of("+5", 0), 5);
  CHECK_EQ(value_of(" 6", 0), 6);
  CHECK_EQ(value_of("3k", 0), 3 << 10);
  CHECK_EQ(value_of("3K", 0), 3 << 10);
  CHECK_EQ(value_of("5m", 0), 5 << 20);
  CHECK_EQ(value_of("5M", 0), 5 << 20);
  CHECK_EQ(value_of("1g", 0), 1 << 30);
  CHECK_EQ(value_of("1G", 0), 1 << 30);
}

static void words__stand_for_numbers_where_an_option_has_them(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t value;
  } rows[] = {{"malloc", HAK_BACKEND_MALLOC},
              {"native", HAK_BACKEND_NATIVE},
              {"auto", HAK_BACKEND_AUTO},
              {"2", HAK_BACKEND_MALLOC}};
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    CHECK_EQ(setenv("HAKMEM_BACKEND", rows[i].text, 1), 0);
    read_and_report();
    CHECK_EQ(hak_option_get(HAK_OPTION_BACKEND), rows[i].value);
  }
  unsetenv("HAKMEM_BACKEND");
  CHECK_EQ(hak_option_set(HAK_OPTION_BACKEND, HAK_BACKEND_AUTO), 0);
  CHECK_EQ(value_of("malloc", 1), 7); /* it is another option's word */
}

static void words__that_an_option_does_not_know_are_answered_with_what_it_takes(
    void **state) {
  (void)state;
  CHECK_EQ(setenv("HAKMEM_BACKEND", "mine", 1), 0);
  CHECK_EQ(setenv("HAKMEM_LEARN", "on", 1), 0);
  test_reports_begin();
  read_and_report();
  test_reports_end(2, HAK_ERROR_BAD_OPTION);
  unsetenv("HAKMEM_LEARN");
  CHECK_EQ(hak_option_get(HAK_OPTION_LEARN), 0);
  test_reports_begin();
  read_and_report();
  unsetenv("HAKMEM_BACKEND");
  CHECK(strstr(g_reports.last.text,
               "=mine is no number from 0 to 2, auto, native or malloc;") != NULL);
  test_reports_end(1, HAK_ERROR_BAD_OPTION);
}

static void texts__that_are_no_number_are_named_and_change_nothing(void **state) {
  (void)state;
  static const char *const bad[] = {"",   "k",    "x",   "1x",  "1kk",
                                    "1 ", "0x10", "1.5", "12m5"};
  for (size_t i = 0; i < TEST_COUNT(bad); i++) {
    CHECK_EQ(value_of(bad[i], 1), 7);
    CHECK(strstr(g_reports.last.text, "is no number from 0 to 1099511627776;") != NULL);
  }
}

static void values__out_of_range_are_named_and_change_nothing(void **state) {
  (void)state;
  CHECK_EQ(value_of("-1", 1), 7);
  CHECK(strstr(g_reports.last.text, "=-1 is no number from 0 to 1099511627776;") != NULL);
  static const char *const far[] = {"9223372036854775808", "-9223372036854775809",
                                    "9007199254740992k", "-9999999999999g",
                                    "17179869185g" /* 1 GiB more than 2^64 */};
  for (size_t i = 0; i < TEST_COUNT(far); i++) {
    CHECK_EQ(value_of(far[i], 1), 7);
    CHECK(strstr(g_reports.last.text, " is no number from 0 to ") != NULL);
  }
  CHECK_EQ(value_of("-1", 1), 7);
  CHECK_EQ(strncmp(g_reports.last.address, "HAKMEM_RETAIN_BYTES=-1", 22), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, -1), ERANGE);
  CHECK_EQ(hak_option_set((hak_option_t)-1, 0), EINVAL);
  CHECK_EQ(hak_option_set(HAK_OPTION_COUNT, 0), EINVAL);
  CHECK_EQ(hak_option_get(HAK_OPTION_COUNT), 0);
}

static void read_with(const char *variable, const char *value, unsigned reports) {
  CHECK_EQ(setenv(variable, value, 1), 0);
  test_reports_begin();
  read_and_report();
  test_reports_end(reports, HAK_ERROR_BAD_OPTION);
  unsetenv(variable);
}

static void names__are_known_whole_and_no_others_are(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 7), 0);
  read_with("HAKMEM_RETAIN_BYTE", "1", 1);
  CHECK(strstr(g_reports.last.text, "names no option") != NULL);
  read_with("HAKMEM_RETAIN_BYTES_", "1", 1);
  read_with("HAKMEM_retain_bytes", "1", 1);
  read_with("HAKMEM_", "1", 1);
  read_with("HAKMEM", "1", 0);
  read_with("XHAKMEM_RETAIN_BYTES", "1", 0);
  /* Those of its tests and benchmarks. */
  read_with("HAKMEM_TEST_NOTHING", "x", 0);
  read_with("HAKMEM_BENCH_NOTHING", "x", 0);
  CHECK_EQ(hak_option_get(HAK_OPTION_RETAIN_BYTES), 7);
  read_with("HAKMEM_RETAIN_BYTES", "1", 0);
  CHECK_EQ(hak_option_get(HAK_OPTION_RETAIN_BYTES), 1);
}

static void every_option__takes_its_bounds_and_not_what_is_beyond(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, -1), 0); /* the suite turns it off */
  for (int i = 0; i < HAK_OPTION_COUNT; i++) {
    hak_option_t option = (hak_option_t)i;
    hak_option_info_t info = {.struct_size = sizeof info};
    CHECK_EQ(hak_option_describe(option, &info), 0);
    CHECK_EQ(info.value, info.default_value);
    CHECK_EQ(hak_option_set(option, info.min), 0);
    CHECK_EQ(hak_option_get(option), info.min);
    CHECK_EQ(hak_option_set(option, info.max), 0);
    CHECK_EQ(hak_load_relaxed(&hak_option_values[i]), info.max);
    if (info.min > INT64_MIN) CHECK_EQ(hak_option_set(option, info.min - 1), ERANGE);
    if (info.max < INT64_MAX) CHECK_EQ(hak_option_set(option, info.max + 1), ERANGE);
    CHECK_EQ(hak_option_get(option), info.max);
    CHECK_EQ(hak_option_set(option, info.default_value), 0);
  }
}

TEST_MAIN_FRESH(T(every_option__takes_its_bounds_and_not_what_is_beyond),
                T(numbers__may_have_a_unit_in_either_case),
                T(words__stand_for_numbers_where_an_option_has_them),
                T(words__that_an_option_does_not_know_are_answered_with_what_it_takes),
                T(texts__that_are_no_number_are_named_and_change_nothing),
                T(values__out_of_range_are_named_and_change_nothing),
                T(names__are_known_whole_and_no_others_are))
