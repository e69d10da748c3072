/* pool_large_kept.c - a thread keeps as many freed spans as its bounds allow, and
 * gives up the oldest for a new one. */
#include "strict_os.h"

#include <string.h>

#include "heap/lifecycle.h"
#include "pool/large.h"

static test_os_t g_os;
static hak_pool_t g_pool;
static hak_large_cache_t g_cache;

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  CHECK_EQ(test_os_init(&g_os), 0);
  memset(&g_pool, 0, sizeof g_pool);
  memset(&g_cache, 0, sizeof g_cache);
  hak_pool_init(&g_pool, hak_lifecycle_os(), &g_pool);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  hak_large_give_up_kept(&g_cache, &g_pool);
  CHECK_EQ(hak_load_relaxed(&g_cache.bytes), 0);
  CHECK(hak_pool_is_valid(&g_pool) && hak_regions_are_valid());
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), 0);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  test_os_close(&g_os);
  return 0;
}

static hak_place_t place_of(const void *block) {
  hak_place_t place = hak_registry_find((uintptr_t)block);
  CHECK(place.start == (const char *)block);
  CHECK_EQ(place.cls, HAK_CLASS_LARGE);
  return place;
}

static char *get(size_t size, size_t alignment) {
  bool zeroed = false;
  char *block = hak_large_alloc(&g_pool, size, alignment, false, &zeroed);
  CHECK(block != NULL && hak_is_aligned((uintptr_t)block, alignment));
  hak_place_t place = place_of(block);
  size_t usable = hak_large_usable(&place);
  CHECK_EQ(usable, hak_align_up(size, 4096));
  CHECK_EQ(hak_large_good_size(hak_lifecycle_os(), size), usable);
  if (zeroed) CHECK(test_is_zero(block, usable));
  test_fill_sparse(block, usable, size);
  return block;
}

static bool keep(void *block) {
  hak_place_t place = place_of(block);
  return hak_large_keep(&g_cache, &g_pool, &place);
}

static void kept_spans__are_bounded_in_number_and_bytes(void **state) {
  (void)state;
  char *blocks[2 * HAK_LARGE_KEPT];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = get(60 * KIB, 4096);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK(keep(blocks[i]));
    size_t kept = i + 1 < HAK_LARGE_KEPT ? i + 1 : HAK_LARGE_KEPT;
    CHECK_EQ(hak_load_relaxed(&g_cache.bytes), kept * 64 * KIB);
  }
  /* The oldest were given up. */
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK_EQ(hak_registry_find((uintptr_t)blocks[i]).cls,
             i < HAK_LARGE_KEPT ? HAK_CLASS_NONE : HAK_CLASS_KEPT);
  }
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), HAK_LARGE_KEPT);
  for (int i = 0; i < 4; i++) {
    CHECK(keep(get(800 * KIB, 4096)));
    CHECK(hak_load_relaxed(&g_cache.bytes) <= 2 * MIB);
    CHECK_EQ(hak_load_relaxed(&g_pool.taken) * 64 * KIB,
             hak_load_relaxed(&g_cache.bytes));
  }
}

TEST_MAIN_FRESH(cmocka_unit_test_setup_teardown(
    kept_spans__are_bounded_in_number_and_bytes, setup, teardown))
