/* api_huge.c - which memory has huge pages: what heaps fill densely, and nothing else.
 * The system is told by madvise, and smaps says what it was told. Each case runs in a
 * child of its own. */
#include "child.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define PIECE (2 * MIB)

/* ---- What the system was told --------------------------------------------- */

typedef struct range {
  uintptr_t from, to;
} range_t;

enum {
  RANGES_MOST = 1000
};
static range_t g_huge[RANGES_MOST];
static size_t g_huge_count;

/* Notes the ranges of this process that ask for huge pages. */
static void look(void) {
  FILE *maps = fopen("/proc/self/smaps", "r");
  CHECK(maps != NULL);
  char line[1024];
  unsigned long from = 0, to = 0, first, last;
  g_huge_count = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    if (sscanf(line, "%lx-%lx ", &first, &last) == 2) {
      from = first;
      to = last;
    } else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " hg") != NULL) {
      CHECK(g_huge_count < RANGES_MOST);
      g_huge[g_huge_count++] = (range_t){from, to};
    }
  }
  fclose(maps);
}

static bool is_huge(const void *at) {
  for (size_t i = 0; i < g_huge_count; i++) {
    if ((uintptr_t)at >= g_huge[i].from && (uintptr_t)at < g_huge[i].to) return true;
  }
  return false;
}

static size_t count_huge(char **blocks, size_t count) {
  size_t huge = 0;
  look();
  for (size_t i = 0; i < count; i++) huge += is_huge(blocks[i]);
  return huge;
}

static bool has_huge_pages(void) {
  return access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
}

/* ---- Blocks ---------------------------------------------------------------- */

enum {
  BLOCKS_MOST = 100000
};
static char *g_blocks[BLOCKS_MOST];

/* `bytes` in blocks of one size, of which so much is written to; how many. */
static size_t fill(hak_heap_t *heap, size_t bytes, size_t size, size_t written) {
  size_t count = bytes / size;
  CHECK(count <= BLOCKS_MOST);
  for (size_t i = 0; i < count; i++) {
    g_blocks[i] = hak_heap_alloc(heap, size);
    CHECK(g_blocks[i] != NULL);
    memset(g_blocks[i], 1, written);
  }
  return count;
}

static void empty(size_t count, size_t but_every) {
  for (size_t i = 0; i < count; i++) {
    if (but_every == 0 || i % but_every != 0) hak_free(g_blocks[i]);
  }
}

TEST_IN_CHILD(dense__heaps_have_huge_pages_beyond_their_first_superslab, 60) {
  if (!has_huge_pages()) return;
  hak_heap_t *heap = hak_heap_create(NULL);
  size_t few = fill(heap, PIECE * 3 / 4, 1000, 1000);
  CHECK_EQ(count_huge(g_blocks, few), 0);
  empty(few, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL) > 0);
  heap = hak_heap_create(NULL);
  size_t many = fill(heap, 24 * PIECE, 1000, 1000);
  size_t huge = count_huge(g_blocks, many);
  CHECK_MSG(huge > many / 2, "%zu of %zu blocks", huge, many);
  CHECK_EQ(hak_check(heap), 0);
  empty(many, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(sparse__heaps_never_have_huge_pages, 60) {
  if (!has_huge_pages()) return;
  hak_heap_t *heap = hak_heap_create(NULL);
  size_t count = fill(heap, 24 * PIECE, 16384, 16);
  CHECK_EQ(count_huge(g_blocks, count), 0);
  empty(count, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(part__that_is_given_back_asks_for_small_pages, 60) {
  if (!has_huge_pages()) return;
  /* It goes when it is collected. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  hak_heap_t *heap = hak_heap_create(NULL);
  size_t count = fill(heap, 24 * PIECE, 4096, 4096);
  CHECK(count_huge(g_blocks, count) > count / 2);
  empty(count, 400);
  CHECK(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL) > 20 * PIECE);
  look();
  for (size_t i = 0; i < count; i += 400) CHECK(!is_huge(g_blocks[i]));
  CHECK_EQ(hak_check(heap), 0);
  for (size_t i = 0; i < count; i += 400) hak_free(g_blocks[i]);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(wishes__of_heaps_and_of_the_program_are_heeded, 60) {
  if (!has_huge_pages()) return;
  hak_heap_config_t config = {.struct_size = sizeof config, .huge_pages = HAK_HUGE_NEVER};
  hak_heap_t *heap = hak_heap_create(&config);
  size_t count = fill(heap, 24 * PIECE, 1000, 1000);
  CHECK_EQ(count_huge(g_blocks, count), 0);
  empty(count, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  /* Such a heap could not pay for much that it does not use. */
  config = (hak_heap_config_t){.struct_size = sizeof config, .hard_limit = 60 * MIB};
  heap = hak_heap_create(&config);
  count = fill(heap, 20 * PIECE, 1000, 1000);
  CHECK_EQ(count_huge(g_blocks, count), 0);
  empty(count, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, 0), 0);
  heap = hak_heap_create(NULL);
  count = fill(heap, 24 * PIECE, 1000, 1000);
  CHECK_EQ(count_huge(g_blocks, count), 0);
  empty(count, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(small__pages_of_a_heap_found_dense_become_huge_ones, 60) {
  if (!has_huge_pages()) return;
  for (int mend = 0; mend <= 1; mend++) {
    CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_MEND, mend), 0);
    hak_heap_t *heap = hak_heap_create(NULL);
    size_t count = fill(heap, 24 * PIECE, 1000, 1000);
    look();
    CHECK_EQ(is_huge(g_blocks[0]), mend != 0);
    empty(count, 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL) > 0);
  }
}

TEST_IN_CHILD(small__pages_stay_small_where_some_were_given_back, 60) {
  if (!has_huge_pages()) return;
  hak_heap_t *heap = hak_heap_create(NULL);
  size_t count = fill(heap, PIECE, 4096, 4096);
  char *first = g_blocks[0];
  for (size_t i = 100; i < 300; i++) hak_free(g_blocks[i]);
  CHECK(hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL) > 0);
  for (size_t i = 0; i < count; i++) {
    if (i >= 100 && i < 300) continue;
    memset(g_blocks[i], 2, 4096);
  }
  count = fill(heap, 24 * PIECE, 4096, 4096); /* what was given back as well */
  /* How many depends on how much had gone back where it was looked. */
  size_t huge = count_huge(g_blocks, count);
  CHECK_MSG(huge > count / 8, "%zu of %zu blocks", huge, count);
  CHECK(!is_huge(first));
}

TEST_IN_CHILD(superslab__with_few_pages_left_comes_back_with_huge_ones, 60) {
  if (!has_huge_pages()) return;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  hak_heap_t *heap = hak_heap_create(NULL);
  size_t count = fill(heap, 24 * PIECE, 4096, 4096);
  empty(count, 400);
  CHECK(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL) > 20 * PIECE);
  CHECK_EQ(hak_heap_destroy(heap), 0); /* what it had stays, a quarter of each */
  heap = hak_heap_create(NULL);
  count = fill(heap, 24 * PIECE, 4096, 4096);
  CHECK(count_huge(g_blocks, count) > count / 2);
  CHECK_EQ(hak_check(heap), 0);
  empty(count, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(look__comes_again_after_as_many_as_are_granted, 60) {
  if (!has_huge_pages()) return;
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_MEND, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_GRANT, 1), 0);
  hak_heap_t *heap = hak_heap_create(NULL);
  /* Of each of the blocks only one page of three is known to be written to. */
  size_t count = fill(heap, 24 * PIECE, 12288, 12288), huge = count_huge(g_blocks, count);
  CHECK_MSG(huge > count / 4 && huge < count * 3 / 5, "%zu of %zu", huge, count);
  empty(count, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(look__is_not_needed_where_small_blocks_were_cut_everywhere, 60) {
  if (!has_huge_pages()) return;
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_MEND, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_GRANT, 1), 0);
  hak_heap_t *heap = hak_heap_create(NULL);
  size_t count = fill(heap, 24 * PIECE, 1000, 1000), huge = count_huge(g_blocks, count);
  CHECK_MSG(huge > count * 3 / 4, "%zu of %zu", huge, count);
  CHECK_EQ(hak_check(heap), 0);
  empty(count, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(tail__of_a_large_block_has_small_pages, 60) {
  if (!has_huge_pages()) return;
  enum {
    COUNT = 40
  };
  size_t size = 2 * PIECE + 5000;
  for (size_t round = 0; round < 2; round++) {
    size_t count = fill(NULL, COUNT * size, size, size);
    look();
    for (size_t i = 0; i < count; i++) CHECK(!is_huge(g_blocks[i] + 2 * PIECE));
    empty(count, 0);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  }
}

/* So many blocks of the size, of which so much is written to; each is freed, and its
 * pages go. */
static void learn(size_t count, size_t size, size_t written) {
  for (size_t i = 0; i < count; i++) {
    char *block = hak_alloc(size);
    CHECK(block != NULL);
    memset(block, 1, written);
    hak_free(block);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  }
}

TEST_IN_CHILD(large__blocks_have_huge_pages_where_such_blocks_are_written_to, 60) {
  if (!has_huge_pages()) return;
  static const size_t sizes[] = {12 * MIB, 48 * MIB}; /* a run, a mapping */
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    size_t size = sizes[i];
    char *first = hak_alloc(size);
    CHECK(first != NULL);
    look();
    CHECK_MSG(!is_huge(first), "%zu bytes: nothing is known yet", size);
    hak_free(first);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    learn(8, size, size);
    char *dense = hak_alloc(size);
    CHECK(dense != NULL);
    look();
    CHECK_MSG(is_huge(dense + size / 2), "%zu bytes, written to eight times", size);
    hak_free(dense);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    learn(40, size, 4096);
    char *sparse = hak_alloc(size);
    CHECK(sparse != NULL);
    look();
    CHECK_MSG(!is_huge(sparse + size / 2), "%zu bytes, no more written to", size);
    hak_free(sparse);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(unseen__sizes_are_taken_to_be_as_those_of_half_their_size, 60) {
  if (!has_huge_pages()) return;
  learn(1, 12 * MIB, 12 * MIB);
  learn(1, 40 * MIB, 4096);
  char *dense = hak_alloc(24 * MIB), *sparse = hak_alloc(80 * MIB);
  look();
  CHECK(is_huge(dense) && !is_huge(sparse));
  hak_free(dense); /* untouched: that guess was wrong, and is not made again */
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  dense = hak_alloc(24 * MIB);
  look();
  CHECK(!is_huge(dense));
  hak_free(dense);
  hak_free(sparse);
}

static char *grow(size_t to, size_t written) {
  char *block = hak_alloc(64);
  for (size_t size = 128; size <= to; size *= 2) {
    block = hak_realloc(block, size);
    CHECK(block != NULL);
    memset(block + size / 2, 1, size / 2 < written ? size / 2 : written);
  }
  return block;
}

TEST_IN_CHILD(growing__blocks_have_huge_pages_where_they_are_written_to, 60) {
  if (!has_huge_pages()) return;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  char *sparse = grow(32 * MIB, 4096), *dense = grow(32 * MIB, SIZE_MAX);
  look();
  CHECK(is_huge(dense + 30 * MIB) && !is_huge(sparse + 30 * MIB));
  hak_free(sparse);
  hak_free(dense);
  /* What is left of a kept mapping of which a part goes has its pages whole. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  (void)hak_collect(NULL, 3 * MIB, 0);
  look();
  CHECK(is_huge(dense));
}

TEST_IN_CHILD(untouched__large_blocks_stay_so, 60) {
  static const size_t sizes[] = {300000, 1500000, 10 * MIB, 60 * MIB};
  hak_free(hak_alloc(1));
  size_t before = test_resident_bytes() / KIB;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (size_t k = 0; k < 6; k++) {
      char *block = hak_calloc(1, sizes[i]);
      CHECK(block != NULL);
      /* Here and there. */
      for (size_t at = 0; at < sizes[i]; at += sizes[i] / 4) block[at] = 1;
    }
  }
  size_t more = test_resident_bytes() / KIB - before;
  CHECK_MSG(more < 3000, "%zu KiB for 96 pages", more);
}

TEST_MAIN(T(dense__heaps_have_huge_pages_beyond_their_first_superslab),
          T(sparse__heaps_never_have_huge_pages),
          T(part__that_is_given_back_asks_for_small_pages),
          T(wishes__of_heaps_and_of_the_program_are_heeded),
          T(small__pages_of_a_heap_found_dense_become_huge_ones),
          T(small__pages_stay_small_where_some_were_given_back),
          T(superslab__with_few_pages_left_comes_back_with_huge_ones),
          T(look__comes_again_after_as_many_as_are_granted),
          T(look__is_not_needed_where_small_blocks_were_cut_everywhere),
          T(tail__of_a_large_block_has_small_pages),
          T(large__blocks_have_huge_pages_where_such_blocks_are_written_to),
          T(unseen__sizes_are_taken_to_be_as_those_of_half_their_size),
          T(growing__blocks_have_huge_pages_where_they_are_written_to),
          T(untouched__large_blocks_stay_so))
