/* pages_mapping_refused.c - mappings where the OS is not to be asked, or refuses
 * twice in a row. */
#include "os_fixture.h"

#include "heap/lifecycle.h"
#include "pages/mapping.h"
#include "pages/mapping_move.h"
#include "superslab/locate.h"

static void no_grow__leaves_a_kept_mapping_with_too_few_pages_alone(void **state) {
  (void)state;
  bool zeroed;
  const hak_os_t *os = hak_lifecycle_os();
  hak_mapping_t *m = hak_mapping_acquire(os, NULL, NULL, 8 * MIB, 1, false, &zeroed);
  CHECK(m != NULL && hak_mapping_resize(m, 2 * MIB, false) != NULL);
  hak_mapping_give(m, 1);
  uint64_t calls = test_os_calls(&g_os);
  CHECK(hak_mapping_acquire(os, NULL, NULL, 5 * MIB, 1, true, &zeroed) == NULL);
  CHECK_EQ(test_os_calls(&g_os), calls);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), 2 * MIB);
}

/* The new place needs a leaf, which is refused; so is the way back. */
static void resize__that_cannot_register_the_new_place_loses_nothing(void **state) {
  (void)state;
  bool zeroed;
  const unsigned kinds = 1u << TEST_OS_REMAP | 1u << TEST_OS_RESERVE;
  hak_mapping_t *m =
      hak_mapping_acquire(hak_lifecycle_os(), NULL, NULL, 8 * MIB, 1, false, &zeroed);
  CHECK(m != NULL);
  test_fill_sparse(m->extent.base, 8 * MIB, 7);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, kinds, 2);
  CHECK(hak_mapping_resize(m, 40 * MIB, true) == NULL);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(hak_locate((uintptr_t)m->extent.base).extent == &m->extent);
  CHECK(test_verify_sparse(m->extent.base, 8 * MIB, 7));
}

static void *(*g_remap)(void *ctx, void *ptr, size_t old_size, size_t new_size);

/* While the pages are under way others take all the leaves that they can find, and then
 * the hooks refuse everything: the new place, and the way back. */
static void *greedy_remap(void *ctx, void *ptr, size_t old_size, size_t new_size) {
  void *moved = g_remap(ctx, ptr, old_size, new_size);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  for (uintptr_t i = 1; i < 4; i++) {
    (void)hak_registry_cover(&g_os.hooks, i << HAK_LEAF_SHIFT, HAK_SLAB_SIZE);
  }
  return moved;
}

static void resize__has_leaves_that_nobody_else_can_take(void **state) {
  (void)state;
  bool zeroed;
  hak_mapping_t *m =
      hak_mapping_acquire(hak_lifecycle_os(), NULL, NULL, 8 * MIB, 1, false, &zeroed);
  CHECK(m != NULL);
  test_fill_sparse(m->extent.base, 8 * MIB, 7);
  char *base = m->extent.base, *moved = hak_mapping_resize(m, 40 * MIB, true);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(moved != NULL && moved != base && m->extent.base == moved);
  CHECK(hak_locate((uintptr_t)moved + 40 * MIB - 1).extent == &m->extent);
  CHECK(test_verify_sparse_prefix(moved, 8 * MIB, 8 * MIB, 7));
}

static int setup_greedy(void **state) {
  (void)state;
  test_os_open(&g_os, TEST_OS_FAR);
  g_remap = g_os.hooks.remap;
  g_os.hooks.remap = greedy_remap;
  CHECK_EQ(test_os_init(&g_os), 0);
  return 0;
}

#define M(function) TEST_OVER_OS(function, TEST_OS_FAR)

TEST_MAIN_FRESH(
    M(no_grow__leaves_a_kept_mapping_with_too_few_pages_alone),
    M(resize__that_cannot_register_the_new_place_loses_nothing),
    cmocka_unit_test_setup_teardown(resize__has_leaves_that_nobody_else_can_take,
                                    setup_greedy, test_over_os_teardown))
