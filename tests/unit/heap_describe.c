/* heap_describe.c - what a report is told of, and of what calls a thread is while its
 * handler runs and after. */
#include "support.h"
#include "threads.h"

#include "child.h"
#include "external/malloced.h"
#include "guard.h"
#include "heap/describe.h"
#include "heap/stay.h"
#include "heap/thread_end.h"

static bool g_no_state, g_ending;
static unsigned g_begun;
bool __real_hak_thread_begin(void);
bool __wrap_hak_thread_begin(void);
bool __wrap_hak_thread_begin(void) {
  g_begun++;
  return !g_no_state && __real_hak_thread_begin();
}
bool __real_hak_thread_is_ending(void);
bool __wrap_hak_thread_is_ending(void);
bool __wrap_hak_thread_is_ending(void) {
  return g_ending || __real_hak_thread_is_ending();
}
/* What malloc has, as far as a report asks. */
enum {
  THEIRS = 77 /* bytes */
};
static const void *g_theirs;
bool __wrap_hak_malloced_find(const void *address, hak_malloced_found_t *found);
bool __wrap_hak_malloced_find(const void *address, hak_malloced_found_t *found) {
  found->size = THEIRS;
  return address == g_theirs;
}

static hak_inside_t begin(hak_error_info_t *info, hak_error_t error) {
  static char path[HAK_REPORT_PATH_MAX];
  hak_inside_t inside = {.back = NULL};
  info->error = error;
  hak_describe_report(info, path, sizeof path, &inside);
  CHECK(inside.back != NULL);
  return inside;
}

/* A call that stays reports that. In the handler so many of its stays are counted, as it
 * goes on all the same as before. */
static void report_in_call(hak_error_t error, unsigned in_handler) {
  hak_error_info_t info = {.address = NULL};
  CHECK(hak_stay_try());
  hak_inside_t inside = begin(&info, error);
  CHECK_EQ(hak_stays_counted, in_handler);
  inside.back(&inside);
  CHECK_EQ(hak_stays_counted, 1);
  hak_stay_end_slow();
}

static bool is_attached(void) { return hak_thread_self->kind == HAK_THREAD_ATTACHED; }

TEST_IN_CHILD(report__of_an_attached_thread_is_outside_of_its_calls, 20) {
  hak_free(hak_alloc(100));
  g_begun = 0;
  report_in_call(HAK_ERROR_DOUBLE_FREE, 0);
  report_in_call(HAK_ERROR_LEAK, 0);
  CHECK_EQ(g_begun, 0);
  /* By its state it stays where a shutdown waits for it, and is told all. */
  hak_error_info_t info = {.size = 1};
  hak_stays_close();
  hak_inside_t inside = begin(&info, HAK_ERROR_DOUBLE_FREE);
  CHECK_EQ(info.size, 0);
  inside.back(&inside);
  hak_stays_open();
  CHECK_EQ(hak_shutdown(0), 0);
}

static void *report_without_state(void *unused) {
  report_in_call(HAK_ERROR_DOUBLE_FREE, 0);
  CHECK(!is_attached() && g_begun == 0);
  /* In all of these the call goes on with records, and stays by what it has. */
  g_ending = true;
  report_in_call(HAK_ERROR_LEAK, 1);
  CHECK(!is_attached() && g_begun == 0);
  g_ending = false;
  g_no_state = true;
  report_in_call(HAK_ERROR_BAD_STATE, 1);
  CHECK(!is_attached() && g_begun == 1);
  g_no_state = false;
  report_in_call(HAK_ERROR_OVERFLOW, 0);
  CHECK(is_attached() && g_begun == 2);
  return unused;
}

TEST_IN_CHILD(report__of_a_thread_without_a_state_gives_it_one_if_its_call_goes_on, 20) {
  hak_free(hak_alloc(100));
  g_begun = 0;
  test_thread_run(report_without_state, NULL);
  CHECK_EQ(hak_shutdown(0), 0);
}

/* Another thread has begun to, and waits for this one's call. */
static void *report_amid_shutdown(void *unused) {
  hak_error_info_t info = {.size = 1};
  CHECK(hak_stay_try());
  hak_stays_close();
  hak_inside_t inside = begin(&info, HAK_ERROR_BAD_STATE);
  CHECK_EQ(info.size, 1); /* it was not looked at */
  CHECK_EQ(hak_stays_counted, 1);
  inside.back(&inside);
  CHECK_EQ(hak_stays_counted, 1);
  hak_stays_open();
  hak_stay_end_slow();
  return unused;
}

TEST_IN_CHILD(report__amid_a_shutdown_leaves_the_call_as_it_is, 20) {
  hak_free(hak_alloc(100));
  test_thread_run(report_amid_shutdown, NULL);
  CHECK_EQ(hak_shutdown(0), 0);
}

static size_t size_of(const void *address) {
  hak_error_info_t info = {.address = address};
  hak_inside_t inside = begin(&info, HAK_ERROR_DOUBLE_FREE);
  inside.back(&inside);
  return info.size;
}

TEST_IN_CHILD(report__tells_the_size_of_blocks_of_malloc_where_they_are, 20) {
  char *block = hak_alloc(100);
  CHECK(block != NULL);
  size_t size = size_of(block);
  CHECK(size >= 100);
  hak_store_relaxed(&hak_malloced_state, HAK_MALLOCED_ON);
  g_theirs = &size;
  CHECK_EQ(size_of(&size), THEIRS);
  CHECK_EQ(size_of(block), size);
  hak_store_relaxed(&hak_malloced_state, HAK_MALLOCED_OFF);
  CHECK_EQ(size_of(&size), 0);
  hak_free(block);
}

TEST_IN_CHILD(report__tells_the_size_of_guarded_blocks, 20) {
  if (test_is_strict()) return;  /* guarded blocks are the system's */
  hak_free(hak_alloc(64 * KIB)); /* nothing of 100 bytes waits in a bin */
  test_guard(1);
  char *block = hak_alloc(100);
  CHECK(block != NULL && test_is_guarded(block));
  CHECK_EQ(size_of(block), 100);
  hak_free(block);
  CHECK_EQ(size_of(block), 100);
}

TEST_MAIN(T(report__of_an_attached_thread_is_outside_of_its_calls),
          T(report__of_a_thread_without_a_state_gives_it_one_if_its_call_goes_on),
          T(report__amid_a_shutdown_leaves_the_call_as_it_is),
          T(report__tells_the_size_of_blocks_of_malloc_where_they_are),
          T(report__tells_the_size_of_guarded_blocks))
