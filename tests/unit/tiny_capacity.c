/* tiny_capacity.c - bins that follow demand: they grow to what comes and goes, and
 * to nothing else; what lies idle is given back; the sum is bounded. */
#include "class_fixture.h"

#include "base/option.h"
#include "heap/bins.h"
#include "tiny/capacity.h"
#include "tiny/magazine.h"

enum {
  SIZE = 1024,
  MOST = 10000
};

static void *g_blocks[MOST];

static hak_bin_t *bin_of(size_t size) {
  return &hak_thread_self->bins[hak_class_of(size)];
}
static uint32_t least_of(size_t size) {
  return hak_thread_self->holds[hak_class_of(size)].capacity_least;
}

/* Allocates `count` blocks of the size and frees them, `rounds` times. */
static void burst(size_t size, uint32_t count, uint32_t rounds) {
  for (uint32_t r = 0; r < rounds; r++) {
    for (uint32_t i = 0; i < count; i++) {
      g_blocks[i] = hak_alloc(size);
      CHECK(g_blocks[i] != NULL);
    }
    for (uint32_t i = 0; i < count; i++) hak_free(g_blocks[i]);
  }
}

/* Blocks that went home, and refills that brought some from there. */
static uint64_t traffic(void) {
  hak_counts_t *counts = &hak_thread_self->counts;
  return hak_load_relaxed(&counts->free_local) +
         hak_load_relaxed(&counts->refill_partial) +
         hak_load_relaxed(&counts->refill_spare) +
         hak_load_relaxed(&counts->refill_carve);
}

static void bin__grows_until_bursts_stay_in_it(void **state) {
  (void)state;
  static const uint32_t counts[] = {100, 150, 200};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
    burst(SIZE, counts[i], 100);
    uint64_t before = traffic();
    burst(SIZE, counts[i], 100);
    CHECK_EQ(traffic(), before);
  }
  CHECK(bin_of(SIZE)->capacity > least_of(SIZE));
  CHECK(bin_of(SIZE)->capacity <= hak_option(BIN_GROWTH_BLOCKS));
}

static void bin__does_not_grow_for_what_it_could_not_keep(void **state) {
  (void)state;
  burst(SIZE, MOST, 5);
  CHECK_EQ(bin_of(SIZE)->capacity, least_of(SIZE));
  CHECK_EQ(hak_thread_self->grown, 0);
}

static void bin__does_not_grow_where_nothing_comes_back(void **state) {
  (void)state;
  for (int i = 0; i < MOST; i++) g_blocks[i] = hak_alloc(SIZE);
  hak_thread_self->holds[hak_class_of(SIZE)].taken = 0;
  for (int i = 0; i < MOST; i++) hak_free(g_blocks[i]);
  CHECK_EQ(bin_of(SIZE)->capacity, least_of(SIZE));
}

/* What was allocated before may be what the program keeps, so a bin of blocks over 1 KiB
 * grows by an eighth of what is left of the bound at most. */
static void bin__of_larger_blocks_leaves_others_room_to_grow(void **state) {
  (void)state;
  enum {
    KEPT = 500,
    SHARE = 8
  };
  static const size_t sizes[] = {20480, 24576, 28672, 32768};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    size_t size = sizes[i];
    for (uint32_t k = 0; k < KEPT; k++) CHECK((g_blocks[k] = hak_alloc(size)) != NULL);
    uint64_t limit = (uint64_t)hak_option(BIN_GROWTH_BYTES), left = 0;
    uint32_t least = least_of(size), freed = 0;
    while (bin_of(size)->capacity == least && freed < KEPT) {
      left = limit - hak_thread_self->grown;
      hak_free(g_blocks[freed++]);
    }
    uint64_t bytes = (uint64_t)(bin_of(size)->capacity - least) * size * 3; /* lists */
    CHECK(bytes > 0);
    CHECK(bytes <= left / SHARE + size * 3);
    while (freed < KEPT) hak_free(g_blocks[freed++]);
  }
}

/* As when the bin overflows after refills that brought blocks. */
static uint32_t grow(uint32_t cls) {
  hak_thread_self->holds[cls].taken = 20;
  return hak_capacity_grow(&hak_thread_self->cache, cls);
}

/* What one thread has too many of another one may have too few of. */
static void bin__does_not_grow_where_threads_free_each_others_blocks(void **state) {
  (void)state;
  if (HAK_CHECKS == 2) skip(); /* it does there */
  enum {
    LARGE = 20480
  };
  uint32_t large = hak_class_of(LARGE), small = hak_class_of(SIZE);
  burst(LARGE, 1, 1);
  burst(SIZE, 1, 1);
  hak_hold_t *hold = &hak_thread_self->holds[large];
  hak_central_t *centrals = hak_thread_self->store->centrals;
  hak_store_relaxed(&centrals[large].takes, 1);
  CHECK_EQ(grow(large), 0);
  hak_store_relaxed(&centrals[large].takes, 0);
  hak_magazine_t *magazine = hak_magazine_get(hak_thread_self, &hak_thread_self->cache);
  hak_store_relaxed(&hold->magazine, magazine);
  CHECK_EQ(grow(large), 0);
  CHECK_EQ(bin_of(LARGE)->capacity, least_of(LARGE));
  hak_store_relaxed(&hold->magazine, NULL);
  hak_magazine_put(hak_thread_self, magazine);
  CHECK(grow(large) > 0);
  CHECK(bin_of(LARGE)->capacity > least_of(LARGE));
  /* Of small ones it does. */
  hak_store_relaxed(&centrals[small].takes, 1);
  CHECK(grow(small) > 0);
}

/* Of an option that was made smaller, and of what all threads have together. */
static void bin__does_not_grow_where_a_bound_is_passed(void **state) {
  (void)state;
  uint32_t cls = hak_class_of(SIZE);
  burst(SIZE, 1, 1);
  int64_t blocks = hak_option_get(HAK_OPTION_BIN_GROWTH_BLOCKS);
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BLOCKS, 4), 0);
  CHECK(bin_of(SIZE)->capacity > 4);
  hak_thread_self->holds[cls].taken = 4;
  CHECK_EQ(hak_capacity_grow(&hak_thread_self->cache, cls), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BLOCKS, blocks), 0);
  hak_capacity_recount((uint64_t)hak_option_get(HAK_OPTION_BIN_GROWTH_ALL_BYTES) + 1);
  CHECK_EQ(grow(cls), 0);
  hak_capacity_recount(0);
  CHECK(grow(cls) > 0);
}

/* Its blocks stay until the limit is seen, at a refill or where the bin is full. */
static void class__that_begins_with_a_bin_is_not_cut_at_once(void **state) {
  (void)state;
  uint32_t cls = hak_class_of(SIZE + 2000);
  hak_heap_t *heap = hak_heap_get_default();
  CHECK(hak_thread_self->bins[cls].capacity != 0);
  CHECK(!hak_capacity_is_begun(&hak_thread_self->cache, cls));
  CHECK_EQ(hak_heap_set_limits(heap, 0, 64 << 20), 0);
  hak_capacity_begin(&hak_thread_self->cache, cls);
  CHECK(!hak_capacity_is_cut(&hak_thread_self->holds[cls]));
  CHECK_EQ(hak_heap_set_limits(heap, 0, 0), 0);
}

static void growth__is_bounded_over_all_bins(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 100000), 0);
  for (int round = 0; round < 50; round++) {
    for (uint32_t cls = 2; cls < 20; cls++) burst(hak_class_size(cls), 250, 1);
  }
  uint64_t grown = 0;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    if (hak_thread_self->holds[cls].magazine_blocks == 0) continue; /* not begun */
    uint32_t more =
        hak_thread_self->bins[cls].capacity - hak_thread_self->holds[cls].capacity_least;
    grown += (uint64_t)more * hak_class_size(cls) * 3; /* lists */
  }
  CHECK(grown > 0);
  CHECK(grown <= 100000);
  CHECK_EQ(grown, hak_thread_self->grown);
}

static bool has_blocks(size_t size) {
  return bin_of(size)->ready != HAK_LINK_END || bin_of(size)->list.head != HAK_LINK_END;
}

static void bin__that_lies_idle_gives_its_blocks_back(void **state) {
  (void)state;
  test_keep_unused(true); /* turns are another way to do so */
  /* Where the last of a burst go, the bin or their slabs, the clock decides too. */
  for (int i = 0; i == 0 || (i < 50 && !has_blocks(SIZE)); i++) burst(SIZE, 150, 100);
  CHECK(bin_of(SIZE)->capacity > least_of(SIZE));
  CHECK(has_blocks(SIZE));
  burst(64, MOST, 60); /* slow paths of another class */
  CHECK_EQ(bin_of(SIZE)->capacity, least_of(SIZE));
  CHECK(bin_of(SIZE)->ready == HAK_LINK_END);
  CHECK(bin_of(SIZE)->list.head == HAK_LINK_END);
  CHECK_EQ(hak_thread_self->grown, 0);
}

static void idle_thread__has_small_bins_again(void **state) {
  (void)state;
  burst(SIZE, 150, 100);
  CHECK(hak_thread_self->grown > 0);
  hak_thread_idle();
  burst(SIZE, 1, 1);
  CHECK_EQ(hak_thread_self->grown, 0);
  CHECK_EQ(bin_of(SIZE)->capacity, least_of(SIZE));
}

/* --- threads that share slabs --------------------------------------------------------
 */

enum {
  ENDS = 16, /* of short threads, after which others share slabs */
  LONG = 1000
};

static uint32_t shared_of(size_t size) {
  return hak_thread_self->holds[hak_class_of(size)].shared;
}

static void end_short(int count) {
  for (int i = 0; i < count; i++) hak_capacity_note_end(1);
}

static void class__that_begins_after_short_threads_is_shared(void **state) {
  (void)state;
  burst(16, 1, 1);
  CHECK_EQ(shared_of(16), HAK_SHARED_NOT);
  end_short(ENDS - 1);
  hak_capacity_note_end(0); /* it has not allocated, and says nothing */
  burst(32, 1, 1);
  CHECK_EQ(shared_of(32), HAK_SHARED_NOT);
  end_short(1);
  burst(48, 1, 1);
  CHECK(shared_of(48) < HAK_SHARED_ENOUGH);
  burst(2 << 20, 1, 1);
  burst(100000, 1, 1);
  CHECK_EQ(shared_of(100000), HAK_SHARED_NOT);
  /* What has begun stays as it is. */
  CHECK_EQ(shared_of(16), HAK_SHARED_NOT);
  hak_capacity_note_end(LONG);
  burst(64, 1, 1);
  CHECK_EQ(shared_of(64), HAK_SHARED_NOT);
  /* However many were short, two that were not show that others come now. */
  end_short(10 * ENDS);
  hak_capacity_note_end(LONG);
  burst(112, 1, 1);
  CHECK(shared_of(112) < HAK_SHARED_ENOUGH);
  hak_capacity_note_end(LONG);
  burst(128, 1, 1);
  CHECK_EQ(shared_of(128), HAK_SHARED_NOT);
  hak_capacity_forget_ends();
}

static void class__is_shared_up_to_the_size_of_a_slab(void **state) {
  (void)state;
  hak_hold_t *hold = &hak_thread_self->holds[hak_class_of(SIZE)];
  hak_thread_idle();
  hak_holds_forget(hak_thread_self->holds, hak_thread_self->begun);
  end_short(ENDS);
  size_t count = 0;
  while (count < HAK_SLAB_SIZE / SIZE) {
    g_blocks[count++] = hak_alloc(SIZE);
    if (shared_of(SIZE) == HAK_SHARED_ENOUGH) break;
    CHECK(hold->first == NULL && hold->current == NULL);
  }
  CHECK(count > HAK_SLAB_SIZE / SIZE / 4);
  CHECK_EQ(shared_of(SIZE), HAK_SHARED_ENOUGH);
  while (hold->current == NULL && count < MOST) g_blocks[count++] = hak_alloc(SIZE);
  CHECK(hold->current != NULL);
  while (count > 0) hak_free(g_blocks[--count]);
  /* It is shared again by a thread that has given up what it had. */
  hak_thread_idle();
  CHECK(shared_of(SIZE) < HAK_SHARED_ENOUGH);
  hak_capacity_forget_ends();
}

#define H(function) TEST_OF_CLASS(function, SIZE)

TEST_MAIN_FRESH(H(bin__grows_until_bursts_stay_in_it),
                H(bin__does_not_grow_for_what_it_could_not_keep),
                H(bin__does_not_grow_where_nothing_comes_back),
                H(bin__of_larger_blocks_leaves_others_room_to_grow),
                H(bin__does_not_grow_where_threads_free_each_others_blocks),
                H(bin__does_not_grow_where_a_bound_is_passed),
                H(class__that_begins_with_a_bin_is_not_cut_at_once),
                H(growth__is_bounded_over_all_bins),
                H(bin__that_lies_idle_gives_its_blocks_back),
                H(idle_thread__has_small_bins_again),
                H(class__that_begins_after_short_threads_is_shared),
                H(class__is_shared_up_to_the_size_of_a_slab))
