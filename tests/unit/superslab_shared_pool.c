/* superslab_shared_pool.c - the free slabs of a heap against a bitmap for each of
 * its SuperSlabs. The pool is the test's own; the library runs for the regions. */
#include "pool_fixture.h"
#include "threads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "heap/lifecycle.h"
#include "superslab/huge.h"
#include "superslab/pool_growth.h"
#include "superslab/pool_prefault.h"
#include "superslab/region.h"
#include "superslab/shared_pool.h"

enum {
  SPANS = 400, /* live at once */
  SUPERSLABS = 200
};

/* More bytes than there are. */
#define EVERYTHING ((size_t)1 << 40)

/* The model. */
typedef struct known {
  char *base;
  uint32_t taken;
} known_t;
static known_t g_known[SUPERSLABS]; /* by address */
static size_t g_known_count;

typedef struct span {
  hak_slab_t *slab;
  char *start;
  unsigned slabs;
} span_t;
static span_t g_spans[SPANS];
static size_t g_span_count;

static int setup(void **state) {
  (void)state;
  test_over_os(0);
  test_pool_begin();
  g_known_count = g_span_count = 0;
  return 0;
}

static bool add_states(hak_superslab_t *ss, void *sum) {
  hak_superslab_add_states(ss, sum);
  return true;
}

static hak_slot_states_t states(void) {
  hak_slot_states_t sum = {0};
  hak_region_visit(add_states, &sum);
  return sum;
}

static void check_all(void) {
  uint64_t taken = 0;
  for (size_t i = 0; i < g_known_count; i++) taken += hak_count_bits(g_known[i].taken);
  CHECK_EQ(hak_load_relaxed(&g_pool.superslabs), g_known_count);
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), taken);
  CHECK_EQ(states().active, taken);
  CHECK(hak_pool_is_valid(&g_pool));
  CHECK(hak_regions_are_valid());
}

/* --- the model ------------------------------------------------------------------ */

static char *base_of(const char *address) {
  return (char *)hak_align_down((uintptr_t)address, HAK_SUPERSLAB_SIZE);
}

static unsigned slot_of(const char *address) {
  return (unsigned)((size_t)(address - base_of(address)) >> HAK_SLAB_SHIFT);
}

/* Its place among the known ones, or where it would be. */
static size_t find_known(const char *base) {
  size_t i = 0;
  while (i < g_known_count && g_known[i].base < base) i++;
  return i;
}

static bool fits(uint32_t taken, unsigned slot, unsigned slabs) {
  return slot + slabs <= HAK_SUPERSLAB_SLABS && (taken & hak_mask32(slot, slabs)) == 0;
}

/* The lowest address where so many slabs are free at the alignment, or NULL. */
static char *lowest(unsigned slabs, unsigned step) {
  for (size_t i = 0; i < g_known_count; i++) {
    for (unsigned slot = 0; slot < HAK_SUPERSLAB_SLABS; slot += step) {
      if (fits(g_known[i].taken, slot, slabs)) {
        return g_known[i].base + slot * HAK_SLAB_SIZE;
      }
    }
  }
  return NULL;
}

static void model_take(char *start, unsigned slabs) {
  char *base = base_of(start);
  size_t at = find_known(base);
  if (at == g_known_count || g_known[at].base != base) {
    CHECK(g_known_count < SUPERSLABS);
    memmove(&g_known[at + 1], &g_known[at], (g_known_count - at) * sizeof g_known[0]);
    g_known[at] = (known_t){base, 0};
    g_known_count++;
  }
  CHECK(fits(g_known[at].taken, slot_of(start), slabs));
  g_known[at].taken |= hak_mask32(slot_of(start), slabs);
}

static void model_put(char *start, unsigned slabs) {
  size_t at = find_known(base_of(start));
  uint32_t slots = hak_mask32(slot_of(start), slabs);
  CHECK_EQ(g_known[at].taken & slots, slots);
  g_known[at].taken &= ~slots;
  if (g_known[at].taken != 0) return;
  g_known_count--;
  memmove(&g_known[at], &g_known[at + 1], (g_known_count - at) * sizeof g_known[0]);
}

/* --- operations ------------------------------------------------------------------- */

static bool get(unsigned slabs, unsigned step, size_t bytes, bool no_grow) {
  bool zeroed = false;
  char *expected = lowest(slabs, step);
  uint64_t calls = test_os_calls(&g_os), reserves = g_os.calls[TEST_OS_RESERVE];
  hak_slab_t *slab =
      hak_pool_get(&g_pool, slabs, step * HAK_SLAB_SIZE, bytes, no_grow, &zeroed);
  if (no_grow) CHECK_EQ(test_os_calls(&g_os), calls);
  if (slab == NULL) return false;
  char *start = hak_slab_start(slab);
  CHECK(hak_is_aligned((uintptr_t)start, step * HAK_SLAB_SIZE));
  if (no_grow) {
    /* Lowest first is not asked for here, and the place may be in a SuperSlab that nobody
     * had, but which has its pages still. */
  } else if (step == 1 && expected != NULL) {
    CHECK(start == expected);
    CHECK_EQ(g_os.calls[TEST_OS_RESERVE], reserves);
  } else if (expected == NULL) {
    CHECK_EQ(slot_of(start), 0);
  }
  model_take(start, slabs);
  if (zeroed) CHECK(test_is_zero(start, bytes));
  memset(start, 0x77, bytes);
  CHECK(g_span_count < SPANS);
  g_spans[g_span_count++] = (span_t){slab, start, slabs};
  return true;
}

/* Gives back the last `slabs` of a span. */
static void put(size_t index, unsigned slabs) {
  span_t *span = &g_spans[index];
  span->slabs -= slabs;
  model_put(span->start + span->slabs * HAK_SLAB_SIZE, slabs);
  hak_pool_put(&g_pool, span->slab + span->slabs, slabs);
  if (span->slabs == 0) *span = g_spans[--g_span_count];
}

static void put_all(void) {
  while (g_span_count > 0) put(g_span_count - 1, g_spans[g_span_count - 1].slabs);
}

static void extend(size_t index, unsigned more) {
  span_t *span = &g_spans[index];
  char *behind = span->start + span->slabs * HAK_SLAB_SIZE;
  unsigned slot = slot_of(span->start) + span->slabs;
  size_t at = find_known(base_of(span->start));
  bool can = fits(g_known[at].taken, slot, more);
  CHECK_EQ(hak_pool_extend(&g_pool, span->slab, span->slabs, more), can);
  if (!can) return;
  model_take(behind, more);
  span->slabs += more;
}

static char *get_roomy(unsigned slabs, unsigned room) {
  bool zeroed;
  hak_slab_t *slab = hak_pool_get_roomy(&g_pool, slabs, room, HAK_SLAB_SIZE, &zeroed);
  if (slab == NULL) return NULL;
  char *start = hak_slab_start(slab);
  model_take(start, slabs);
  g_spans[g_span_count++] = (span_t){slab, start, slabs};
  return start;
}

static uint32_t empty_slots(void) { return (uint32_t)states().empty; }

static void purge(size_t max_bytes, size_t budget) {
  size_t slabs = budget;
  uint32_t before = empty_slots();
  size_t given = hak_pool_purge(&g_pool, UINT64_MAX, max_bytes, &slabs);
  CHECK(slabs <= budget && before - empty_slots() <= budget - slabs);
  CHECK(max_bytes == 0 ? given == 0 : given < max_bytes + HAK_SLAB_SIZE);
  if (budget < 1000) CHECK(given <= (budget - slabs) * HAK_SLAB_SIZE);
}

static void random_step(test_rng_t *rng) {
  unsigned op = (unsigned)test_below(rng, 100);
  size_t index = (size_t)test_below(rng, g_span_count);
  bool grow = g_span_count < SPANS / 2 && g_known_count < SUPERSLABS / 2;
  if (op < 45 && grow) {
    unsigned slabs = 1 + (unsigned)test_below(rng, test_below(rng, 4) == 0 ? 16 : 4);
    unsigned step = test_below(rng, 5) == 0 ? 1u << test_below(rng, 6) : 1;
    size_t pages = (size_t)test_below(rng, slabs * 16 + 1);
    bool no_grow = test_below(rng, 8) == 0;
    CHECK(get(slabs, step, pages * 4096, no_grow) || no_grow);
  } else if (op < 85 && g_span_count > 0) {
    unsigned all = g_spans[index].slabs;
    put(index, test_below(rng, 4) == 0 ? 1 + (unsigned)test_below(rng, all) : all);
  } else if (op < 95 && g_span_count > 0) {
    extend(index, 1 + (unsigned)test_below(rng, 6));
  } else if (op >= 95) {
    purge((size_t)test_below(rng, 4 * MIB), (size_t)test_below(rng, 50));
  }
}

/* --- tests ----------------------------------------------------------------------------
 */

static void pool__follows_the_model_through_random_changes(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 1);
  for (size_t n = test_scale(6000); n > 0; n--) {
    random_step(&rng);
    check_all();
  }
  put_all();
  check_all();
  CHECK_EQ(hak_load_relaxed(&g_pool.superslabs), 0);
}

static void get__gives_slabs_in_the_order_of_their_addresses(void **state) {
  (void)state;
  for (unsigned i = 0; i < 3 * HAK_SUPERSLAB_SLABS; i++) {
    CHECK(get(1, 1, 4096, false));
    check_all();
  }
  /* Holes are filled from the lowest. */
  for (size_t i = 12; i > 0; i--) put(7 * i, 1);
  for (size_t i = 0; i < 12; i++) CHECK(get(1, 1, 4096, false));
  put_all();
  check_all();
}

/* Of 32 slots 0 to 3 and 8 are taken at first. */
static void roomy__span_lies_where_it_can_grow(void **state) {
  (void)state;
  CHECK(get(4, 1, HAK_SLAB_SIZE, false) && get(4, 1, HAK_SLAB_SIZE, false));
  CHECK(get(1, 1, HAK_SLAB_SIZE, false));
  put(1, 4);
  char *first = lowest(4, 1) - 4 * HAK_SLAB_SIZE, *roomy = lowest(16, 1);
  CHECK(roomy == first + 9 * HAK_SLAB_SIZE);
  CHECK(get_roomy(2, 16) == roomy);
  extend(g_span_count - 1, 14); /* to slot 24 */
  hak_budget_set_limits(&g_pool.budget, SIZE_MAX, 64 * MIB);
  CHECK(get_roomy(2, 3) == NULL); /* small holes come first */
  hak_budget_set_limits(&g_pool.budget, SIZE_MAX, SIZE_MAX);
  hak_store_relaxed(&g_pool.superslabs, 8);
  CHECK(get_roomy(2, 3) == NULL); /* as they do in a large heap */
  hak_store_relaxed(&g_pool.superslabs, 1);
  CHECK(get_roomy(2, 3) == first + 4 * HAK_SLAB_SIZE);
  /* Another SuperSlab for it: more than one has are free only now. */
  char *other = get_roomy(2, 16);
  CHECK(other != NULL && base_of(other) != base_of(first));
  CHECK(get_roomy(2, 32) == NULL);
  put_all();
  check_all();
}

static void get__finds_an_aligned_place_wherever_one_is_sure(void **state) {
  (void)state;
  for (unsigned step = 2; step <= HAK_SUPERSLAB_SLABS; step *= 2) {
    CHECK(get(1, 1, 0, false)); /* slot 0 is gone */
    CHECK(get(1, step, 0, false));
    check_all();
    if (step < HAK_SUPERSLAB_SLABS) CHECK_EQ(g_known_count, 1);
    if (step < HAK_SUPERSLAB_SLABS) CHECK_EQ(slot_of(g_spans[1].start), step);
    put_all();
  }
  CHECK(get(HAK_SUPERSLAB_SLABS, HAK_SUPERSLAB_SLABS, 0, false));
  check_all();
}

static void superslab__that_is_wholly_free_goes_back_with_its_pages(void **state) {
  (void)state;
  CHECK(get(4, 1, 4 * HAK_SLAB_SIZE, false));
  put_all();
  CHECK_EQ(hak_load_relaxed(&g_pool.superslabs), 0);
  CHECK(g_pool.root == NULL && g_pool.retained.first == NULL);
  CHECK(hak_regions.retained.first != NULL);
  CHECK_EQ(hak_load_relaxed(&hak_slots_retained), 4 * HAK_SLAB_SIZE);
  uint64_t commits = g_os.calls[TEST_OS_COMMIT];
  CHECK(get(4, 1, 4 * HAK_SLAB_SIZE, false));
  CHECK_EQ(g_os.calls[TEST_OS_COMMIT], commits);
  check_all();
}

static void no_grow__takes_what_has_its_pages_and_asks_nobody(void **state) {
  (void)state;
  CHECK(!get(1, 1, 4096, true));
  CHECK(get(1, 1, 4096, false));
  CHECK(!get(1, 1, 4096, true)); /* room, but no pages */
  CHECK(get(3, 1, 2 * HAK_SLAB_SIZE + 4096, false));
  put(1, 3);
  CHECK(!get(3, 1, 2 * HAK_SLAB_SIZE + 8192, true));
  CHECK(get(3, 1, 2 * HAK_SLAB_SIZE + 4096, true));
  check_all();
}

static void purge__gives_nothing_that_has_not_been_idle_long_enough(void **state) {
  (void)state;
  CHECK(get(1, 1, 4096, false));
  CHECK(get(5, 1, 5 * HAK_SLAB_SIZE, false));
  put(1, 5);
  uint64_t idle = hak_clock_cached();
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_pool_purge(&g_pool, idle - 1, EVERYTHING, &slabs), 0);
  CHECK_EQ(slabs, SIZE_MAX);
  slabs = 2;
  CHECK_EQ(hak_pool_purge(&g_pool, idle, EVERYTHING, &slabs), 2 * HAK_SLAB_SIZE);
  CHECK_EQ(slabs, 0);
  slabs = 100;
  CHECK_EQ(hak_pool_purge(&g_pool, idle, 1, &slabs), HAK_SLAB_SIZE);
  CHECK_EQ(hak_pool_purge(&g_pool, idle, EVERYTHING, &slabs), 2 * HAK_SLAB_SIZE);
  CHECK(g_pool.retained.first == NULL);
  check_all();
}

/* Nobody knows how much of it will be used. */
static void kept__superslab_that_loses_its_pages_asks_for_small_ones(void **state) {
  (void)state;
  CHECK(hak_pool_reserve(&g_pool, HAK_SUPERSLAB_SIZE));
  CHECK(get(32, 1, HAK_SUPERSLAB_SIZE, false));
  hak_superslab_t *ss = hak_slab_superslab(g_spans[0].slab);
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  CHECK(hak_huge_set(ss, true));
  put(0, 32);
  CHECK(hak_superslab_is_huge(ss));
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_pool_purge(&g_pool, UINT64_MAX, EVERYTHING, &slabs), HAK_SUPERSLAB_SIZE);
  hak_os_leave(before);
  CHECK(!hak_superslab_is_huge(ss));
  CHECK(hak_pool_is_valid(&g_pool));
}

static void count_event(hak_event_t event, const void *address, size_t size, void *ctx) {
  (void)address;
  (void)size;
  if (event == HAK_EVENT_PURGE) ++*(unsigned *)ctx;
}

static void purge__that_the_os_refuses_ends_and_changes_nothing(void **state) {
  (void)state;
  unsigned purges = 0;
  CHECK(get(1, 1, 4096, false));
  CHECK(get(5, 1, 5 * HAK_SLAB_SIZE, false));
  put(1, 5);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_PURGE, 1);
  size_t slabs = SIZE_MAX;
  hak_set_event_hook(count_event, &purges);
  CHECK_EQ(hak_pool_purge(&g_pool, UINT64_MAX, EVERYTHING, &slabs), 0);
  hak_set_event_hook(NULL, NULL);
  CHECK_EQ(purges, 0);
  check_all();
  CHECK_EQ(empty_slots(), 5);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_pool_purge(&g_pool, UINT64_MAX, EVERYTHING, &slabs), 5 * HAK_SLAB_SIZE);
  check_all();
}

static void failures__of_the_os_give_null_and_leave_the_pool_as_it_was(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 2);
  unsigned refused = 0;
  for (size_t n = test_scale(4000); n > 0; n--) {
    bool more = test_below(&rng, 2) == 0 && g_span_count < SPANS / 2;
    if (n % 500 == 0) put_all();
    if (more) {
      unsigned slabs = 1 + (unsigned)test_below(&rng, 8);
      test_os_fail(&g_os, TEST_FAIL_RANDOM, TEST_OS_ALL_KINDS, 40);
      uint64_t failures = g_os.failures;
      bool got = get(slabs, 1, slabs * HAK_SLAB_SIZE, false);
      test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
      CHECK(got || g_os.failures > failures);
      refused += !got;
    } else if (g_span_count > 0) {
      size_t index = (size_t)test_below(&rng, g_span_count);
      put(index, g_spans[index].slabs);
    }
    check_all();
    if (n % 16 == 0) purge(EVERYTHING, SIZE_MAX); /* commits come anew */
  }
  CHECK(refused > 0);
  put_all();
  check_all();
}

/* --- threads ---------------------------------------------------------------------------
 */

static void *worker_main(void *argument) {
  test_rng_t rng = test_rng(test_seed(), 100 + (uintptr_t)argument);
  struct {
    hak_slab_t *slab;
    unsigned slabs;
    uint64_t tag;
  } mine[16];
  memset(mine, 0, sizeof mine);
  for (size_t n = test_scale(3000) + TEST_COUNT(mine); n > 0; n--) {
    size_t i = n <= TEST_COUNT(mine) ? n - 1 : (size_t)test_below(&rng, TEST_COUNT(mine));
    if (mine[i].slab != NULL) {
      char *start = hak_slab_start(mine[i].slab);
      size_t bytes = mine[i].slabs * HAK_SLAB_SIZE;
      CHECK(test_verify_sparse(start, bytes, mine[i].tag));
      hak_pool_put(&g_pool, mine[i].slab, mine[i].slabs);
      mine[i].slab = NULL;
    } else if (n > TEST_COUNT(mine)) {
      bool zeroed;
      mine[i].slabs = 1 + (unsigned)test_below(&rng, 4);
      size_t bytes = mine[i].slabs * HAK_SLAB_SIZE;
      mine[i].slab =
          hak_pool_get(&g_pool, mine[i].slabs, HAK_SLAB_SIZE, bytes, false, &zeroed);
      CHECK(mine[i].slab != NULL);
      mine[i].tag = test_random(&rng);
      test_fill_sparse(hak_slab_start(mine[i].slab), bytes, mine[i].tag);
    }
    size_t slabs = 8;
    if (n % 64 == 0) hak_pool_purge(&g_pool, UINT64_MAX, MIB, &slabs);
  }
  return NULL;
}

static void pool__gives_no_slab_to_two_threads(void **state) {
  (void)state;
  pthread_t threads[4];
  test_threads_begin_numbered(threads, TEST_COUNT(threads), worker_main);
  test_threads_end(threads, TEST_COUNT(threads));
  check_all();
  CHECK_EQ(hak_load_relaxed(&g_pool.superslabs), 0);
}

/* --- threads that find no room at the same moment ------------------------------------
 */

enum {
  HERD = 24
};
static pthread_barrier_t g_met;
static hak_slab_t *g_got[HERD];

static void *get_one(void *number) {
  bool zeroed;
  pthread_barrier_wait(&g_met);
  hak_slab_t *slab =
      hak_pool_get(&g_pool, 1, HAK_SLAB_SIZE, HAK_SLAB_SIZE, false, &zeroed);
  CHECK(slab != NULL);
  g_got[(uintptr_t)number] = slab;
  return NULL;
}

/* How many SuperSlabs they brought in for what one has room for. */
static uint64_t meet(bool stalled) {
  if (stalled) hak_store_relaxed(&g_pool.growing, 1);
  pthread_t threads[HERD];
  pthread_barrier_init(&g_met, NULL, HERD);
  test_threads_begin_numbered(threads, HERD, get_one);
  test_threads_end(threads, HERD);
  pthread_barrier_destroy(&g_met);
  uint64_t superslabs = hak_load_relaxed(&g_pool.superslabs);
  for (size_t i = 0; i < HERD; i++) hak_pool_put(&g_pool, g_got[i], 1);
  CHECK_EQ(hak_load_relaxed(&g_pool.superslabs), 0);
  CHECK_EQ(hak_load_relaxed(&g_pool.growing), 0);
  return superslabs;
}

/* The system takes its time, so that all of them come before one has grown the pool. They
 * do not wait for ever: on a busy machine one try may go wrong. */
static void check_one_grows(bool stalled) {
  uint64_t least = UINT64_MAX;
  for (int try = 0; try < 20 && least > 1; try++) {
    test_over_os_end();
    test_over_os(TEST_OS_SLOW_RESERVE);
    test_pool_begin();
    uint64_t superslabs = meet(stalled);
    if (superslabs < least) least = superslabs;
  }
  CHECK_EQ(least, 1);
}

static void threads__that_find_no_room_wait_for_the_one_that_grows(void **state) {
  (void)state;
  check_one_grows(false);
}

/* The system has stopped the thread that grows, for as long as others wait. */
static void growth__that_stalls_is_taken_over_by_one_thread(void **state) {
  (void)state;
  check_one_grows(true);
}

#define P(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(P(pool__follows_the_model_through_random_changes),
                P(get__gives_slabs_in_the_order_of_their_addresses),
                P(roomy__span_lies_where_it_can_grow),
                P(get__finds_an_aligned_place_wherever_one_is_sure),
                P(superslab__that_is_wholly_free_goes_back_with_its_pages),
                P(no_grow__takes_what_has_its_pages_and_asks_nobody),
                P(purge__gives_nothing_that_has_not_been_idle_long_enough),
                P(kept__superslab_that_loses_its_pages_asks_for_small_ones),
                P(purge__that_the_os_refuses_ends_and_changes_nothing),
                P(failures__of_the_os_give_null_and_leave_the_pool_as_it_was),
                P(pool__gives_no_slab_to_two_threads),
                P(threads__that_find_no_room_wait_for_the_one_that_grows),
                P(growth__that_stalls_is_taken_over_by_one_thread))
