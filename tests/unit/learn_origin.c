/* learn_origin.c - the numbers of places: as many as there are, and what is at one
 * address after another. */
#include "os_fixture.h"

#include <string.h>

#include "heap/lifecycle.h"
#include "learn/origin.h"

enum {
  MORE = 200 /* places than have numbers */
};

static hak_site_t g_sites[HAK_ORIGINS + MORE];

static hak_site_t *site(uint32_t i) {
  g_sites[i] = (hak_site_t){.file = "learn_origin.c", .line = i, .name = "site"};
  return &g_sites[i];
}

static uint32_t make(hak_site_t *place) {
  return hak_origin_make(hak_lifecycle_os(), place);
}

static void numbers__end_with_the_table(void **state) {
  (void)state;
  for (uint32_t i = 0; i < HAK_ORIGINS + MORE; i++) {
    uint32_t number = make(site(i)), next = HAK_ORIGIN_OTHERS + 1 + i;
    CHECK_EQ(number, next < HAK_ORIGINS ? next : HAK_ORIGIN_OTHERS);
    CHECK_EQ(hak_origin_of(&g_sites[i]), number);
    CHECK_EQ(make(&g_sites[i]), number);
  }
  CHECK_EQ(hak_origins_made(), HAK_ORIGINS);
  for (uint32_t i = 0; i < HAK_ORIGINS; i++) CHECK_EQ(hak_origin_groups[i], 0);
  CHECK_EQ(make(NULL), HAK_ORIGIN_NONE);
}

static void numbers__without_memory_are_that_of_all_others(void **state) {
  (void)state;
  CHECK_EQ(make(site(0)), HAK_ORIGIN_OTHERS + 1);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  uint32_t refused = 1;
  while (make(site(refused)) != HAK_ORIGIN_OTHERS) CHECK(++refused < HAK_ORIGINS);
  uint32_t made = hak_origins_made();
  CHECK_EQ(make(site(refused + 1)), HAK_ORIGIN_OTHERS);
  CHECK_EQ(hak_origins_made(), made);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(make(site(refused + 2)), made);
  CHECK_EQ(make(&g_sites[refused]), HAK_ORIGIN_OTHERS); /* for good */
}

/* While memory for its record is got a hook comes by another place, as another thread
 * may. */
static hak_os_t g_calling;
static uint32_t g_other;

static void *reserve(void *ctx, size_t size, size_t alignment) {
  if (g_other == HAK_ORIGIN_NONE) g_other = make(site(1));
  return g_os.hooks.reserve(ctx, size, alignment);
}

static void record__that_is_made_meanwhile_stays(void **state) {
  (void)state;
  g_calling = g_os.hooks;
  g_calling.reserve = reserve;
  g_other = HAK_ORIGIN_NONE;
  uint32_t number = hak_origin_make(&g_calling, site(2));
  CHECK(g_other > HAK_ORIGIN_OTHERS && number == g_other + 1);
  CHECK(hak_origin_at(g_other)->site == &g_sites[1]);
  CHECK(hak_origin_at(number)->site == &g_sites[2]);
}

/* An object that is unloaded and another one that comes to lie where it was. */
static void place__at_the_address_of_another_is_another(void **state) {
  (void)state;
  const hak_site_t first = {.file = "one.c", .line = 1, .name = "one"};
  const hak_site_t others[] = {{.file = "one.c", .line = 2, .name = "one"},
                               {.file = "two.c", .line = 1, .name = "one"},
                               {.file = "one.c", .line = 1, .name = "two"}};
  hak_site_t *place = &g_sites[0];
  *place = first;
  uint32_t number = make(place);
  for (uint32_t i = 0; i < TEST_COUNT(others); i++) {
    *place = others[i];
    CHECK_EQ(make(place), number + 1 + i);
  }
  *place = first;
  CHECK_EQ(make(place), number);
}

#define P(function) TEST_OVER_OS(function, 0)

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {P(numbers__end_with_the_table),
                                     P(numbers__without_memory_are_that_of_all_others),
                                     P(record__that_is_made_meanwhile_stays),
                                     P(place__at_the_address_of_another_is_another)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
