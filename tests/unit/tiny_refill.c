/* tiny_refill.c - where a refill finds blocks: each place in its turn, the cheapest
 * first, and how many it brings. */
#include "slab_fixture.h"

#include "superslab/locate.h"
#include "threads.h"
#include "tiny/capacity.h"
#include "tiny/commit.h"
#include "tiny/flush.h"
#include "tiny/partial_list.h"
#include "tiny/quota.h"
#include "tiny/refill.h"
#include "tiny/transfer.h"

enum {
  SIZE = 1024,
  CAPACITY = 64
};

static void *refill(void) { return hak_refill_bin(g_me, g_cache, g_class); }

/* The counters of where refills found something. */
typedef struct sources {
  uint64_t spare, magazine, transfer, held, partial, carve, slab;
} sources_t;

static sources_t sources(void) {
  const hak_stats_t stats = test_stats();
  return (sources_t){stats.refill_spare,   stats.refill_magazine, stats.refill_transfer,
                     stats.refill_partial, stats.refill_shelf,    stats.refill_carve,
                     stats.refill_slab};
}

/* One refill more than before has found something there, and none anywhere else. */
static void expect_sources(sources_t *before, sources_t step) {
  sources_t now = sources();
  CHECK_EQ(now.spare - before->spare, step.spare);
  CHECK_EQ(now.magazine - before->magazine, step.magazine);
  CHECK_EQ(now.transfer - before->transfer, step.transfer);
  CHECK_EQ(now.held - before->held, step.held);
  CHECK_EQ(now.partial - before->partial, step.partial);
  CHECK_EQ(now.carve - before->carve, step.carve);
  CHECK_EQ(now.slab - before->slab, step.slab);
  *before = now;
}

/* A refill brings these blocks of the slab, in any order: the first, and the others to
 * the bin, from where they are taken. */
static void expect_blocks(hak_slab_t *slab, uint32_t from, uint32_t to) {
  bool seen[CAPACITY] = {false};
  void *block = refill();
  for (uint32_t n = from; n < to; n++) {
    size_t i = (size_t)((char *)block - hak_slab_start(slab)) / SIZE;
    CHECK(i >= from && i < to && !seen[i]);
    seen[i] = true;
    if (n + 1 < to) CHECK(!hak_bin_pop_fails(&g_me->key, test_bin(), &block));
  }
  CHECK(test_bin()->ready == HAK_LINK_END && test_bin()->list.head == HAK_LINK_END);
}

static void *fill_magazine(void *ctx) {
  hak_slab_t *slab = ctx;
  CHECK_EQ(hak_thread_init(), 0);
  (void)test_slab_batch(slab, 0, HAK_MAGAZINE_BLOCKS);
  for (uint32_t i = 0; i < HAK_MAGAZINE_BLOCKS; i++) {
    hak_transfer_add(hak_thread_self, &hak_thread_self->cache, g_class,
                     test_slab_block(slab, i));
  }
  return NULL;
}

static void places__are_looked_at_the_cheapest_first(void **state) {
  (void)state;
  hak_slab_t *slabs[5];
  for (size_t i = 0; i < TEST_COUNT(slabs); i++) slabs[i] = test_slab_full();
  test_hold()->spare = test_slab_batch(slabs[0], 0, 3).first;
  hak_store_relaxed(&test_hold()->spare_count, 3);
  (void)test_slab_batch(slabs[1], 0, 2);
  for (uint32_t i = 0; i < 2; i++) {
    hak_transfer_add(g_me, g_cache, g_class, test_slab_block(slabs[1], i));
  }
  test_thread_run(fill_magazine, slabs[2]);
  test_slab_home(slabs[3], 0, 5);
  hak_hold_let_go(g_me, g_cache, slabs[4], g_class);
  test_slab_home_elsewhere(slabs[4], 0, 4);
  CHECK_EQ(slabs[4]->queue, HAK_QUEUE_PARTIAL);

  sources_t before = sources();
  expect_blocks(slabs[0], 0, 3);
  expect_sources(&before, (sources_t){.spare = 1});
  expect_blocks(slabs[1], 0, 2);
  expect_sources(&before, (sources_t){.magazine = 1});
  const hak_magazine_t *magazine = hak_load_relaxed(&test_hold()->magazine);
  expect_blocks(slabs[2], 0, HAK_MAGAZINE_BLOCKS);
  expect_sources(&before, (sources_t){.transfer = 1});
  CHECK(magazine != NULL && hak_load_relaxed(&test_hold()->magazine) == magazine);
  expect_blocks(slabs[3], 0, 5);
  expect_sources(&before, (sources_t){.held = 1});
  expect_blocks(slabs[4], 0, 4);
  expect_sources(&before, (sources_t){.partial = 1});
  char *block = refill();
  expect_sources(&before, (sources_t){.carve = 1, .slab = 1});
  hak_slab_t *current = test_hold()->current;
  CHECK(current == hak_slab_of(block) && block == test_slab_block(current, 0));
  /* Nothing was missed: heaps without a limit have no depots. */
  CHECK_EQ(hak_load_relaxed(hak_store_missed(g_cache->store, g_class)), 0);
  /* All slabs that were emptied are full ones of nobody, which may be claimed. */
  CHECK_EQ(hak_load_relaxed(&slabs[3]->word), hak_word_make(HAK_SLAB_FULL, 0));
  CHECK_EQ(hak_load_relaxed(&slabs[4]->word), hak_word_make(HAK_SLAB_FULL, 0));
  test_slab_home(current, 0, 1);
  for (size_t i = 0; i < TEST_COUNT(slabs); i++) test_slab_home(slabs[i], 0, CAPACITY);
}

/* Slabs that are partly carved come before new ones, and what is free of them before what
 * is not cut. */
static void uncarved_slab__gives_its_list_and_is_gone_on_with(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_store_relaxed(&slab->carved, 10);
  hak_slab_set_out(slab, 10, 0);
  test_hold()->current = slab;
  test_slab_home(slab, 2, 6);
  hak_hold_list_all(g_me, g_cache, g_class);
  CHECK(hak_load_relaxed(&g_central->uncarved) == slab);
  sources_t before = sources();
  expect_blocks(slab, 2, 6);
  expect_sources(&before, (sources_t){0});
  CHECK(test_hold()->current == slab);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_mine(g_cache));
  CHECK_EQ(hak_slab_out(slab), 10);
  CHECK(refill() == test_slab_block(slab, 10));
  expect_sources(&before, (sources_t){.carve = 1});
  test_slab_home(slab, 0, 11);
}

/* What others have pushed onto the slab that is being carved comes before its rest. */
static void current_slab__gives_what_came_home_before_what_is_not_cut(void **state) {
  (void)state;
  char *first = refill();
  hak_slab_t *slab = test_hold()->current;
  CHECK(first == test_slab_block(slab, 0));
  uint32_t carved = hak_slab_carved(slab);
  void *block;
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  test_slab_home_elsewhere(slab, 0, carved);
  sources_t before = sources();
  expect_blocks(slab, 0, carved);
  expect_sources(&before, (sources_t){0});
  CHECK(refill() == test_slab_block(slab, carved));
  expect_sources(&before, (sources_t){.carve = 1});
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  test_slab_home(slab, 0, hak_slab_carved(slab));
}

/* As much as was asked for before this refill, but a page's half at least and CARVE_BYTES
 * at most. */
static void carve__follows_what_was_asked_for(void **state) {
  (void)state;
  CHECK_EQ(hak_option_get(HAK_OPTION_CARVE_BYTES), 8192);
  g_cache->store->pool.starts_small = false;
  static const struct {
    uint32_t given, blocks;
  } rows[] = {{0, 2}, {2, 2}, {3, 3}, {7, 7}, {100, 8}};
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    test_hold()->given = 0;
    test_hold()->given_before = rows[i].given;
    uint32_t blocks = rows[i].blocks;
    uint32_t carved =
        test_hold()->current == NULL ? 0 : hak_slab_carved(test_hold()->current);
    CHECK(refill() != NULL);
    hak_slab_t *slab = test_hold()->current;
    CHECK_EQ(hak_slab_carved(slab), carved + blocks);
    CHECK_EQ(hak_load_relaxed(&test_bin()->ready_count), blocks - 1);
    CHECK_EQ(hak_slab_out(slab), carved + blocks);
    void *block;
    while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  }
  test_slab_home(test_hold()->current, 0, hak_slab_carved(test_hold()->current));
}

/* A heap that may stay small begins with 512 bytes, and then has as much as before. */
static void carve__of_a_heap_that_starts_small_doubles(void **state) {
  (void)state;
  g_cache->store->pool.starts_small = true;
  static const uint32_t blocks[] = {8, 8, 16, 32, 64, 128, 128}; /* 8 KiB in the end */
  uint32_t carved = 0;
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK(refill() != NULL);
    carved += blocks[i];
    CHECK_EQ(hak_slab_carved(test_hold()->current), carved);
    void *block;
    while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  }
  g_cache->store->pool.starts_small = false;
  test_slab_home(test_hold()->current, 0, carved);
}

static void refusal__of_memory_is_null_and_what_there_is_serves(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_slab_home(slab, 0, 1);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  CHECK(refill() == test_slab_block(slab, 0));
  uint64_t spans = test_class_spans();
  g_me->no_grow = 1;
  void *block = refill(), *blocks[1000];
  size_t n = 0;
  for (; block != NULL; block = refill()) {
    CHECK(n < TEST_COUNT(blocks));
    blocks[n++] = block;
  }
  g_me->no_grow = 0;
  sources_t before = sources();
  CHECK(refill() == NULL); /* the OS refuses */
  CHECK_EQ(sources().slab, before.slab);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(test_class_spans() >= spans);
  CHECK((block = refill()) != NULL);
  hak_free(block);
  while (n > 0) hak_free(blocks[--n]);
  test_slab_home(slab, 0, CAPACITY);
}

static void link__that_is_broken_is_reported_and_the_next_place_serves(void **state) {
  (void)state;
  hak_slab_t *slabs[2] = {test_slab_full(), test_slab_full()};
  test_bin()->ready = test_slab_batch(slabs[0], 0, 4).first;
  hak_store_relaxed(&test_bin()->ready_count, 4);
  *(uint64_t *)test_bin()->ready = 0x4141414141414141;
  test_slab_home(slabs[1], 0, 2);
  CHECK(hak_slab_of(refill()) == slabs[1]);
  test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slabs[0], 0));
  void *block;
  CHECK(!hak_bin_pop_fails(&g_me->key, test_bin(), &block) &&
        test_bin()->ready == HAK_LINK_END);
  for (size_t i = 0; i < 2; i++) test_slab_home(slabs[i], 0, CAPACITY);
}

/* An address within a block, which the bin has by misuse, is not given out. */
static void address__that_is_askew_is_reported_and_the_next_place_serves(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) skip(); /* nothing looks */
  hak_slab_t *slab = test_slab_full();
  char *inside = test_slab_block(slab, 1) + 128;
  hak_link_write(&g_me->key, inside, HAK_LINK_END);
  test_bin()->ready = inside;
  hak_store_relaxed(&test_bin()->ready_count, 1);
  test_slab_home(slab, 3, 5);
  void *block = refill();
  CHECK(block == test_slab_block(slab, 3) || block == test_slab_block(slab, 4));
  test_deferred_expect(HAK_ERROR_INTERIOR_POINTER, inside);
  CHECK(!hak_bin_pop_fails(&g_me->key, test_bin(), &block));
  CHECK(test_bin()->ready == HAK_LINK_END && test_bin()->list.head == HAK_LINK_END);
  test_slab_home(slab, 0, hak_slab_capacity(slab));
}

/* More than the bin may keep: the rest would take what the thread frees from here on. */
static void span__that_is_long_gives_its_whole_list(void **state) {
  (void)state;
  void *first = refill(); /* the first span of a class is short */
  uint32_t batch = hak_bin_capacity(test_bin());
  hak_flush_class(g_me, g_cache, g_class);
  hak_slab_t *held = test_slab_full();
  CHECK(hak_slab_span(held) > 1);
  uint32_t capacity = hak_slab_capacity(held);
  CHECK(batch > 0 && batch < capacity - 1);
  test_slab_home(held, 0, capacity - 1);
  CHECK_EQ(hak_slab_out(held), 1);
  CHECK(refill() != NULL);
  CHECK_EQ(hak_load_relaxed(&test_bin()->ready_count), capacity - 2);
  CHECK_EQ(hak_slab_out(held), capacity);
  CHECK(hak_word_is_full(hak_load_relaxed(&held->word)));
  uint64_t entry = hak_registry_entry(g_me->registry, (uintptr_t)hak_slab_start(held));
  CHECK_EQ(entry, hak_cache_entry(g_cache, g_class));
  hak_flush_bin(g_me, g_cache, g_class);
  CHECK_EQ(hak_slab_out(held), 2); /* the first one of the refill, and the last block */
  test_slab_home(held, 0, 1);
  test_slab_home(held, capacity - 1, capacity);
  hak_free(first);
}

/* The first one of a class is. */
static void spans__are_short_for_longer_where_threads_free_each_others_blocks(
    void **state) {
  (void)state;
  if (HAK_CHECKS == 2) skip(); /* nobody knows of that there */
  enum {
    SHORT = 8,
    SPANS = SHORT + 2
  };
  hak_atomic_i32_t *takes = &g_cache->store->centrals[g_class].takes;
  hak_slab_t *slabs[SPANS];
  hak_store_relaxed(takes, 1);
  for (int i = 0; i < SPANS; i++) {
    if (i == SPANS - 1) hak_store_relaxed(takes, 0);
    slabs[i] = test_slab_full();
    CHECK_EQ(hak_slab_span(slabs[i]) == 1, i < SHORT);
  }
  for (int i = 0; i < SPANS; i++) {
    test_slab_home(slabs[i], 0, hak_slab_capacity(slabs[i]));
  }
}

/* All blocks that were cut are out but for `free` ones, which are on the bin's list, and
 * flips are used up, or not. What the next refill cuts. */
static uint32_t cut_by_flip(hak_slab_t *slab, uint32_t free, bool due) {
  void *block;
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  uint32_t carved = hak_slab_carved(slab);
  test_slab_free(slab, 0, free);
  hak_store_relaxed(&g_me->pace.flips, due ? -1 : 5);
  sources_t before = sources();
  block = refill();
  CHECK(hak_slab_of(block) == slab && block == test_slab_block(slab, free - 1));
  uint32_t cut = hak_slab_carved(slab) - carved;
  expect_sources(&before, (sources_t){.carve = cut != 0});
  CHECK(due || hak_load_relaxed(&g_me->pace.flips) <= 5); /* they are counted down */
  test_bin_expect(0, free - 1 + cut, 0);
  CHECK_EQ(hak_slab_out(slab), carved + cut);
  return cut;
}

/* It gets what does for a thousand bytes, as far as the slab has pages. */
static void bin__that_flips_with_few_blocks_is_topped_up(void **state) {
  (void)state;
  CHECK(refill() != NULL);
  hak_slab_t *slab = test_hold()->current;
  uint32_t size = hak_class_size(g_class);
  CHECK_EQ(cut_by_flip(slab, 2, false), 0);
  CHECK_EQ(cut_by_flip(slab, 16, true), 0);
  CHECK_EQ(cut_by_flip(slab, 2, true), 1024 / size);
  CHECK_EQ(cut_by_flip(slab, 1, true), 1024 / size);
  uint32_t cut, most = (uint32_t)(hak_commit_bytes(g_cache, slab) / size);
  while ((cut = cut_by_flip(slab, 1, true)) != 0) {}
  CHECK(hak_slab_carved(slab) == most || test_hold()->current == NULL);
  void *block;
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  test_slab_home(slab, 0, hak_slab_carved(slab));
}

/* A slab of this thread of which all pages are cut. */
static hak_slab_t *cut_to_its_pages(void) {
  hak_slab_t *slab = hak_hold_new(g_me, g_cache, g_class);
  hak_slab_carve(slab, 4096 / hak_class_size(g_class));
  test_hold()->current = slab;
  hak_hold_list_all(g_me, g_cache, g_class);
  CHECK(hak_hold_shed(g_me, g_cache) > 0);
  hak_lock_acquire(&g_central->lock);
  hak_partial_remove_locked(g_central, slab);
  hak_slab_partial_to_held_locked(g_cache, slab);
  hak_lock_release(&g_central->lock);
  test_hold()->current = slab;
  return slab;
}

/* No page is asked for. */
static void bin__whose_slab_has_no_page_more_is_not_topped_up(void **state) {
  (void)state;
  hak_slab_t *slab = cut_to_its_pages();
  CHECK_EQ(cut_by_flip(slab, 3, true), 0);
  CHECK_EQ(cut_by_flip(slab, 1, true), 0);
  CHECK_EQ(hak_commit_bytes(g_cache, slab), 4096);
  void *block;
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  test_slab_home(slab, 0, hak_slab_carved(slab));
}

/* More of larger blocks would not be in the processor's cache. */
static void bin__of_larger_blocks_is_not_topped_up(void **state) {
  (void)state;
  CHECK(refill() != NULL);
  hak_slab_t *slab = test_hold()->current;
  CHECK_EQ(cut_by_flip(slab, 2, true), 0);
  void *block;
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  test_slab_home(slab, 0, hak_slab_carved(slab));
}

/* Nor does a bin get more than it may have, or what other threads could use. */
static void bin__that_may_keep_little_is_not_topped_up(void **state) {
  (void)state;
  CHECK(refill() != NULL);
  hak_slab_t *slab = test_hold()->current;
  CHECK(cut_by_flip(slab, 2, true) > 0);
  uint64_t quota = test_hold()->quota;
  test_hold()->quota = HAK_QUOTA_NONE;
  CHECK_EQ(cut_by_flip(slab, 2, true), 0);
  test_hold()->quota = quota;
  CHECK(cut_by_flip(slab, 2, true) > 0);
  uint32_t shared = test_hold()->shared;
  test_hold()->shared = 0; /* it has brought none */
  CHECK(hak_capacity_is_shared(g_cache, g_class));
  CHECK_EQ(cut_by_flip(slab, 2, true), 0);
  test_hold()->shared = shared;
  void *block;
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  test_slab_home(slab, 0, hak_slab_carved(slab));
}

/* What was written to after its free stays where an allocation reports it. */
static void bin__with_a_broken_link_is_not_topped_up(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) return; /* nothing looks at links */
  CHECK(refill() != NULL);
  hak_slab_t *slab = test_hold()->current;
  void *block;
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  uint32_t carved = hak_slab_carved(slab);
  test_slab_free(slab, 0, 3);
  uint64_t *last = (uint64_t *)(void *)test_slab_block(slab, 0), kept = *last;
  *last = 0x4141414141414141;
  hak_store_relaxed(&g_me->pace.flips, -1);
  CHECK(refill() == test_slab_block(slab, 2));
  CHECK_EQ(hak_slab_carved(slab), carved);
  *last = kept;
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  test_slab_home(slab, 0, carved);
}

/* A cache of one class has no others to look at. */
static void refill__of_one_block_without_a_cache_looks_at_no_class(void **state) {
  (void)state;
  int64_t period = hak_option_get(HAK_OPTION_TRIM_REFILLS);
  CHECK_EQ(hak_option_set(HAK_OPTION_TRIM_REFILLS, 1), 0);
  uint32_t trims = g_me->trims;
  void *block = hak_refill_one(g_me, g_cache->store, g_class, 0);
  CHECK_EQ(g_me->trims, trims);
  CHECK_EQ(hak_option_set(HAK_OPTION_TRIM_REFILLS, period), 0);
  hak_free(block);
}

/* --- classes whose slabs the thread shares ---------------------------------------------
 */

enum {
  FEW = 4
};

/* The thread has had so many blocks of the class while it shared its slabs. */
static void share(void) { test_hold()->shared = FEW; }

static uint32_t taken_by_refill(hak_slab_t *slab) {
  uint32_t before = hak_slab_out(slab), count = 0;
  share();
  for (void *block = refill(); block != NULL; count++) {
    CHECK(hak_slab_of(block) == slab);
    if (hak_bin_pop_fails(&g_me->key, test_bin(), &block)) block = NULL;
  }
  CHECK_EQ(hak_slab_out(slab) - before, count);
  return count;
}

/* A slab that the thread holds serves it, and so do blocks that come from others. */
static void shared_class__has_what_is_the_threads_own_first(void **state) {
  (void)state;
  hak_slab_t *held = test_slab_full(), *sent = test_slab_full();
  test_slab_home(held, 0, 2 * FEW);
  CHECK_EQ(taken_by_refill(held), FEW);
  CHECK_EQ(taken_by_refill(held), FEW);
  hak_slab_t *listed = test_slab_full();
  hak_hold_let_go(g_me, g_cache, listed, g_class);
  test_slab_home_elsewhere(listed, 0, FEW);
  test_thread_run(fill_magazine, sent);
  share();
  expect_blocks(sent, 0, HAK_MAGAZINE_BLOCKS);
  CHECK_EQ(hak_slab_out(listed), CAPACITY - FEW);
  test_hold()->shared = HAK_SHARED_NOT;
  test_slab_home(held, 0, CAPACITY);
  test_slab_home(sent, 0, CAPACITY);
  test_slab_home(listed, FEW, CAPACITY);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(
    H(places__are_looked_at_the_cheapest_first),
    H(uncarved_slab__gives_its_list_and_is_gone_on_with),
    H(current_slab__gives_what_came_home_before_what_is_not_cut),
    H(carve__follows_what_was_asked_for),
    TEST_OF_SLABS(carve__of_a_heap_that_starts_small_doubles, 64),
    H(refusal__of_memory_is_null_and_what_there_is_serves),
    H(link__that_is_broken_is_reported_and_the_next_place_serves),
    TEST_OF_SLABS(address__that_is_askew_is_reported_and_the_next_place_serves, 1280),
    TEST_OF_SLABS(bin__that_flips_with_few_blocks_is_topped_up, 64),
    TEST_OF_SLABS(bin__with_a_broken_link_is_not_topped_up, 64),
    TEST_OF_SLABS(bin__that_may_keep_little_is_not_topped_up, 64),
    TEST_OF_SLABS(bin__whose_slab_has_no_page_more_is_not_topped_up, 64),
    H(bin__of_larger_blocks_is_not_topped_up),
    H(refill__of_one_block_without_a_cache_looks_at_no_class),
    H(shared_class__has_what_is_the_threads_own_first),
    TEST_OF_SLABS(span__that_is_long_gives_its_whole_list, 20000),
    TEST_OF_SLABS(spans__are_short_for_longer_where_threads_free_each_others_blocks,
                  20000))
