/* pages_idle.c - bytes that lie idle: the sum, and the flag that there are more than
 * RETAIN_BYTES. */
#include "support.h"

#include "pages/idle.h"

enum {
  LIMIT = 1 << 20
};

static int setup(void **state) {
  (void)state;
  return hak_option_set(HAK_OPTION_RETAIN_BYTES, LIMIT) |
         hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0);
}

static int teardown(void **state) {
  (void)state;
  hak_note_retained(&hak_slots_retained, -(int64_t)hak_load_relaxed(&hak_slots_retained));
  hak_note_retained(&hak_mappings_retained,
                    -(int64_t)hak_load_relaxed(&hak_mappings_retained));
  CHECK_EQ(hak_retained_bytes(), 0);
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), 0);
  return 0;
}

static void sum__is_that_of_slots_and_mappings(void **state) {
  (void)state;
  hak_note_retained(&hak_slots_retained, 65536);
  hak_note_retained(&hak_mappings_retained, 4096);
  CHECK_EQ(hak_retained_bytes(), 65536 + 4096);
  hak_note_retained(&hak_slots_retained, -65536);
  CHECK_EQ(hak_load_relaxed(&hak_slots_retained), 0);
  CHECK_EQ(hak_retained_bytes(), 4096);
}

static void flag__is_set_by_the_first_byte_beyond_the_limit_and_not_before(void **state) {
  (void)state;
  hak_note_retained(&hak_slots_retained, LIMIT - 4096);
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), 0);
  hak_note_retained(&hak_mappings_retained, 4096);
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), 0);
  hak_note_retained(&hak_mappings_retained, 1);
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), 1);
  hak_note_retained(&hak_slots_retained, -1);
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), 0);
}

static void flag__follows_the_option_with_the_next_change(void **state) {
  (void)state;
  hak_note_retained(&hak_slots_retained, LIMIT);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, LIMIT / 2), 0);
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), 0);
  hak_note_retained(&hak_mappings_retained, 0);
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), 1);
}

#define I(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(I(sum__is_that_of_slots_and_mappings),
                I(flag__is_set_by_the_first_byte_beyond_the_limit_and_not_before),
                I(flag__follows_the_option_with_the_next_change))
