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

/* Pages of free blocks are no reason to take a surplus for less. */
static void surplus__stays_one_whatever_else_there_is(void **state) {
  (void)state;
  const int64_t most = hak_option_get(HAK_OPTION_RETAIN_BYTES_MAX);
  hak_note_retained(&hak_slots_retained, most + 1);
  CHECK_EQ(hak_idle_look(), HAK_IDLE_SURPLUS);
  hak_idle_set_others(HAK_IDLE_OTHERS_SEEN);
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), HAK_IDLE_SURPLUS);
  hak_idle_set_others(HAK_IDLE_NO_OTHERS);
}

/* Taken into use below the ceiling, or given up above it, memory shows no need of what is
 * allowed beyond. */
static void allowance__is_of_use_where_it_alone_kept_what_is_needed(void **state) {
  (void)state;
  hak_note_retained(&hak_slots_retained, 2 * LIMIT);
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), HAK_IDLE_SOME);
  hak_store_relaxed(&hak_idle_surplus.allowance, 1);
  hak_store_relaxed(&hak_idle_surplus.at, UINT64_MAX);
  hak_note_retained(&hak_slots_retained, 4096);
  CHECK_EQ(hak_load_relaxed(&hak_idle_surplus.at), UINT64_MAX);
  hak_add_relaxed(&hak_slots_committed, 100 * LIMIT); /* a high ceiling */
  hak_note_retained(&hak_slots_retained, -4096);
  CHECK_EQ(hak_load_relaxed(&hak_idle_surplus.at), UINT64_MAX);
  hak_sub_relaxed(&hak_slots_committed, 100 * LIMIT);
  CHECK_EQ(hak_idle_look(), HAK_IDLE_SOME);
  hak_note_retained(&hak_slots_retained, -4096);
  CHECK(hak_load_relaxed(&hak_idle_surplus.at) != UINT64_MAX);
  hak_store_relaxed(&hak_idle_surplus.allowance, 0);
  hak_store_relaxed(&hak_idle_surplus.at, 0);
}

#define I(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(I(sum__is_that_of_slots_and_mappings),
                I(flag__is_set_by_the_first_byte_beyond_the_limit_and_not_before),
                I(flag__follows_the_option_with_the_next_change),
                I(surplus__stays_one_whatever_else_there_is),
                I(allowance__is_of_use_where_it_alone_kept_what_is_needed))
