/* superslab_pool_edges.c - a shared pool where it is damaged, at a limit, told to keep
 * what it has, amid growth, or has lost the threads that were at work in it. */
#include "pool_fixture.h"
#include "threads.h"

#include "superslab/pool_growth.h"
#include "superslab/pool_prefault.h"
#include "superslab/region.h"
#include "superslab/shared_pool.h"

enum {
  SPANS = 4 /* live at once */
};

static struct {
  hak_slab_t *slab;
  unsigned slabs;
} g_spans[SPANS];
static size_t g_span_count;

static int setup(void **state) {
  (void)state;
  test_over_os(0);
  test_pool_begin();
  g_span_count = 0;
  return 0;
}

static bool get(unsigned slabs, size_t bytes, bool no_grow) {
  bool zeroed;
  hak_slab_t *slab = hak_pool_get(&g_pool, slabs, HAK_SLAB_SIZE, bytes, no_grow, &zeroed);
  if (slab == NULL) return false;
  CHECK(g_span_count < SPANS);
  g_spans[g_span_count].slab = slab;
  g_spans[g_span_count++].slabs = slabs;
  return true;
}

static void put(size_t index) {
  hak_pool_put(&g_pool, g_spans[index].slab, g_spans[index].slabs);
  g_spans[index] = g_spans[--g_span_count];
}

/* What was taken and given is all that the pool has counted, and it is sound. */
static void put_all(void) {
  uint64_t taken = 0;
  for (size_t i = 0; i < g_span_count; i++) taken += g_spans[i].slabs;
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), taken);
  CHECK(hak_pool_is_valid(&g_pool) && hak_regions_are_valid());
  while (g_span_count > 0) put(g_span_count - 1);
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), 0);
  CHECK_EQ(hak_load_relaxed(&g_pool.superslabs), 0);
  CHECK(hak_pool_is_valid(&g_pool) && hak_regions_are_valid());
}

/* A hook that asks for memory while its thread grows the pool finds that it is growing.
 */
static void growth__that_does_not_end_is_not_waited_for(void **state) {
  (void)state;
  hak_store_relaxed(&g_pool.growing, 1);
  CHECK(get(1, HAK_SLAB_SIZE, false));
  put_all();
}

/* A new SuperSlab is as bare as one that gave its pages back. */
static void refill__is_of_superslabs_that_gave_pages_back(void **state) {
  (void)state;
  CHECK(get(1, HAK_SLAB_SIZE, false));
  hak_superslab_t *ss = hak_slab_superslab(g_spans[0].slab);
  uint64_t superslabs = hak_load_relaxed(&g_pool.superslabs);
  hak_store_relaxed(&g_pool.superslabs, 16); /* the heap is large */
  hak_pool_refill(&g_pool, ss);
  CHECK_EQ(hak_load_relaxed(&ss->parts), HAK_PARTS_STAY);
  hak_store_relaxed(&ss->parts, HAK_PARTS_GONE);
  hak_pool_refill(&g_pool, ss);
  CHECK_EQ(hak_load_relaxed(&ss->parts), HAK_PARTS_BACK);
  hak_store_relaxed(&g_pool.superslabs, superslabs);
  put_all();
}

/* Who may ask for nothing takes what there is, and leaves the rest to others. */
static void refill__is_not_of_slots_that_had_to_have_their_pages(void **state) {
  (void)state;
  CHECK(get(1, HAK_SLAB_SIZE, false) && get(1, HAK_SLAB_SIZE, false));
  hak_superslab_t *ss = hak_slab_superslab(g_spans[0].slab);
  put(1);
  uint64_t superslabs = hak_load_relaxed(&g_pool.superslabs);
  hak_store_relaxed(&g_pool.superslabs, 16);
  hak_store_relaxed(&ss->parts, HAK_PARTS_GONE);
  CHECK(get(1, HAK_SLAB_SIZE, true));
  CHECK_EQ(hak_load_relaxed(&ss->parts), HAK_PARTS_GONE);
  put(1);
  CHECK(get(1, HAK_SLAB_SIZE, false));
  CHECK_EQ(hak_load_relaxed(&ss->parts), HAK_PARTS_BACK);
  hak_store_relaxed(&g_pool.superslabs, superslabs);
  put_all();
}

/* Each of what is kept of a SuperSlab by itself, and on both sides of the tree. */
static void check__finds_what_is_wrong_of_any_superslab(void **state) {
  (void)state;
  for (unsigned i = 0; i < 4; i++) CHECK(get(HAK_SUPERSLAB_SLABS, 4096, false));
  hak_superslab_t *root = g_pool.root;
  CHECK(root != NULL && hak_pool_is_valid(&g_pool));
  root->tree_run = 1;
  CHECK(!hak_pool_is_valid(&g_pool));
  root->run = 1; /* though none of its slots is free */
  CHECK(!hak_pool_is_valid(&g_pool));
  root->run = root->tree_run = 0;
  CHECK(hak_pool_is_valid(&g_pool));
  for (size_t i = 0; i < 4; i++) {
    hak_superslab_t *ss = hak_slab_superslab(g_spans[i].slab);
    void *heap = hak_load_relaxed(&ss->extent.heap);
    hak_store_relaxed(&ss->extent.heap, (void *)ss);
    CHECK(!hak_pool_is_valid(&g_pool));
    hak_store_relaxed(&ss->extent.heap, heap);
    uint64_t charged = hak_load_relaxed(&ss->charged);
    void *budget = hak_load_relaxed(&ss->budget);
    hak_store_relaxed(&ss->budget, NULL);
    hak_store_relaxed(&ss->charged, 4096);
    CHECK(!hak_pool_is_valid(&g_pool));
    hak_store_relaxed(&ss->budget, budget);
    hak_store_relaxed(&ss->charged, charged);
    CHECK(hak_pool_is_valid(&g_pool));
  }
  put_all();
}

static void no_grow__takes_no_pages_that_a_limit_refuses(void **state) {
  (void)state;
  CHECK(get(HAK_SUPERSLAB_SLABS, HAK_SUPERSLAB_SIZE, false));
  put_all();
  hak_budget_set_limits(&g_pool.budget, 0, 64 * KIB);
  CHECK(!get(1, 4096, true));
  CHECK(hak_pool_is_valid(&g_pool));
  CHECK(hak_load_relaxed(&g_pool.budget.charged) <= 64 * KIB);
  hak_budget_set_limits(&g_pool.budget, 0, 0);
  CHECK(get(1, 4096, true));
  put_all();
}

/* Slots there are chosen by their pages. */
static void roomy__span_is_none_of_a_pool_that_fits(void **state) {
  (void)state;
  g_pool.fits = true;
  bool zeroed;
  CHECK(hak_pool_get_roomy(&g_pool, 2, 16, HAK_SLAB_SIZE, &zeroed) == NULL);
  g_pool.fits = false;
  hak_slab_t *slab = hak_pool_get_roomy(&g_pool, 2, 16, HAK_SLAB_SIZE, &zeroed);
  CHECK(slab != NULL);
  hak_pool_put(&g_pool, slab, 2);
  put_all();
}

static void clear__keeps_what_is_to_be_kept(void **state) {
  (void)state;
  hak_pool_gone_t gone = {0, 0};
  CHECK(get(1, HAK_SLAB_SIZE, false));
  hak_pool_keep_all(&g_pool);
  hak_pool_clear(&g_pool, true, &gone);
  CHECK(hak_pool_keeps_some(&g_pool));
  CHECK(hak_pool_is_valid(&g_pool));
  hak_pool_clear(&g_pool, false, &gone);
  CHECK(!hak_pool_keeps_some(&g_pool));
}

static void *visit_and_end(void *ctx) {
  uint64_t before = UINT64_MAX, again = UINT64_MAX;
  CHECK(hak_pool_queue_visit(&before) == ctx);
  CHECK(hak_pool_queue_visit(&again) == NULL);
  return NULL;
}

/* What threads were at that are not there any more, as in the child of a fork. */
static void forget__leaves_nothing_of_threads_that_are_lost(void **state) {
  (void)state;
  for (int pages = 0; pages < 2; pages++) {
    CHECK(get(1, 4096, false) && get(5, 5 * HAK_SLAB_SIZE, false));
    put(1);
    CHECK(g_pool.link.queued);
    /* One that grew the pool, and nobody else. */
    hak_store_relaxed(&g_pool.growing, 5);
    hak_pool_forget_visit(&g_pool);
    CHECK_EQ(hak_load_relaxed(&g_pool.growing), 0);
    CHECK(g_pool.link.queued && hak_pool_is_valid(&g_pool));
    /* One that gave pages back, all of them or none. */
    test_thread_run(visit_and_end, &g_pool.link);
    CHECK(g_pool.link.visitor != NULL);
    size_t slabs = SIZE_MAX;
    if (pages == 0) hak_pool_purge(&g_pool, UINT64_MAX, SIZE_MAX, &slabs);
    hak_pool_forget_visit(&g_pool);
    CHECK(g_pool.link.visitor == NULL);
    CHECK_EQ(g_pool.link.queued, pages);
    CHECK(hak_pool_is_valid(&g_pool));
    put_all();
  }
}

#define P(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(P(growth__that_does_not_end_is_not_waited_for),
                P(check__finds_what_is_wrong_of_any_superslab),
                P(no_grow__takes_no_pages_that_a_limit_refuses),
                P(roomy__span_is_none_of_a_pool_that_fits),
                P(clear__keeps_what_is_to_be_kept),
                P(forget__leaves_nothing_of_threads_that_are_lost),
                P(refill__is_of_superslabs_that_gave_pages_back),
                P(refill__is_not_of_slots_that_had_to_have_their_pages))
