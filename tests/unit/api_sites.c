/* api_sites.c - allocations that name their place: the functions with _at do what those
 * without do, and count for the record that they are given; sites.h makes them of calls
 * without. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <hakmem/sites.h>

#define HUGE_SIZE ((size_t)1 << 62)
/* The compiler would refuse what is plainly too much. */
static volatile size_t g_many = 8;

/* One call of each function with _at, of a block of `size` bytes in the default heap. */
static void *make(int how, size_t size, hak_site_t *site) {
  char text[200];
  memset(text, 'x', sizeof text);
  text[size - 1] = '\0';
  switch (how) {
    case 0:
      return hak_alloc_at(size, site);
    case 1:
      return hak_calloc_at(1, size, site);
    case 2:
      return hak_realloc_at(NULL, size, site);
    case 3:
      return hak_reallocarray_at(NULL, 1, size, site);
    case 4:
      return hak_aligned_alloc_at(64, size, site);
    case 5:
      return hak_aligned_realloc_at(NULL, 64, size, site);
    case 6:
      return hak_strdup_at(text, site);
    case 7:
      return hak_strndup_at(text, size - 1, site);
    case 8:
      return hak_allocx(NULL, size, 0, 0, site);
    case 9:
      return site == NULL ? NULL : hak_alloc_named(size, site);
    default:
      return hak_reallocx(NULL, NULL, size, 0, 0, site);
  }
}
enum {
  WAYS = 11
};

static void *make_in(hak_heap_t *heap, int how, size_t size, hak_site_t *site) {
  switch (how) {
    case 0:
      return hak_heap_alloc_at(heap, size, site);
    case 1:
      return hak_heap_calloc_at(heap, 1, size, site);
    case 2:
      return hak_heap_realloc_at(heap, NULL, size, site);
    default:
      return hak_heap_aligned_alloc_at(heap, 64, size, site);
  }
}
enum {
  WAYS_IN = 4
};

static void at__each_function_counts_for_its_record(void **state) {
  (void)state;
  for (int how = 0; how < WAYS; how++) {
    hak_site_t site = {.file = "here", .line = 1 + (uint32_t)how};
    for (int i = 0; i < 10; i++) {
      void *block = make(how, 100, &site);
      CHECK(block != NULL && hak_usable_size(block) >= 100);
      hak_free(block);
    }
    CHECK_EQ(hak_site_count(&site), 10);
  }
}

static void at__each_function_counts_in_heaps_of_each_kind(void **state) {
  (void)state;
  static char memory[1 << 20];
  hak_heap_t *heaps[] = {NULL, test_heap(0, NULL, NULL),
                         test_heap(HAK_HEAP_SERIAL, NULL, NULL),
                         test_heap_in(memory, sizeof memory, 0, NULL)};
  for (size_t h = 0; h < TEST_COUNT(heaps); h++) {
    hak_heap_t *heap = heaps[h] == NULL ? hak_heap_default() : heaps[h];
    for (int how = 0; how < WAYS_IN; how++) {
      hak_site_t site = {.file = "here", .line = 100 + (uint32_t)(h * WAYS_IN) + how};
      for (size_t size = 1; size < 100000; size = size * 10 + 1) {
        void *block = make_in(heaps[h], how, size, &site);
        CHECK(block != NULL && hak_heap_of(block) == heap);
        if (how == 1) CHECK_EQ(((char *)block)[size - 1], 0);
        if (how == 3) CHECK_EQ((uintptr_t)block % 64, 0);
        hak_free(block);
      }
      CHECK_EQ(hak_site_count(&site), 5);
    }
    if (heaps[h] != NULL) CHECK_EQ(hak_heap_destroy(heaps[h]), 0);
  }
}

static void at__a_null_record_is_the_function_without(void **state) {
  (void)state;
  for (int how = 0; how < WAYS; how++) hak_free(make(how, 50, NULL));
  for (int how = 0; how < WAYS_IN; how++) hak_free(make_in(NULL, how, 50, NULL));
  CHECK_EQ(hak_site_count(NULL), 0);
}

static void at__a_block_that_stays_is_no_new_one(void **state) {
  (void)state;
  HAK_SITE(first);
  HAK_SITE(second);
  char *block = hak_alloc_at(100, &first);
  size_t usable = hak_usable_size(block);
  char *same = hak_realloc_at(block, usable, &second);
  CHECK(same == block);
  CHECK_EQ(hak_site_count(&second), 0);
  memset(same, 7, usable);
  char *moved = hak_realloc_at(same, 100 * usable, &second);
  CHECK(moved != NULL && moved[usable - 1] == 7);
  CHECK_EQ(hak_site_count(&first), 1);
  CHECK_EQ(hak_site_count(&second), 1);
  CHECK(hak_reallocx(NULL, moved, 100 * usable, 0, 0, &first) == moved);
  CHECK_EQ(hak_site_count(&first), 1);
  hak_free(moved);
}

static void at__errors_are_those_of_the_functions_without(void **state) {
  (void)state;
  HAK_SITE(site);
  for (int how = 0; how < 6; how++) {
    if (how == 1 || how == 3) continue;
    errno = 0;
    CHECK(make_in(NULL, how < 4 ? how : 3, HUGE_SIZE * 2, &site) == NULL);
    CHECK_EQ(errno, ENOMEM);
  }
  errno = 0;
  CHECK(hak_calloc_at(HUGE_SIZE, g_many, &site) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(hak_reallocarray_at(NULL, HUGE_SIZE, g_many, &site) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(hak_aligned_alloc_at(3, 8, &site) == NULL && errno == EINVAL);
  errno = 0;
  CHECK(hak_aligned_realloc_at(NULL, 3, 8, &site) == NULL && errno == EINVAL);
  errno = 0;
  CHECK(hak_heap_aligned_alloc_at(NULL, 3, 8, &site) == NULL && errno == EINVAL);
  CHECK_EQ(hak_site_count(&site), 0);
  /* The old block stays. */
  char *block = hak_alloc_at(10, &site);
  *block = 5;
  CHECK(hak_realloc_at(block, HUGE_SIZE, &site) == NULL && *block == 5);
  CHECK_EQ(hak_site_count(&site), 1);
  hak_free(block);
}

/* --- sites.h -------------------------------------------------------------------------
 */

/* A wrapper whose callers are the places. */
static hak_site_t *g_passed;
static void *wrapped_at(size_t size, hak_site_t *site) {
  g_passed = site;
  return hak_alloc_at(size, site);
}
#define wrapped(size) wrapped_at(size, HAK_CALLSITE())

static void sites__calls_work_as_without(void **state) {
  (void)state;
  hak_heap_t *heap = hak_heap_create(NULL);
  char *blocks[] = {hak_alloc(10),
                    hak_calloc(2, 5),
                    hak_realloc(NULL, 10),
                    hak_reallocarray(NULL, 2, 5),
                    hak_aligned_alloc(16, 10),
                    hak_aligned_realloc(NULL, 16, 10),
                    hak_strdup("nine char"),
                    hak_strndup("nine chars", 9),
                    hak_heap_alloc(heap, 10),
                    hak_heap_calloc(heap, 2, 5),
                    hak_heap_realloc(heap, NULL, 10),
                    hak_heap_aligned_alloc(heap, 16, 10)};
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK(blocks[i] != NULL && hak_usable_size(blocks[i]) >= 10);
    CHECK(hak_heap_of(blocks[i]) == (i < 8 ? hak_heap_default() : heap));
    hak_free(blocks[i]);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void sites__a_wrapper_is_told_the_line_that_calls_it(void **state) {
  (void)state;
  void *a = wrapped(30);
  uint32_t line = __LINE__ - 1;
  CHECK(g_passed != NULL && g_passed->line == line);
  CHECK(strstr(g_passed->file, "api_sites.c") != NULL);
  CHECK_EQ(hak_site_count(g_passed), 1);
  hak_site_t *first = g_passed;
  void *b = wrapped(30);
  CHECK(g_passed != first && g_passed->line > line);
  hak_free(a);
  hak_free(b);
}

static void sites__a_function_as_a_value_is_the_one_without(void **state) {
  (void)state;
  void *(*allocate)(size_t) = hak_alloc;
  void *block = allocate(10);
  CHECK(block != NULL);
  hak_free(block);
}

/* Each block is sampled, so that counts are exact. */
static int exact_setup(void **state) {
  (void)state;
  return hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1);
}
static int exact_teardown(void **state) {
  (void)state;
  return hak_option_set(HAK_OPTION_SAMPLE_BYTES, 262144);
}
#define E(function) cmocka_unit_test_setup_teardown(function, exact_setup, exact_teardown)

static void at__a_size_that_nothing_holds_takes_no_time(void **state) {
  (void)state;
  HAK_SITE(here);
  volatile size_t size = PTRDIFF_MAX - 4096;
  for (int i = 0; i < 1000; i++) {
    CHECK(hak_alloc_at(size, &here) == NULL && errno == ENOMEM);
  }
}

TEST_MAIN(E(at__each_function_counts_for_its_record),
          E(at__each_function_counts_in_heaps_of_each_kind),
          T(at__a_null_record_is_the_function_without),
          E(at__a_block_that_stays_is_no_new_one),
          T(at__errors_are_those_of_the_functions_without),
          T(sites__calls_work_as_without),
          T(sites__a_wrapper_is_told_the_line_that_calls_it),
          T(sites__a_function_as_a_value_is_the_one_without),
          T(at__a_size_that_nothing_holds_takes_no_time))
