/* tiny_stray.c - pointers that misuse leaves on lists of free blocks are told from free
 * blocks, as far as the build checks. */
#include "slab_fixture.h"

#include <string.h>

#include "base/report.h"
#include "tiny/single.h"
#include "tiny/stray.h"

enum {
  SIZE = 1280, /* 5 * 256 bytes, over HAK_TINY_MAX */
  SMALL = 1024,
  BLOCKS = 30
};

/* A slab with so many blocks carved, which are the test's, and its end. */
static hak_slab_t *make_slab(void) {
  hak_slab_t *slab = test_slab_full();
  CHECK(hak_slab_capacity(slab) > BLOCKS);
  hak_slab_carve_anew(slab);
  hak_slab_carve(slab, BLOCKS);
  return slab;
}
static void end(hak_slab_t *slab) { hak_hold_retire(g_me, g_cache, slab); }

static uint64_t first_word(const void *block) { return *(const uint64_t *)block; }

/* --- one block -----------------------------------------------------------------------
 */

static void tells__says_which_blocks_are_seen_to_be_free(void **state) {
  (void)state;
  CHECK_EQ(hak_stray_tells(0), HAK_CHECKS >= 2);
  CHECK_EQ(hak_stray_tells(20), HAK_CHECKS >= 2);
  CHECK_EQ(hak_stray_tells(21), HAK_CHECKS >= 1);
  CHECK_EQ(hak_stray_tells(43), HAK_CHECKS >= 1);
}

static void askew__is_an_address_without_the_factors_of_two_of_the_size(void **state) {
  (void)state;
  const struct {
    size_t size, factor; /* bytes; the greatest power of two that divides the size */
  } cases[] = {{8, 8}, {48, 16}, {1024, 1024}, {1280, 256}, {7168, 1024}, {57344, 8192}};
  char *base = (char *)(uintptr_t)0x123400000000;
  for (size_t i = 0; i < TEST_COUNT(cases); i++) {
    uint32_t cls = hak_class_of(cases[i].size);
    if (hak_class_size(cls) != cases[i].size) continue; /* full checks have no 8 bytes */
    CHECK(!hak_stray_is_askew(cls, base));
    CHECK(!hak_stray_is_askew(cls, base + cases[i].size));
    CHECK(!hak_stray_is_askew(cls, base + cases[i].factor));
    CHECK_EQ(hak_stray_is_askew(cls, base + cases[i].factor / 2), HAK_CHECKS != 0);
    CHECK_EQ(hak_stray_is_askew(cls, base + 1), HAK_CHECKS != 0);
  }
}

/* A list says the sizes of its blocks to the byte, up to half a MiB, and knows factors of
 * two up to 8 KiB. */
static void list__tells_the_size_and_the_factors_of_two_of_each_class(void **state) {
  (void)state;
  char *base = (char *)(uintptr_t)0x123400000000;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_list_t list = {0};
    uint32_t size = hak_class_size(cls), factor = size & (0 - size);
    if (factor > 8192) factor = 8192;
    hak_list_set_form(&list, size, hak_class_askew[cls]);
    CHECK_EQ(hak_list_block_size(&list), size < 524280 ? size : 524280);
    CHECK(!hak_list_is_askew(&list, base));
    CHECK(!hak_list_is_askew(&list, base + factor));
    for (uint32_t part = 1; part < factor; part *= 2) {
      CHECK(hak_list_is_askew(&list, base + part));
    }
  }
}

static void starts__are_those_of_carved_blocks(void **state) {
  (void)state;
  hak_slab_t *slab = make_slab();
  const char *start = hak_slab_start(slab);
  for (uint32_t i = 0; i < BLOCKS; i++) {
    const char *block = test_slab_block(slab, i);
    CHECK(hak_stray_starts(slab, g_class, start, block));
    CHECK_EQ(hak_stray_starts(slab, g_class, start, block + 8), HAK_CHECKS == 0);
    CHECK_EQ(hak_stray_starts(slab, g_class, start, block + SIZE - 8), HAK_CHECKS == 0);
  }
  const char *uncut = test_slab_block(slab, BLOCKS);
  CHECK_EQ(hak_stray_starts(slab, g_class, start, uncut), HAK_CHECKS == 0);
  /* Each begins at the span's start. */
  CHECK_EQ(hak_stray_starts(slab, g_class + 1, start, start), HAK_CHECKS == 0);
  CHECK_EQ(hak_stray_starts(slab, g_class - 1, start, start), HAK_CHECKS == 0);
  end(slab);
}

static bool refuses_mid(uint32_t cls, void *block) {
  return hak_stray_refuses_mid(hak_class_askew[cls], block);
}

static void refuses__blocks_that_are_askew_and_spoils_the_others(void **state) {
  (void)state;
  hak_slab_t *slab = make_slab();
  char *block = test_slab_block(slab, 3);
  void *both[] = {block, block + 128};
  bool (*const functions[])(uint32_t, void *) = {hak_stray_refuses, refuses_mid};
  for (size_t i = 0; i < TEST_COUNT(functions); i++) {
    for (size_t k = 0; k < TEST_COUNT(both); k++) {
      bool refused = k == 1 && HAK_CHECKS != 0;
      memset(block, 0xaa, 256);
      CHECK_EQ(functions[i](g_class, both[k]), refused);
      bool spoilt = !refused && HAK_CHECKS != 0;
      CHECK_EQ(first_word(both[k]), spoilt ? 0 : 0xaaaaaaaaaaaaaaaa);
    }
  }
  end(slab);
}

/* What lies behind an address inside a block of the class is the bin's own list. */
static void leave__goes_on_behind_an_address_inside_a_block_and_not_in_other_lists(
    void **state) {
  (void)state;
  hak_slab_t *slab = make_slab();
  char *inside = test_slab_block(slab, 3) + 128, *next = test_slab_block(slab, 5);
  hak_bin_t bin = {.list.head = next, .ready = inside};
  hak_link_write(&g_me->key, inside, next);
  hak_stray_leave(&g_me->key, &bin, g_class, inside);
  CHECK(bin.list.head == next && bin.ready == inside);
  if (HAK_CHECKS != 0) CHECK_EQ(first_word(inside), 0);
  for (int ready = 0; ready < 2; ready++) {
    bin.list.head = ready ? inside : next;
    bin.ready = ready ? next : inside;
    hak_link_write(&g_me->key, inside, next);
    uint64_t link = first_word(inside);
    hak_stray_leave(&g_me->key, &bin, g_class + 1, inside);
    CHECK(bin.list.head == (ready ? inside : (void *)HAK_LINK_END));
    CHECK(bin.ready == (ready ? (void *)HAK_LINK_END : inside));
    CHECK_EQ(first_word(inside), link);
  }
  end(slab);
}

static void single__is_told_from_other_classes_and_from_what_is_gone(void **state) {
  (void)state;
  enum {
    SINGLE = HAK_SHARED_CLASSES + 2 /* of two slabs */
  };
  char *block = hak_single_new(g_me, g_cache, SINGLE);
  CHECK(block != NULL);
  CHECK(hak_stray_is_single(SINGLE, block));
  CHECK(!hak_stray_is_single(SINGLE + 1, block));
  CHECK(!hak_stray_is_single(SINGLE, block + HAK_SLAB_SIZE));
  CHECK_EQ(hak_stray_is_other(SINGLE + 1, block), HAK_CHECKS != 0);
  CHECK(!hak_stray_is_other(SINGLE, block));
  CHECK(!hak_stray_is_other(HAK_SHARED_CLASSES - 1, block));
  CHECK(hak_stray_is_named(g_me, &g_cache->bins[SINGLE], block));
  CHECK_EQ(hak_stray_is_named(g_me, &g_cache->bins[SINGLE + 1], block), HAK_CHECKS == 0);
  hak_single_home(g_me, g_cache, SINGLE, block);
  CHECK(!hak_stray_is_single(SINGLE, block));
  CHECK_EQ(hak_stray_is_named(g_me, &g_cache->bins[SINGLE], block), HAK_CHECKS == 0);
}

static void refuses__no_small_block_and_leaves_it_as_it_is(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  char *block = test_slab_block(slab, 3) + 8;
  memset(block, 0xaa, 8);
  CHECK(!hak_stray_refuses(HAK_TINY_CLASSES - 1, block));
  CHECK_EQ(first_word(block), 0xaaaaaaaaaaaaaaaa);
  end(slab);
}

static void free_block__is_one_with_a_link_and_in_full_checks_a_mark(void **state) {
  (void)state;
  hak_slab_t *slab = make_slab();
  char *block = test_slab_batch(slab, 3, 5).first;
  CHECK(hak_stray_is_free(g_me, block));
  CHECK(hak_stray_is_free(g_me, test_slab_block(slab, 4))); /* the last of a list */
  hak_link_unmark(block);
  CHECK_EQ(hak_stray_is_free(g_me, block), HAK_CHECKS < 2);
  (void)test_slab_batch(slab, 3, 5);
  hak_link_spoil(block);
  CHECK_EQ(hak_stray_is_free(g_me, block), HAK_CHECKS == 0);
  end(slab);
}

/* --- reports ---------------------------------------------------------------------------
 */

static void expect_report(const void *address, int error, const char *text) {
  CHECK_EQ(hak_stray_error(address), error);
  hak_stray_report(g_me, g_cache, address);
  CHECK(g_me->deferred.text != NULL);
  CHECK(strcmp(g_me->deferred.text, text) == 0);
  test_deferred_expect(error, address);
}

static void report__tells_the_inside_of_a_block_from_what_is_gone(void **state) {
  (void)state;
  hak_slab_t *slab = make_slab();
  char *block = test_slab_block(slab, 7);
  expect_report(block, HAK_ERROR_DOUBLE_FREE, HAK_TEXT_GONE);
  expect_report(block + 1, HAK_ERROR_INTERIOR_POINTER, HAK_TEXT_INTERIOR);
  expect_report(block + SIZE - 8, HAK_ERROR_INTERIOR_POINTER, HAK_TEXT_INTERIOR);
  expect_report(&slab, HAK_ERROR_DOUBLE_FREE, HAK_TEXT_GONE); /* nobody's memory */
  end(slab);
  expect_report(block + 1, HAK_ERROR_DOUBLE_FREE, HAK_TEXT_GONE); /* nor is this */
}

/* --- lists that come back to themselves ----------------------------------------------
 */

/* Blocks 0 to 5, after which the list comes back to block `to`. */
static void *make_cycle(hak_slab_t *slab, uint32_t to) {
  hak_batch_t run = test_slab_batch(slab, 0, 6);
  hak_link_write(&g_me->key, run.last, test_slab_block(slab, to));
  return run.first;
}

static void cycle__is_cut_before_the_list_comes_back(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) skip(); /* nothing is cut */
  hak_slab_t *slab = make_slab();
  for (uint32_t to = 0; to < 6; to++) {
    for (uint32_t count = 0; count < 15; count++) {
      void *list = make_cycle(slab, to);
      hak_stray_cut_cycle(g_me, g_cache, list, count);
      CHECK(g_me->deferred.text != NULL);
      CHECK(strcmp(g_me->deferred.text, HAK_TEXT_LISTED) == 0);
      test_deferred_expect(HAK_ERROR_DOUBLE_FREE, test_slab_block(slab, to));
      CHECK(test_list_expect(list, slab, 0, 6) == HAK_LINK_END);
    }
  }
  end(slab);
}

static void list__that_ends_or_breaks_is_not_cut(void **state) {
  (void)state;
  hak_slab_t *slab = make_slab();
  for (uint32_t count = 0; count < 10; count++) {
    void *list = test_slab_batch(slab, 0, 6).first;
    hak_stray_cut_cycle(g_me, g_cache, list, count);
    CHECK(test_list_expect(list, slab, 0, 6) == HAK_LINK_END);
    hak_stray_cut_cycle(g_me, g_cache, HAK_LINK_END, count);
    if (HAK_CHECKS != 0) {
      hak_link_spoil(test_slab_block(slab, 4));
      hak_stray_cut_cycle(g_me, g_cache, list, count);
      CHECK(test_list_expect(list, slab, 0, 4) == test_slab_block(slab, 4));
      CHECK_EQ(first_word(test_slab_block(slab, 4)), 0);
    }
  }
  test_deferred_expect(0, NULL);
  end(slab);
}

/* --- arrays of blocks ------------------------------------------------------------------
 */

static void sift__leaves_each_free_block_once_and_spoils_it(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) skip(); /* all blocks are left */
  hak_slab_t *slab = make_slab();
  char *a = test_slab_block(slab, 0), *b = test_slab_block(slab, 1),
       *used = test_slab_block(slab, 2), *c = test_slab_block(slab, 3);
  (void)test_slab_batch(slab, 0, 4);
  hak_link_spoil(used);
  void *blocks[] = {c, used, a, b, a};
  CHECK_EQ(hak_stray_sift(g_me, g_cache, g_class, blocks, 5), 3);
  CHECK(blocks[0] == c && blocks[1] == a && blocks[2] == b);
  for (int i = 0; i < 3; i++) CHECK_EQ(first_word(blocks[i]), 0);
  test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, used);
  CHECK_EQ(hak_stray_sift(g_me, g_cache, g_class, blocks, 1), 0); /* it is in use now */
  test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, c);
  CHECK_EQ(hak_stray_sift(g_me, g_cache, g_class, blocks, 0), 0);
  test_deferred_expect(0, NULL);
  end(slab);
}

static void sift__leaves_all_blocks_of_classes_that_do_not_tell(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  void *blocks[] = {test_slab_block(slab, 0), test_slab_block(slab, 1),
                    test_slab_block(slab, 0)};
  (void)test_slab_batch(slab, 0, 1);
  hak_link_spoil(test_slab_block(slab, 1));
  uint64_t word = first_word(blocks[0]);
  CHECK_EQ(hak_stray_sift(g_me, g_cache, g_class, blocks, 3), HAK_CHECKS >= 2 ? 1 : 3);
  CHECK(blocks[0] == test_slab_block(slab, 0));
  CHECK(blocks[1] == test_slab_block(slab, 1));
  CHECK_EQ(first_word(blocks[0]), HAK_CHECKS >= 2 ? 0 : word);
  test_deferred_expect(HAK_CHECKS >= 2 ? HAK_ERROR_CORRUPT_BLOCK : 0,
                       HAK_CHECKS >= 2 ? blocks[1] : NULL);
  end(slab);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(tells__says_which_blocks_are_seen_to_be_free),
                H(askew__is_an_address_without_the_factors_of_two_of_the_size),
                H(list__tells_the_size_and_the_factors_of_two_of_each_class),
                H(starts__are_those_of_carved_blocks),
                H(refuses__blocks_that_are_askew_and_spoils_the_others),
                H(leave__goes_on_behind_an_address_inside_a_block_and_not_in_other_lists),
                H(single__is_told_from_other_classes_and_from_what_is_gone),
                TEST_OF_SLABS(refuses__no_small_block_and_leaves_it_as_it_is, SMALL),
                H(free_block__is_one_with_a_link_and_in_full_checks_a_mark),
                H(report__tells_the_inside_of_a_block_from_what_is_gone),
                H(cycle__is_cut_before_the_list_comes_back),
                H(list__that_ends_or_breaks_is_not_cut),
                H(sift__leaves_each_free_block_once_and_spoils_it),
                TEST_OF_SLABS(sift__leaves_all_blocks_of_classes_that_do_not_tell, SMALL))
