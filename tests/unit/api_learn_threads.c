/* api_learn_threads.c - what threads need that have a few blocks each at places that are
 * kept apart. */
#include "os_fixture.h"
#include "threads.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "heap/groups.h"
#include "heap/thread_state.h"
#include "learn/origin.h"

enum {
  THREADS = 32,
  SIZES = 8,
  EACH = 6,     /* blocks of each size that a thread has apart, */
  LASTING = 40, /* and others that are there before */
  GROUP = 1
};

HAK_SITE(plain);
HAK_SITE(apart);

static size_t size_of(uint32_t i) { return 24 + 40 * (size_t)(i % SIZES); }

typedef struct crowd {
  hak_site_t *site; /* of a quarter of each thread's blocks */
  _Atomic(uint32_t) ready, over;
} crowd_t;

static void *some(void *ctx) {
  crowd_t *crowd = ctx;
  void *blocks[4 * SIZES * EACH];
  for (uint32_t i = 0; i < TEST_COUNT(blocks); i++) {
    hak_site_t *site = i / SIZES % 4 == 0 ? crowd->site : &plain;
    blocks[i] = hak_alloc_at(size_of(i), site);
    CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == hak_heap_default());
    memset(blocks[i], 1, size_of(i));
  }
  atomic_fetch_add(&crowd->ready, 1);
  while (atomic_load(&crowd->over) == 0) (void)sched_yield();
  for (uint32_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  return NULL;
}

static uint32_t slabs_apart(void) {
  hak_heap_t *group = hak_group_at(GROUP);
  uint32_t slabs = 0;
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_store_has_spans(group->store, cls)) continue;
    slabs += hak_load_relaxed(hak_store_spans(group->store, cls));
  }
  return slabs;
}

/* Bytes that the threads make resident which have blocks of the site, while they do.
 * They begin one after another, so none finds that another one has a slab in hand. */
static size_t resident(hak_site_t *site, uint32_t *slabs) {
  pthread_t threads[THREADS];
  crowd_t crowd = {.site = site};
  size_t before = test_resident_bytes();
  for (uint32_t i = 0; i < THREADS; i++) {
    test_threads_begin(&threads[i], 1, some, &crowd);
    while (atomic_load(&crowd.ready) <= i) (void)sched_yield();
  }
  size_t more = test_resident_bytes() - before;
  *slabs = slabs_apart();
  atomic_store(&crowd.over, 1);
  test_threads_end(threads, THREADS);
  return more;
}

/* The least of a few rounds: on a busy machine what goes back by time may come late. */
static size_t least_resident(hak_site_t *site, uint32_t *most_slabs) {
  enum {
    ROUNDS = 4
  };
  size_t least = SIZE_MAX;
  *most_slabs = 0;
  for (int i = 0; i < ROUNDS; i++) {
    uint32_t slabs;
    size_t more = resident(site, &slabs);
    if (more < least) least = more;
    if (slabs > *most_slabs) *most_slabs = slabs;
  }
  return least;
}

static void threads__with_a_few_blocks_apart_share_slabs_and_need_little(void **state) {
  (void)state;
  void *lasting[SIZES * LASTING];
  hak_free(hak_alloc_at(8, &apart));
  hak_free(hak_alloc_at(8, &plain));
  hak_store_relaxed(&hak_origin_groups[hak_origin_of(&apart)], GROUP);
  for (uint32_t i = 0; i < TEST_COUNT(lasting); i++) {
    lasting[i] = hak_alloc_at(size_of(i), &apart);
    CHECK(lasting[i] != NULL);
  }
  CHECK(hak_group_at(GROUP) != NULL);
  uint32_t before = slabs_apart(), none, slabs;
  (void)resident(&plain, &none); /* the program's own pages of threads */
  size_t without = least_resident(&plain, &none);
  size_t with = least_resident(&apart, &slabs);
  CHECK_EQ(none, before);
  /* A slab of its own of each class would be 224. */
  CHECK_MSG(slabs <= before + 2 * SIZES, "%u slabs, %u before", slabs, before);
  bool measured = !TEST_ASAN && !TEST_TSAN && HAK_CHECKS < 3 && !test_is_strict();
  /* 16 KiB; 51 where each thread has slabs and whole records. */
  CHECK_MSG(!measured || with <= without + THREADS * 28 * KIB, "%zu and %zu",
            without / THREADS, with / THREADS);
  for (uint32_t i = 0; i < TEST_COUNT(lasting); i++) hak_free(lasting[i]);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
}

/* A thread that goes on is given a slab: its blocks lie together. */
static void thread__that_goes_on_has_slabs_of_its_own(void **state) {
  (void)state;
  enum {
    BLOCKS = 3000,
    SIZE = 64
  };
  static void *blocks[BLOCKS];
  hak_free(hak_alloc_at(SIZE, &apart));
  hak_store_relaxed(&hak_origin_groups[hak_origin_of(&apart)], GROUP);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < BLOCKS; i++) {
      blocks[i] = hak_alloc_at(SIZE, &apart);
      CHECK(blocks[i] != NULL);
      memset(blocks[i], i, SIZE);
    }
    hak_thread_cache_t *cache = hak_cache_find(hak_thread_self, hak_group_at(GROUP));
    CHECK(cache != NULL);
    /* It holds one, or has let some go that it may claim. */
    const hak_hold_t *hold = &cache->holds[hak_class_of(SIZE + HAK_CANARY_BYTES)];
    CHECK(hold->current != NULL || hold->credit > 0);
    for (int i = 0; i < BLOCKS; i++) {
      CHECK_EQ(((unsigned char *)blocks[i])[SIZE - 1], i & 0xff);
      hak_free(blocks[i]);
    }
    CHECK_EQ(hak_check(NULL), 0);
  }
}

static int start(void **state) {
  (void)state;
  test_over_os(0);
  /* They would come by the accident of how many threads there are. */
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 1), 0);
  return 0;
}
static int end(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, 1), 0);
  test_over_os_end();
  return 0;
}

#define L(function) cmocka_unit_test_setup_teardown(function, start, end)

TEST_MAIN_FRESH(L(threads__with_a_few_blocks_apart_share_slabs_and_need_little),
                L(thread__that_goes_on_has_slabs_of_its_own))
