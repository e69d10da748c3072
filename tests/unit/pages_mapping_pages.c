/* pages_mapping_pages.c - which pages mappings over the system's own hooks have: huge or
 * small ones, those behind blocks that change their size, those of kept mappings that are
 * cut, and what happens where the system, the budget or memory for records refuses. */
#include "mapping_fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "pages/idle.h"
#include "pages/mapping_parts.h"
#include "pages/registry.h"

enum {
  PAGE = 4096
};

/* --- the system, which notes advice and may refuse --------------------------------- */

static unsigned g_huge, g_small; /* calls that advise */
static const void *g_advised;    /* the last one's address */
static bool g_keep_pages;        /* takes no page back */
static bool g_no_records, g_no_cut, g_no_leaves;

int __real_madvise(void *address, size_t size, int advice);
int __wrap_madvise(void *address, size_t size, int advice);
int __wrap_madvise(void *address, size_t size, int advice) {
  if (advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE) {
    ++*(advice == MADV_HUGEPAGE ? &g_huge : &g_small);
    g_advised = address;
    return 0; /* so that what is resident is what was touched */
  }
  if (g_keep_pages) {
    errno = ENOMEM;
    return -1;
  }
  return __real_madvise(address, size, advice);
}

void *__real_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);
void *__wrap_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);
void *__wrap_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment) {
  return g_no_records ? NULL : __real_hak_meta_alloc(os, size, alignment);
}

bool __real_hak_os_divide_begin(void);
bool __wrap_hak_os_divide_begin(void);
bool __wrap_hak_os_divide_begin(void) {
  return !g_no_cut && __real_hak_os_divide_begin();
}

bool __real_hak_registry_prepare(size_t size, hak_spare_leaves_t *own);
bool __wrap_hak_registry_prepare(size_t size, hak_spare_leaves_t *own);
bool __wrap_hak_registry_prepare(size_t size, hak_spare_leaves_t *own) {
  return !g_no_leaves && __real_hak_registry_prepare(size, own);
}

/* --- the library ---------------------------------------------------------------------
 */

static int setup(void **state) {
  (void)state;
  mapping_begin();
  CHECK(hak_os_is_divisible(hak_lifecycle_os()));
  g_huge = g_small = 0;
  g_keep_pages = g_no_records = g_no_cut = g_no_leaves = false;
  return 0;
}

static int teardown(void **state) {
  (void)state;
  g_keep_pages = false;
  mapping_end();
  test_set(HAK_OPTION_HUGE_RETAIN_BYTES, (int64_t)GIB);
  return 0;
}

static size_t pages_of(const hak_mapping_t *m) { return hak_mapping_committed(m); }

static bool resize(hak_mapping_t *m, size_t size) {
  char *base = m->extent.base, *now = hak_mapping_resize(m, size, false);
  CHECK(now == NULL || now == base);
  return now != NULL;
}
static bool move(hak_mapping_t *m, size_t size) {
  return hak_mapping_resize(m, size, true) != NULL;
}

static uint64_t remaps(void) { return hak_load_relaxed(&hak_os_counts.remap); }

/* The end of the block is written to. */
static void touch_end(hak_mapping_t *m) {
  size_t size = hak_load_relaxed(&m->extent.size);
  memset(m->extent.base + size - 256 * KIB, 1, 256 * KIB);
}

/* A block of the first 2 MiB of a kept mapping of 64. */
static hak_mapping_t *get_first_part(void) {
  hak_mapping_t *m = get(64 * MIB);
  char *base = m->extent.base;
  give(m);
  m = get(2 * MIB);
  CHECK(m->extent.base == base && m->reserved == 2 * MIB);
  CHECK_KEPT(62 * MIB);
  return m;
}

/* So much may lie behind blocks that shrink. */
static void allow_behind_blocks(void) {
  hak_clock_refresh();
  hak_idle_note_shrunk(64 * MIB, hak_clock_cached());
  hak_mapping_t *m = get(64 * MIB);
  hak_idle_note_grown(64 * MIB);
  CHECK(hak_idle_shrink_allowance(hak_clock_cached()) >= 64 * MIB);
  hak_mapping_advise(m, false);
  give(m); /* advised: it is not kept */
  CHECK_KEPT(0);
  g_small = 0;
}

/* --- huge pages ------------------------------------------------------------------- */

static void huge_pages__are_asked_for_or_not_as_the_option_says(void **state) {
  (void)state;
  (void)get(8 * MIB);
  CHECK_EQ(g_huge, 0);
  CHECK_EQ(g_small, hak_os_is_huge_unasked(hak_lifecycle_os()));
  test_set(HAK_OPTION_HUGE_PAGES, 2);
  g_small = 0;
  hak_mapping_t *m = get(8 * MIB);
  CHECK(m->huge && g_advised == m->extent.base);
  CHECK_EQ(g_huge, 1);
  CHECK_EQ(g_small, 0);
}

static void advice__is_passed_on_as_it_is(void **state) {
  (void)state;
  hak_mapping_t *m = get(8 * MIB);
  g_small = 0;
  hak_mapping_advise(m, false);
  CHECK(!m->huge && g_huge == 0 && g_small == 1);
  hak_mapping_advise(m, true);
  CHECK(m->huge && g_huge == 1 && g_small == 1);
}

/* Or the kernel would fill the hole in the last huge page that stays. */
static void huge_pages__that_lose_a_part_become_small(void **state) {
  (void)state;
  test_set(HAK_OPTION_HUGE_PAGES, 2);
  hak_mapping_t *m = get(16 * MIB);
  CHECK(resize(m, 8 * MIB) && pages_of(m) == 8 * MIB);
  CHECK(m->huge && g_small == 0); /* none lost a part */
  test_set(HAK_OPTION_PURGE_MODE, 0);
  CHECK(resize(m, 3 * MIB) && pages_of(m) == 8 * MIB);
  CHECK(m->huge && g_small == 0);
  test_set(HAK_OPTION_PURGE_MODE, 1);
  CHECK(resize(m, 3 * MIB - PAGE) && pages_of(m) == 3 * MIB - PAGE);
  CHECK(!m->huge && g_small == 1);
  CHECK(resize(m, MIB) && g_small == 1);
}

/* Blocks of 8 MiB with small pages grow by 12 MiB. */
static void grow_large(bool touched, unsigned huge) {
  hak_mapping_t *m = get(8 * MIB);
  if (touched) touch_end(m);
  test_set(HAK_OPTION_HUGE_PAGES, 1);
  g_huge = 0;
  CHECK(move(m, 20 * MIB));
  CHECK_EQ(g_huge, huge);
  CHECK_EQ(m->huge, huge != 0);
  test_set(HAK_OPTION_HUGE_PAGES, 0);
}

static void growing__blocks_that_were_written_to_get_huge_pages(void **state) {
  (void)state;
  grow_large(false, 0);
  grow_large(true, 1);
}

static void growing__keeps_small_pages_where_huge_ones_are_not_wanted(void **state) {
  (void)state;
  hak_mapping_t *m = get(8 * MIB); /* the option says none */
  touch_end(m);
  CHECK(move(m, 20 * MIB) && g_huge == 0 && !m->huge);
  test_set(HAK_OPTION_HUGE_PAGES, 1);
  touch_end(m);
  CHECK(move(m, 21 * MIB) && g_huge == 0); /* by too little */
  touch_end(m);
  hak_mapping_advise(m, false); /* its heap says none */
  CHECK(move(m, 40 * MIB) && g_huge == 0 && !m->huge);
  test_set(HAK_OPTION_HUGE_PAGES, 2);
  m = get(8 * MIB);
  CHECK_EQ(g_huge, 1);
  test_set(HAK_OPTION_HUGE_PAGES, 1);
  touch_end(m);
  CHECK(move(m, 20 * MIB) && g_huge == 1); /* it has them */
}

/* All pages of one range are of one kind, or it could not move. */
static void growing__into_pages_of_another_kind_makes_them_alike(void **state) {
  (void)state;
  hak_mapping_t *m = get(64 * MIB);
  give(m);
  m = get(4 * MIB);
  CHECK(resize(m, MIB) && pages_of(m) == MIB);
  touch_end(m);
  test_set(HAK_OPTION_HUGE_PAGES, 1);
  CHECK(resize(m, 4 * MIB) && m->huge && g_huge == 1);
  CHECK(!resize(m, 8 * MIB)); /* nobody wrote to what it has */
  CHECK(g_huge == 1 && m->reserved == 4 * MIB);
  CHECK_KEPT(60 * MIB);
  touch_end(m);
  char *end = m->extent.base + 4 * MIB;
  CHECK(resize(m, 8 * MIB));
  CHECK(g_huge == 2 && g_advised == end);
  CHECK_KEPT(56 * MIB);
}

/* A kept mapping of 16 MiB with `pages` of small pages serves `size` where huge ones are
 * asked for. */
static void serve_again(size_t reserved, size_t pages, size_t size, unsigned huge) {
  hak_mapping_t *m = get(reserved);
  CHECK(resize(m, pages) && pages_of(m) == pages);
  give(m);
  test_set(HAK_OPTION_HUGE_PAGES, 2);
  g_huge = 0;
  CHECK(get(size) == m);
  CHECK_EQ(g_huge, huge);
  CHECK_EQ(m->huge, huge != 0);
  test_set(HAK_OPTION_HUGE_PAGES, 0);
}

static void kept_mapping__that_lost_most_pages_is_chosen_for_anew(void **state) {
  (void)state;
  serve_again(16 * MIB, MIB, 16 * MIB, 1);
  serve_again(16 * MIB, 10 * MIB, 16 * MIB, 0);      /* it has most */
  serve_again(3 * MIB, MIB + 256 * KIB, 3 * MIB, 0); /* no huge page is lacking */
  test_set(HAK_OPTION_HUGE_PAGES, 2);
  hak_mapping_t *m = get(16 * MIB);
  CHECK(resize(m, 2 * MIB) && m->huge);
  give(m);
  g_huge = 0;
  CHECK(get(16 * MIB) == m && m->huge);
  CHECK_EQ(g_huge, 0); /* it has been */
}

/* --- pages behind blocks ------------------------------------------------------------ */

/* What a block of 12 MiB takes comes in units: up to a quarter of the block stays. */
static void growing__keeps_some_of_what_came_with_it(void **state) {
  (void)state;
  hak_mapping_t *m = get_first_part();
  CHECK(resize(m, 2 * MIB + PAGE));
  CHECK(m->reserved == 4 * MIB && pages_of(m) == 2 * MIB + PAGE);
  CHECK(resize(m, 12 * MIB + PAGE));
  CHECK(m->reserved == 14 * MIB && pages_of(m) == 14 * MIB);
}

static void growing__keeps_what_was_a_mistake_to_give_back(void **state) {
  (void)state;
  allow_behind_blocks();
  hak_mapping_t *m = get_first_part();
  CHECK(resize(m, 2 * MIB + PAGE));
  CHECK(m->reserved == 4 * MIB && pages_of(m) == 4 * MIB);
}

/* One that its heap advises shares no pages with others. */
static void growing__of_an_advised_block_takes_no_kept_pages(void **state) {
  (void)state;
  hak_mapping_t *m = get_first_part();
  hak_mapping_advise(m, false);
  CHECK(!resize(m, 4 * MIB));
  CHECK_KEPT(62 * MIB);
}

/* The part that is not needed is kept where others may have it, and goes at once where
 * nobody may. */
static void shrinking__keeps_only_what_others_may_have(void **state) {
  (void)state;
  allow_behind_blocks();
  hak_mapping_t *m = get(64 * MIB);
  CHECK(resize(m, 10 * MIB) && m->reserved == 10 * MIB);
  CHECK_KEPT(54 * MIB);
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_mapping_purge(UINT64_MAX, SIZE_MAX, &slabs), 54 * MIB);
  m = get(64 * MIB);
  hak_mapping_advise(m, false);
  CHECK(resize(m, 10 * MIB) && m->reserved == 64 * MIB && pages_of(m) == 10 * MIB);
  CHECK_KEPT(0);
  hak_os_t own = *hak_os_default();
  m = acquire(&own, NULL, 64 * MIB, false);
  CHECK(m != NULL && resize(m, 10 * MIB) && pages_of(m) == 10 * MIB);
  CHECK_KEPT(0);
  give(m);
  test_set(HAK_OPTION_HUGE_RETAIN_BYTES, 40 * (int64_t)MIB);
  m = get(64 * MIB);
  CHECK(resize(m, 10 * MIB) && pages_of(m) == 10 * MIB);
  CHECK_KEPT(0);
}

static void shrinking__that_the_system_refuses_stays_charged(void **state) {
  (void)state;
  hak_mapping_t *m = get_charged(64 * MIB);
  g_keep_pages = true;
  CHECK(resize(m, MIB));
  CHECK_EQ(pages_of(m), 64 * MIB);
  CHECK_CHARGED(64 * MIB);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), 64 * MIB);
  give(m);
  CHECK_EQ(hak_load_relaxed(&g_budget.charged), 0);
}

/* --- kept mappings ------------------------------------------------------------------ */

static void kept_mapping__is_cut_where_that_leaves_a_unit_and_is_worth_it(void **state) {
  (void)state;
  static const struct {
    size_t kept, size, reserved;
  } cases[] = {{3 * MIB, 2 * MIB + 64 * KIB, 3 * MIB}, /* no unit is left */
               {64 * MIB, 60 * MIB, 64 * MIB},         /* nor is much left */
               {64 * MIB, 40 * MIB, 40 * MIB}};
  for (size_t i = 0; i < TEST_COUNT(cases); i++) {
    hak_mapping_t *m = get(cases[i].kept);
    give(m);
    m = get(cases[i].size);
    CHECK_EQ(m->reserved, cases[i].reserved);
    hak_mapping_advise(m, false);
    give(m);
    size_t slabs = SIZE_MAX;
    (void)hak_mapping_purge(UINT64_MAX, SIZE_MAX, &slabs);
    CHECK_KEPT(0);
  }
}

static void kept_mapping__is_not_cut_where_memory_for_that_is_short(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    hak_mapping_t *m = get(64 * MIB);
    give(m);
    g_no_records = i == 0;
    g_no_cut = i == 1;
    m = get(2 * MIB);
    CHECK(m->reserved == 64 * MIB && pages_of(m) == 2 * MIB);
    CHECK_KEPT(0);
    CHECK((hak_mappings.records != NULL) == (i == 1));
    g_no_records = g_no_cut = false;
  }
}

static void no_grow__takes_a_kept_mapping_as_it_is(void **state) {
  (void)state;
  hak_mapping_t *m = get(64 * MIB);
  give(m);
  CHECK(acquire(hak_lifecycle_os(), NULL, 40 * MIB, true) == m);
  CHECK(m->reserved == 64 * MIB && pages_of(m) == 64 * MIB);
}

/* The budget pays for the block alone: what it has beside that goes, or it is not had. */
static void kept_mapping__loses_pages_that_no_budget_pays_for(void **state) {
  (void)state;
  const size_t size = 7 * MIB + 512 * KIB;
  give(get(8 * MIB));
  hak_budget_set_limits(&g_budget, 0, size + sizeof(hak_mapping_t));
  g_keep_pages = true;
  CHECK(acquire(hak_lifecycle_os(), &g_budget, size, true) == NULL);
  CHECK_EQ(hak_load_relaxed(&g_budget.charged), 0);
  CHECK_KEPT(8 * MIB);
  g_keep_pages = false;
  hak_mapping_t *m = acquire(hak_lifecycle_os(), &g_budget, size, true);
  CHECK(m != NULL && pages_of(m) == size);
  CHECK_CHARGED(size);
  give(m);
  CHECK_EQ(hak_load_relaxed(&g_budget.charged), 0);
}

static void new_need__displaces_nothing_where_nothing_may_go(void **state) {
  (void)state;
  hak_mapping_t *oldest = get(10 * MIB); /* all of which would go */
  (void)get(60 * MIB);
  hak_mapping_t *m = get(50 * MIB);
  give(oldest);
  give(m);
  test_set(HAK_OPTION_PURGE_MODE, 0);
  (void)get(100 * MIB);
  CHECK_KEPT(60 * MIB);
  test_set(HAK_OPTION_PURGE_MODE, 1);
  (void)get(100 * MIB);
  CHECK(hak_load_relaxed(&hak_mappings_retained) < 50 * MIB);
}

/* What was in use at one time counts for as long as anything is kept. */
static void purge__of_some_forgets_no_earlier_use(void **state) {
  (void)state;
  hak_mapping_t *m[4];
  for (size_t i = 0; i < 4; i++) m[i] = get(50 * MIB);
  for (size_t i = 0; i < 4; i++) give(m[i]);
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_mapping_purge(UINT64_MAX, 10 * MIB, &slabs), 10 * MIB);
  (void)get(50 * MIB);
  CHECK_KEPT(140 * MIB);
}

static unsigned g_empty_purges;
static void note_purge(hak_event_t event, const void *address, size_t size, void *ctx) {
  (void)address;
  (void)ctx;
  if (event == HAK_EVENT_PURGE && size == 0) g_empty_purges++;
}

/* A part that was cut off where no pages are. */
static void purge__of_a_mapping_without_pages_is_no_purge(void **state) {
  (void)state;
  hak_mapping_t *m = get(64 * MIB);
  CHECK(resize(m, 2 * MIB));
  give(m);
  m = get(2 * MIB);
  CHECK_KEPT(0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), 64 * MIB);
  size_t slabs = SIZE_MAX;
  g_empty_purges = 0;
  hak_set_event_hook(note_purge, NULL);
  CHECK_EQ(hak_mapping_purge(UINT64_MAX, SIZE_MAX, &slabs), 0);
  hak_set_event_hook(NULL, NULL);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), 2 * MIB);
  CHECK_EQ(g_empty_purges, 0);
}

/* --- moves ------------------------------------------------------------------------- */

static void move__that_memory_refuses_charges_nothing_more(void **state) {
  (void)state;
  hak_mapping_t *m = get_charged(8 * MIB);
  char *base = m->extent.base;
  CHECK(resize(m, 2 * MIB));
  test_fill_sparse(base, 2 * MIB, 1);
  uint64_t before = remaps();
  g_no_leaves = true;
  CHECK(!move(m, 20 * MIB));
  CHECK_CHARGED(2 * MIB);
  g_no_leaves = false;
  /* The pages that the range lacks, and then those that it is to have more. */
  hak_budget_set_limits(&g_budget, 0, 4 * MIB);
  CHECK(!move(m, 20 * MIB));
  CHECK_CHARGED(2 * MIB);
  hak_budget_set_limits(&g_budget, 0, 10 * MIB);
  CHECK(!move(m, 20 * MIB));
  CHECK_CHARGED(8 * MIB);
  CHECK_EQ(remaps(), before);
  CHECK(m->extent.base == base && test_verify_sparse(base, 2 * MIB, 1));
  hak_budget_set_limits(&g_budget, 0, 0);
  CHECK(move(m, 20 * MIB));
  CHECK_CHARGED(20 * MIB);
  give(m);
}

static void move__of_what_fits_is_none(void **state) {
  (void)state;
  hak_mapping_t *m = get(8 * MIB);
  uint64_t before = remaps();
  CHECK(move(m, 6 * MIB) && move(m, 8 * MIB));
  CHECK_EQ(remaps(), before);
  CHECK(move(m, 2 * MIB));
  CHECK_EQ(remaps(), before + 1);
}

/* A kept mapping would do for a copy, but under a limit both would have to fit. */
static void move__is_left_to_a_copy_where_that_may_be(void **state) {
  (void)state;
  hak_mapping_t *m = get(8 * MIB), *limited = get_charged(8 * MIB);
  give(get(20 * MIB));
  CHECK(!move(m, 20 * MIB));
  hak_budget_set_limits(&g_budget, 0, 40 * MIB);
  CHECK(move(limited, 20 * MIB));
  CHECK_CHARGED(20 * MIB);
  give(limited);
}

#define P(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(P(huge_pages__are_asked_for_or_not_as_the_option_says),
                P(advice__is_passed_on_as_it_is),
                P(huge_pages__that_lose_a_part_become_small),
                P(growing__blocks_that_were_written_to_get_huge_pages),
                P(growing__keeps_small_pages_where_huge_ones_are_not_wanted),
                P(growing__into_pages_of_another_kind_makes_them_alike),
                P(kept_mapping__that_lost_most_pages_is_chosen_for_anew),
                P(growing__keeps_some_of_what_came_with_it),
                P(growing__keeps_what_was_a_mistake_to_give_back),
                P(growing__of_an_advised_block_takes_no_kept_pages),
                P(shrinking__keeps_only_what_others_may_have),
                P(shrinking__that_the_system_refuses_stays_charged),
                P(kept_mapping__is_cut_where_that_leaves_a_unit_and_is_worth_it),
                P(kept_mapping__is_not_cut_where_memory_for_that_is_short),
                P(no_grow__takes_a_kept_mapping_as_it_is),
                P(kept_mapping__loses_pages_that_no_budget_pays_for),
                P(new_need__displaces_nothing_where_nothing_may_go),
                P(purge__of_some_forgets_no_earlier_use),
                P(purge__of_a_mapping_without_pages_is_no_purge),
                P(move__that_memory_refuses_charges_nothing_more),
                P(move__of_what_fits_is_none),
                P(move__is_left_to_a_copy_where_that_may_be))
