/* heap_groups.c - heaps of groups: made once, not where memory is short, and kept when a
 * maker that was lost is forgotten. */
#include "os_fixture.h"

#include "heap/groups.h"
#include "heap/lifecycle.h"
#include "pages/meta.h"

static void use_up(size_t size) {
  while (hak_meta_alloc(hak_lifecycle_os(), size, size) != NULL) {}
}

static void group__that_could_not_be_made_is_made_later(void **state) {
  (void)state;
  hak_free(hak_alloc(100));
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 1), 0);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  use_up(4096);
  use_up(64);
  CHECK(hak_group_heap(1) == NULL && hak_group_at(1) == NULL);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  hak_heap_t *heap = hak_group_heap(1);
  CHECK(heap != NULL && hak_heap_above(heap) == hak_heap_get_default());
  CHECK(hak_group_heap(1) == heap && hak_group_at(2) == NULL);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
}

static void group__that_is_made_has_no_maker_to_be_forgotten(void **state) {
  (void)state;
  hak_free(hak_alloc(100));
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 1), 0);
  hak_heap_t *heap = hak_group_heap(1);
  hak_store_relaxed(&hak_groups[2], HAK_GROUP_MAKING); /* as by a thread that is lost */
  CHECK(hak_group_heap(2) == NULL);
  hak_groups_forget_maker();
  CHECK(heap != NULL && hak_group_at(1) == heap);
  CHECK(hak_group_heap(2) != NULL);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
}

TEST_MAIN_FRESH(TEST_OVER_OS(group__that_could_not_be_made_is_made_later, 0),
                TEST_OVER_OS(group__that_is_made_has_no_maker_to_be_forgotten, 0))
