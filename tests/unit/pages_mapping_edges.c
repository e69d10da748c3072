/* pages_mapping_edges.c - mappings where something is short or in the way: memory for a
 * record, a limit, hooks whose ranges may not be joined, the lock that a crash handler
 * cannot have. */
#include "support.h"

#include <string.h>

#include "heap/lifecycle.h"
#include "os/os.h"
#include "os/reservation.h"
#include "pages/mapping.h"
#include "pages/mapping_move.h"
#include "pages/mapping_ranges.h"
#include "pages/meta.h"

static bool g_no_records;

void *__real_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);
void *__wrap_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);
void *__wrap_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment) {
  return g_no_records ? NULL : __real_hak_meta_alloc(os, size, alignment);
}

static hak_budget_t g_budget;

static int setup(void **state) {
  (void)state;
  test_set(HAK_OPTION_HUGE_PAGES, 0);
  test_set(HAK_OPTION_PURGE_MODE, 1);
  test_set(HAK_OPTION_PURGE_DECAY_MS, 86400000); /* nothing is forgotten meanwhile */
  CHECK_EQ(hak_init(NULL), 0);
  hak_budget_init(&g_budget);
  hak_budget_begin(&g_budget, NULL);
  g_no_records = false;
  return 0;
}

static int teardown(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), 0);
  test_set(HAK_OPTION_PURGE_MODE, 1);
  test_set(HAK_OPTION_PURGE_DECAY_MS, 1000);
  return 0;
}

#define CHECK_KEPT(bytes) CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), bytes)
#define CHECK_CHARGED(bytes) CHECK_EQ(hak_load_relaxed(&g_budget.charged), bytes)

static hak_mapping_t *acquire(const hak_os_t *os, hak_budget_t *budget, size_t size) {
  bool zeroed;
  return hak_mapping_acquire(os, budget, NULL, size, HAK_SLAB_SIZE, false, &zeroed);
}
static hak_mapping_t *get(size_t size) {
  hak_mapping_t *m = acquire(hak_lifecycle_os(), NULL, size);
  CHECK(m != NULL);
  return m;
}
static void give(hak_mapping_t *m) { hak_mapping_give(m, 1); }

/* --- what is short ------------------------------------------------------------------ */

static void acquire__without_memory_for_a_record_leaves_nothing(void **state) {
  (void)state;
  uint64_t ranges = hak_load_relaxed(&hak_os_counts.reserve);
  g_no_records = true;
  CHECK(acquire(hak_lifecycle_os(), &g_budget, 8 * MIB) == NULL);
  CHECK_CHARGED(0);
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.reserve), ranges);
  g_no_records = false;
  hak_mapping_t *m = acquire(hak_lifecycle_os(), &g_budget, 8 * MIB);
  CHECK(m != NULL);
  CHECK_CHARGED(8 * MIB + sizeof *m);
  give(m);
  CHECK_CHARGED(0);
}

/* The next multiple of a slab would be 0. */
static void acquire__of_more_than_there_are_addresses_asks_nobody(void **state) {
  (void)state;
  uint64_t ranges = hak_load_relaxed(&hak_os_counts.reserve);
  const size_t page = hak_lifecycle_os()->page_size;
  for (size_t less = page; less < HAK_SLAB_SIZE; less += page) {
    size_t size = test_opaque(SIZE_MAX) - less + 1;
    CHECK(acquire(hak_lifecycle_os(), &g_budget, size) == NULL);
  }
  CHECK_CHARGED(0);
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.reserve), ranges);
}

/* To move a range all of it has pages, for which the limit has no room. */
static void move__that_a_limit_refuses_changes_nothing(void **state) {
  (void)state;
  hak_mapping_t *m = acquire(hak_lifecycle_os(), &g_budget, 8 * MIB);
  CHECK(m != NULL && hak_mapping_resize(m, MIB, false) != NULL);
  char *base = m->extent.base;
  memset(base, 1, MIB);
  CHECK_CHARGED(MIB + sizeof *m);
  hak_budget_set_limits(&g_budget, 0, 4 * MIB);
  uint64_t remaps = hak_load_relaxed(&hak_os_counts.remap);
  CHECK(hak_mapping_resize(m, 3 * MIB, true) == NULL);
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.remap), remaps);
  CHECK_CHARGED(MIB + sizeof *m);
  CHECK(m->extent.base == base && m->reserved == 8 * MIB);
  CHECK_EQ(hak_load_relaxed(&m->extent.size), MIB);
  CHECK(base[MIB - 1] == 1);
  give(m);
  CHECK_CHARGED(0);
}

/* --- hooks of a program's own ------------------------------------------------------- */

enum {
  HALF = 8 << 20
};
/* They have one range, and give it out by halves, which come back as they went. */
static char *g_range;
static unsigned g_given, g_back, g_wrong;

static void *halves_reserve(void *ctx, size_t size, size_t alignment) {
  (void)ctx;
  if (size != HALF || g_given == 2) return NULL;
  char *half = g_range + g_given * (size_t)HALF;
  CHECK(((uintptr_t)half & (alignment - 1)) == 0);
  g_given++;
  return half;
}
static int halves_release(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  bool half = (char *)ptr == g_range || (char *)ptr == g_range + HALF;
  ++*(size == HALF && half ? &g_back : &g_wrong);
  return 0;
}

/* Both halves are kept, side by side. */
static void keep_halves(hak_os_t *halves) {
  const hak_os_t *os = hak_os_default();
  g_range = os->reserve(os->ctx, 2 * (size_t)HALF, HAK_SUPERSLAB_SIZE);
  CHECK(g_range != NULL);
  g_given = g_back = g_wrong = 0;
  *halves = *os;
  halves->reserve = halves_reserve;
  halves->release = halves_release;
  CHECK(!hak_os_is_divisible(halves));
  hak_mapping_t *low = acquire(halves, NULL, HALF), *high = acquire(halves, NULL, HALF);
  CHECK(low != NULL && high != NULL);
  test_set(HAK_OPTION_PURGE_MODE, 0); /* or such ranges would go at once */
  give(low);
  give(high);
  CHECK_KEPT(2 * (size_t)HALF);
}

static void end_halves(const hak_os_t *halves) {
  test_set(HAK_OPTION_PURGE_MODE, 1);
  hak_mappings_end(halves);
  CHECK_EQ(g_back, 2);
  CHECK_EQ(g_wrong, 0);
  CHECK_KEPT(0);
  CHECK_EQ(hak_os_default()->release(NULL, g_range, 2 * (size_t)HALF), 0);
}

/* Or they would be given back in one, as a range that these hooks never gave. */
static void kept_ranges__of_other_hooks_are_not_joined(void **state) {
  (void)state;
  hak_os_t halves;
  keep_halves(&halves);
  CHECK(acquire(&halves, NULL, 2 * (size_t)HALF) == NULL);
  CHECK_KEPT(2 * (size_t)HALF);
  end_halves(&halves);
}

static void kept_ranges__of_other_hooks_are_left_alone_by_those_of_the_system(
    void **state) {
  (void)state;
  hak_os_t halves;
  keep_halves(&halves);
  hak_mapping_t *m = get(2 * (size_t)HALF);
  CHECK_KEPT(2 * (size_t)HALF);
  CHECK(m->extent.base != g_range);
  end_halves(&halves);
}

/* --- ranges ------------------------------------------------------------------------- */

static void count_range(const hak_mapping_range_t *range, void *ctx) {
  CHECK(range->base != NULL);
  ++*(unsigned *)ctx;
}

/* The thread that a crash handler stopped may have the lock. */
static void ranges__are_not_looked_at_while_somebody_changes_them(void **state) {
  (void)state;
  (void)get(8 * MIB);
  unsigned seen = 0;
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_visit_ranges(count_range, &seen);
  hak_lock_assert_held(&hak_mappings.lock);
  hak_lock_release(&hak_mappings.lock);
  CHECK_EQ(seen, 0);
  hak_mapping_visit_ranges(count_range, &seen);
  CHECK_EQ(seen, 1);
}

#define E(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(E(acquire__without_memory_for_a_record_leaves_nothing),
                E(acquire__of_more_than_there_are_addresses_asks_nobody),
                E(move__that_a_limit_refuses_changes_nothing),
                E(kept_ranges__of_other_hooks_are_not_joined),
                E(kept_ranges__of_other_hooks_are_left_alone_by_those_of_the_system),
                E(ranges__are_not_looked_at_while_somebody_changes_them))
