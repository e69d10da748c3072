/* stale.c - blocks that are freed twice, of which one copy stays in a bin while the other
 * goes home. Over 1 KiB the copy is not given out once the memory is the pool's; over
 * 56 KiB not either when it serves another class by then, and what lies behind the copy,
 * which is the other class's list, neither.
 *
 *   stale [<seed>]   attacks at random, and says what was found
 */
#include "child.h"
#include "threads.h"

#include <stdio.h>
#include <string.h>

#ifndef TEST_CHECKS
#define TEST_CHECKS 1
#endif

/* ---- One block, by each way to allocate -------------------------------------------- */

typedef enum way {
  PLAIN,
  NAMED,
  ALIGNED,
  OF_HEAP,
  RESIZED,
  WAYS
} way_t;

static hak_site_t g_site = {.name = "stale"};
static hak_heap_t *g_heap;

static void *get(way_t way, size_t size) {
  switch (way) {
    case NAMED:
      return hak_alloc_at(size, &g_site);
    case ALIGNED:
      return hak_aligned_alloc(4096, size);
    case RESIZED:
      return hak_realloc(hak_alloc(16), size);
    case PLAIN:
      return hak_alloc(size);
    default:
      return hak_heap_alloc(g_heap, size);
  }
}

enum {
  SIZE = 300000,
  OTHER = 180000 /* of another class */
};

/* Bins keep what comes often. */
static void come_often(way_t way, size_t size) {
  char *blocks[4];
  for (int i = 0; i < 5000; i++) {
    for (size_t k = 0; k < TEST_COUNT(blocks); k++) blocks[k] = get(way, size);
    for (size_t k = 0; k < TEST_COUNT(blocks); k++) hak_free(blocks[k]);
  }
}

/* Two blocks of the class behind each other in a bin, of which the first goes home too.
 * Its memory is another class's, in whose bin it lies before two of that class. */
static void be_stale(way_t way) {
  come_often(way, SIZE);
  come_often(way, OTHER);
  char *others[64], *block = get(way, SIZE), *kept = get(way, SIZE);
  others[0] = get(way, OTHER);
  others[1] = get(way, OTHER);
  hak_free(kept);
  hak_free(block);
  CHECK_EQ(hak_freex(block, HAK_NO_CACHE), 0);
  char *again = NULL;
  for (size_t i = 2; i < TEST_COUNT(others) && again != block; i++) {
    again = others[i] = get(way, OTHER);
  }
  CHECK_MSG(again == block, "way %d", (int)way);
  hak_free(others[0]);
  hak_free(others[1]);
  hak_free(again);
  char *blocks[80];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = get(way, SIZE);
    CHECK(hak_usable_size(blocks[i]) >= SIZE);
    test_fill_sparse(blocks[i], SIZE, i);
    for (size_t k = 0; k < i; k++) {
      CHECK(blocks[k] + SIZE <= blocks[i] || blocks[i] + SIZE <= blocks[k]);
    }
  }
  for (size_t i = 0; i < 3; i++) CHECK(get(way, OTHER) != NULL);
  CHECK_EQ(g_reports.count, 1); /* what lies behind it was left alone */
  CHECK(g_reports.last.address == block);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK(test_verify_sparse(blocks[i], SIZE, i));
    hak_free(blocks[i]);
  }
}

static int stale_child(void *ctx) {
  way_t way = *(const way_t *)ctx;
  test_start();
  if (way == OF_HEAP) g_heap = test_heap(0, "heap", NULL);
  test_reports_begin();
  be_stale(way);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void copy_in_a_bin__is_not_given_out_as_what_it_was(void **state) {
  (void)state;
  if (TEST_CHECKS != 1) skip(); /* else the second free is named */
  for (way_t way = PLAIN; way < WAYS; way++) {
    test_child_must_succeed(stale_child, &way, 60);
  }
}

/* ---- One of a slab that goes to the pool --------------------------------------------
 */

enum {
  MID = 20000,
  MIDS = 100
};

static char *g_blocks[MIDS];
static pthread_barrier_t g_turn;

/* Has a copy in its bin, and takes what it freed last when the slab is gone. */
static void *keep_copy(void *ctx) {
  char *own[2];
  for (int i = 0; i < 2; i++) own[i] = get(PLAIN, MID);
  for (int i = 0; i < 2; i++) hak_free(own[i]);
  hak_free(g_blocks[0]);
  pthread_barrier_wait(&g_turn);
  pthread_barrier_wait(&g_turn);
  char *block = get(PLAIN, MID);
  test_expect_report(1, HAK_ERROR_CORRUPT_BLOCK, g_blocks[0], NULL);
  CHECK(block != NULL && block != g_blocks[0]);
  hak_free(block);
  return ctx;
}

static int retired_child(void *ctx) {
  (void)ctx;
  test_start();
  test_reports_begin();
  for (size_t i = 0; i < MIDS; i++) g_blocks[i] = get(PLAIN, MID);
  pthread_barrier_init(&g_turn, NULL, 2);
  pthread_t other;
  test_threads_begin(&other, 1, keep_copy, NULL);
  pthread_barrier_wait(&g_turn);
  for (size_t i = 0; i < MIDS; i++) CHECK_EQ(hak_freex(g_blocks[i], HAK_NO_CACHE), 0);
  CHECK_EQ(g_reports.count, 0);
  pthread_barrier_wait(&g_turn);
  test_threads_end(&other, 1);
  CHECK_EQ(g_reports.count, 1);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void copy_in_a_bin__of_a_slab_that_went_to_the_pool_is_named(void **state) {
  (void)state;
  if (TEST_CHECKS != 1) skip(); /* else the second free is named */
  test_child_must_succeed(retired_child, NULL, 20);
}

/* ---- Past the caches ------------------------------------------------------------------
 */

static int past_caches_child(void *ctx) {
  static const size_t sizes[] = {24, 1000, 5000, 50000, 100000, 3 << 20};
  (void)ctx;
  test_start();
  test_reports_begin();
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (unsigned first = 0; first < 2; first++) {
      char *beside = hak_alloc(sizes[i]), *block = hak_alloc(sizes[i]);
      CHECK_EQ(hak_freex(block, first == 0 ? 0 : HAK_NO_CACHE), 0);
      CHECK_EQ(hak_freex(block, HAK_NO_CACHE), 0);
      test_expect_report(2 * (unsigned)i + first + 1, HAK_ERROR_DOUBLE_FREE, block, NULL);
      hak_free(beside);
    }
  }
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void second_free__past_the_caches_is_named(void **state) {
  (void)state;
  if (TEST_CHECKS < 2) skip();
  test_child_must_succeed(past_caches_child, NULL, 20);
}

/* The thread asks before its first allocation, or after its exit. */
static int unattached_child(void *ctx) {
  (void)ctx;
  static const size_t sizes[] = {16, 1000, 40000, 60000};
  test_start();
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    char *block = hak_alloc(sizes[k]), *beside = hak_alloc(sizes[k]);
    hak_free(block);
    test_reports_begin();
    hak_thread_exit();
    CHECK_EQ(hak_usable_size(block), 0);
    CHECK_MSG(g_reports.count == 1, "%zu: %u reports", sizes[k], g_reports.count);
    hak_thread_exit();
    CHECK_EQ(hak_resize_in_place(block, 1, sizes[k]), 0);
    CHECK_EQ(g_reports.count, 2);
    hak_thread_exit();
    CHECK(hak_realloc(block, 2 * sizes[k]) == NULL);
    CHECK_EQ(g_reports.count, 3);
    hak_thread_exit();
    hak_free(block);
    CHECK_EQ(g_reports.count, 4);
    CHECK_EQ(g_reports.last.error, HAK_ERROR_DOUBLE_FREE);
    CHECK(g_reports.last.address == block);
    hak_free(beside);
  }
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void question__about_a_freed_block_by_a_thread_of_no_state_is_named(void **state) {
  (void)state;
  if (TEST_CHECKS < 2) skip();
  test_child_must_succeed(unattached_child, NULL, 20);
}

/* ---- At random ------------------------------------------------------------------------
 */

typedef struct live {
  char *at;
  size_t size;
  uint64_t tag;
} live_t;

enum {
  LIVE = 200,
  GONE = 64,
  LEAST = 57345 /* bytes of a block over 56 KiB */
};
static live_t g_live[LIVE];
static char *g_gone[GONE];
static size_t g_count, g_gones;
static unsigned g_doubles;
static test_rng_t g_rng;

static bool lies_in_one(const char *at, size_t size) {
  for (size_t i = 0; i < g_count; i++) {
    if (at < g_live[i].at + g_live[i].size && g_live[i].at < at + size) return true;
  }
  return false;
}

static void allocate(void) {
  way_t way = (way_t)test_below(&g_rng, WAYS);
  if (way == OF_HEAP && g_heap == NULL) way = PLAIN;
  size_t size = LEAST + test_below(&g_rng, MIB - LEAST);
  /* What grows is large from the first, as small blocks may have two owners. */
  char *block = way == RESIZED ? hak_realloc(hak_alloc(LEAST), size) : get(way, size);
  CHECK(block != NULL);
  size_t usable = hak_usable_size(block);
  CHECK(usable >= size);
  CHECK_MSG(!lies_in_one(block, usable), "%p is given, and has an owner", (void *)block);
  g_live[g_count] = (live_t){block, usable, test_random(&g_rng)};
  test_fill_sparse(block, usable, g_live[g_count++].tag);
}

static void release(void) {
  size_t i = test_below(&g_rng, g_count);
  live_t block = g_live[i];
  g_live[i] = g_live[--g_count];
  CHECK(test_verify_sparse(block.at, block.size, block.tag));
  if (test_below(&g_rng, 4) == 0) {
    char *less =
        hak_realloc(block.at, LEAST + test_below(&g_rng, block.size - LEAST + 1));
    CHECK(less != NULL);
    hak_free(less);
  } else {
    hak_free(block.at);
  }
  g_gone[g_gones++ % GONE] = block.at;
}

/* A free of a block that has an owner by now would be a free of that one's block. */
static void release_again(void) {
  char *block = g_gone[test_below(&g_rng, g_gones < GONE ? g_gones : GONE)];
  if (block == NULL || lies_in_one(block, 1)) return;
  hak_free(block);
  g_doubles++;
}

/* Threads take turns, so that what each has in its bins differs. */
static void *attack(void *ctx) {
  (void)ctx;
  for (int i = 0; i < 600; i++) {
    size_t wanted = test_below(&g_rng, 100) < 50 ? LIVE / 4 : LIVE - 1;
    if (test_below(&g_rng, 20) == 0) {
      release_again();
    } else if (g_count < wanted && test_below(&g_rng, 100) < 60) {
      allocate();
    } else if (g_count > 0) {
      release();
    }
  }
  return NULL;
}

static int attack_child(void *ctx) {
  const uint64_t *seed = ctx;
  test_start();
  test_reports_begin();
  g_rng = test_rng(*seed, 0x57a1e);
  if (*seed % 2 != 0) g_heap = test_heap(0, "heap", NULL);
  for (size_t round = 0; round < test_scale(40); round++) {
    attack(NULL);
    if (*seed % 4 >= 2) test_thread_run(attack, NULL);
  }
  for (size_t i = 0; i < g_count; i++) {
    CHECK(test_verify_sparse(g_live[i].at, g_live[i].size, g_live[i].tag));
  }
  CHECK(g_doubles > 0 && g_reports.count > 0);
  return 0;
}

static void double_frees__at_random_give_no_large_block_two_owners(void **state) {
  (void)state;
  if (TEST_CHECKS == 0) skip();
  /* There a copy's link is read where the pages have gone, which ends the program. */
  if (test_is_strict()) skip();
  for (uint64_t i = 0; i < 4; i++) {
    uint64_t seed = test_seed() * 4 + i;
    test_child_must_succeed(attack_child, &seed, 120);
  }
}

int main(int argc, char **argv) {
  test_begin();
  if (argc == 2) {
    uint64_t seed = test_argument(argc, argv, 1, 0);
    int status = attack_child(&seed);
    printf("%u double frees, %u reports\n", g_doubles, g_reports.count);
    return status;
  }
  const struct CMUnitTest tests[] = {
      T(copy_in_a_bin__is_not_given_out_as_what_it_was),
      T(copy_in_a_bin__of_a_slab_that_went_to_the_pool_is_named),
      T(second_free__past_the_caches_is_named),
      T(question__about_a_freed_block_by_a_thread_of_no_state_is_named),
      T(double_frees__at_random_give_no_large_block_two_owners)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
