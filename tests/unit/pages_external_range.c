/* pages_external_range.c - callers' memory by address: neighbours in one unit, foreign
 * memory between, lookups while the list changes. */
#include "registry_fixture.h"

#include <errno.h>
#include <pthread.h>

#include "pages/external_range.h"
#include "pages/registry.h"
#include "superslab/locate.h"

/* Nobody looks at the memory itself. */
#define NEAR ((uintptr_t)0x123400000000)
enum {
  UNIT = 2 << 20
};

static int add(hak_external_range_t *range, uintptr_t base, size_t size) {
  static int heap;
  int error = hak_external_range_add(&g_os.hooks, range, (void *)base, size);
  if (error == 0) hak_store_relaxed(&range->extent.heap, &heap);
  return error;
}

static void check_at(uintptr_t address, hak_external_range_t *range) {
  hak_place_t place = hak_locate(address);
  CHECK(place.extent == (range == NULL ? NULL : &range->extent));
  CHECK_EQ(place.cls, range == NULL ? HAK_CLASS_NONE : HAK_CLASS_EXTERNAL);
}

static void check_bounds(hak_external_range_t *range, uintptr_t base, size_t size) {
  check_at(base, range);
  check_at(base + size / 2, range);
  check_at(base + size - 1, range);
}

static void find__knows_the_bounds_of_every_base_and_size(void **state) {
  (void)state;
  static hak_external_range_t range;
  const uintptr_t bases[] = {NEAR, NEAR + 16, NEAR + UNIT - 16, NEAR + UNIT + 65536};
  const size_t sizes[] = {16,        256 << 10, UNIT - 32, UNIT,
                          UNIT + 16, 5 * UNIT,  5ull << 30};
  for (size_t b = 0; b < TEST_COUNT(bases); b++) {
    for (size_t s = 0; s < TEST_COUNT(sizes); s++) {
      CHECK_EQ(add(&range, bases[b], sizes[s]), 0);
      check_bounds(&range, bases[b], sizes[s]);
      check_at(bases[b] - 1, NULL);
      check_at(bases[b] + sizes[s], NULL);
      hak_external_range_remove(&range);
      check_at(bases[b], NULL);
      check_at(bases[b] + sizes[s] - 1, NULL);
    }
  }
}

static void add__refuses_what_overlaps_and_what_is_ours(void **state) {
  (void)state;
  static hak_external_range_t range, other;
  static hak_superslab_t ss;
  CHECK_EQ(add(&range, NEAR + 1000, 5000), 0);
  CHECK_EQ(add(&other, NEAR + 1000, 5000), EINVAL);
  CHECK_EQ(add(&other, NEAR, 1016), EINVAL);
  CHECK_EQ(add(&other, NEAR + 5999, 10), EINVAL);
  CHECK_EQ(add(&other, NEAR, UNIT), EINVAL);
  CHECK_EQ(add(&other, UINTPTR_MAX - 100, 1000), EINVAL);
  CHECK_EQ(add(&other, (uintptr_t)1 << HAK_ADDRESS_BITS, 4096), EINVAL);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR + 2 * UNIT, UNIT));
  hak_superslab_init(&ss, NULL, 0, (char *)(NEAR + 2 * UNIT), &g_os.hooks);
  hak_registry_set_extent(NEAR + 2 * UNIT, UNIT, &ss.extent);
  CHECK_EQ(add(&other, NEAR + UNIT, 3 * UNIT), EINVAL);
  CHECK_EQ(add(&other, NEAR + 2 * UNIT + 65536, 65536), EINVAL);
  CHECK_EQ(add(&other, NEAR + 6000, 65536), 0);
  check_bounds(&range, NEAR + 1000, 5000);
  check_bounds(&other, NEAR + 6000, 65536);
  hak_registry_set_extent(NEAR + 2 * UNIT, UNIT, NULL);
  hak_external_range_remove(&range);
  hak_external_range_remove(&other);
}

static void add__is_refused_when_a_leaf_cannot_be_had(void **state) {
  (void)state;
  static hak_external_range_t range;
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  CHECK_EQ(add(&range, NEAR, UNIT), ENOMEM);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(add(&range, NEAR, UNIT), 0);
  check_bounds(&range, NEAR, UNIT);
  hak_external_range_remove(&range);
}

static void find__behind_the_end_of_a_mapping_in_its_last_unit(void **state) {
  (void)state;
  static hak_external_range_t range;
  static hak_extent_t mapping;
  size_t size = UNIT + 65536;
  mapping.base = (char *)NEAR;
  hak_store_relaxed(&mapping.kind, HAK_EXTENT_MAPPING);
  hak_store_relaxed(&mapping.block, (void *)NEAR);
  hak_store_relaxed(&mapping.size, size);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, size));
  hak_registry_set_extent(NEAR, size, &mapping);
  CHECK_EQ(add(&range, NEAR + size - 16, 4096), EINVAL);
  CHECK_EQ(add(&range, NEAR + size, 4096), 0);
  check_bounds(&range, NEAR + size, 4096);
  CHECK(hak_locate(NEAR + size - 1).extent == &mapping);
  hak_registry_set_extent(NEAR, size, NULL);
  check_bounds(&range, NEAR + size, 4096);
  hak_registry_set_extent(NEAR, size, &mapping);
  check_bounds(&range, NEAR + size, 4096);
  hak_external_range_remove(&range);
  check_at(NEAR + 4 * UNIT, NULL);
  hak_registry_set_extent(NEAR, size, NULL);
}

enum {
  TRACTS = 40,
  STEP = 300000, /* several to a unit, some across two */
  SIZE = 262160
};

static void tracts__come_and_go_in_any_order(void **state) {
  (void)state;
  static hak_external_range_t ranges[TRACTS];
  bool there[TRACTS] = {false};
  test_rng_t rng = test_rng(test_seed(), 33);
  for (size_t n = 0; n < test_scale(3000); n++) {
    size_t i = (size_t)test_below(&rng, TRACTS);
    uintptr_t base = NEAR + i * STEP;
    if (there[i]) {
      hak_external_range_remove(&ranges[i]);
    } else {
      CHECK_EQ(add(&ranges[i], base, SIZE), 0);
    }
    there[i] = !there[i];
    for (size_t k = 0; k < TRACTS; k++) {
      check_at(NEAR + k * STEP + 5, there[k] ? &ranges[k] : NULL);
      check_at(NEAR + k * STEP + SIZE + 5, NULL);
    }
  }
  for (size_t i = 0; i < TRACTS; i++) {
    if (there[i]) hak_external_range_remove(&ranges[i]);
  }
}

static hak_atomic_u32_t g_stop;

static void *change(void *ctx) {
  static hak_external_range_t ranges[TRACTS];
  test_rng_t rng = test_rng(test_seed(), 34);
  bool there[TRACTS] = {false};
  (void)ctx;
  /* Records change their places, so that a lookup may meet one that was moved. */
  uintptr_t place[TRACTS];
  for (size_t n = 0; n < test_scale(200000); n++) {
    size_t i = (size_t)test_below(&rng, TRACTS);
    if (there[i]) {
      hak_external_range_remove(&ranges[i]);
      there[i] = false;
      continue;
    }
    place[i] = NEAR + (1 + 2 * test_below(&rng, TRACTS)) * STEP;
    there[i] = add(&ranges[i], place[i], SIZE) == 0;
  }
  for (size_t i = 0; i < TRACTS; i++) {
    if (there[i]) hak_external_range_remove(&ranges[i]);
  }
  hak_store_relaxed(&g_stop, 1);
  return NULL;
}

static void find__of_those_that_stay_is_right_while_others_change(void **state) {
  (void)state;
  static hak_external_range_t ranges[TRACTS];
  for (size_t i = 0; i < TRACTS; i++) {
    CHECK_EQ(add(&ranges[i], NEAR + 2 * i * STEP, SIZE), 0);
  }
  pthread_t thread;
  hak_store_relaxed(&g_stop, 0);
  CHECK_EQ(pthread_create(&thread, NULL, change, NULL), 0);
  while (hak_load_relaxed(&g_stop) == 0) {
    for (size_t i = 0; i < TRACTS; i++) {
      check_at(NEAR + 2 * i * STEP + 100, &ranges[i]);
      check_at(NEAR + 2 * i * STEP + SIZE + 100, NULL);
    }
  }
  CHECK_EQ(pthread_join(thread, NULL), 0);
  for (size_t i = 0; i < TRACTS; i++) hak_external_range_remove(&ranges[i]);
}

#define R(f) \
  cmocka_unit_test_setup_teardown(f, test_registry_setup, test_registry_teardown)

TEST_MAIN_FRESH(R(find__knows_the_bounds_of_every_base_and_size),
                R(add__refuses_what_overlaps_and_what_is_ours),
                R(add__is_refused_when_a_leaf_cannot_be_had),
                R(find__behind_the_end_of_a_mapping_in_its_last_unit),
                R(tracts__come_and_go_in_any_order),
                R(find__of_those_that_stay_is_right_while_others_change))
