/* pages_registry.c - what is noted of an address: entries, notes, extents and leaves. */
#include "registry_fixture.h"

#include "pages/registry.h"

/* Nothing looks at the addresses that the registry is told of, so any will do. */
#define NEAR ((uintptr_t)0x123400000000)

/* The note of the slab that a covered address lies in. */
static uint32_t note_at(uintptr_t address) {
  hak_leaf_t *leaf = hak_registry_leaf(hak_registry_root(), address >> HAK_LEAF_SHIFT);
  CHECK(leaf != NULL);
  return hak_load_relaxed(&leaf->note[hak_leaf_slab(address)]);
}

/* 6 slabs before a multiple of 4 GiB to 6 slabs behind it. */
static void changes__reach_over_the_border_of_two_leaves(void **state) {
  (void)state;
  const uintptr_t border = NEAR + ((uintptr_t)1 << HAK_LEAF_SHIFT);
  const uintptr_t start = border - 6 * HAK_SLAB_SIZE;
  hak_registry_t *root = hak_registry_root();
  static hak_extent_t extent;
  CHECK(hak_registry_cover(&g_os.hooks, border - HAK_SUPERSLAB_SIZE,
                           2 * HAK_SUPERSLAB_SIZE));
  hak_registry_set_entries(start, 12, 0x123456789abc);
  hak_registry_set_notes(start, 12, 10, 256);
  for (unsigned i = 0; i < 14; i++) {
    uintptr_t at = start - HAK_SLAB_SIZE + i * HAK_SLAB_SIZE;
    bool inside = i >= 1 && i <= 12;
    CHECK_EQ(hak_registry_entry(root, at), inside ? 0x123456789abc : 0);
    CHECK_EQ(note_at(at), inside ? 10 + 256 * (i - 1) : 0);
  }
  hak_registry_set_entries(start, 12, 0);
  hak_registry_set_notes(start, 12, 0, 0);
  for (unsigned i = 0; i < 12; i++) {
    CHECK_EQ(hak_registry_entry(root, start + i * HAK_SLAB_SIZE), 0);
    CHECK_EQ(note_at(start + i * HAK_SLAB_SIZE), 0);
  }
  hak_registry_set_extent(border - HAK_SUPERSLAB_SIZE, 2 * HAK_SUPERSLAB_SIZE, &extent);
  CHECK(hak_registry_extent(border - 1) == &extent);
  CHECK(hak_registry_extent(border) == &extent);
}

static void entry__is_zero_for_every_address_without_a_leaf(void **state) {
  (void)state;
  hak_registry_t *root = hak_registry_root();
  test_rng_t rng = test_rng(test_seed(), 3);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, HAK_SUPERSLAB_SIZE));
  hak_registry_set_entries(NEAR, HAK_SUPERSLAB_SLABS, UINT64_MAX);
  for (size_t n = 0; n < test_scale(100000); n++) {
    uintptr_t address = test_random(&rng) >> (64 - HAK_ADDRESS_BITS);
    if (n % 4 == 0) address = (address & UINT32_MAX) | NEAR;
    bool inside = address >> HAK_SUPERSLAB_SHIFT == NEAR >> HAK_SUPERSLAB_SHIFT;
    CHECK_EQ(hak_registry_entry(root, address), inside ? UINT64_MAX : 0);
  }
  CHECK_EQ(hak_registry_entry(root, NEAR + HAK_SUPERSLAB_SIZE - 1), UINT64_MAX);
}

static void cover__makes_each_leaf_once_and_refuses_what_is_out_of_reach(void **state) {
  (void)state;
  uint64_t before = hak_load_relaxed(&hak_registry_reserved);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, 1));
  uint64_t leaf = hak_load_relaxed(&hak_registry_reserved) - before;
  CHECK(leaf >= sizeof(hak_leaf_t));
  uint64_t calls = test_os_calls(&g_os);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR + 12345, HAK_SLAB_SIZE));
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before + leaf);
  CHECK_EQ(test_os_calls(&g_os), calls);
  /* The last byte counts: 4 GiB are one leaf, a byte more is two. */
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, (size_t)1 << HAK_LEAF_SHIFT));
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before + leaf);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, ((size_t)1 << HAK_LEAF_SHIFT) + 1));
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before + 2 * leaf);

  const uintptr_t end = (uintptr_t)1 << HAK_ADDRESS_BITS;
  CHECK(hak_registry_cover(&g_os.hooks, end - HAK_SLAB_SIZE, HAK_SLAB_SIZE));
  CHECK(!hak_registry_cover(&g_os.hooks, end - HAK_SLAB_SIZE, HAK_SLAB_SIZE + 1));
  CHECK(!hak_registry_cover(&g_os.hooks, end, HAK_SLAB_SIZE));
  CHECK(!hak_registry_cover(&g_os.hooks, UINTPTR_MAX - 10, HAK_SLAB_SIZE));
}

static void cover__without_memory_fails_and_works_again(void **state) {
  (void)state;
  hak_registry_t *root = hak_registry_root();
  uint64_t before = hak_load_relaxed(&hak_registry_reserved);
  const unsigned kinds[] = {1u << TEST_OS_RESERVE, 1u << TEST_OS_COMMIT};
  for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, kinds[i], 1);
    CHECK(!hak_registry_cover(&g_os.hooks, NEAR, HAK_SLAB_SIZE));
    CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before);
    CHECK(hak_registry_leaf(root, NEAR >> HAK_LEAF_SHIFT) == NULL);
  }
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, HAK_SLAB_SIZE));
}

static void cover__zeroes_pages_that_are_not(void **state) {
  (void)state;
  g_os.flags |= TEST_OS_DIRTY;
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, HAK_SLAB_SIZE));
  const hak_leaf_t *leaf = hak_registry_leaf(hak_registry_root(), NEAR >> HAK_LEAF_SHIFT);
  CHECK(test_is_zero(leaf, sizeof *leaf));
}

static void start__without_memory_leaves_no_registry(void **state) {
  (void)state;
  hak_registry_stop();
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  CHECK(!hak_registry_start(&g_os.hooks));
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(hak_registry_root() == NULL);
  hak_registry_visit_tables(NULL, NULL);
  hak_registry_stop();
  CHECK_EQ(g_os.ranges, 0);
  CHECK(hak_registry_start(&g_os.hooks));
}

/* Two leaves are put aside, serve a range over a border of leaves, and wait for the next
 * one if they are not needed. */
static void prepare__puts_aside_what_covers_a_range_without_a_call(void **state) {
  (void)state;
  const size_t most = (size_t)1 << HAK_LEAF_SHIFT;
  hak_spare_leaves_t own, more;
  CHECK(!hak_registry_prepare(most + 1, &own));
  uint64_t before = hak_load_relaxed(&hak_registry_reserved);
  CHECK(hak_registry_prepare(most, &own));
  uint64_t both = hak_load_relaxed(&hak_registry_reserved) - before;
  hak_registry_done(&own);
  uint64_t calls = test_os_calls(&g_os);
  CHECK(hak_registry_prepare(most, &own)); /* the same leaves */
  CHECK_EQ(test_os_calls(&g_os), calls);
  CHECK(hak_registry_prepare(most, &more));
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before + 2 * both);
  calls = test_os_calls(&g_os);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  CHECK(hak_registry_cover_moved(NEAR + most - HAK_SLAB_SIZE, 2 * HAK_SLAB_SIZE, &own));
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(test_os_calls(&g_os), calls);
  CHECK(own.leaf[0] == NULL && own.leaf[1] == NULL);
  hak_registry_done(&own);
  hak_registry_done(&more);
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before + 2 * both);
  /* More than can wait goes back. */
  CHECK(hak_registry_prepare(most, &own) && hak_registry_prepare(most, &more));
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before + 3 * both);
  hak_registry_done(&own);
  hak_registry_done(&more);
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), before + 2 * both);
  CHECK_EQ(hak_registry_forget_lost(), 0);
}

static void prepare__without_memory_keeps_none_to_itself(void **state) {
  (void)state;
  hak_spare_leaves_t own;
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RESERVE, 2);
  CHECK(!hak_registry_prepare(HAK_SLAB_SIZE, &own));
  CHECK(own.leaf[0] == NULL && own.leaf[1] == NULL);
  CHECK_EQ(hak_registry_forget_lost(), 0);
  /* The first one waits for whoever needs it. */
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, HAK_SLAB_SIZE));
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
}

static void forget__clears_the_entries_that_name_these_lists(void **state) {
  (void)state;
  const uint64_t first = 0x12345678000 << 16 | 0x8000;
  const uint64_t entries[] = {first, first + (5 << 16), first + (6 << 16),
                              first - (1 << 16), first + 1};
  hak_registry_t *root = hak_registry_root();
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, HAK_SUPERSLAB_SIZE));
  for (size_t i = 0; i < TEST_COUNT(entries); i++) {
    hak_registry_set_entries(NEAR + i * HAK_SLAB_SIZE, 1, entries[i]);
  }
  hak_registry_forget_entries(NEAR, TEST_COUNT(entries), first, 6);
  for (size_t i = 0; i < TEST_COUNT(entries); i++) {
    CHECK_EQ(hak_registry_entry(root, NEAR + i * HAK_SLAB_SIZE), i < 2 ? 0 : entries[i]);
  }
}

/* Of these hooks it is not known that pages come back zeroed. */
static void purge__leaves_tables_alone_whose_pages_come_back_dirty(void **state) {
  (void)state;
  enum {
    ALL = 2048
  };
  CHECK(hak_registry_cover(&g_os.hooks, NEAR, ALL * HAK_SLAB_SIZE));
  hak_registry_set_entries(NEAR, ALL, UINT64_MAX);
  uint64_t calls = test_os_calls(&g_os);
  hak_registry_purge(NEAR, ALL * HAK_SLAB_SIZE);
  CHECK_EQ(test_os_calls(&g_os), calls);
}

/* Over the system's own hooks, as of others it is not known what comes back. */
static void purge__leaves_what_lies_beside_the_range(void **state) {
  (void)state;
  enum {
    BEFORE = 100, /* slabs, of which a page of entries has 512 */
    SLABS = 1500,
    ALL = 2048
  };
  hak_registry_t *root = hak_registry_root();
  CHECK(hak_registry_cover(hak_os_default(), NEAR, ALL * HAK_SLAB_SIZE));
  hak_registry_set_entries(NEAR, ALL, UINT64_MAX);
  uint64_t purges = hak_load_relaxed(&hak_os_counts.purge);
  hak_registry_purge(NEAR + HAK_SLAB_SIZE, 10 * HAK_SLAB_SIZE); /* not a page */
  hak_os_scope_t scope = hak_os_enter(HAK_OS_BARRED);
  hak_registry_purge(NEAR, ALL * HAK_SLAB_SIZE);
  hak_os_leave(scope);
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.purge), purges);
  hak_registry_purge(NEAR + BEFORE * HAK_SLAB_SIZE, SLABS * HAK_SLAB_SIZE);
  for (size_t i = 0; i < ALL; i++) {
    bool inside = i >= BEFORE && i < BEFORE + SLABS;
    uint64_t entry = hak_registry_entry(root, NEAR + i * HAK_SLAB_SIZE);
    CHECK(entry == UINT64_MAX || (inside && entry == 0));
  }
  CHECK_EQ(hak_registry_entry(root, NEAR + 600 * HAK_SLAB_SIZE), 0);
}

static int setup_systems(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  CHECK(hak_registry_start(hak_os_default()));
  return 0;
}

#define R(f) \
  cmocka_unit_test_setup_teardown(f, test_registry_setup, test_registry_teardown)

TEST_MAIN_FRESH(R(changes__reach_over_the_border_of_two_leaves),
                R(entry__is_zero_for_every_address_without_a_leaf),
                R(cover__makes_each_leaf_once_and_refuses_what_is_out_of_reach),
                R(cover__without_memory_fails_and_works_again),
                R(cover__zeroes_pages_that_are_not),
                R(start__without_memory_leaves_no_registry),
                R(prepare__puts_aside_what_covers_a_range_without_a_call),
                R(prepare__without_memory_keeps_none_to_itself),
                R(forget__clears_the_entries_that_name_these_lists),
                R(purge__leaves_tables_alone_whose_pages_come_back_dirty),
                cmocka_unit_test_setup_teardown(purge__leaves_what_lies_beside_the_range,
                                                setup_systems, test_registry_teardown))
