/* tiny_single.c - blocks that have a span to themselves: where their entries lead,
 * how bins keep them, and that each goes home once. */
#include "class_fixture.h"
#include "threads.h"

#include <time.h>

#include "base/option.h"
#include "pages/registry.h"
#include "superslab/locate.h"
#include "tiny/single.h"

enum {
  COUNT = 40,
  SIZE = 100000
};

static uint64_t slabs_taken(void) {
  return hak_load_relaxed(&hak_heap_get_default()->store->pool.taken);
}

/* How often its thread may give up what a bin keeps. */
static void set_lean_ms(int64_t ms) {
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, ms), 0);
}

static int teardown(void **state) {
  set_lean_ms(5);
  hak_thread_idle();
  CHECK_EQ(slabs_taken(), 0);
  CHECK_EQ(hak_thread_self->grown, 0);
  return test_class_teardown(state);
}

static void span__is_named_by_its_first_unit_and_gone_when_its_block_is_home(
    void **state) {
  (void)state;
  for (uint32_t cls = HAK_SHARED_CLASSES; cls < HAK_CLASSES; cls++) {
    size_t size = hak_class_size(cls), units = hak_div_up(size, HAK_SLAB_SIZE);
    char *block = hak_alloc(size - 7);
    CHECK(hak_is_aligned((uintptr_t)block, HAK_SLAB_SIZE));
    CHECK_EQ(hak_usable_size(block), size);
    CHECK_EQ(slabs_taken(), units);
    for (size_t i = 0; i < units; i++) {
      uintptr_t at = (uintptr_t)block + i * HAK_SLAB_SIZE;
      CHECK_EQ(hak_registry_entry(hak_registry_root(), at),
               i == 0 ? hak_entry_cached(cls) : 0);
      CHECK(hak_locate(at).start == block);
      CHECK_EQ(hak_locate(at).cls, cls);
    }
    test_fill_sparse(block, size, cls);
    CHECK(test_verify_sparse(block, size, cls));
    hak_free(block); /* no bin has room yet */
    CHECK_EQ(slabs_taken(), 0);
    CHECK_EQ(hak_registry_entry(hak_registry_root(), (uintptr_t)block), 0);
    CHECK_EQ(hak_locate((uintptr_t)block).cls, HAK_CLASS_NONE);
  }
}

static void bin__keeps_what_comes_and_goes(void **state) {
  (void)state;
  void *blocks[COUNT];
  for (int round = 0; round < 4; round++) {
    uint64_t fresh = hak_load_relaxed(&hak_thread_self->counts.slab_fresh);
    for (int i = 0; i < COUNT; i++) blocks[i] = hak_alloc(SIZE);
    for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
    if (round >= 2) {
      CHECK_EQ(hak_load_relaxed(&hak_thread_self->counts.slab_fresh), fresh);
    }
  }
  CHECK(slabs_taken() > 0);
}

static void bin__keeps_nothing_of_a_burst_that_does_not_come_back(void **state) {
  (void)state;
  void *blocks[COUNT];
  for (int i = 0; i < COUNT; i++) blocks[i] = hak_alloc(SIZE);
  for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
  CHECK_EQ(slabs_taken(), 0);
}

static void bin__keeps_no_more_than_is_granted(void **state) {
  (void)state;
  int64_t before = hak_option_get(HAK_OPTION_BIN_GROWTH_BYTES);
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 3 << 20), 0);
  void *blocks[COUNT];
  for (int round = 0; round < 5; round++) {
    for (size_t size = 60000; size <= MIB; size += 100000) {
      for (int i = 0; i < COUNT; i++) blocks[i] = hak_alloc(size);
      for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
      CHECK(hak_thread_self->grown <= 3 << 20);
    }
  }
  CHECK(slabs_taken() * HAK_SLAB_SIZE <= 4 << 20); /* in slabs, some more */
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, before), 0);
}

/* Of other classes there would be three lists of as many. */
static void bin__has_one_list_of_what_it_was_granted(void **state) {
  (void)state;
  void *blocks[2 * COUNT];
  set_lean_ms(0);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < COUNT; i++) blocks[i] = hak_alloc(SIZE);
    for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
  }
  uint32_t cls = hak_class_of(SIZE);
  hak_bin_t *bin = &hak_thread_self->bins[cls];
  CHECK_EQ(bin->capacity, COUNT);
  CHECK_EQ(hak_thread_self->grown, COUNT * hak_class_size(cls));
  for (int i = 0; i < 2 * COUNT; i++) blocks[i] = hak_alloc(SIZE);
  for (int i = 0; i < 2 * COUNT; i++) hak_free(blocks[i]);
  size_t each = hak_div_up(hak_class_size(cls), HAK_SLAB_SIZE);
  CHECK_EQ(slabs_taken(), COUNT * each);
  CHECK(bin->ready == HAK_LINK_END);
}

static void bin__is_emptied_where_its_thread_drops_what_it_has(void **state) {
  (void)state;
  void *blocks[4 * COUNT];
  uint64_t kept[2];
  for (int drops = 0; drops < 2; drops++) {
    set_lean_ms(0);
    for (int round = 0; round < 3; round++) {
      for (int i = 0; i < COUNT; i++) blocks[i] = hak_alloc(SIZE);
      for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
    }
    for (int i = 0; i < 4 * COUNT; i++) blocks[i] = hak_alloc(SIZE);
    if (drops) set_lean_ms(5);
    for (int i = 0; i < 4 * COUNT; i++) hak_free(blocks[i]);
    kept[drops] = slabs_taken();
    hak_thread_idle(); /* the bin is small again */
  }
  CHECK(kept[1] < kept[0]);
}

static void bin__that_is_full_hears_of_a_limit(void **state) {
  (void)state;
  void *blocks[COUNT + 1];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < COUNT; i++) blocks[i] = hak_alloc(SIZE);
    for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
  }
  for (int i = 0; i <= COUNT; i++) blocks[i] = hak_alloc(SIZE);
  for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
  hak_bin_t *bin = &hak_thread_self->bins[hak_class_of(SIZE)];
  hak_budget_t *budget = &hak_heap_get_default()->store->pool.budget;
  CHECK_EQ(bin->capacity, COUNT);
  hak_budget_set_limits(budget, SIZE_MAX, 64 * MIB);
  hak_free(blocks[COUNT]);
  CHECK(bin->capacity < COUNT);
  hak_budget_set_limits(budget, SIZE_MAX, SIZE_MAX);
}

static void *grow_some(void *ctx) {
  void *blocks[COUNT];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < COUNT; i++) blocks[i] = hak_alloc(SIZE);
    for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
  }
  *(uint64_t *)ctx = hak_thread_self->grown;
  return NULL;
}

static void process__grants_no_more_than_its_limit_and_gets_it_back(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_ALL_BYTES, 5 << 20), 0);
  uint64_t mine, other;
  grow_some(&mine);
  CHECK(mine > 0);
  for (int i = 0; i < 2; i++) {
    test_thread_run(grow_some, &other);
    CHECK(mine + other <= 5 << 20);
  }
  hak_thread_idle();
  test_thread_run(grow_some, &other);
  CHECK(other > 4 << 20);
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_ALL_BYTES, 128 << 20), 0);
}

/* A block that is made smaller stays where it is, and others get the slabs behind it. */
static void block__that_shrinks_gives_up_its_slabs(void **state) {
  (void)state;
  for (size_t from = 60000; from <= MIB; from += from / 4) {
    size_t to = from * 3 / 5, slabs = hak_div_up(hak_good_size(from), HAK_SLAB_SIZE);
    if (to <= HAK_MID_MAX) continue;
    char *block = hak_alloc(from);
    CHECK_EQ(slabs_taken(), slabs);
    test_fill_sparse((unsigned char *)block, to, from);
    CHECK(hak_realloc(block, to) == block);
    uint32_t cls = hak_class_of(to);
    CHECK_EQ(hak_usable_size(block), hak_class_size(cls));
    CHECK_EQ(slabs_taken(), hak_div_up(hak_class_size(cls), HAK_SLAB_SIZE));
    CHECK_EQ(hak_registry_entry(hak_registry_root(), (uintptr_t)block),
             hak_entry_cached(cls));
    for (size_t i = 0; i < slabs; i++) {
      uintptr_t at = (uintptr_t)block + i * HAK_SLAB_SIZE;
      CHECK_EQ(hak_locate(at).cls, i < slabs_taken() ? cls : HAK_CLASS_NONE);
    }
    CHECK(test_verify_sparse((unsigned char *)block, to, from));
    CHECK_EQ(hak_check(NULL), 0);
    hak_free(block);
    hak_thread_idle();
    CHECK_EQ(slabs_taken(), 0);
  }
}

static void home__takes_a_block_once(void **state) {
  (void)state;
  char *block = hak_alloc(200000);
  test_reports_begin();
  hak_thread_t *me = hak_thread_enter();
  uint32_t cls = hak_class_of(200000);
  hak_single_home(me, &me->cache, cls, block);
  CHECK_EQ(me->deferred.error, 0);
  hak_single_home(me, &me->cache, cls, block);
  hak_thread_leave(me, "hak_free");
  test_expect_report(1, HAK_ERROR_DOUBLE_FREE, block, NULL);
  hak_free(block);
  test_expect_report(2, HAK_ERROR_DOUBLE_FREE, block, NULL);
  test_reports_end(2, HAK_ERROR_DOUBLE_FREE);
}

/* Blocks that were brought from the pool for so many pairs of an allocation and a free,
 * with a pause between two of them. */
static uint64_t brought_for(hak_heap_t *heap, int pairs, long pause_ns) {
  const struct timespec pause = {.tv_nsec = pause_ns};
  uint64_t before = hak_load_relaxed(&hak_thread_self->counts.slab_fresh);
  for (int i = 0; i < pairs; i++) {
    hak_free(hak_heap_alloc(heap, SIZE));
    if (pause_ns != 0) nanosleep(&pause, NULL);
  }
  return hak_load_relaxed(&hak_thread_self->counts.slab_fresh) - before;
}

static void bin__of_a_heap_keeps_blocks_that_come_often(void **state) {
  (void)state;
  enum {
    OFTEN = 10000,
    SELDOM = 30
  };
  const long tick_ns = 10000000; /* or more */
  hak_heap_t *plain = hak_heap_create(NULL);
  hak_heap_t *limited = test_heap_make((hak_heap_config_t){.hard_limit = 64 << 20});
  hak_heap_t *heaps[] = {plain, limited};
  for (size_t h = 0; h < TEST_COUNT(heaps); h++) {
    CHECK_EQ(brought_for(heaps[h], SELDOM, tick_ns), SELDOM);
    CHECK_EQ(test_heap_stats(heaps[h]).cached_bytes, 0);
    CHECK(brought_for(heaps[h], OFTEN, 0) < OFTEN / 4);
    CHECK(test_heap_stats(heaps[h]).cached_bytes <= MIB);
    CHECK_EQ(test_heap_stats(heaps[h]).live_blocks, 0);
    CHECK_EQ(hak_heap_destroy(heaps[h]), 0);
  }
}

typedef struct relay {
  void *blocks[COUNT];
} relay_t;

static void *free_all(void *ctx) {
  relay_t *relay = ctx;
  for (int round = 0; round < 50; round++) {
    for (int i = 0; i < COUNT; i++) {
      if (round > 0) relay->blocks[i] = hak_alloc(60000 + (size_t)i * 20000);
      hak_free(relay->blocks[i]);
    }
  }
  return NULL;
}

static void foreign_blocks__go_to_the_freeing_threads_bin_or_home(void **state) {
  (void)state;
  static relay_t relays[4];
  pthread_t threads[4];
  for (int n = 0; n < 4; n++) {
    for (int i = 0; i < COUNT; i++) {
      relays[n].blocks[i] = hak_alloc(60000 + (size_t)i * 20000);
    }
    CHECK_EQ(pthread_create(&threads[n], NULL, free_all, &relays[n]), 0);
  }
  test_threads_end(threads, 4);
}

#define H(function) TEST_OF_CLASS_ENDED(function, SIZE, teardown)

TEST_MAIN_FRESH(H(span__is_named_by_its_first_unit_and_gone_when_its_block_is_home),
                H(bin__keeps_what_comes_and_goes),
                H(bin__keeps_nothing_of_a_burst_that_does_not_come_back),
                H(bin__keeps_no_more_than_is_granted),
                H(bin__has_one_list_of_what_it_was_granted),
                H(bin__is_emptied_where_its_thread_drops_what_it_has),
                H(bin__that_is_full_hears_of_a_limit),
                H(process__grants_no_more_than_its_limit_and_gets_it_back),
                H(bin__of_a_heap_keeps_blocks_that_come_often),
                H(block__that_shrinks_gives_up_its_slabs), H(home__takes_a_block_once),
                H(foreign_blocks__go_to_the_freeing_threads_bin_or_home))
