/* superslab_region_release.c - regions that are empty go back, and their records serve
 * the next ones. The library runs over hooks of the test. */
#include "child.h"
#include "os_fixture.h"
#include "records.h"
#include "threads.h"

#include <pthread.h>

#include "base/option.h"
#include "heap/lifecycle.h"
#include "superslab/locate.h"
#include "superslab/region.h"
#include "superslab/region_release.h"
#include "superslab/retention.h"

enum {
  RUN = 16, /* SuperSlabs: what a region has at least */
  RUNS = 6,
  SEEN = 16
};

static hak_superslab_t *g_runs[RUNS];
static char g_heap; /* an address for a heap */
static hak_atomic_ptr_t g_seen[SEEN];

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_BYTES, 32 * (int64_t)MIB), 0);
  CHECK_EQ(test_os_init(&g_os), 0);
  return 0;
}

static hak_superslab_t *acquire(uint32_t count) {
  return hak_region_acquire(hak_lifecycle_os(), count, HAK_SUPERSLAB_SIZE, HAK_EXTENT_RUN,
                            &g_heap, false);
}

static void fill(void) {
  for (size_t i = 0; i < RUNS; i++) CHECK((g_runs[i] = acquire(RUN)) != NULL);
}

/* Run by run, at the times 10, 20, 30, ... */
static void drain(void) {
  for (size_t i = 0; i < RUNS; i++) hak_region_give(g_runs[i], RUN, 10 * (i + 1));
}

/* All regions that may go, and how many went. */
static size_t release_idle(uint64_t before) {
  size_t count = 0;
  while (hak_region_release(before)) count++;
  return count;
}

static uint64_t reserved(void) { return hak_load_relaxed(&hak_regions_reserved); }

static size_t records(void) {
  size_t n = 0;
  for (hak_region_t *r = hak_region_first(); r != NULL; r = hak_region_next(r)) n++;
  return n;
}

static void empty_regions__go_but_for_what_the_next_would_have(void **state) {
  (void)state;
  fill();
  uint64_t full = reserved();
  char *last = g_runs[RUNS - 1]->extent.base;
  CHECK(full >= RUNS * 32 * MIB);
  release_idle(UINT64_MAX);
  CHECK_EQ(reserved(), full);
  drain();
  release_idle(9);
  CHECK_EQ(reserved(), full);
  release_idle(UINT64_MAX);
  CHECK_EQ(reserved(), 32 * MIB);
  CHECK(hak_locate((uintptr_t)last).extent == NULL);
  CHECK(hak_regions_are_valid());
}

static void call__releases_one_region_only(void **state) {
  (void)state;
  fill();
  drain();
  size_t calls = 0;
  for (uint64_t before = reserved(); hak_region_release(UINT64_MAX); calls++) {
    uint64_t most = (uint64_t)hak_option(REGION_BYTES_MAX), now = reserved();
    CHECK(now < before && before - now <= most);
    before = now;
  }
  CHECK(calls > 2);
  CHECK_EQ(reserved(), 32 * MIB);
}

static void empty_region__waits_until_it_has_been_idle(void **state) {
  (void)state;
  fill();
  uint64_t full = reserved();
  drain();
  release_idle(10 * RUNS - 1);
  CHECK(reserved() > 32 * MIB && reserved() < full);
  release_idle(10 * RUNS);
  CHECK(reserved() <= 64 * MIB); /* the youngest one may be as large */
}

static void region__with_pages_stays_unless_memory_is_short(void **state) {
  (void)state;
  fill();
  bool zeroed;
  CHECK(hak_superslab_commit(g_runs[RUNS - 1], 0, 1, 4, false, &zeroed));
  drain();
  uint64_t retained = hak_load_relaxed(&hak_slots_retained);
  CHECK_EQ(retained, 4 * 4096);
  release_idle(UINT64_MAX);
  CHECK_EQ(hak_load_relaxed(&hak_slots_retained), retained);
  CHECK(reserved() >= 32 * MIB);
  hak_regions_release_all();
  CHECK_EQ(reserved(), 0);
  CHECK_EQ(hak_load_relaxed(&hak_slots_retained), 0);
  CHECK_EQ(hak_load_relaxed(&hak_slots_committed), 0);
  CHECK(hak_regions.retained.first == NULL && hak_regions_are_valid());
}

static void records__of_released_regions_serve_the_next(void **state) {
  (void)state;
  fill();
  size_t before = records();
  uint64_t meta = g_os.committed_bytes;
  for (int round = 0; round < 20; round++) {
    drain();
    if (round % 2 == 0) {
      hak_regions_release_all();
    } else {
      release_idle(UINT64_MAX);
    }
    fill();
    for (size_t i = 0; i < RUNS; i++) {
      char *base = g_runs[i]->extent.base;
      CHECK(hak_locate((uintptr_t)base).extent == &g_runs[i]->extent);
      CHECK(hak_superslab_free(g_runs[i]) == 0);
    }
    CHECK(hak_regions_are_valid());
  }
  CHECK_EQ(records(), before);
  CHECK_EQ(g_os.committed_bytes, meta);
  drain();
}

/* It may be reading what the record says of its last region. */
static void record__serves_no_region_while_somebody_looks_at_records(void **state) {
  (void)state;
  fill();
  drain();
  CHECK(release_idle(UINT64_MAX) > 0);
  size_t before = records();
  uint64_t visit = hak_regions_visit_begin();
  fill();
  size_t beside = records();
  CHECK(beside > before);
  hak_regions_visit_end(visit);
  drain();
  hak_regions_release_all();
  fill();
  CHECK_EQ(records(), beside);
  drain();
}

/* Heaps over hooks of their own come and go, and each who looks leaves only when the next
 * one has come. */
static void records__serve_again_where_there_is_always_somebody_who_looks(void **state) {
  (void)state;
  static hak_os_t own;
  own = *hak_lifecycle_os();
  uint64_t look = hak_readers_enter(&hak_regions.readers);
  size_t before = records();
  for (int round = 0; round < 40; round++) {
    CHECK(hak_region_acquire(&own, RUN, HAK_SUPERSLAB_SIZE, HAK_EXTENT_RUN, &g_heap,
                             false) != NULL);
    hak_regions_end(&own);
    uint64_t next = hak_readers_enter(&hak_regions.readers);
    hak_readers_leave(&hak_regions.readers, look);
    look = next;
  }
  hak_readers_leave(&hak_regions.readers, look);
  CHECK(records() <= before + 4);
  CHECK(hak_regions_are_valid());
}

/* Over the system's memory: a program's hooks do not promise zeroes. */
TEST_IN_CHILD(records__of_released_regions_lose_their_pages, 60) {
  enum {
    MANY = 512
  };
  hak_free(hak_alloc(1));
  hak_superslab_t *all[MANY];
  for (int round = 0; round < 3; round++) {
    uint64_t before = test_record_bytes();
    for (size_t i = 0; i < MANY; i++) CHECK((all[i] = acquire(1)) != NULL);
    uint64_t full = test_record_bytes();
    CHECK(round > 0 || full - before >= MANY * sizeof *all[0] * 9 / 10);
    for (size_t i = 0; i < MANY; i++) {
      CHECK_EQ(hak_locate((uintptr_t)all[i]->extent.base).extent == &all[i]->extent, 1);
      for (unsigned k = 0; k < HAK_SUPERSLAB_SLABS; k++) {
        CHECK_EQ(all[i]->slabs[k].slot, k);
      }
      hak_region_give(all[i], 1, 1);
    }
    hak_regions_release_all();
    CHECK(test_record_bytes() <= before + (full - before) / 4 + 128 * KIB);
    CHECK(hak_regions_are_valid());
  }
}

static void steady_state__asks_the_os_for_nothing(void **state) {
  (void)state;
  fill();
  hak_superslab_t *more = acquire(1);
  for (int round = 0; round < 50; round++) {
    uint64_t calls = test_os_calls(&g_os);
    hak_region_give(more, 1, 1);
    release_idle(UINT64_MAX);
    CHECK((more = acquire(1)) != NULL);
    if (round > 0) CHECK_EQ(test_os_calls(&g_os), calls);
  }
  hak_region_give(more, 1, 1);
  drain();
}

static void refused_release__is_told_and_loses_nothing(void **state) {
  (void)state;
  fill();
  drain();
  uint64_t full = reserved();
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RELEASE, 1);
  release_idle(UINT64_MAX);
  CHECK_EQ(reserved(), 32 * MIB);
  CHECK_EQ(test_stats().unreleased_bytes, full - 32 * MIB);
  fill();
  drain();
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  hak_regions_release_all();
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_stats().unreleased_bytes, 0);
  CHECK_EQ(test_stats().reserved_bytes, g_os.reserved_bytes);
}

static void commit_all(void) {
  for (size_t i = 0; i < RUNS; i++) {
    bool zeroed;
    CHECK(hak_superslab_commit(g_runs[i], 0, HAK_SUPERSLAB_SLABS, 512, false, &zeroed));
  }
}

static void what_is_due__goes_and_what_is_empty_then(void **state) {
  (void)state;
  fill();
  uint64_t full = reserved();
  commit_all();
  drain();
  size_t slabs = SIZE_MAX;
  (void)hak_retention_give_due(SIZE_MAX, &slabs);
  CHECK(reserved() < full);
  for (size_t i = 0; i < RUNS; i++) CHECK_EQ(hak_retention_give_due(SIZE_MAX, &slabs), 0);
  CHECK(reserved() <= 64 * MIB); /* the next one's, and one with what is retained */
}

static void collection__of_all_there_is_releases_every_empty_region(void **state) {
  (void)state;
  void *block = hak_alloc(100);
  fill();
  commit_all();
  drain();
  (void)hak_collect(NULL, SIZE_MAX, 0);
  CHECK(reserved() >= 32 * MIB);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(reserved() >= 32 * MIB); /* the one that the block lies in */
  hak_free(block);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(reserved(), 0);
  CHECK((block = hak_alloc(100)) != NULL);
  hak_free(block);
}

/* --- threads and forks ---------------------------------------------------------------
 */

static bool see(hak_superslab_t *ss, void *ctx) {
  /* Acquire: pairs with the release in region.c, which publishes where it lies. */
  if (hak_load_acquire(&ss->extent.kind) == HAK_EXTENT_RUN) ++*(size_t *)ctx;
  return true;
}

static void *storm(void *seed) {
  test_rng_t rng = test_rng((uint64_t)(uintptr_t)seed, 1);
  for (size_t n = test_scale(1500); n > 0; n--) {
    uint32_t count = 1 + (uint32_t)test_below(&rng, 2 * RUN);
    hak_superslab_t *ss = acquire(count);
    CHECK(ss != NULL);
    CHECK(hak_locate((uintptr_t)ss->extent.base).extent == &ss->extent);
    size_t seen = 0, slabs = SIZE_MAX;
    if (test_below(&rng, 8) == 0) hak_region_visit(see, &seen);
    hak_region_give(ss, count, n);
    uint64_t op = test_below(&rng, 4);
    if (op == 0) hak_regions_release_all();
    if (op == 1) (void)hak_region_release(UINT64_MAX);
    if (op == 2) hak_region_purge(UINT64_MAX, SIZE_MAX, &slabs);
  }
  return NULL;
}

static void threads__may_grow_and_release_at_once(void **state) {
  (void)state;
  pthread_t threads[4];
  for (size_t i = 0; i < 4; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, storm, (void *)(i + 1)), 0);
  }
  for (size_t i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(hak_regions.in_use, 0);
  CHECK(hak_regions_are_valid());
  hak_regions_release_all();
  CHECK_EQ(reserved(), 0);
  CHECK_EQ(test_stats().reserved_bytes, g_os.reserved_bytes);
}

static hak_atomic_u32_t g_done;

/* Addresses that were runs' once, while regions come and go. */
static void *look_up(void *seed) {
  test_rng_t rng = test_rng((uint64_t)(uintptr_t)seed, 2);
  while (hak_load_relaxed(&g_done) == 0) {
    uintptr_t base = (uintptr_t)hak_load_relaxed(&g_seen[test_below(&rng, SEEN)]);
    hak_place_t place = hak_locate(base + test_below(&rng, RUN * HAK_SUPERSLAB_SIZE));
    if (place.extent == NULL) continue;
    CHECK(hak_load_relaxed(&place.extent->kind) <= HAK_EXTENT_RUN);
  }
  return NULL;
}

static void lookup__beside_releases_finds_a_record_or_nothing(void **state) {
  (void)state;
  pthread_t threads[2];
  hak_store_relaxed(&g_done, 0);
  fill();
  for (size_t i = 0; i < SEEN; i++) {
    hak_store_relaxed(&g_seen[i], (void *)g_runs[i % RUNS]->extent.base);
  }
  for (size_t i = 0; i < 2; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, look_up, (void *)(i + 1)), 0);
  }
  for (size_t round = test_scale(300); round > 0; round--) {
    drain();
    hak_regions_release_all();
    fill();
    hak_store_relaxed(&g_seen[round % SEEN], (void *)g_runs[round % RUNS]->extent.base);
  }
  hak_store_relaxed(&g_done, 1);
  for (size_t i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  drain();
}

static int release_in_child(void *ctx) {
  (void)ctx;
  hak_regions_release_all();
  return reserved() == 0 ? 0 : 1;
}

static bool release_inside(hak_superslab_t *ss, void *ctx) {
  uint64_t full = reserved();
  hak_regions_release_all();
  CHECK_EQ(reserved(), full);
  CHECK(ss->extent.base != NULL);
  test_child_must_succeed(release_in_child, NULL, 20);
  ++*(int *)ctx;
  return false;
}

static void visit__keeps_regions_and_a_fork_inside_of_it_does_not(void **state) {
  (void)state;
  int visits = 0;
  fill();
  drain();
  hak_region_visit(release_inside, &visits);
  CHECK_EQ(visits, 1);
  hak_regions_release_all();
  CHECK_EQ(reserved(), 0);
}

typedef struct ending {
  hak_heap_t *heap; /* that is to end; NULL: it has */
  int seen;         /* SuperSlabs after that */
} ending_t;

static bool end_inside(hak_superslab_t *ss, void *ctx) {
  ending_t *ending = ctx;
  CHECK(ss->extent.os != NULL); /* statistics ask it */
  if (ending->heap == NULL) {
    ending->seen++;
  } else if (hak_load_relaxed(&ss->extent.heap) == (void *)ending->heap) {
    CHECK_EQ(hak_heap_destroy(ending->heap), 0);
    ending->heap = NULL;
  }
  return true;
}

/* Over the system's memory, as above. */
TEST_IN_CHILD(visit__goes_on_over_the_records_of_a_heap_that_ends, 60) {
  hak_os_t own = *hak_os_default();
  hak_heap_config_t config = {.struct_size = sizeof config, .os = &own};
  hak_free(hak_alloc(1));
  ending_t ending = {.heap = hak_heap_create(&config)};
  CHECK(ending.heap != NULL);
  for (int i = 0; i < 14; i++) CHECK(hak_heap_alloc(ending.heap, MIB) != NULL);
  hak_region_visit(end_inside, &ending);
  CHECK(ending.heap == NULL && ending.seen >= 4);
  hak_regions_release_all();
  CHECK(hak_regions_are_valid());
}

static int go_on_in_child(void *ctx) {
  (void)ctx;
  hak_regions_release_all();
  fill();
  if (!hak_regions_are_valid()) return 1;
  drain();
  hak_regions_release_all();
  /* A run that the lost thread had got is nobody's here, who could give it. */
  bool had = hak_regions.in_use == RUN;
  return hak_regions_are_valid() && (had || reserved() == 0) ? 0 : 2;
}

static void *come_and_go(void *ctx) {
  while (hak_load_relaxed(&g_done) == 0) {
    hak_superslab_t *ss = acquire(RUN);
    CHECK(ss != NULL);
    hak_region_give(ss, RUN, 1);
    hak_regions_release_all();
  }
  return ctx;
}

static void fork__between_any_two_steps_finds_regions_whole(void **state) {
  (void)state;
  if (TEST_TSAN) skip();
  pthread_t thread;
  hak_store_relaxed(&g_done, 0);
  CHECK_EQ(pthread_create(&thread, NULL, come_and_go, NULL), 0);
  for (int i = 0; i < 30; i++) test_child_must_succeed(go_on_in_child, NULL, 20);
  hak_store_relaxed(&g_done, 1);
  pthread_join(thread, NULL);
  CHECK(hak_regions_are_valid());
}

#define R(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(R(empty_regions__go_but_for_what_the_next_would_have),
                R(call__releases_one_region_only),
                R(empty_region__waits_until_it_has_been_idle),
                R(region__with_pages_stays_unless_memory_is_short),
                R(records__of_released_regions_serve_the_next),
                R(record__serves_no_region_while_somebody_looks_at_records),
                R(records__serve_again_where_there_is_always_somebody_who_looks),
                T(records__of_released_regions_lose_their_pages),
                R(steady_state__asks_the_os_for_nothing),
                R(refused_release__is_told_and_loses_nothing),
                R(what_is_due__goes_and_what_is_empty_then),
                R(collection__of_all_there_is_releases_every_empty_region),
                R(visit__keeps_regions_and_a_fork_inside_of_it_does_not),
                T(visit__goes_on_over_the_records_of_a_heap_that_ends),
                R(lookup__beside_releases_finds_a_record_or_nothing),
                R(threads__may_grow_and_release_at_once),
                R(fork__between_any_two_steps_finds_regions_whole))
