/* tiny_transfer.c - whole magazines change threads through the transfer cache. */
#include "class_fixture.h"
#include "threads.h"

#include <stdatomic.h>
#include <string.h>

#include "os/os.h"
#include "pages/meta.h"
#include "superslab/locate.h"
#include "tiny/capacity.h"
#include "tiny/transfer.h"
#include "tiny/trim.h"

enum {
  SIZE = 64,
  BLOCKS = HAK_MAGAZINE_BLOCKS,
  SLOTS = HAK_TRANSFER_PLACES
};

static void *g_blocks[BLOCKS * (SLOTS + 6)];

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

/* --- places that are shut ---------------------------------------------------------- */

enum {
  SCATTERED = 16 /* blocks of a magazine, once nobody is likely to take it */
};

static hak_hold_t *hold(void) { return &g_cache->holds[g_class]; }
static int32_t shut(void) { return hak_load_relaxed(&g_central->shut); }

/* Blocks of two slabs in turn, so that each goes home by itself. */
static void allocate_scattered(size_t count) {
  enum {
    APART = 8192
  };
  static void *all[2 * APART];
  for (size_t i = 0; i < TEST_COUNT(all); i++) CHECK((all[i] = hak_alloc(SIZE)) != NULL);
  CHECK(hak_slab_of(all[0]) != hak_slab_of(all[APART]));
  for (size_t i = 0; i < TEST_COUNT(all); i++) {
    size_t at = i % APART * 2 + i / APART;
    if (at < count) {
      g_blocks[at] = all[i];
    } else {
      hak_free(all[i]);
    }
  }
}

/* Frees the blocks as those of others, `count` from *at on. */
static void add(size_t *at, size_t count) {
  for (; count > 0; count--) hak_transfer_add(g_me, g_cache, g_class, g_blocks[(*at)++]);
}

static void places__are_shut_by_halves_while_nobody_takes(void **state) {
  (void)state;
  size_t at = 0;
  allocate_scattered(BLOCKS * (SLOTS + 4) + BLOCKS + SCATTERED);
  add(&at, BLOCKS * SLOTS);
  CHECK_EQ(filled_slots(), SLOTS);
  CHECK_EQ(shut(), 0);
  for (int32_t open = SLOTS; open > 0; open /= 2) {
    CHECK_EQ(hold()->magazine_blocks, BLOCKS);
    add(&at, BLOCKS);
    CHECK_EQ(shut(), SLOTS - open / 2);
    CHECK_EQ(filled_slots(), open / 2);
  }
  CHECK_EQ(hold()->magazine_blocks, SCATTERED);
  add(&at, SCATTERED);
  CHECK_EQ(shut(), SLOTS);
  CHECK_EQ(test_live_blocks(), 0);
}

/* Whoever took one may take the next. */
static void places__stay_open_where_somebody_took(void **state) {
  (void)state;
  size_t at = 0;
  allocate_scattered(BLOCKS * (SLOTS + 2));
  add(&at, BLOCKS * SLOTS);
  hak_store_relaxed(&g_central->takes, 1);
  add(&at, BLOCKS);
  CHECK_EQ(shut(), 0);
  CHECK_EQ(hak_load_relaxed(&g_central->takes), 0); /* not since */
  add(&at, BLOCKS);
  CHECK_EQ(shut(), SLOTS / 2);
  hak_magazine_t *magazine = hak_transfer_take(g_cache, g_class);
  CHECK(magazine != NULL);
  CHECK_EQ(shut(), 0);
  hak_transfer_send(g_me, g_cache, g_class, magazine);
}

static void places__stay_open_for_magazines_of_few_slabs(void **state) {
  (void)state;
  size_t at = 0;
  allocate(BLOCKS * (SLOTS + 1));
  add(&at, BLOCKS * SLOTS);
  hak_store_relaxed(&g_central->takes, 0);
  add(&at, BLOCKS);
  CHECK_EQ(shut(), 0);
  CHECK_EQ(filled_slots(), SLOTS);
}

static void places__that_an_option_shuts_are_not_shut_for_good(void **state) {
  (void)state;
  size_t at = 0;
  CHECK_EQ(hak_option_set(HAK_OPTION_TRANSFER_MAGAZINES, 0), 0);
  allocate_scattered(BLOCKS);
  add(&at, BLOCKS);
  CHECK_EQ(shut(), 0);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_TRANSFER_MAGAZINES, SLOTS), 0);
}

/* A magazine that is to carry less, as of large blocks, or in a heap with a limit. */
static void magazines__that_are_small_stay_so(void **state) {
  (void)state;
  enum {
    FEW = 8
  };
  size_t at = 0;
  allocate_scattered(2 * FEW);
  hak_store_relaxed(&g_central->shut, SLOTS - 1);
  hold()->magazine_blocks = FEW;
  add(&at, 2 * FEW); /* the first one has the place */
  CHECK_EQ(shut(), SLOTS);
  CHECK_EQ(hold()->magazine_blocks, FEW);
  hold()->quota = HAK_QUOTA_NONE;
  hak_store_relaxed(&g_central->hint, 0);
  CHECK(hak_transfer_take(g_cache, g_class) == NULL);
  CHECK_EQ(shut(), SLOTS - 1);
  CHECK_EQ(hold()->magazine_blocks, FEW);
  hak_store_relaxed(&g_central->shut, SLOTS);
  hold()->quota = 0;
  CHECK(hak_transfer_take(g_cache, g_class) == NULL);
  CHECK_EQ(hold()->magazine_blocks, BLOCKS);
  hak_store_relaxed(&g_central->shut, 0);
  CHECK(hak_transfer_take_slow(g_cache, g_class) == NULL);
  CHECK_EQ(shut(), 0);
}

static void block__goes_home_where_no_magazine_can_be_had(void **state) {
  (void)state;
  size_t at = 0;
  allocate(1);
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  while (hak_meta_alloc(g_cache->store->pool.os, sizeof(hak_magazine_t),
                        HAK_CACHE_LINE) != NULL) {}
  add(&at, 1);
  hak_os_leave(before);
  CHECK(hak_load_relaxed(&hold()->magazine) == NULL);
  CHECK_EQ(test_live_blocks(), 0);
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
                S(places__are_shut_by_halves_while_nobody_takes),
                S(places__stay_open_where_somebody_took),
                S(places__stay_open_for_magazines_of_few_slabs),
                S(places__that_an_option_shuts_are_not_shut_for_good),
                S(magazines__that_are_small_stay_so),
                S(block__goes_home_where_no_magazine_can_be_had),
                S(link__of_a_magazine_makes_a_list_of_its_blocks_in_order),
                S(blocks__that_one_thread_allocates_and_one_frees_come_back))
