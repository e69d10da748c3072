/* os_turn.c - one thread at a time gets from the OS what all can use: many threads that
 * find something used up at the same moment. The hooks of the test keep a thread until
 * its gate is opened, so that all others are there before the first has got anything. */
#include "child.h"
#include "os_fixture.h"
#include "threads.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/option.h"
#include "heap/lifecycle.h"
#include "pages/meta.h"
#include "superslab/region.h"
#include "superslab/region_release.h"

enum {
  HERD = 12,
  LONG_MS = 100
};

static hak_os_t g_hooks; /* the process's, in front of the strict ones */
static hak_os_t g_own;   /* a heap's own, also in front of the strict ones */
static hak_atomic_u32_t g_reserves, g_inside, g_most_inside;
static hak_atomic_u32_t g_shut_reserve; /* the gate */
static hak_atomic_u32_t g_at_gate;      /* ever */
typedef void (*act_t)(void);
static _Atomic(act_t) g_in_reserve; /* once */
static pthread_barrier_t g_all;
static char g_heap; /* an address for a heap */

static void pass(hak_atomic_u32_t *shut) {
  uint32_t inside = hak_add_relaxed(&g_inside, 1) + 1;
  if (inside > hak_load_relaxed(&g_most_inside))
    hak_store_relaxed(&g_most_inside, inside);
  double end = test_seconds() + 20;
  hak_add_relaxed(&g_at_gate, 1);
  while (hak_load_relaxed(shut) != 0 && test_seconds() < end) usleep(500);
  hak_sub_relaxed(&g_inside, 1);
}

static void *reserve(void *ctx, size_t size, size_t alignment) {
  hak_add_relaxed(&g_reserves, 1);
  act_t act = atomic_exchange(&g_in_reserve, (act_t)NULL);
  if (act != NULL) act();
  pass(&g_shut_reserve);
  return g_os.hooks.reserve(ctx, size, alignment);
}

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  g_hooks = g_os.hooks;
  g_hooks.reserve = reserve;
  g_own = g_hooks;
  g_in_reserve = (act_t)NULL;
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_BYTES, 64 * (int64_t)MIB), 0);
  hak_config_t config = {
      .struct_size = sizeof config, .os = &g_hooks, .flags = HAK_INIT_NO_ENV};
  CHECK_EQ(hak_init(&config), 0);
  pthread_barrier_init(&g_all, NULL, HERD);
  return 0;
}

static void await_gate(uint32_t arrivals) {
  double end = test_seconds() + 20;
  while (hak_load_relaxed(&g_at_gate) < arrivals && test_seconds() < end) usleep(500);
  CHECK(hak_load_relaxed(&g_at_gate) >= arrivals);
}

/* TSan wants no thread to be over and not joined while the process forks. */
static hak_atomic_u32_t g_stay;

static void stay(void) {
  while (hak_load_relaxed(&g_stay) != 0) usleep(500);
}

static void *open_later(void *gate) {
  usleep(1000 * LONG_MS);
  hak_store_relaxed((hak_atomic_u32_t *)gate, 0);
  stay();
  return NULL;
}

static double spent(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

typedef struct herd {
  uint32_t reserves; /* calls */
  double spent;      /* seconds of processors while the gate was shut */
} herd_t;

/* All at once, while a gate is shut for LONG_MS. */
static herd_t run_herd(void *(*work)(void *), const void *ctx, hak_atomic_u32_t *gate) {
  pthread_t threads[HERD], opener;
  herd_t herd;
  hak_store_relaxed(gate, 1);
  herd.reserves = hak_load_relaxed(&g_reserves);
  hak_store_relaxed(&g_most_inside, 0);
  test_threads_begin(threads, HERD, work, (void *)(uintptr_t)ctx);
  herd.spent = spent();
  CHECK_EQ(pthread_create(&opener, NULL, open_later, gate), 0);
  pthread_join(opener, NULL);
  herd.spent = spent() - herd.spent;
  test_threads_end(threads, HERD);
  herd.reserves = hak_load_relaxed(&g_reserves) - herd.reserves;
  return herd;
}

static hak_superslab_t *acquire(const hak_os_t *os, uint32_t count, bool no_grow) {
  return hak_region_acquire(os, count, HAK_SUPERSLAB_SIZE, HAK_EXTENT_RUN, &g_heap,
                            no_grow);
}

static void *acquire_main(void *os) {
  pthread_barrier_wait(&g_all);
  hak_superslab_t *ss = acquire(os, 1, false);
  CHECK(ss != NULL);
  pthread_barrier_wait(&g_all);
  hak_region_give(ss, 1, 1);
  return NULL;
}

static size_t regions_of(const hak_os_t *os) {
  size_t n = 0;
  for (hak_region_t *r = hak_load_relaxed(&hak_regions.first); r != NULL;
       r = hak_load_relaxed(&r->next)) {
    n += r->os == os;
  }
  return n;
}

/* All that the first region has. */
typedef struct all {
  hak_superslab_t *one, *rest;
  uint32_t count; /* of the rest */
} all_t;

static all_t use_up(const hak_os_t *os) {
  all_t all = {.one = acquire(os, 1, false)};
  CHECK(all.one != NULL);
  all.count = hak_region_of(all.one)->free_count;
  all.rest = acquire(os, all.count, false);
  CHECK(all.rest != NULL && hak_region_of(all.one)->free_count == 0);
  CHECK_EQ(regions_of(os), 1);
  return all;
}

static void give_all(all_t *all) {
  hak_region_give(all->one, 1, 1);
  hak_region_give(all->rest, all->count, 1);
  CHECK(hak_regions_are_valid());
}

/* --- regions ---------------------------------------------------------------------- */

static void herd__that_finds_no_address_space_reserves_one_region(void **state) {
  (void)state;
  all_t all = use_up(hak_lifecycle_os());
  herd_t herd = run_herd(acquire_main, hak_lifecycle_os(), &g_shut_reserve);
  CHECK_EQ(regions_of(hak_lifecycle_os()), 2);
  CHECK(herd.reserves <= 3); /* with leaves of the registry that it may lie in */
  CHECK_EQ(hak_load_relaxed(&g_most_inside), 1);
  CHECK(herd.spent < 0.001 * LONG_MS / 2);
  give_all(&all);
}

static void herd__over_a_heaps_own_hooks_reserves_one_region(void **state) {
  (void)state;
  all_t all = use_up(&g_own);
  run_herd(acquire_main, &g_own, &g_shut_reserve);
  CHECK_EQ(regions_of(&g_own), 2);
  CHECK_EQ(hak_load_relaxed(&g_most_inside), 1);
  give_all(&all);
  hak_regions_end(&g_own);
}

static void *acquire_one(void *os) {
  hak_superslab_t *ss = acquire(os, 1, false);
  stay();
  return ss;
}

/* As many as there are, then one more on another thread, which the gate keeps. */
static pthread_t keep_at_gate(hak_atomic_u32_t *gate) {
  pthread_t thread;
  hak_store_relaxed(gate, 1);
  uint32_t before = hak_load_relaxed(&g_at_gate);
  while (acquire(hak_lifecycle_os(), 1, true) != NULL) {}
  CHECK_EQ(
      pthread_create(&thread, NULL, acquire_one, (void *)(uintptr_t)hak_lifecycle_os()),
      0);
  await_gate(before + 1);
  return thread;
}

static void join_and_check(pthread_t thread) {
  void *got = NULL;
  pthread_join(thread, &got);
  CHECK(got != NULL);
  CHECK(hak_regions_are_valid());
}

/* Each of them at the gate. */
static pthread_t begin_at_gate(const hak_os_t *os) {
  pthread_t thread;
  uint32_t before = hak_load_relaxed(&g_at_gate);
  CHECK_EQ(pthread_create(&thread, NULL, acquire_one, (void *)(uintptr_t)os), 0);
  await_gate(before + 1);
  return thread;
}

static void turn__of_the_processs_hooks_is_none_of_heaps_own(void **state) {
  (void)state;
  all_t all = use_up(hak_lifecycle_os());
  hak_store_relaxed(&g_shut_reserve, 1);
  pthread_t common = begin_at_gate(hak_lifecycle_os());
  CHECK(hak_turn_is_out(&hak_regions.growing));
  CHECK(!hak_turn_is_out(&hak_regions.growing_own));
  hak_store_relaxed(&g_shut_reserve, 0);
  join_and_check(common);
  give_all(&all);
}

/* Nor does who has no turn take it from who has. */
static void heap__does_not_wait_for_the_hooks_of_another_heap(void **state) {
  (void)state;
  static hak_os_t other;
  other = g_own;
  hak_store_relaxed(&g_shut_reserve, 1);
  pthread_t first = begin_at_gate(&g_own), second = begin_at_gate(&other);
  CHECK(hak_turn_is_out(&hak_regions.growing_own));
  CHECK(hak_load_relaxed(&hak_regions.own) == &g_own);
  hak_store_relaxed(&g_shut_reserve, 0);
  join_and_check(first);
  join_and_check(second);
  hak_regions_end(&g_own);
  hak_regions_end(&other);
}

static void no_grow__does_not_wait_for_who_asks_the_os(void **state) {
  (void)state;
  CHECK(acquire(hak_lifecycle_os(), 1, false) != NULL);
  pthread_t thread = keep_at_gate(&g_shut_reserve);
  CHECK(acquire(hak_lifecycle_os(), 1, true) == NULL);
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  CHECK(acquire(hak_lifecycle_os(), 1, false) == NULL);
  hak_os_leave(before);
  CHECK_EQ(hak_load_relaxed(&g_inside), 1); /* still there */
  hak_store_relaxed(&g_shut_reserve, 0);
  join_and_check(thread);
}

/* --- hooks that call the library ---------------------------------------------------- */

static hak_os_t g_other;
static hak_superslab_t *g_nested[2];

static void grow_others(void) {
  g_nested[0] = acquire(hak_lifecycle_os(), 40, false);
  g_nested[1] = acquire(&g_other, 1, false);
}

static void hooks__may_grow_other_heaps_while_they_reserve(void **state) {
  (void)state;
  g_other = g_own;
  all_t all = use_up(hak_lifecycle_os());
  g_in_reserve = grow_others;
  hak_superslab_t *own = acquire(&g_own, 1, false);
  CHECK(own != NULL && g_nested[0] != NULL && g_nested[1] != NULL);
  CHECK_EQ(regions_of(hak_lifecycle_os()), 2);
  hak_region_give(own, 1, 1);
  hak_region_give(g_nested[0], 40, 1);
  hak_region_give(g_nested[1], 1, 1);
  give_all(&all);
  hak_regions_end(&g_own);
  hak_regions_end(&g_other);
}

static void grow_the_same(void) {
  g_nested[0] = acquire(hak_lifecycle_os(), 1, false);
  g_nested[1] = hak_meta_alloc(hak_lifecycle_os(), 300 * KIB, 64);
}

static void grow_own(void) {
  g_nested[0] = acquire(&g_own, 1, false);
  CHECK(hak_turn_is_mine(&hak_regions.growing_own));
}

static void hooks_of_heaps__that_ask_for_the_same_keep_their_turn(void **state) {
  (void)state;
  g_in_reserve = grow_own;
  hak_superslab_t *ss = acquire(&g_own, 1, false);
  CHECK(ss != NULL && g_nested[0] != NULL && ss != g_nested[0]);
  CHECK(!hak_turn_is_out(&hak_regions.growing_own));
  CHECK(hak_regions_are_valid());
  hak_regions_end(&g_own);
}

static void hooks__may_ask_for_what_they_are_asked_for(void **state) {
  (void)state;
  g_in_reserve = grow_the_same;
  hak_superslab_t *ss = acquire(hak_lifecycle_os(), 1, false);
  CHECK(ss != NULL && g_nested[0] != NULL && g_nested[1] != NULL);
  g_in_reserve = grow_the_same;
  CHECK(hak_meta_alloc(hak_lifecycle_os(), 300 * KIB, 64) != NULL);
  hak_region_give(ss, 1, 1);
  CHECK(hak_regions_are_valid());
}

/* --- records ---------------------------------------------------------------------- */

static void *meta_main(void *os) {
  pthread_barrier_wait(&g_all);
  CHECK(hak_meta_alloc(os, 4 * KIB, 64) != NULL);
  return NULL;
}

/* Records until memory for more is asked for; how many. */
static size_t fill_chunk(void) {
  uint32_t before = hak_load_relaxed(&g_reserves);
  size_t n = 0;
  for (; hak_load_relaxed(&g_reserves) == before; n++) {
    CHECK(hak_meta_alloc(hak_lifecycle_os(), 4 * KIB, 64) != NULL);
  }
  return n;
}

static void herd__that_finds_no_memory_for_records_gets_one_chunk(void **state) {
  (void)state;
  fill_chunk();
  size_t in_chunk = fill_chunk();
  CHECK(in_chunk > HERD);
  for (size_t i = 1; i < in_chunk; i++) {
    CHECK(hak_meta_alloc(hak_lifecycle_os(), 4 * KIB, 64) != NULL);
  }
  herd_t herd = run_herd(meta_main, hak_lifecycle_os(), &g_shut_reserve);
  CHECK_EQ(herd.reserves, 1);
  CHECK(herd.spent < 0.001 * LONG_MS / 2);
}

/* --- fork ------------------------------------------------------------------------- */

static int grow_in_child(void *ctx) {
  (void)ctx;
  hak_store_relaxed(&g_shut_reserve, 0);
  hak_superslab_t *ss = acquire(hak_lifecycle_os(), 1, false);
  if (ss == NULL || !hak_regions_are_valid()) return 1;
  return hak_meta_alloc(hak_lifecycle_os(), 300 * KIB, 64) == NULL;
}

static void fork__leaves_no_turn_with_a_thread_that_is_not_there(void **state) {
  (void)state;
  all_t all = use_up(hak_lifecycle_os());
  pthread_t first = keep_at_gate(&g_shut_reserve), second;
  CHECK_EQ(
      pthread_create(&second, NULL, acquire_one, (void *)(uintptr_t)hak_lifecycle_os()),
      0);
  usleep(20000); /* until it waits for the turn, most likely */
  test_child_must_succeed(grow_in_child, NULL, 20);
  hak_store_relaxed(&g_shut_reserve, 0);
  join_and_check(first);
  join_and_check(second);
  give_all(&all);
}

#define R(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(R(herd__that_finds_no_address_space_reserves_one_region),
                R(herd__over_a_heaps_own_hooks_reserves_one_region),
                R(turn__of_the_processs_hooks_is_none_of_heaps_own),
                R(heap__does_not_wait_for_the_hooks_of_another_heap),
                R(hooks_of_heaps__that_ask_for_the_same_keep_their_turn),
                R(no_grow__does_not_wait_for_who_asks_the_os),
                R(hooks__may_grow_other_heaps_while_they_reserve),
                R(hooks__may_ask_for_what_they_are_asked_for),
                R(herd__that_finds_no_memory_for_records_gets_one_chunk),
                R(fork__leaves_no_turn_with_a_thread_that_is_not_there))
