/* api_resize.c - which way a resize takes: whether a block stays where it is, moves, or
 * is left alone; and what it costs then. */
#include "child.h"
#include "support.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "external/malloced.h"
#include "pages/clock.h"
#include "pages/idle.h"

/* Blocks that are malloc's move whenever they may. */
static bool is_own(void) { return !hak_malloced_is_on(); }

/* A block that was written to has become so large where it was. */
static void stays(hak_heap_t *heap, char *block, size_t from, size_t to, unsigned flags) {
  test_fill_sparse(block, from, to);
  char *now = hak_reallocx(heap, block, to, 0, flags, NULL);
  CHECK(now == block);
  CHECK_EQ(hak_usable_size(now), hak_good_size(to));
  CHECK(test_verify_sparse_prefix(now, from, to, to));
}

static void shrinking__by_a_third_leaves_large_blocks_where_they_are(void **state) {
  (void)state;
  if (!is_own()) return;
  static const size_t sizes[] = {8 * MIB, 3 * MIB, 900 * KIB, 40 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = hak_alloc(sizes[i]);
    stays(NULL, block, sizes[i], sizes[i] / 3 * 2, 0);
    hak_free(block);
  }
}

/* Its pages go, and what is left of its address space is nobody else's. */
static void mapping__that_becomes_a_small_part_of_itself_stays(void **state) {
  (void)state;
  if (!is_own()) return;
  char *block = hak_alloc(64 * MIB);
  stays(NULL, block, 64 * MIB, 2 * MIB, 0);
  hak_free(block);
}

static void mapping__that_becomes_a_small_block_is_one_like_others(void **state) {
  (void)state;
  char *block = hak_alloc(64 * MIB);
  test_fill_sparse(block, 64 * MIB, 1);
  block = hak_reallocx(NULL, block, 1000, 0, 0, NULL);
  CHECK_EQ(hak_usable_size(block), hak_good_size(1000));
  CHECK(test_verify_sparse_prefix(block, 64 * MIB, 1000, 1));
  hak_free(block);
}

static void run__becomes_a_small_part_of_itself_elsewhere(void **state) {
  (void)state;
  if (!is_own()) return;
  CHECK_EQ(hak_idle_shrink_allowance(UINT64_MAX), 0);
  char *block = hak_alloc(8 * MIB), *now = hak_realloc(block, MIB / 2);
  CHECK(now != NULL && now != block);
  hak_free(now);
}

static void run__stays_where_both_would_be_too_much(void **state) {
  (void)state;
  if (!is_own()) return;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 14 * MIB});
  char *block = hak_heap_alloc(heap, 8 * MIB);
  CHECK(block != NULL);
  stays(heap, block, 8 * MIB, MIB / 2, 0);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* There is a block that would do: of that size one was freed just now. */
static void run__stays_if_nothing_may_grow(void **state) {
  (void)state;
  if (!is_own()) return;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){0});
  char *block = hak_heap_alloc(heap, 8 * MIB);
  char *beside = hak_heap_alloc(heap, 70 * KIB), *other = hak_heap_alloc(heap, MIB / 2);
  memset(other, 1, MIB / 2);
  hak_free(other);
  stays(heap, block, 8 * MIB, MIB / 2, HAK_NO_GROW);
  hak_free(block);
  hak_free(beside);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Such memory was lately needed again. */
static void blocks__that_grow_and_shrink_in_turn_keep_their_places(void **state) {
  (void)state;
  if (!is_own()) return;
  char *run = hak_alloc(8 * MIB), *single = hak_alloc(200000);
  size_t usable = hak_usable_size(single);
  hak_clock_refresh();
  hak_idle_note_shrunk(64 * MIB, hak_clock_cached());
  hak_idle_note_grown(64 * MIB);
  stays(NULL, run, 8 * MIB, MIB / 2, 0);
  CHECK(hak_reallocx(NULL, single, 140000, 0, 0, NULL) == single);
  if (HAK_CHECKS < 3) CHECK_EQ(hak_usable_size(single), usable);
  hak_free(run);
  hak_free(single);
  (void)hak_idle_shrink_allowance(UINT64_MAX); /* it is forgotten */
}

/* The class of the new size is not one with a span to itself. */
static void block__of_a_single_class_never_gets_a_shared_one_in_place(void **state) {
  (void)state;
  if (!is_own()) return;
  (void)hak_idle_shrink_allowance(UINT64_MAX);
  for (size_t to = 40000; to <= 57344; to += 4336) {
    char *block = hak_alloc(65000);
    size_t usable = hak_usable_size(block);
    test_fill_sparse(block, 65000, to);
    char *now = hak_reallocx(NULL, block, to, 0, 0, NULL);
    CHECK(now == block);
    CHECK_EQ(hak_usable_size(now), usable);
    CHECK(test_verify_sparse_prefix(now, 65000, to, to));
    CHECK_EQ(hak_check(NULL), 0);
    hak_free(now);
  }
}

static void flags__no_grow_takes_no_page_for_growth(void **state) {
  (void)state;
  static const size_t sizes[] = {2 * MIB + MIB / 2, 40 * MIB, 100000};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = hak_alloc(sizes[i]);
    size_t usable = hak_usable_size(block);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    hak_stats_t before = test_stats();
    errno = 0;
    CHECK(hak_reallocx(NULL, block, sizes[i] + MIB, 0, HAK_NO_GROW, NULL) == NULL);
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(hak_usable_size(block), usable);
    hak_stats_t after = test_stats();
    CHECK_EQ(after.os_commit, before.os_commit);
    CHECK_EQ(after.os_remap, before.os_remap);
    hak_free(block);
  }
}

static void flags__no_grow_and_no_move_let_blocks_shrink_in_place(void **state) {
  (void)state;
  if (!is_own()) return;
  char *block = hak_alloc(8 * MIB);
  stays(NULL, block, 8 * MIB, 5 * MIB, HAK_NO_GROW);
  stays(NULL, block, 5 * MIB, 3 * MIB, HAK_NO_MOVE);
  CHECK(hak_reallocx(NULL, block, 1000, 0, HAK_NO_MOVE, NULL) == block);
  CHECK(hak_usable_size(block) < 100000);
  CHECK(hak_reallocx(NULL, block, 1000, 0, HAK_NO_MOVE, NULL) == block);
  hak_free(block);
}

/* Small ones too: a block is copied only if much of it would be of no use. */
static void shrinking__a_little_copies_nothing(void **state) {
  (void)state;
  if (!is_own()) return;
  for (size_t size = 100; size <= 50000; size *= 3) {
    char *block = hak_alloc(size);
    size_t usable = hak_usable_size(block);
    CHECK(hak_reallocx(NULL, block, usable / 4 * 3, 0, 0, NULL) == block);
    CHECK_EQ(hak_usable_size(block), usable);
    char *less = hak_reallocx(NULL, block, usable / 4, 0, 0, NULL);
    CHECK_EQ(hak_usable_size(less), hak_good_size(usable / 4));
    hak_free(less);
  }
}

/* Pages that a block gets are resident once they are written to. */
static void growth__touches_no_page_unasked(void **state) {
  (void)state;
  if (TEST_ASAN || TEST_TSAN || TEST_EMULATED || HAK_CHECKS >= 2) return;
  if (!is_own() || test_is_strict()) return; /* those hooks write to what they give */
  static const size_t from[] = {40 * MIB, 18 * MIB + 999},
                      to[] = {200 * MIB, 19 * MIB + MIB / 2};
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, 0), 0);
  for (size_t i = 0; i < TEST_COUNT(from); i++) {
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    char *block = hak_alloc(from[i]);
    memset(block, 1, from[i]);
    size_t before = test_resident_bytes();
    block = hak_reallocx(NULL, block, to[i], 0, 0, NULL);
    CHECK(block != NULL);
    size_t now = test_resident_bytes();
    CHECK_MSG(now < before + MIB / 2, "%zu KiB more", (now - before) / KIB);
    hak_free(block);
  }
}

/* --- limits ---------------------------------------------------------------------- */

static char *g_block;
static unsigned g_asked;

static int shrink_inside(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)needed, (void)level, (void)ctx;
  if (g_asked++ > 0) return 0;
  g_block = hak_reallocx(heap, g_block, 100000, 0, 0, NULL);
  CHECK(g_block != NULL);
  return 1;
}

static void shrinking__is_allowed_while_the_heap_asks_for_room(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make(
      (hak_heap_config_t){.hard_limit = 8 * MIB, .on_pressure = shrink_inside});
  g_asked = 0;
  g_block = hak_heap_alloc(heap, 5 * MIB);
  CHECK(g_block != NULL);
  char *other = hak_heap_alloc(heap, 5 * MIB);
  CHECK(other != NULL);
  CHECK(g_asked > 0);
  hak_free(g_block);
  hak_free(other);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void flags__no_grow_asks_nobody_for_room(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make(
      (hak_heap_config_t){.hard_limit = 8 * MIB, .on_pressure = shrink_inside});
  g_asked = 1;
  char *block = hak_heap_alloc(heap, 5 * MIB);
  CHECK(block != NULL);
  CHECK(hak_reallocx(heap, block, 20 * MIB, 0, HAK_NO_GROW, NULL) == NULL);
  CHECK_EQ(g_asked, 1);
  CHECK(hak_reallocx(heap, block, 20 * MIB, 0, 0, NULL) == NULL);
  CHECK(g_asked > 1);
  CHECK_EQ(test_heap_stats(heap).live_blocks, 1);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* --- what is told and counted ------------------------------------------------------ */

static void count_resize(const hak_block_event_t *event, void *ctx) {
  *(unsigned *)ctx += event->kind == HAK_BLOCK_RESIZE;
}

static void in_place__what_fails_is_told_to_nobody(void **state) {
  (void)state;
  unsigned heard = 0;
  hak_heap_t *heap = test_heap(HAK_HEAP_WATCHED, "watched", NULL);
  CHECK_EQ(hak_heap_set_block_hook(heap, count_resize, &heard), 0);
  char *block = hak_heap_alloc(heap, 3 * MIB);
  CHECK_EQ(hak_resize_in_place(block, 900 * MIB, 900 * MIB), 0);
  CHECK_EQ(heard, 0);
  if (is_own()) CHECK(hak_resize_in_place(block, 2 * MIB, 2 * MIB) == 2 * MIB);
  CHECK_EQ(heard, is_own());
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void live_bytes__are_right_after_growth_of_each_kind(void **state) {
  (void)state;
  uint64_t bytes = test_live_bytes(), blocks = test_live_blocks();
  static const size_t sizes[] = {100, 100000, 900000, 3 * MIB, 20 * MIB, 40 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = hak_alloc(sizes[i]);
    block = hak_realloc(block, 2 * sizes[i]);
    CHECK(block != NULL);
    CHECK_EQ(test_live_blocks(), blocks + 1);
    CHECK_EQ(test_live_bytes() - bytes, hak_usable_size(block));
    hak_free(block);
    CHECK_EQ(test_live_bytes(), bytes);
  }
}

/* --- misuse ------------------------------------------------------------------------ */

TEST_IN_CHILD(calls__after_a_shutdown_are_named_once_and_do_nothing, 60) {
  char *block = hak_alloc(100);
  hak_free(block);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  test_reports_begin();
  CHECK_EQ(hak_resize_in_place(block, 1, 1), 0);
  test_expect_report(1, HAK_ERROR_AFTER_SHUTDOWN, block, "hak_resize_in_place");
  CHECK_EQ(hak_freex(block, HAK_NO_CACHE), 0);
  test_expect_report(2, HAK_ERROR_AFTER_SHUTDOWN, block, "hak_freex");
  hak_free_aligned_sized(block, 8, 100);
  test_expect_report(3, HAK_ERROR_AFTER_SHUTDOWN, block, "hak_free_aligned_sized");
  CHECK(hak_reallocx(NULL, block, 200, 0, 0, NULL) == NULL);
  test_expect_report(4, HAK_ERROR_AFTER_SHUTDOWN, block, NULL);
  hak_free(block);
  test_expect_report(5, HAK_ERROR_AFTER_SHUTDOWN, block, "hak_free");
}

TEST_MAIN(T(calls__after_a_shutdown_are_named_once_and_do_nothing),
          T(shrinking__by_a_third_leaves_large_blocks_where_they_are),
          T(mapping__that_becomes_a_small_part_of_itself_stays),
          T(mapping__that_becomes_a_small_block_is_one_like_others),
          T(run__becomes_a_small_part_of_itself_elsewhere),
          T(run__stays_where_both_would_be_too_much), T(run__stays_if_nothing_may_grow),
          T(blocks__that_grow_and_shrink_in_turn_keep_their_places),
          T(block__of_a_single_class_never_gets_a_shared_one_in_place),
          T(flags__no_grow_takes_no_page_for_growth),
          T(flags__no_grow_and_no_move_let_blocks_shrink_in_place),
          T(shrinking__a_little_copies_nothing), T(growth__touches_no_page_unasked),
          T(shrinking__is_allowed_while_the_heap_asks_for_room),
          T(flags__no_grow_asks_nobody_for_room),
          T(in_place__what_fails_is_told_to_nobody),
          T(live_bytes__are_right_after_growth_of_each_kind))
