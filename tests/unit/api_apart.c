/* api_apart.c - blocks of places: of one that is kept apart, whose group is set by the
 * test and not learned; of none and of more than are known; where nothing is sampled; and
 * where memory is refused. */
#include "os_fixture.h"
#include "threads.h"

#include <errno.h>
#include <string.h>

#include "heap/groups.h"
#include "heap/heap.h"
#include "heap/thread_state.h"
#include "learn/sample.h"
#include "learn/stack.h"
#include "superslab/locate.h"

enum {
  GROUP = 1,
  USUAL_MEAN = 262144
};

static hak_site_t g_apart, g_site;

static hak_origin_sums_t sums_of(const hak_site_t *site) {
  uint32_t origin = hak_origin_of(site);
  if (origin == HAK_ORIGIN_NONE) return (hak_origin_sums_t){.blocks = 0};
  return hak_origin_read(origin).sums;
}

static int begin(int64_t mean) {
  test_over_os(0);
  g_apart = (hak_site_t){"apart.c", 1, "apart", {0}};
  g_site = (hak_site_t){"site.c", 2, "site", {0}};
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, mean), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 1), 0);
  return 0;
}
static int none(void **state) {
  (void)state;
  return begin(0);
}
static int each(void **state) {
  (void)state;
  return begin(1);
}
static int end(void **state) {
  (void)state;
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, USUAL_MEAN), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
  test_over_os_end();
  return 0;
}

/* The heap whose slabs have the block. */
static hak_heap_t *lies_in(const void *block) {
  return hak_heap_of_extent(hak_locate((uintptr_t)block).extent);
}

static void keep_apart(void) {
  hak_free(hak_alloc_at(16, &g_apart));
  hak_store_relaxed(&hak_origin_groups[hak_origin_of(&g_apart)], GROUP);
}

/* ---- a place that is kept apart ------------------------------------------------------
 */

static void *make_default(size_t size, hak_site_t *site) {
  return hak_heap_calloc_at(hak_heap_default(), 1, size, site);
}
static void *make_zeroed(size_t size, hak_site_t *site) {
  return hak_calloc_at(1, size, site);
}
static void *make_aligned(size_t size, hak_site_t *site) {
  return hak_aligned_alloc_at(64, size, site);
}
static void *(*const g_ways[])(size_t size, hak_site_t *site) = {
    hak_alloc_at, hak_alloc_named, make_zeroed, make_aligned, make_default};

/* In the group, each one once; but large blocks, which share no slabs. */
static void apart__blocks_of_the_default_heap_lie_in_the_group(void **state) {
  (void)state;
  static const size_t sizes[] = {0, 1, 100, 1024, 2000, 9000, 30000, 60000, 300 * KIB};
  keep_apart();
  for (size_t w = 0; w < TEST_COUNT(g_ways); w++) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      for (int again = 0; again < 3; again++) {
        uint64_t live = test_live_blocks();
        void *block = g_ways[w](sizes[i], &g_apart);
        CHECK(block != NULL && hak_heap_of(block) == hak_heap_default());
        CHECK_EQ(test_live_blocks(), live + 1);
        bool shares = sizes[i] <= HAK_MID_MAX;
        CHECK_MSG((lies_in(block) == hak_group_at(GROUP)) == shares,
                  "way %zu, %zu bytes, block %d", w, sizes[i], again);
        hak_free(block);
        CHECK_EQ(test_live_blocks(), live);
      }
    }
  }
}

static void apart__blocks_of_other_heaps_lie_in_these(void **state) {
  (void)state;
  keep_apart();
  hak_heap_t *heap = test_heap(0, "other", NULL);
  for (size_t size = 10; size < MIB; size *= 5) {
    void *blocks[] = {hak_heap_alloc_at(heap, size, &g_apart),
                      hak_heap_calloc_at(heap, 1, size, &g_apart),
                      hak_heap_aligned_alloc_at(heap, 64, size, &g_apart)};
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == heap);
    }
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- what counts ---------------------------------------------------------------------
 */

/* Where nothing is to be sampled nothing is, however much is allocated. */
static void samples__of_none_are_none_in_any_size(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "heap", NULL);
  void *large = hak_alloc(3 * MIB);
  for (int i = 0; i < 30000; i++) {
    size_t size = i % 3 == 0 ? 1000 : i % 3 == 1 ? 8000 : 30000;
    hak_free(hak_alloc_at(size, &g_site));
    hak_free(hak_heap_alloc_at(heap, size, &g_site));
    if (i % 100 != 0) continue;
    hak_free(hak_calloc_at(1, 200 * KIB, &g_site));
    size_t usable = hak_usable_size(large);
    large =
        hak_realloc_at(large, usable > 4 * MIB ? 3 * MIB : usable + 100 * KIB, &g_site);
    CHECK(large != NULL);
  }
  for (int i = 0; i < 100000; i++) hak_free(hak_heap_alloc_at(heap, 1000, &g_site));
  CHECK(sums_of(&g_site).samples == 0 && sums_of(&g_site).bytes == 0);
  CHECK_EQ(sums_of(&g_site).blocks, 0);
  hak_free(large);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* A block that may not move grows where it lies, and its growth is no sample. */
static void samples__move_no_block_that_may_not_move(void **state) {
  (void)state;
  char *block = hak_alloc(5 * MIB);
  CHECK(block != NULL);
  CHECK(hak_reallocx(NULL, block, 4 * MIB + 4096, 0, HAK_NO_MOVE, &g_site) == block);
  CHECK(hak_reallocx(NULL, block, 5 * MIB, 0, HAK_NO_MOVE, &g_site) == block);
  CHECK_EQ(sums_of(&g_site).live_samples, 0);
  CHECK_EQ(hak_heap_is_samples(lies_in(block)), false);
  hak_free(block);
}

/* A request that may not ask the system for memory is no sample, for which that may be
 * asked. */
static void samples__ask_for_no_memory_where_none_may_be_asked_for(void **state) {
  (void)state;
  hak_free(hak_alloc(100));
  uint64_t calls = test_os_calls(&g_os);
  void *block = hak_allocx(NULL, 100, 0, HAK_NO_GROW, &g_site);
  CHECK(block != NULL);
  CHECK_EQ(test_os_calls(&g_os), calls);
  CHECK_EQ(sums_of(&g_site).samples, 0);
  hak_free(block);
}

static void samples__of_no_place_are_none(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "heap", NULL);
  for (size_t size = 1; size < 4 * MIB; size += size / 2 + 1) {
    for (int i = 0; i < 3; i++) hak_free(hak_alloc_at(size, NULL));
    hak_free(hak_calloc_at(1, size, NULL));
    hak_free(hak_heap_alloc_at(heap, size, NULL));
    hak_free(hak_realloc_at(NULL, size, NULL));
  }
  CHECK_EQ(hak_origin_read(HAK_ORIGIN_OTHERS).sums.samples, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Of what was refused nothing is counted, and nothing is given in its place. */
static void samples__of_refused_blocks_are_none(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 2 * MIB});
  static const size_t sizes[] = {1000, 9000, 200 * KIB};
  uint64_t count = 0;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    while (hak_heap_alloc_at(heap, sizes[i], &g_site) != NULL) count++;
    while (hak_heap_calloc_at(heap, 1, sizes[i], &g_site) != NULL) count++;
    CHECK_EQ(hak_site_count(&g_site), count);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  for (size_t i = TEST_COUNT(sizes); i-- > 0;) {
    while (hak_alloc_at(sizes[i], &g_site) != NULL) count++;
    while (hak_calloc_at(1, sizes[i], &g_site) != NULL) count++;
    CHECK_EQ(hak_site_count(&g_site), count);
  }
  CHECK(hak_alloc_at(PTRDIFF_MAX - 4096, &g_site) == NULL);
  CHECK_EQ(hak_site_count(&g_site), count);
}

/* Each block takes its bytes off the way to the next sample once. */
static void bytes__count_once(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "heap", NULL);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1 << 30), 0);
  hak_free(hak_alloc_at(MIB, &g_site));
  for (size_t size = 100; size < 100000; size *= 3) {
    for (int way = 0; way < 3; way++) {
      hak_thread_self->way.left = 1 << 20;
      void *block = way == 0   ? hak_alloc_at(size, &g_site)
                    : way == 1 ? hak_calloc_at(1, size, &g_site)
                               : hak_heap_calloc_at(heap, 1, size, &g_site);
      CHECK(block != NULL);
      CHECK_EQ(hak_thread_self->way.left, (1 << 20) - (int64_t)size);
      hak_free(block);
    }
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- handles of heaps that are gone --------------------------------------------------
 */

static void heap_alloc_at__refuses_a_heap_that_is_gone(void **state) {
  (void)state;
  hak_heap_t *gone = test_heap(0, "gone", NULL);
  for (int i = 0; i < 1000; i++) hak_free(hak_heap_alloc_at(gone, 100, &g_site));
  CHECK_EQ(hak_heap_destroy(gone), 0);
  hak_heap_t *other = test_heap(0, "other", NULL);
  CHECK(hak_heap_record(other) == hak_heap_record(gone) && other != gone);
  for (int i = 0; i < 1000; i++) hak_free(hak_heap_alloc_at(other, 100, &g_site));
  test_reports_begin();
  CHECK(hak_heap_alloc_at(gone, 100, &g_site) == NULL);
  CHECK_EQ(g_reports.count, 1);
  hak_set_error_handler(NULL, NULL);
  CHECK_EQ(test_heap_stats(other).live_blocks, 0);
  CHECK_EQ(hak_heap_destroy(other), 0);
}

static size_t say_one(void **frames, size_t most, void *ctx) {
  (void)ctx;
  CHECK(most > 0);
  frames[0] = &g_site;
  return 1;
}

static size_t say_none(void **frames, size_t most, void *ctx) {
  (void)frames;
  (void)most;
  (void)ctx;
  return 0;
}

/* Where the hook says nothing, or memory for stacks is refused, blocks are known by their
 * places. */
static void stacks__that_nobody_says_or_keeps_are_none(void **state) {
  (void)state;
  hak_set_stack_hook(say_one, NULL);
  hak_free(hak_alloc_at(100, &g_apart));
  hak_set_stack_hook(say_none, NULL);
  hak_free(hak_alloc_at(100, &g_site));
  CHECK_EQ(hak_stack_first(hak_origin_of(&g_site)), HAK_STACK_NONE);
  test_over_os_end();
  begin(1);
  hak_free(hak_alloc_at(100, &g_site));
  hak_set_stack_hook(say_one, NULL);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  void *block = hak_alloc_at(100, &g_site);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(block != NULL);
  CHECK_EQ(hak_site_count(&g_site), 2);
  CHECK_EQ(hak_stack_first(hak_origin_of(&g_site)), HAK_STACK_NONE);
  hak_free(block);
  block = hak_alloc_at(100, &g_site);
  CHECK(hak_stack_first(hak_origin_of(&g_site)) != HAK_STACK_NONE);
  hak_set_stack_hook(NULL, NULL);
  hak_free(block);
}

static bool count_place(const hak_site_info_t *info, void *ctx) {
  (void)info;
  ++*(size_t *)ctx;
  return true;
}

/* Places beyond their number are one. */
static void places__beyond_their_number_are_told_together(void **state) {
  (void)state;
  static hak_site_t sites[HAK_ORIGINS];
  for (uint32_t i = 0; i < HAK_ORIGINS; i++) {
    sites[i] = (hak_site_t){"many.c", 1 + i, NULL, {0}};
    hak_free(hak_alloc_at(100, &sites[i]));
  }
  CHECK(hak_origin_read(HAK_ORIGIN_OTHERS).sums.samples > 0);
  size_t places = 0;
  CHECK_EQ(hak_sites_visit(count_place, &places), 0);
  CHECK_EQ(places, hak_origins_made() - HAK_ORIGIN_OTHERS);
}

/* Of 70 places 64 are told, and none of another heap's. */
static void leaks__are_told_of_the_heaps_own_places(void **state) {
  (void)state;
  enum {
    PLACES = 70,
    TOLD = 64
  };
  static hak_site_t sites[PLACES];
  for (uint32_t count = 1; count <= PLACES; count += PLACES - 1) {
    hak_heap_t *heap = test_heap(HAK_HEAP_REPORT_LEAKS, "leaks", NULL);
    hak_heap_t *other = test_heap(0, "other", NULL);
    CHECK(hak_heap_alloc_at(other, 100, &g_site) != NULL);
    for (uint32_t i = 0; i < count; i++) {
      sites[i] = (hak_site_t){"leaks.c", 1 + i, NULL, {0}};
      CHECK(hak_heap_alloc_at(heap, 100, &sites[i]) != NULL);
    }
    test_reports_begin();
    CHECK_EQ(hak_heap_destroy(heap), 0);
    test_reports_end(1 + (count < TOLD ? count : TOLD), HAK_ERROR_LEAK);
    CHECK_EQ(hak_heap_destroy(other), 0);
  }
}

/* What lies in a bin and is no block is reported, and another block given. */
static void alloc_at__gives_no_block_that_is_none(void **state) {
  (void)state;
  enum {
    SIZE = 2000
  };
  for (int ready = 0; ready < 2; ready++) {
    for (int i = 0; i < 100; i++) hak_free(hak_alloc_at(SIZE, &g_site));
    char *block = hak_alloc_at(SIZE, &g_site);
    hak_thread_t *me = hak_thread_self;
    hak_bin_t *bin = &me->bins[hak_locate((uintptr_t)block).cls];
    void **list = ready ? &bin->ready : &bin->list.head;
    hak_link_write(&me->key, block + 16, HAK_LINK_END);
    if (ready) bin->list.head = HAK_LINK_END;
    *list = block + 16;
    test_reports_begin();
    char *other = hak_alloc_at(SIZE, &g_site);
    CHECK(other != NULL && other != block + 16);
    CHECK_EQ(g_reports.count, 1);
    hak_set_error_handler(NULL, NULL);
    hak_free(other);
    hak_free(block);
  }
}

/* It has no bins from which a group would serve it. */
static void *alloc_first(void *blocks) {
  ((void **)blocks)[0] = hak_alloc_at(100, &g_apart);
  ((void **)blocks)[1] = hak_alloc_at(100, &g_apart);
  return NULL;
}
static void apart__first_block_of_a_thread_lies_with_others(void **state) {
  (void)state;
  void *blocks[2];
  keep_apart();
  test_thread_run(alloc_first, blocks);
  CHECK(lies_in(blocks[0]) == hak_heap_default());
  CHECK(lies_in(blocks[1]) == hak_group_at(GROUP));
  hak_free(blocks[0]);
  hak_free(blocks[1]);
}

#define NONE(function) cmocka_unit_test_setup_teardown(function, none, end)
#define EACH(function) cmocka_unit_test_setup_teardown(function, each, end)

TEST_MAIN_FRESH(NONE(apart__blocks_of_the_default_heap_lie_in_the_group),
                NONE(apart__blocks_of_other_heaps_lie_in_these),
                NONE(samples__of_none_are_none_in_any_size),
                EACH(samples__move_no_block_that_may_not_move),
                EACH(samples__ask_for_no_memory_where_none_may_be_asked_for),
                EACH(samples__of_no_place_are_none),
                EACH(samples__of_refused_blocks_are_none), NONE(bytes__count_once),
                NONE(heap_alloc_at__refuses_a_heap_that_is_gone),
                EACH(stacks__that_nobody_says_or_keeps_are_none),
                EACH(places__beyond_their_number_are_told_together),
                EACH(leaks__are_told_of_the_heaps_own_places),
                NONE(alloc_at__gives_no_block_that_is_none),
                NONE(apart__first_block_of_a_thread_lies_with_others))
