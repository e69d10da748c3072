/* pages_density.c - which large blocks are remembered, when they are looked at, and what
 * one look tells. */
#include "support.h"

#include <string.h>

#include "os/os.h"
#include "pages/density.h"

enum {
  MOST = 48 /* blocks of a size that come with small pages */
};

static uint64_t looks(void) { return hak_load_relaxed(&hak_os_counts.look); }

static char *reserve(size_t size) {
  char *block = hak_os_default()->reserve(NULL, size, MIB);
  CHECK(block != NULL);
  return block;
}
static void release(char *block, size_t size) {
  CHECK_EQ(hak_os_default()->release(NULL, block, size), 0);
}

/* The block is looked at as it goes. */
static bool is_seen(char *block, size_t size) {
  uint64_t before = looks();
  (void)hak_density_freed(hak_os_default(), block, size);
  return looks() != before;
}

static void look__is_of_a_block_that_is_remembered(void **state) {
  (void)state;
  uint64_t before = looks();
  for (int i = 0; i < 4; i++) CHECK(!hak_density_is_dense(hak_os_default(), 512 * MIB));
  CHECK_EQ(looks(), before);
}

/* The first ones are all looked at, then one in sixteen; those with huge pages while
 * nothing is known. */
static void blocks__are_remembered_so_often_that_looks_cost_little(void **state) {
  (void)state;
  const size_t size = 4 * MIB;
  char *block = reserve(size);
  hak_density_note(block, size, true);
  CHECK(is_seen(block, size));
  for (unsigned n = 0; n < MOST; n++) {
    hak_density_note(block, size, false);
    CHECK_EQ(is_seen(block, size), n < 16 || n % 16 == 0);
  }
  hak_density_note(block, size, true);
  CHECK(!is_seen(block, size));
  release(block, size);
}

static void zeroes__are_looked_at_until_enough_is_known(void **state) {
  (void)state;
  const size_t size = 16 * MIB;
  char *block = reserve(size);
  for (int n = 0; n < 4; n++) {
    hak_density_note_zero(block, size);
    CHECK_EQ(is_seen(block, size), n < 2);
  }
  release(block, size);
}

static void written__is_what_is_resident_at_the_end(void **state) {
  (void)state;
  hak_os_t own = *hak_os_default(), *hooks = &own;
  char *block = reserve(MIB);
  CHECK(!hak_density_is_written(hak_os_default(), block, MIB));
  block[MIB - 1] = 1;
  CHECK(!hak_density_is_written(hak_os_default(), block, MIB)); /* a page of many */
  memset(block + MIB - 256 * KIB, 1, 256 * KIB);
  CHECK(hak_density_is_written(hak_os_default(), block, MIB));
  /* Of pages of a program's own hooks nobody knows. */
  own.reserve = NULL;
  CHECK(!hak_density_is_written(hooks, block, MIB));
  release(block, MIB);
}

/* What is not there does not come to be cleared; what is there and is small is. */
static void way__of_blocks_that_are_to_be_zero_follows_what_is_resident(void **state) {
  (void)state;
  char *block = reserve(2 * MIB);
  CHECK_EQ(hak_density_way(hak_os_default(), block, MIB, 8 * MIB), HAK_DENSITY_RENEW);
  memset(block, 1, 2 * MIB);
  CHECK_EQ(hak_density_way(hak_os_default(), block, MIB, 8 * MIB), HAK_DENSITY_CLEAR);
  CHECK_EQ(hak_density_way(hak_os_default(), block, 2 * MIB, MIB), HAK_DENSITY_RENEW);
  release(block, 2 * MIB);
}

static int setup(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_MODE, 1);
  return 0;
}
#define D(function) cmocka_unit_test_setup(function, setup)

TEST_MAIN(D(look__is_of_a_block_that_is_remembered),
          D(blocks__are_remembered_so_often_that_looks_cost_little),
          D(zeroes__are_looked_at_until_enough_is_known),
          D(written__is_what_is_resident_at_the_end),
          D(way__of_blocks_that_are_to_be_zero_follows_what_is_resident))
