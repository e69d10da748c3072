/* tiny_hold_edges.c - holders at the edges: names that come late, misuse that is found as
 * blocks come home, and hooks that are at work meanwhile. */
#include "slab_fixture.h"

#include <stdlib.h>

#include "heap/thread_cache.h"
#include "os/os.h"
#include "superslab/locate.h"
#include "tiny/commit.h"
#include "tiny/flush.h"
#include "tiny/hole_map.h"
#include "tiny/lean.h"
#include "tiny/partial_list.h"

enum {
  SIZE = 1024,
  CAPACITY = 64,
  EIGHTH = CAPACITY / 8 /* blocks out when the holder hears of a slab */
};

static void never_lean(void) { CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0); }

/* A slab that this thread cuts, of which so many blocks are cut, and out. */
static hak_slab_t *slab_current(uint32_t carved) {
  hak_slab_t *slab = hak_hold_new(g_me, g_cache, g_class);
  CHECK(slab != NULL);
  hak_slab_carve(slab, carved);
  test_hold()->current = slab;
  return slab;
}

static uint64_t entry_of(hak_slab_t *slab) {
  return hak_registry_entry(g_me->registry, (uintptr_t)hak_slab_start(slab));
}

/* --- names ---------------------------------------------------------------------------
 */

/* The entry that frees of the slab's blocks lead to after nobody had named it. */
static uint64_t named_late(hak_slab_t *slab) {
  hak_hold_set_entry(g_me, g_cache, slab, 0);
  hak_hold_name_late(g_me, g_cache, slab);
  return entry_of(slab);
}

static void slab__is_named_late_by_those_who_may(void **state) {
  (void)state;
  never_lean();
  uint64_t cached = hak_cache_entry(g_cache, g_class);
  hak_slab_t *slab = test_slab_full();
  CHECK_EQ(named_late(slab), cached);
  test_slab_home(slab, 0, 3);
  CHECK_EQ(named_late(slab), hak_entry_local(g_me, slab)); /* it has free blocks */
  hak_hold_list_all(g_me, g_cache, g_class);
  CHECK_EQ(named_late(slab), cached);
  /* Who claims it writes the entries. */
  hak_slab_t *full = test_slab_full();
  hak_hold_let_go(g_me, g_cache, full, g_class);
  CHECK_EQ(named_late(full), 0);
  uint64_t others = hak_word_make(HAK_SLAB_HELD, g_me->code ^ 3u);
  uint64_t word = hak_load_relaxed(&full->word);
  hak_store_relaxed(&full->word, others);
  CHECK_EQ(named_late(full), 0);
  hak_store_relaxed(&full->word, word);
  test_slab_home(slab, 3, CAPACITY);
  test_slab_home(full, 0, CAPACITY);
}

/* Frees of such a heap's blocks go by what the heap's lookup cache says. */
static void entries__of_a_serial_heap_stay_unowned(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(HAK_HEAP_SERIAL, "serial", NULL);
  static char *blocks[16 * CAPACITY];
  never_lean();
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK((blocks[i] = hak_heap_alloc(heap, SIZE)) != NULL);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    if (i % 8 != 0) hak_free(blocks[i]);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i += 8) {
    CHECK_EQ(hak_registry_entry(g_me->registry, (uintptr_t)blocks[i]), 0);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i += 8) hak_free(blocks[i]);
  hak_heap_destroy(heap);
}

/* --- the last blocks -------------------------------------------------------------------
 */

static void current_slab__stays_when_all_its_blocks_are_home(void **state) {
  (void)state;
  never_lean();
  hak_slab_t *current = slab_current(10);
  test_slab_home(current, 0, 10);
  CHECK(test_hold()->current == current);
  CHECK_EQ(test_class_spans(), 1);
  CHECK_EQ(hak_slab_carved(current), 10);
  /* Of a thread that is to keep little it goes, and so does one that is wholly cut. */
  test_hold()->lean = HAK_LEAN;
  hak_slab_t *whole = test_slab_full();
  test_slab_home(whole, 0, CAPACITY);
  CHECK_EQ(test_class_spans(), 1);
  CHECK(test_hold()->current == current);
  hak_hold_list_all(g_me, g_cache, g_class); /* nothing is out: it goes */
  CHECK_EQ(test_class_spans(), 0);
  whole = test_slab_full();
  test_slab_home(whole, 0, CAPACITY);
  CHECK(test_hold()->current == NULL);
  CHECK_EQ(test_class_spans(), 0);
}

/* Others have freed what was out by the slab's own list. */
static void slab__whose_last_blocks_are_on_its_word_is_free(void **state) {
  (void)state;
  never_lean();
  hak_slab_t *slab = test_slab_full();
  test_slab_home(slab, 0, 1);
  test_slab_home_elsewhere(slab, CAPACITY - EIGHTH, CAPACITY);
  test_hold()->slabs_most = 0; /* one that has some out would go to the shelf */
  test_slab_home(slab, 1, CAPACITY - EIGHTH);
  CHECK(test_hold()->current == slab);
  CHECK_EQ(hak_slab_carved(slab), 0);
  CHECK_EQ(test_hold()->slabs, 0);
  CHECK_EQ(test_hold()->pins, 0);
}

static void claim__of_a_slab_that_is_held_takes_no_credit(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_hold()->credit = 1;
  CHECK(!hak_hold_claim(g_me, g_cache, slab, g_class));
  CHECK_EQ(test_hold()->credit, 1);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_mine(g_cache));
  test_hold()->credit = 0;
  test_slab_home(slab, 0, CAPACITY);
}

/* A beginning is one for the bin; it is not used up for each slab. */
static void thread__becomes_lean_once_and_not_while_it_works_in_parts(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 1000), 0);
  hak_slab_t *slab[3] = {test_slab_full(), test_slab_full(), test_slab_full()};
  for (int i = 0; i < 3; i++) test_slab_home(slab[i], 0, 1);
  g_me->in_parts = 1;
  test_slab_home(slab[0], 1, CAPACITY - 1);
  g_me->in_parts = 0;
  CHECK_EQ(test_hold()->lean, HAK_LEAN_NOT);
  CHECK_EQ(test_hold()->pins, 0);
  test_slab_home(slab[1], 1, CAPACITY - 1);
  CHECK(test_hold()->lean != HAK_LEAN_NOT);
  uint64_t next = test_hold()->lean_next;
  test_slab_home(slab[2], 1, CAPACITY - 1);
  CHECK_EQ(test_hold()->lean_next, next);
  hak_hold_list_all(g_me, g_cache, g_class);
  for (int i = 0; i < 3; i++) test_slab_home(slab[i], CAPACITY - 1, CAPACITY);
}

/* The lock may be another thread's. */
static void home__leaves_a_lock_alone_that_it_was_not_given(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  bool locked = false;
  hak_lock_acquire(&g_central->lock);
  hak_hold_home_any(g_me, g_cache, g_class, test_slab_batch(slab, 0, 4), &locked);
  bool was_free = hak_word_try(&g_central->lock.held);
  hak_lock_release(&g_central->lock);
  CHECK(!was_free);
  test_slab_home(slab, 4, CAPACITY);
}

/* --- misuse ----------------------------------------------------------------------------
 */

/* The block counts as home, and nothing changes but that it is noted. */
static void home_again(hak_slab_t *slab, uint32_t i) {
  uint32_t out = hak_slab_out(slab);
  uint64_t word = hak_load_relaxed(&slab->word);
  const void *head = slab->list.head;
  uint64_t link = *(uint64_t *)(void *)test_slab_block(slab, i);
  test_slab_home(slab, i, i + 1);
  *(uint64_t *)(void *)test_slab_block(slab, i) = link;
  test_deferred_expect(HAK_ERROR_DOUBLE_FREE, test_slab_block(slab, i));
  CHECK_EQ(hak_slab_out(slab), out);
  CHECK_EQ(hak_load_relaxed(&slab->word), word);
  CHECK(slab->list.head == head);
}

static void block__that_comes_home_twice_is_reported_wherever_its_slab_is(void **state) {
  (void)state;
  never_lean();
  hak_slab_t *slab = test_slab_full();
  test_slab_home(slab, 0, 1);
  home_again(slab, 0);
  hak_hold_list_all(g_me, g_cache, g_class);
  CHECK_EQ(slab->queue, HAK_QUEUE_PARTIAL);
  home_again(slab, 0);
  CHECK(hak_partial_is_valid(g_central));
  test_slab_home(slab, 1, CAPACITY);
  CHECK_EQ(test_class_spans(), 0);
  home_again(slab, 0); /* nothing of it is out */
  CHECK_EQ(test_class_spans(), 0);
}

/* It has no link that would say that it is free. */
static void block__that_was_put_away_and_comes_home_is_reported(void **state) {
  (void)state;
  never_lean();
  size_t page = g_cache->store->pool.os->page_size;
  hak_slab_t *slab = test_slab_full();
  test_slab_home(slab, 0, CAPACITY / 2);
  hak_hold_list_all(g_me, g_cache, g_class);
  hak_store_relaxed(&slab->holes, 1); /* its first page */
  hak_add_relaxed(&hak_hole_bytes, page);
  hak_slab_put_away(g_me, slab);
  home_again(slab, 1);
  (void)hak_slab_bring_back(g_me, slab);
  CHECK_EQ(test_list_length(slab->list.head), CAPACITY / 2);
  test_slab_home(slab, CAPACITY / 2, CAPACITY);
}

/* Its slab is wholly home by the count, as another one came home twice. */
static void block__that_is_out_keeps_a_slab_that_others_fill(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) return; /* nothing looks at links */
  never_lean();
  for (int held = 0; held < 2; held++) {
    hak_slab_t *slab = test_slab_full();
    if (held == 0) hak_hold_let_go(g_me, g_cache, slab, g_class);
    test_fill(test_slab_block(slab, CAPACITY - 1), SIZE, 1);
    hak_batch_t run = test_slab_batch(slab, 0, CAPACITY - 1);
    run.count = CAPACITY;
    bool locked = false;
    test_hold()->credit = 0;
    hak_hold_home_any(g_me, g_cache, g_class, run, &locked);
    if (locked) hak_lock_release(&g_central->lock);
    test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slab, CAPACITY - 1));
    CHECK_EQ(test_class_spans(), 1);
    CHECK(test_hold()->current == NULL);
    CHECK_EQ(slab->queue, held != 0 ? HAK_QUEUE_HELD : HAK_QUEUE_PARTIAL);
    CHECK_EQ(hak_slab_out(slab), 1);
    CHECK(test_verify(test_slab_block(slab, CAPACITY - 1), SIZE, 1));
    test_slab_home(slab, CAPACITY - 1, CAPACITY);
    hak_hold_list_all(g_me, g_cache, g_class);
    CHECK_EQ(test_class_spans(), 0);
  }
}

/* A push has counted the last one down of those after which the holder is to hear. */
static void pushes__that_the_slab_cannot_have_change_nothing(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) return; /* what is no block is not looked for */
  never_lean();
  hak_slab_t *slab = test_slab_full();
  test_slab_home(slab, 0, 1);
  const void *head = slab->list.head;
  uint32_t out = hak_slab_out(slab);
  hak_slab_set_out(slab, out, out - 1);
  hak_store_relaxed(&slab->list.room, -1);
  char *inside = test_slab_block(slab, 5) + 8;
  hak_hold_event(g_me, g_cache, slab, inside);
  test_deferred_expect(HAK_ERROR_INTERIOR_POINTER, inside);
  CHECK(slab->list.head == head);
  CHECK_EQ(hak_slab_out(slab), out);
  hak_store_relaxed(&slab->list.room, -2); /* more than could be */
  hak_hold_event(g_me, g_cache, slab, test_slab_block(slab, 5));
  test_deferred_expect(HAK_ERROR_DOUBLE_FREE, test_slab_block(slab, 5));
  CHECK(slab->list.head == head);
  hak_slab_set_out(slab, out, 0);
  test_slab_home(slab, 1, CAPACITY);
}

/* --- pages that are not carved ---------------------------------------------------------
 */

static hak_slab_t *g_loose;
static uint32_t g_loose_out;
static int (*g_purge)(void *ctx, void *ptr, size_t size);

/* Others free what is out of the slab while its pages go. */
static int purge_beside(void *ctx, void *ptr, size_t size) {
  if (g_loose != NULL) test_slab_home_elsewhere(g_loose, 0, g_loose_out);
  g_loose = NULL;
  return g_purge(ctx, ptr, size);
}

static int setup_beside(void **state) {
  test_os_open(&g_os, 0);
  g_purge = g_os.hooks.purge;
  g_os.hooks.purge = purge_beside;
  CHECK_EQ(test_os_init(&g_os), 0);
  (void)state;
  CHECK_EQ(hak_thread_init(), 0);
  g_me = hak_thread_self;
  g_cache = &g_me->cache;
  g_class = hak_class_of(SIZE);
  g_central = &g_cache->store->centrals[g_class];
  return 0;
}

static hak_slab_t *loose_slab(void) {
  enum {
    CARVED = 8
  };
  hak_slab_t *slab = slab_current(CARVED);
  hak_hold_list_all(g_me, g_cache, g_class);
  CHECK_EQ(slab->queue, HAK_QUEUE_UNCARVED);
  g_loose_out = CARVED;
  return slab;
}

static void pages__beyond_what_is_carved_go_unless_nothing_may(void **state) {
  (void)state;
  never_lean();
  hak_slab_t *slab = loose_slab();
  size_t page = g_cache->store->pool.os->page_size;
  uint64_t purges = g_os.calls[TEST_OS_PURGE];
  hak_os_scope_t scope = hak_os_enter(HAK_OS_BARRED);
  CHECK_EQ(hak_hold_shed(g_me, g_cache), 0);
  hak_os_leave(scope);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], purges);
  CHECK_EQ(slab->queue, HAK_QUEUE_UNCARVED);
  CHECK_EQ(hak_hold_shed(g_me, g_cache),
           HAK_SLAB_SIZE - hak_align_up(g_loose_out * SIZE, page));
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], purges + 1);
  CHECK_EQ(slab->queue, HAK_QUEUE_UNCARVED);
  CHECK_EQ(hak_hold_shed(g_me, g_cache), 0);
  test_slab_home(slab, 0, g_loose_out);
}

/* It is the program's, and no hook is called for it. */
static void pages__of_the_programs_memory_stay(void **state) {
  (void)state;
  enum {
    BYTES = 32 << 20
  };
  void *memory = aligned_alloc(HAK_SUPERSLAB_SIZE, BYTES);
  hak_heap_t *heap = test_heap_in(memory, BYTES, 0, NULL);
  CHECK(heap != NULL);
  char *block = hak_heap_alloc(heap, SIZE);
  test_fill(block, SIZE, 1);
  hak_slab_t *slab = hak_slab_of(block);
  hak_collect(heap, 0, HAK_COLLECT_ALL);
  CHECK_EQ(slab->queue, HAK_QUEUE_UNCARVED);
  hak_cache_t bare = hak_cache_bare(g_me, hak_heap_record(heap));
  CHECK(hak_commit_bytes(&bare, slab) > hak_slab_carved(slab) * SIZE);
  CHECK_EQ(hak_hold_shed(g_me, &bare), 0);
  CHECK(test_verify(block, SIZE, 1));
  hak_free(block);
  hak_heap_destroy(heap);
  free(memory);
}

static void slab__whose_blocks_come_home_while_its_pages_go_is_free(void **state) {
  (void)state;
  never_lean();
  g_loose = loose_slab();
  CHECK(hak_hold_shed(g_me, g_cache) != 0);
  CHECK(g_loose == NULL);
  CHECK_EQ(test_class_spans(), 0);
  CHECK(hak_load_relaxed(&g_central->uncarved) == NULL);
  CHECK_EQ(g_central->listed, 0);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(slab__is_named_late_by_those_who_may),
                H(entries__of_a_serial_heap_stay_unowned),
                H(current_slab__stays_when_all_its_blocks_are_home),
                H(slab__whose_last_blocks_are_on_its_word_is_free),
                H(claim__of_a_slab_that_is_held_takes_no_credit),
                H(thread__becomes_lean_once_and_not_while_it_works_in_parts),
                H(home__leaves_a_lock_alone_that_it_was_not_given),
                H(block__that_comes_home_twice_is_reported_wherever_its_slab_is),
                H(block__that_was_put_away_and_comes_home_is_reported),
                H(block__that_is_out_keeps_a_slab_that_others_fill),
                H(pushes__that_the_slab_cannot_have_change_nothing),
                H(pages__beyond_what_is_carved_go_unless_nothing_may),
                H(pages__of_the_programs_memory_stay),
                cmocka_unit_test_setup_teardown(
                    slab__whose_blocks_come_home_while_its_pages_go_is_free, setup_beside,
                    test_slab_teardown))
