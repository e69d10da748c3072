/* api_huge_again.c - memory that was given back piece by piece and is filled again has
 * huge pages as it had before. Where pages went one by one the system keeps the table of
 * small ones, and goes on filling it even if it is told that huge ones are wanted: so
 * here it is asked what there is, not what it was told. Each case runs in a child. */
#include "child.h"

#include <stdio.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

enum {
  SIZE = 1000,
  PARTS = 4,
  BLOCKS_OF_PART = 130, /* some two slabs */
  COUNT = 64 * 1024 * 1024 / SIZE
};
static char *g_blocks[COUNT];

/* MiB of this process that lie in huge pages. */
static size_t huge_mib(void) {
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  if (file == NULL) return 0;
  char line[256];
  size_t kib = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "AnonHugePages: %zu", &kib) == 1) break;
  }
  fclose(file);
  return kib / 1024;
}

static void fill(void) {
  for (size_t i = 0; i < COUNT; i++) {
    if (g_blocks[i] != NULL) continue;
    g_blocks[i] = hak_alloc(SIZE);
    CHECK(g_blocks[i] != NULL);
    memset(g_blocks[i], 1, SIZE);
  }
}

static void let_go(size_t i) {
  hak_free(g_blocks[i]);
  g_blocks[i] = NULL;
}

static void give_back(void) { (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); }

/* Fills the heap; false if the system gave too few huge pages to tell anything. */
static bool begin(void) {
  fill();
  size_t huge = huge_mib();
  if (huge < 32) printf("skipped: only %zu MiB in huge pages\n", huge);
  return huge >= 32;
}

static void check_filled_again(void) {
  fill();
  size_t huge = huge_mib();
  CHECK_MSG(huge >= 32, "%zu MiB in huge pages", huge);
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t i = 0; i < COUNT; i++) {
    if (g_blocks[i] != NULL) let_go(i);
  }
}

TEST_IN_CHILD(nearly_empty_superslabs__get_huge_pages_again, 60) {
  if (!begin()) return;
  /* One block stays in one slab of each SuperSlab and half. */
  for (size_t i = 0; i < COUNT; i++) {
    if (i % 3000 != 0) let_go(i);
  }
  give_back();
  CHECK(huge_mib() < 8);
  check_filled_again();
}

TEST_IN_CHILD(superslabs__emptied_in_parts_get_huge_pages_again, 60) {
  if (!begin()) return;
  /* So a SuperSlab's last pages go without those around them. A few blocks keep its
   * region. */
  for (size_t part = 0; part < PARTS; part++) {
    for (size_t i = 0; i < COUNT; i++) {
      if (i / BLOCKS_OF_PART % PARTS == part && i % 20000 != 0) let_go(i);
    }
    give_back();
  }
  CHECK(huge_mib() < 8);
  check_filled_again();
}

TEST_IN_CHILD(heaps__that_want_small_pages_are_filled_with_small_ones, 60) {
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, 0), 0);
  size_t before = huge_mib();
  fill();
  for (size_t i = 0; i < COUNT; i++) {
    if (i % 3000 != 0) let_go(i);
  }
  give_back();
  fill();
  CHECK(huge_mib() <= before);
  for (size_t i = 0; i < COUNT; i++) let_go(i);
}

/* What came along with a huge page is committed, and a budget is charged for it. */
TEST_IN_CHILD(budgets__are_charged_what_huge_pages_bring_back, 60) {
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = 200 * MIB};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  for (size_t round = 0; round < 2; round++) {
    for (size_t i = 0; i < COUNT; i++) {
      if (g_blocks[i] == NULL) g_blocks[i] = hak_heap_alloc(heap, SIZE);
      CHECK(g_blocks[i] != NULL);
      memset(g_blocks[i], 1, SIZE);
    }
    CHECK_EQ(hak_check(heap), 0);
    for (size_t i = 0; i < COUNT; i++) {
      if (i % 3000 != 0) let_go(i);
    }
    CHECK(hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL) > 0);
    hak_stats_t stats = {.struct_size = sizeof stats};
    CHECK_EQ(hak_stats_get(heap, &stats), 0);
    CHECK_MSG(stats.committed_bytes < 16 * MIB, "%zu bytes",
              (size_t)stats.committed_bytes);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(nearly_empty_superslabs__get_huge_pages_again),
          T(superslabs__emptied_in_parts_get_huge_pages_again),
          T(heaps__that_want_small_pages_are_filled_with_small_ones),
          T(budgets__are_charged_what_huge_pages_bring_back))
