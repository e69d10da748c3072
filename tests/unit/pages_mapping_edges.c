/* pages_mapping_edges.c - mappings where something is short or in the way: memory for a
 * record, a limit, hooks whose ranges may not be joined, the lock that a crash handler
 * cannot have, threads that are not there after a fork. */
#include "mapping_fixture.h"

#include <string.h>
#include <sys/mman.h>

#include "os/reservation.h"

static bool g_no_records;

void *__real_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);
void *__wrap_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);
void *__wrap_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment) {
  return g_no_records ? NULL : __real_hak_meta_alloc(os, size, alignment);
}

static int setup(void **state) {
  (void)state;
  mapping_begin();
  g_no_records = false;
  return 0;
}

static int teardown(void **state) {
  (void)state;
  mapping_end();
  return 0;
}

/* --- what is short ------------------------------------------------------------------ */

static void acquire__without_memory_for_a_record_leaves_nothing(void **state) {
  (void)state;
  uint64_t ranges = hak_load_relaxed(&hak_os_counts.reserve);
  g_no_records = true;
  CHECK(acquire(hak_lifecycle_os(), &g_budget, 8 * MIB, false) == NULL);
  CHECK_UNCHARGED();
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.reserve), ranges);
  g_no_records = false;
  hak_mapping_t *m = acquire(hak_lifecycle_os(), &g_budget, 8 * MIB, false);
  CHECK(m != NULL);
  CHECK_CHARGED(8 * MIB);
  give(m);
  CHECK_UNCHARGED();
}

/* The next multiple of a slab would be 0. */
static void acquire__of_more_than_there_are_addresses_asks_nobody(void **state) {
  (void)state;
  uint64_t ranges = hak_load_relaxed(&hak_os_counts.reserve);
  const size_t page = hak_lifecycle_os()->page_size;
  for (size_t less = page; less < HAK_SLAB_SIZE; less += page) {
    size_t size = test_opaque(SIZE_MAX) - less + 1;
    CHECK(acquire(hak_lifecycle_os(), &g_budget, size, false) == NULL);
  }
  CHECK_UNCHARGED();
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.reserve), ranges);
}

/* To move a range all of it has pages, for which the limit has no room. */
static void move__that_a_limit_refuses_changes_nothing(void **state) {
  (void)state;
  hak_mapping_t *m = acquire(hak_lifecycle_os(), &g_budget, 8 * MIB, false);
  CHECK(m != NULL && hak_mapping_resize(m, MIB, false) != NULL);
  char *base = m->extent.base;
  memset(base, 1, MIB);
  CHECK_CHARGED(MIB);
  hak_budget_set_limits(&g_budget, 0, 4 * MIB);
  uint64_t remaps = hak_load_relaxed(&hak_os_counts.remap);
  CHECK(hak_mapping_resize(m, 3 * MIB, true) == NULL);
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.remap), remaps);
  CHECK_CHARGED(MIB);
  CHECK(m->extent.base == base && m->reserved == 8 * MIB);
  CHECK_EQ(hak_load_relaxed(&m->extent.size), MIB);
  CHECK(base[MIB - 1] == 1);
  give(m);
  CHECK_UNCHARGED();
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
  hak_mapping_t *low = acquire(halves, NULL, HALF, false),
                *high = acquire(halves, NULL, HALF, false);
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
  CHECK(acquire(&halves, NULL, 2 * (size_t)HALF, false) == NULL);
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

enum {
  MANY = 150
};

typedef struct seen {
  char *last;
  size_t used, kept, usable;
} seen_t;

static void note_range(const hak_mapping_range_t *range, void *ctx) {
  seen_t *seen = ctx;
  CHECK(range->base > seen->last);
  seen->last = range->base;
  seen->used += range->heap != NULL;
  seen->kept += range->heap == NULL;
  seen->usable += range->usable;
}

/* However many there are, and in whatever order they came. */
static void ranges__are_all_seen_once_in_order(void **state) {
  (void)state;
  static hak_mapping_t *m[MANY];
  bool zeroed;
  for (size_t i = 0; i < MANY; i++) {
    m[i] = hak_mapping_acquire(hak_lifecycle_os(), NULL, &g_budget, 64 * KIB, 1, false,
                               &zeroed);
    CHECK(m[i] != NULL);
  }
  test_rng_t rng = test_rng(test_seed(), 3);
  size_t given = 0;
  for (size_t i = 0; i < MANY; i++) {
    if (test_below(&rng, 2) == 0) continue;
    give(m[i]);
    given++;
  }
  seen_t seen = {0};
  hak_mapping_visit_ranges(note_range, &seen);
  CHECK_EQ(seen.kept, given);
  CHECK_EQ(seen.used, MANY - given);
  CHECK_EQ(seen.usable, (MANY - given) * 64 * KIB);
}

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

/* --- the child of a fork ------------------------------------------------------------ */

static const char g_lost; /* a thread that is not there */

/* What a lost thread had passing goes, or is given up inside a hook; a mapping whose
 * pages it was moving is given up; what this thread has stays. */
static void recover__takes_what_lost_threads_had(void **state) {
  (void)state;
  for (int inside = 0; inside < 2; inside++) {
    uint64_t reserved = hak_load_relaxed(&hak_mappings_reserved);
    hak_mapping_t *passing = get(4 * MIB), *moved = get(6 * MIB), *own = get(8 * MIB);
    hak_mapping_t *mine = get(10 * MIB), *used = get(12 * MIB);
    char *base = passing->extent.base, *base_moved = moved->extent.base;
    hak_lock_acquire(&hak_mappings.lock);
    hak_mapping_unuse_locked(passing);
    hak_mapping_pass_locked(passing);
    passing->who = &g_lost;
    moved->who = &g_lost;
    own->who = hak_os_self();
    hak_mapping_unuse_locked(mine);
    hak_mapping_pass_locked(mine);
    hak_lock_release(&hak_mappings.lock);
    uint64_t lost = hak_mappings_recover(inside != 0);
    CHECK_EQ(lost, inside ? 10 * MIB : 6 * MIB);
    /* A hook that goes on counts for itself what it had passing. */
    uint64_t left = (inside ? 30 : 20) * MIB;
    CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), reserved + left);
    hak_lock_acquire(&hak_mappings.lock);
    CHECK(own->who == hak_os_self() && used->who == NULL && mine->who == hak_os_self());
    CHECK(hak_mapping_others_locked(NULL) == NULL);
    if (!inside) {
      hak_add_relaxed(&hak_mappings_reserved, mine->reserved);
      hak_add_relaxed(&hak_mappings_committed, hak_mapping_committed(mine));
    }
    own->who = NULL;
    hak_mapping_unpass_locked(mine);
    hak_mapping_use_locked(mine, NULL, mine->extent.base, 10 * MIB);
    hak_lock_release(&hak_mappings.lock);
    hak_mapping_t *rest[] = {own, mine, used};
    for (size_t i = 0; i < TEST_COUNT(rest); i++) {
      hak_mapping_advise(rest[i], false);
      give(rest[i]);
    }
    CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), reserved);
    /* Their ranges are lost, and would be found by who looks for leaks. */
    if (inside) CHECK_EQ(munmap(base, 4 * MIB), 0);
    CHECK_EQ(munmap(base_moved, 6 * MIB), 0);
  }
}

#define E(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(E(acquire__without_memory_for_a_record_leaves_nothing),
                E(acquire__of_more_than_there_are_addresses_asks_nobody),
                E(move__that_a_limit_refuses_changes_nothing),
                E(kept_ranges__of_other_hooks_are_not_joined),
                E(kept_ranges__of_other_hooks_are_left_alone_by_those_of_the_system),
                E(ranges__are_all_seen_once_in_order),
                E(ranges__are_not_looked_at_while_somebody_changes_them),
                E(recover__takes_what_lost_threads_had))
