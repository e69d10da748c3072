/* tiny_lean.c - what a thread keeps of a class that comes to free only, and how often. */
#include "slab_fixture.h"

#include <pthread.h>

#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/lean.h"

enum {
  SIZE = 1024,
  CAPACITY = 64, /* blocks of a slab */
  BIN = 32,      /* blocks of each list of the bin */
  SLABS = 5,
  BLOCKS = SLABS * CAPACITY - CAPACITY / 2, /* the last slab is cut in part */
  BURSTS = 4
};

/* The bin stays as it is, however much overflows. */
static void set_period(int64_t ms) {
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, ms), 0);
}

static void burst(uint32_t blocks) {
  static void *block[BLOCKS];
  for (uint32_t i = 0; i < blocks; i++) {
    block[i] = hak_alloc(SIZE);
    CHECK(block[i] != NULL);
  }
  for (uint32_t i = 0; i < blocks; i++) hak_free(block[i]);
}

/* Blocks that lie in the bin. */
static uint32_t cached(void) {
  return test_list_length(test_bin()->list.head) + test_list_length(test_bin()->ready) +
         test_list_length(test_hold()->spare);
}

static void burst__that_is_dropped_leaves_few_blocks_and_no_slab_to_cut(void **state) {
  (void)state;
  set_period(3600000);
  for (int i = 0; i < BURSTS; i++) {
    burst(BLOCKS);
    CHECK(test_hold()->lean != HAK_LEAN_NOT);
    CHECK(cached() <= hak_lean_kept(g_cache, g_class));
    CHECK(test_bin()->ready == HAK_LINK_END);
    CHECK(test_hold()->current == NULL);
    CHECK(test_class_spans() <= 1);
    CHECK(hak_hold_is_valid(g_me, g_cache));
  }
  /* Four times in a row; the fifth burst leaves what a thread that works on keeps. */
  burst(BLOCKS);
  CHECK_EQ(test_hold()->lean, HAK_LEAN_NOT);
  CHECK(test_hold()->current != NULL || cached() > hak_lean_kept(g_cache, g_class));
  CHECK(hak_hold_is_valid(g_me, g_cache));
}

static void period__of_zero_leaves_everything_in_place(void **state) {
  (void)state;
  set_period(0);
  burst(BLOCKS);
  CHECK_EQ(test_hold()->lean, HAK_LEAN_NOT);
  CHECK(test_class_spans() >= 1);
  CHECK(test_hold()->current != NULL || cached() > hak_lean_kept(g_cache, g_class));
}

static void lean__ends_with_the_next_refill(void **state) {
  (void)state;
  set_period(3600000);
  burst(BLOCKS);
  CHECK(test_hold()->lean != HAK_LEAN_NOT);
  void *block[2 * BIN];
  for (int i = 0; i < 2 * BIN; i++) block[i] = hak_alloc(SIZE);
  CHECK_EQ(test_hold()->lean, HAK_LEAN_NOT);
  CHECK_EQ(test_bin()->spilling, 0);
  set_period(0);
  for (int i = 0; i < 2 * BIN; i++) hak_free(block[i]);
  CHECK(cached() > hak_lean_kept(g_cache, g_class)); /* the bin is what it was */
}

/* The current slab has blocks in use: it is held, and the thread hears of it when they
 * come home. */
static void current_slab__goes_to_the_pool_with_its_last_block(void **state) {
  (void)state;
  set_period(3600000);
  static void *block[BLOCKS];
  for (int i = 0; i < BLOCKS; i++) block[i] = hak_alloc(SIZE);
  hak_slab_t *current = test_hold()->current;
  CHECK(current != NULL);
  int kept = 0; /* blocks of the current slab, which is the youngest */
  for (int i = 0; i < BLOCKS; i++) {
    if (hak_slab_of(block[i]) == current) {
      block[kept++] = block[i];
    } else {
      hak_free(block[i]);
    }
  }
  CHECK(kept > BIN / 2);
  CHECK(test_hold()->current == current);
  for (int i = 0; i < kept; i++) hak_free(block[i]);
  CHECK(test_hold()->current == NULL);
  CHECK(hak_hold_is_valid(g_me, g_cache));
}

static void bin__that_had_grown_is_small_again_but_for_bursts_in_a_row(void **state) {
  (void)state;
  set_period(1);
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 1 << 20), 0);
  hak_bin_t *bin = test_bin();
  for (int i = 0; i < 2; i++) {
    test_hold()->taken = BIN;
    CHECK(hak_capacity_grow(g_cache, g_class) > 0);
    CHECK(hak_bin_capacity(bin) > BIN);
    CHECK(hak_lean_begins(g_cache, g_class));
    CHECK_EQ(test_hold()->lean, i == 0 ? HAK_LEAN_ANEW : HAK_LEAN);
    hak_lean_shrink(g_cache, g_class);
    CHECK_EQ(test_hold()->lean, HAK_LEAN);
    CHECK_EQ(hak_bin_capacity(bin) == BIN, i == 0);
  }
  hak_flush_class(g_me, g_cache, g_class);
}

/* ---- all classes of a thread that drops what it has ----------------------------------
 */

enum {
  FEW = 24, /* blocks of each other class: no bin overflows */
  DROPS = 4
};
static const size_t other_sizes[] = {100, 400, 600, 1500, 3000, 6000, 20000};

/* Blocks of the other sizes that lie in bins. */
static uint32_t cached_others(void) {
  uint32_t sum = 0;
  for (size_t i = 0; i < TEST_COUNT(other_sizes); i++) {
    uint32_t cls = hak_class_of(other_sizes[i]);
    if (!hak_capacity_has_begun(g_cache, cls)) continue;
    sum += test_list_length(g_cache->bins[cls].list.head) +
           test_list_length(g_cache->bins[cls].ready) +
           test_list_length(g_cache->holds[cls].spare);
  }
  return sum;
}

/* Many blocks of one class and few of others, freed evenly mixed. Returns the slots that
 * the heap has in use then. */
static uint64_t drop_document(void) {
  static void *many[BLOCKS], *few[FEW][TEST_COUNT(other_sizes)];
  for (int i = 0; i < BLOCKS; i++) CHECK((many[i] = hak_alloc(SIZE)) != NULL);
  for (int k = 0; k < FEW; k++) {
    for (size_t i = 0; i < TEST_COUNT(other_sizes); i++) {
      CHECK((few[k][i] = hak_alloc(other_sizes[i])) != NULL);
    }
  }
  for (int i = 0, k = 0; i < BLOCKS; i++) {
    hak_free(many[i]);
    for (; k < FEW && k * BLOCKS <= i * FEW; k++) {
      for (size_t c = 0; c < TEST_COUNT(other_sizes); c++) hak_free(few[k][c]);
    }
  }
  CHECK(hak_hold_is_valid(g_me, g_cache));
  return hak_load_relaxed(&g_cache->store->pool.taken);
}

/* Each of the other classes would keep a span else, and all of its blocks. */
static void drop__empties_bins_that_never_overflow(void **state) {
  (void)state;
  set_period(0);
  uint64_t kept = drop_document();
  CHECK(cached_others() >= FEW * TEST_COUNT(other_sizes) / 2);
  hak_flush_all(g_me, g_cache);
  set_period(3600000);
  for (int i = 0; i < DROPS; i++) {
    uint64_t left = drop_document();
    CHECK_MSG(left <= kept / 2, "%llu slots of %llu", (unsigned long long)left,
              (unsigned long long)kept);
    CHECK(cached_others() <= FEW * TEST_COUNT(other_sizes) / 4);
  }
  /* A thread that works on keeps its blocks. */
  (void)drop_document();
  CHECK(cached_others() >= FEW * TEST_COUNT(other_sizes) / 2);
  hak_flush_all(g_me, g_cache);
}

static void *end_it(void *heap) {
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return NULL;
}

/* Slabs that went with a heap are none of the thread's: it drops the next document as if
 * there had been no heaps. */
static void drop__is_seen_after_heaps_have_ended(void **state) {
  (void)state;
  enum {
    HEAPS = 40,
    OF_A_HEAP = 400,
    ENDS = 4 /* destroyed, reset, serial, by another thread */
  };
  set_period(0);
  uint64_t kept = drop_document();
  hak_flush_all(g_me, g_cache);
  for (int i = 0; i < HEAPS; i++) {
    hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
    int end = i % ENDS;
    if (end == 2) config.flags = HAK_HEAP_SERIAL;
    hak_heap_t *heap = hak_heap_create(&config);
    CHECK(heap != NULL);
    for (int k = 0; k < OF_A_HEAP; k++) {
      CHECK(hak_heap_alloc(heap, SIZE) != NULL);
      if (k < OF_A_HEAP / 8) CHECK(hak_heap_alloc(heap, 100) != NULL);
    }
    if (end == 1) CHECK_EQ(hak_heap_reset(heap), 0);
    if (end != 3) {
      (void)end_it(heap);
      continue;
    }
    pthread_t other;
    CHECK_EQ(pthread_create(&other, NULL, end_it, heap), 0);
    CHECK_EQ(pthread_join(other, NULL), 0);
  }
  set_period(3600000);
  uint64_t left = drop_document();
  CHECK_MSG(left <= kept / 4, "%llu slots of %llu", (unsigned long long)left,
            (unsigned long long)kept);
  CHECK(cached_others() <= FEW * TEST_COUNT(other_sizes) / 4);
  hak_flush_all(g_me, g_cache);
}

/* A thread of which others give slabs back drops its next slabs as if these had been few.
 */
static void drop__forgets_slabs_that_went_without_the_thread(void **state) {
  (void)state;
  set_period(3600000);
  g_me->spans = 100000;
  uint64_t before = g_me->spans;
  for (int i = 0; i < 200; i++) {
    for (int k = 0; k < HAK_LEAN_DROPPED; k++) hak_lean_note_given(g_me);
    hak_lean_note_begun(g_me);
  }
  CHECK(g_me->spans < before / 1000);
  while (g_me->spans > 0) hak_lean_note_given(g_me);
  hak_lean_note_given(g_me);
  CHECK_EQ(g_me->spans, 0);
  g_me->dropped = 0;
}

static void drop__is_no_drop_of_fewer_slabs(void **state) {
  (void)state;
  set_period(3600000);
  g_me->spans = 1600;
  for (int i = 0; i < 100; i++) {
    for (int k = 1; k < HAK_LEAN_DROPPED; k++) hak_lean_note_given(g_me);
    for (int k = 1; k < HAK_LEAN_DROPPED; k++) hak_lean_note_begun(g_me);
  }
  CHECK_EQ(g_me->spans, 1600); /* nothing is forgotten */
  g_me->spans = 0;
  g_me->drops = 0;
  g_me->drop_next = 0;
  g_me->dropped = HAK_LEAN_DROPPED - 1;
  CHECK(!hak_lean_drops(g_me));
  CHECK_EQ(g_me->dropped, HAK_LEAN_DROPPED - 1);
  g_me->dropped = HAK_LEAN_DROPPED;
  CHECK(hak_lean_drops(g_me));
  CHECK_EQ(g_me->dropped, 0);
  g_me->drops = 0;
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(burst__that_is_dropped_leaves_few_blocks_and_no_slab_to_cut),
                H(period__of_zero_leaves_everything_in_place),
                H(lean__ends_with_the_next_refill),
                H(current_slab__goes_to_the_pool_with_its_last_block),
                H(bin__that_had_grown_is_small_again_but_for_bursts_in_a_row),
                H(drop__empties_bins_that_never_overflow),
                H(drop__is_seen_after_heaps_have_ended),
                H(drop__forgets_slabs_that_went_without_the_thread),
                H(drop__is_no_drop_of_fewer_slabs))
