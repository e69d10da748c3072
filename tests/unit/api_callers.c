/* api_callers.c - places that are known by the address that a call returns to. */
#include "os_fixture.h"
#include "threads.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "learn/origin.h"
#include "learn/waves.h"
#include "os/image.h"

enum {
  MEAN = 262144 /* what SAMPLE_BYTES is without a word of the program's */
};

static int start(void **state) {
  (void)state;
  test_over_os(0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  return 0;
}
static int end(void **state) {
  (void)state;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, MEAN), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
  test_over_os_end();
  return 0;
}

/* A wrapper whose callers do not know of places; they are not left by a jump. */
static hak_site_t *g_last;
static __attribute__((noinline)) void *wrapper(size_t size) {
  g_last = HAK_CALLER();
  void *block = hak_alloc_at(size, g_last);
  __asm__ volatile("" : "+r"(block) : : "memory");
  return block;
}
/* The two differ for compilers, which else make them one. */
static __attribute__((noinline)) void *first(size_t size) {
  void *block = wrapper(size);
  __asm__ volatile("/* first */" : "+r"(block) : : "memory");
  return block;
}
static __attribute__((noinline)) void *second(size_t size) {
  void *block = wrapper(size);
  __asm__ volatile("/* second */" : "+r"(block) : : "memory");
  return block;
}

static void callers__of_one_wrapper_are_places_of_their_own(void **state) {
  (void)state;
  void *blocks[30];
  for (int i = 0; i < 10; i++) blocks[i] = first(100);
  hak_site_t *one = g_last;
  for (int i = 10; i < 30; i++) blocks[i] = second(100);
  hak_site_t *two = g_last;
  CHECK(one != two);
  CHECK_EQ(hak_site_count(one), 10);
  CHECK_EQ(hak_site_count(two), 20);
  for (int i = 0; i < 30; i++) hak_free(blocks[i]);
}

/* What tools that know of source lines are asked for. */
static void caller__is_named_by_where_it_lies_in_the_program(void **state) {
  (void)state;
  void *(*volatile called)(size_t) = first; /* not a copy for one argument */
  hak_free(called(100));
  const hak_origin_t *origin = hak_origin_at(hak_origin_of(g_last));
  uintptr_t call = hak_origin_address(g_last) - 1, offset;
  CHECK(call > (uintptr_t)first && call < (uintptr_t)first + 200);
  CHECK(hak_image_find(call, &offset) && offset < call);
  char name[40];
  snprintf(name, sizeof name, "+0x%zx", (size_t)offset);
  assert_string_equal(hak_origin_name(origin), name);
  assert_string_equal(hak_origin_file(origin), "");
  CHECK_EQ(origin->line, 0);
  /* Neither what lies below the program's image nor a stack above it is in it. */
  uintptr_t none;
  CHECK(!hak_image_find(1, &none) && !hak_image_find((uintptr_t)&none, &none));
  /* Of another shared object there is the address alone. */
  hak_site_t *elsewhere = hak_site_of_caller((const char *)(uintptr_t)printf + 1);
  hak_free(hak_alloc_at(10, elsewhere));
  snprintf(name, sizeof name, "0x%zx", (size_t)(uintptr_t)printf);
  const hak_origin_t *other = hak_origin_at(hak_origin_of(elsewhere));
  if (!hak_image_find((uintptr_t)printf, &offset))
    assert_string_equal(hak_origin_name(other), name);
}

static void record__is_the_same_after_a_shutdown(void **state) {
  (void)state;
  hak_free(first(100));
  hak_site_t *before = g_last;
  end(NULL);
  start(NULL);
  CHECK_EQ(hak_site_count(before), 0);
  hak_free(first(100));
  CHECK(g_last == before);
  CHECK_EQ(hak_site_count(before), 1);
}

enum {
  ADDRESSES = 1000,
  THREADS = 3
};
static char g_code[10 * ADDRESSES]; /* stands for code that calls */
static hak_site_t *g_records[THREADS][ADDRESSES];

static void *ask_thread(void *argument) {
  size_t me = (size_t)(uintptr_t)argument;
  for (size_t i = 0; i < ADDRESSES; i++) {
    size_t at = me % 2 == 0 ? i : ADDRESSES - 1 - i;
    g_records[me][at] = hak_site_of_caller(&g_code[at]);
    hak_free(hak_alloc_at(64, g_records[me][at]));
  }
  return NULL;
}

static void threads__are_given_the_same_records(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  for (uintptr_t i = 0; i < THREADS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, ask_thread, (void *)i), 0);
  }
  for (int i = 0; i < THREADS; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  for (size_t i = 0; i < ADDRESSES; i++) {
    CHECK(g_records[0][i] == g_records[1][i] && g_records[0][i] == g_records[2][i]);
    CHECK_EQ(hak_site_count(g_records[0][i]), THREADS);
    CHECK(i == 0 || g_records[0][i] != g_records[0][i - 1]);
  }
}

/* As api_learn.c's, in short: what stays is told from what goes by who calls. */
static void callers__that_leave_blocks_behind_are_put_apart(void **state) {
  (void)state;
  enum {
    MASS = 30000,
    SHARE = 12
  };
  static void *mass[MASS], *kept[MASS / SHARE];
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 16384), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 1), 0);
  hak_site_t *goes = NULL, *stays = NULL;
  for (int wave = 0; wave < 3; wave++) {
    for (size_t i = 0; i < MASS; i++) {
      mass[i] = first(400);
      goes = g_last;
      if (i % SHARE != 0) continue;
      hak_free(kept[i / SHARE]);
      kept[i / SHARE] = second(400);
      stays = g_last;
    }
    for (size_t i = 0; i < MASS; i++) hak_free(mass[i]);
    for (int i = 0; i < 20000; i++) hak_free(wrapper(500));
  }
  CHECK(hak_waves_read().count >= 2);
  CHECK_EQ(hak_load_relaxed(&hak_origin_groups[hak_origin_of(goes)]), 0);
  CHECK(hak_load_relaxed(&hak_origin_groups[hak_origin_of(stays)]) != 0);
  for (size_t i = 0; i < MASS / SHARE; i++) {
    hak_free(kept[i]);
    kept[i] = NULL;
  }
}

/* The last of all: the table is full after it. */
static void addresses__beyond_the_table_share_a_record(void **state) {
  (void)state;
  enum {
    MANY = 10 * ADDRESSES
  };
  static hak_site_t *records[MANY];
  int shared = 0;
  for (size_t i = 0; i < MANY; i++) {
    records[i] = hak_site_of_caller(&g_code[i]);
    CHECK(records[i] != NULL);
    shared += records[i]->name != NULL;
  }
  CHECK_MSG(shared > MANY - HAK_ORIGINS - 1 && shared < MANY - HAK_ORIGINS * 3 / 4, "%d",
            shared);
  for (size_t i = 0; i < MANY; i++) {
    CHECK(hak_site_of_caller(&g_code[i]) == records[i]);
    CHECK(i < ADDRESSES || records[i]->name == NULL ||
          strcmp(records[i]->name, "(other callers)") == 0);
  }
  CHECK(hak_site_of_caller(NULL) != NULL);
  CHECK(hak_site_of_caller((const void *)UINTPTR_MAX) != NULL);
}

#define C(function) cmocka_unit_test_setup_teardown(function, start, end)

TEST_MAIN_FRESH(C(callers__of_one_wrapper_are_places_of_their_own),
                C(caller__is_named_by_where_it_lies_in_the_program),
                C(record__is_the_same_after_a_shutdown),
                C(threads__are_given_the_same_records),
                C(callers__that_leave_blocks_behind_are_put_apart),
                C(addresses__beyond_the_table_share_a_record))
