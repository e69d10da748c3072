/* base_report.c - what a handler is told, and the line that is printed where the program
 * has none; how a failed assert ends the process. */
#include "child.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/report.h"

static int g_block, g_heap;

static void report(hak_error_t error) {
  hak_report(error, &g_block, (hak_heap_t *)(void *)&g_heap, "hak_free", "it is bad");
}

static void handler__is_told_everything(void **state) {
  (void)state;
  test_reports_begin();
  report(HAK_ERROR_WRONG_SIZE);
  CHECK_EQ(g_reports.count, 1);
  CHECK_EQ(g_reports.last.struct_size, sizeof(hak_error_info_t));
  CHECK_EQ(g_reports.last.error, HAK_ERROR_WRONG_SIZE);
  CHECK(g_reports.last.address == &g_block && (void *)g_reports.last.heap == &g_heap);
  CHECK(strcmp(g_reports.last.function, "hak_free") == 0);
  CHECK(strcmp(g_reports.last.text, "it is bad") == 0);
  hak_set_error_handler(hak_error_ignore, NULL);
  report(HAK_ERROR_WRONG_SIZE); /* nothing happens */
  test_reports_end(1, HAK_ERROR_WRONG_SIZE);
}

static int report_child(void *ctx) {
  report(*(hak_error_t *)ctx);
  return 0;
}

/* Of all errors but two the process cannot go on. */
static void default_handler__prints_one_line_and_aborts_for_misuse(void **state) {
  (void)state;
  char line[256];
  for (int i = HAK_ERROR_DOUBLE_FREE; i <= HAK_ERROR_OVERFLOW; i++) {
    hak_error_t error = (hak_error_t)i;
    char said[512];
    /* What is at the address of a bad option says nothing. */
    snprintf(line, sizeof line, "address %p, ", (void *)&g_block);
    size_t used = error == HAK_ERROR_BAD_OPTION ? 0 : strlen(line);
    snprintf(line + used, sizeof line - used, "heap %p, in hak_free: it is bad\n",
             (void *)&g_heap);
    snprintf(said, sizeof said, "hakmem: %s: %s", hak_error_text(error), line);
    test_child_t child = test_child_run(report_child, &error, 20);
    CHECK_MSG(strcmp(child.output, said) == 0, "'%s' is not '%s'", child.output, said);
    bool goes_on = error == HAK_ERROR_BAD_OPTION || error == HAK_ERROR_LEAK;
    CHECK_EQ(child.signal == 0, goes_on);
  }
}

static int bare_child(void *ctx) {
  (void)ctx;
  hak_report(HAK_ERROR_BAD_STATE, NULL, NULL, "hak_check", "it is bad");
  return 0;
}

static void default_handler__leaves_out_what_is_not_known(void **state) {
  (void)state;
  test_child_t child = test_child_run(bare_child, NULL, 20);
  CHECK_MSG(
      strcmp(child.output, "hakmem: broken invariant: in hak_check: it is bad\n") == 0,
      "said: %s", child.output);
}

static void texts__are_different_ones_and_known(void **state) {
  (void)state;
  for (int i = HAK_ERROR_DOUBLE_FREE; i <= HAK_ERROR_OVERFLOW; i++) {
    for (int k = HAK_ERROR_DOUBLE_FREE; k < i; k++) {
      CHECK(strcmp(hak_error_text((hak_error_t)i), hak_error_text((hak_error_t)k)) != 0);
    }
    CHECK(strcmp(hak_error_text((hak_error_t)i), "unknown error") != 0);
  }
  CHECK(strcmp(hak_error_text((hak_error_t)1000), "unknown error") == 0);
}

static int fail_child(void *ctx) {
  hak_assert_if(1, ctx != NULL);
  return 0;
}

static void assert__that_fails_says_where_and_aborts(void **state) {
  (void)state;
  test_child_must_abort(fail_child, NULL, "hakmem: assertion failed: ctx != NULL (",
                        "base_report.c:", NULL);
  test_child_must_succeed(fail_child, &g_block, 20);
}

static void assert__that_is_off_evaluates_nothing(void **state) {
  (void)state;
  int evaluated = 0;
  hak_assert_if(0, evaluated++ == 5);
  CHECK_EQ(evaluated, 0);
  hak_assert_if(1, evaluated++ == 0);
  CHECK_EQ(evaluated, 1);
}

TEST_MAIN_FRESH(T(handler__is_told_everything),
                T(default_handler__prints_one_line_and_aborts_for_misuse),
                T(default_handler__leaves_out_what_is_not_known),
                T(texts__are_different_ones_and_known),
                T(assert__that_fails_says_where_and_aborts),
                T(assert__that_is_off_evaluates_nothing))
