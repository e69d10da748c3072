/* pages_clock.c - the time of the last refresh is told without asking the hooks. */
#include "registry_fixture.h"

#include "pages/clock.h"

static uint64_t g_time;
static unsigned g_asked;

static uint64_t now_ns(void *ctx) {
  (void)ctx;
  g_asked++;
  return g_time;
}

static void time__is_that_of_the_last_refresh(void **state) {
  (void)state;
  g_os.hooks.now_ns = now_ns;
  g_time = 1000;
  hak_clock_refresh();
  CHECK_EQ(g_asked, 1);
  CHECK_EQ(hak_clock_cached(), 1000);
  g_time = 2000;
  CHECK_EQ(hak_clock_cached(), 1000);
  CHECK_EQ(g_asked, 1); /* to read it asks nobody */
  hak_clock_refresh();
  CHECK_EQ(hak_clock_cached(), 2000);
  g_time = 500; /* other hooks may have another beginning */
  hak_clock_refresh();
  CHECK_EQ(hak_clock_cached(), 500);
  CHECK_EQ(g_asked, 3);
}

/* So that a wait which is added to it does not overflow. */
static void time__has_63_bits(void **state) {
  (void)state;
  g_os.hooks.now_ns = now_ns;
  g_time = UINT64_MAX;
  hak_clock_refresh();
  CHECK_EQ(hak_clock_cached(), INT64_MAX);
}

#define CASE(function) \
  cmocka_unit_test_setup_teardown(function, test_registry_setup, test_registry_teardown)
TEST_MAIN_FRESH(CASE(time__is_that_of_the_last_refresh), CASE(time__has_63_bits))
