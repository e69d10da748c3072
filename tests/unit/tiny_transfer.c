/* tiny_transfer.c - whole magazines change threads through the transfer cache. */
#include "class_fixture.h"
#include "threads.h"

#include <stdatomic.h>
#include <string.h>

#include "tiny/transfer.h"
#include "tiny/trim.h"

enum {
  SIZE = 64,
  BLOCKS = HAK_MAGAZINE_BLOCKS,
  SLOTS = HAK_TRANSFER_PLACES
};

static void *g_blocks[BLOCKS * (SLOTS + 4)];

static void allocate(size_t count) {
  for (size_t i = 0; i < count; i++) {
    g_blocks[i] = hak_alloc(SIZE);
    CHECK(g_blocks[i] != NULL);
  }
}

static size_t filled_slots(void) {
  size_t n = 0;
  for (int i = 0; i < SLOTS; i++) n += hak_load_relaxed(&g_central->places[i]) != NULL;
  return n;
}

/* Frees so many magazines' worth of g_blocks as blocks that others allocated. */
static void *hand_over_main(void *argument) {
  size_t magazines = *(size_t *)argument;
  CHECK_EQ(hak_thread_init(), 0);
  for (size_t i = 0; i < magazines * BLOCKS; i++) {
    hak_transfer_add(hak_thread_self, &hak_thread_self->cache, g_class, g_blocks[i]);
  }
  return NULL;
}

static void hand_over(size_t magazines) { test_thread_run(hand_over_main, &magazines); }

/* --- directed -------------------------------------------------------------------- */

/* Allocates a magazine's worth of blocks and looks at them. The magazine lies in the
 * transfer cache again when the thread has freed them and ended. */
static void *take_main(void *argument) {
  uint64_t *refills = argument, before = test_stats().refill_transfer;
  size_t filled = filled_slots();
  void *mine[BLOCKS];
  for (int i = 0; i < BLOCKS; i++) mine[i] = hak_alloc(SIZE);
  *refills = test_stats().refill_transfer - before;
  CHECK_EQ(filled_slots(), filled - *refills);
  for (int i = 0; *refills == 1 && i < BLOCKS; i++) CHECK(mine[i] == g_blocks[i]);
  for (int i = 0; i < BLOCKS; i++) hak_free(mine[i]);
  return NULL;
}

static void magazine__handed_over_is_taken_whole_by_another_thread(void **state) {
  (void)state;
  uint64_t refills = 9, batched = test_stats().free_batched;
  allocate(BLOCKS);
  hand_over(1);
  CHECK_EQ(test_stats().free_batched - batched, BLOCKS);
  CHECK_EQ(filled_slots(), 1);
  CHECK_EQ(test_live_blocks(), 0); /* what lies in slots is cached */
  test_thread_run(take_main, &refills);
  CHECK_EQ(refills, 1);
  CHECK_EQ(test_live_blocks(), 0);
}

static void take_any__finds_a_magazine_whatever_the_hint(void **state) {
  (void)state;
  allocate(BLOCKS);
  hand_over(1);
  hak_store_relaxed(&g_central->hint, 0);
  hak_magazine_t *magazine = hak_transfer_take_any(g_central);
  CHECK(magazine != NULL);
  CHECK_EQ(hak_load_relaxed(&magazine->count), BLOCKS);
  for (int i = 0; i < BLOCKS; i++) CHECK(magazine->blocks[i] == g_blocks[i]);
  CHECK(hak_transfer_take_any(g_central) == NULL);
  hak_transfer_empty(hak_thread_self, &hak_thread_self->cache, g_class, magazine);
  CHECK_EQ(hak_load_relaxed(&magazine->count), 0);
  hak_magazine_put(hak_thread_self, magazine);
  CHECK_EQ(test_live_blocks(), 0);
}

static void *tick_main(void *argument) {
  (void)argument;
  CHECK_EQ(hak_thread_init(), 0);
  hak_trim_class(hak_thread_self, &hak_thread_self->cache, g_class);
  return NULL;
}

static void hint__that_went_stale_is_mended_by_a_tick(void **state) {
  (void)state;
  uint64_t refills = 9;
  allocate(BLOCKS);
  hand_over(1);
  hak_store_relaxed(&g_central->hint, 0);
  test_thread_run(take_main, &refills);
  CHECK_EQ(refills, 0); /* nobody looks */
  CHECK_EQ(filled_slots(), 1);
  test_thread_run(tick_main, NULL);
  test_thread_run(take_main, &refills);
  CHECK_EQ(refills, 1);
}

static void hint__beyond_every_magazine_is_lowered_by_a_vain_look(void **state) {
  (void)state;
  hak_store_relaxed(&g_central->hint, SLOTS);
  CHECK(hak_transfer_take(&hak_thread_self->cache, g_class) == NULL);
  CHECK_EQ(hak_load_relaxed(&g_central->hint), 0);
}

/* Nobody hands anything over there any more; now somebody may. */
static void take__opens_a_place_where_all_are_shut(void **state) {
  (void)state;
  hak_store_relaxed(&g_central->hint, 0);
  hak_store_relaxed(&g_central->shut, SLOTS);
  CHECK(hak_transfer_take(g_cache, g_class) == NULL);
  CHECK_EQ(hak_load_relaxed(&g_central->shut), SLOTS - 1);
  CHECK(hak_transfer_take(g_cache, g_class) == NULL);
  CHECK_EQ(hak_load_relaxed(&g_central->shut), SLOTS - 1);
  hak_store_relaxed(&g_central->shut, 0);
}

static void slots__that_are_full_send_the_next_magazine_home(void **state) {
  (void)state;
  allocate(BLOCKS * (SLOTS + 4));
  hand_over(SLOTS + 4);
  CHECK(filled_slots() <= SLOTS);
  CHECK_EQ(test_live_blocks(), 0);
  hak_stats_t stats = test_stats();
  CHECK(stats.free_shelved + stats.free_remote + stats.slab_shelved > 0);
  (void)hak_collect(NULL, 0, HAK_COLLECT_ALL); /* what lies in slots goes home, too */
  CHECK_EQ(filled_slots(), 0);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(test_class_spans(), 0);
}

static void slots__are_as_many_as_the_option_says(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_TRANSFER_MAGAZINES, 3), 0);
  allocate(BLOCKS * 6);
  hand_over(6);
  CHECK(filled_slots() > 0 && filled_slots() <= 3);
  (void)hak_collect(NULL, 0, HAK_COLLECT_ALL);
  CHECK_EQ(hak_option_set(HAK_OPTION_TRANSFER_MAGAZINES, 0), 0);
  allocate(BLOCKS * 2);
  hand_over(2);
  CHECK_EQ(filled_slots(), 0);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_TRANSFER_MAGAZINES, SLOTS), 0);
}

static void link__of_a_magazine_makes_a_list_of_its_blocks_in_order(void **state) {
  (void)state;
  hak_thread_t *me = hak_thread_self;
  hak_magazine_t *magazine = hak_magazine_get(me, &me->cache);
  CHECK(magazine != NULL);
  allocate(20);
  memcpy(magazine->blocks, g_blocks, 20 * sizeof g_blocks[0]);
  hak_store_relaxed(&magazine->count, 20);
  void *block = hak_magazine_link(me, magazine);
  CHECK_EQ(hak_load_relaxed(&magazine->count), 0);
  for (int i = 0; i < 20; i++) {
    CHECK(block == g_blocks[i]);
    block = hak_link_read(&me->key, block);
  }
  CHECK(block == HAK_LINK_END);
  hak_magazine_put(me, magazine);
  for (int i = 0; i < 20; i++) {
    hak_link_unmark(g_blocks[i]); /* they are the program's again */
    hak_free(g_blocks[i]);
  }
}

/* --- one allocates, one frees ------------------------------------------------------ */

#define RING 1024
static _Atomic(void *) g_ring[RING];

static void *freer_main(void *argument) {
  size_t rounds = *(size_t *)argument;
  for (size_t n = 0; n < rounds; n++) {
    void *block;
    while ((block = atomic_exchange(&g_ring[n % RING], NULL)) == NULL) hak_cpu_relax();
    CHECK(test_verify(block, SIZE, n));
    hak_free(block);
  }
  return NULL;
}

static void blocks__that_one_thread_allocates_and_one_frees_come_back(void **state) {
  (void)state;
  size_t rounds = test_scale(100000);
  pthread_t freer;
  CHECK_EQ(pthread_create(&freer, NULL, freer_main, &rounds), 0);
  for (size_t n = 0; n < rounds; n++) {
    while (atomic_load(&g_ring[n % RING]) != NULL) hak_cpu_relax();
    void *block = hak_alloc(SIZE);
    CHECK(block != NULL);
    test_fill(block, SIZE, n);
    atomic_store(&g_ring[n % RING], block);
  }
  pthread_join(freer, NULL);
  hak_stats_t stats = test_stats();
  CHECK(stats.free_batched > 0 && stats.refill_transfer > 0);
  (void)hak_collect(NULL, 0, HAK_COLLECT_ALL);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(test_class_spans(), 0);
}

#define S(function) TEST_OF_CLASS(function, SIZE)

TEST_MAIN_FRESH(S(magazine__handed_over_is_taken_whole_by_another_thread),
                S(take_any__finds_a_magazine_whatever_the_hint),
                S(hint__that_went_stale_is_mended_by_a_tick),
                S(hint__beyond_every_magazine_is_lowered_by_a_vain_look),
                S(take__opens_a_place_where_all_are_shut),
                S(slots__that_are_full_send_the_next_magazine_home),
                S(slots__are_as_many_as_the_option_says),
                S(link__of_a_magazine_makes_a_list_of_its_blocks_in_order),
                S(blocks__that_one_thread_allocates_and_one_frees_come_back))
