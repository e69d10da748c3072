/* superslab_purge.c - a purge of SIZE_MAX bytes gives back everything, in
 * a heap's own SuperSlabs as in free ones. */
#include "os_fixture.h"

#include "base/bits.h"
#include "superslab/superslab.h"

static void collect__without_a_bound_gives_back_free_slabs(void **state) {
  (void)state;
  test_over_os(0);
  void *stays = hak_alloc(100 * KIB), *goes = hak_alloc(512 * KIB);
  CHECK(stays != NULL && goes != NULL);
  hak_free(goes);
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL), 512 * KIB);
  hak_free(stays);
  CHECK_EQ(hak_shutdown(0), 0);
  test_os_close(&g_os);
}

static void div_up__of_the_largest_numbers_does_not_overflow(void **state) {
  (void)state;
  CHECK_EQ(hak_div_up(SIZE_MAX, 65536), (size_t)1 << 48);
  CHECK_EQ(hak_div_up(SIZE_MAX, 1), SIZE_MAX);
}

TEST_MAIN_FRESH(T(collect__without_a_bound_gives_back_free_slabs),
                T(div_up__of_the_largest_numbers_does_not_overflow))
