/* growth.c - pools that grow while others wait for that, and huge pages that come in the
 * place of small ones while others give some of these back.
 */
#include "base/option.h"
#include "hakmem/hakmem.h"
#include "heap/heap.h"
#include "start.h"
#include "superslab/huge.h"
#include "superslab/pool_growth.h"
#include "superslab/region.h"
#include "superslab/shared_pool.h"

static hak_os_t hooks;
static hak_shared_pool_t *pool;
static hak_slab_t *got[EXPLORE_THREADS];

static void get_slab(unsigned thread) {
  bool zeroed;
  got[thread] = hak_pool_get(pool, 1, HAK_SLAB_SIZE, HAK_SLAB_SIZE, false, &zeroed);
  EXPLORE_CHECK(got[thread] != NULL);
  *hak_slab_start(got[thread]) = (char)thread;
}
static void put_slab(unsigned thread) {
  hak_pool_put(pool, got[thread], 1);
  got[thread] = NULL;
}
static void start_heap(int32_t huge_pages, const hak_os_t *os) {
  start_library();
  for (unsigned i = 0; i < EXPLORE_THREADS; i++) explore_as(i, start_thread);
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.huge_pages = huge_pages;
  config.os = os;
  hak_heap_t *heap = hak_heap_create(&config);
  EXPLORE_CHECK(heap != NULL);
  pool = &hak_heap_record(heap)->store->pool;
}
static void is_whole(void) {
  EXPLORE_CHECK(hak_pool_is_valid(pool) && hak_regions_are_valid());
  EXPLORE_CHECK(hak_load_relaxed(&pool->growing) == 0);
}

/* --- whoever grows a pool waits in a hook for one of those that wait for it --------
 */

static hak_atomic_u32_t growths, served;

/* The first SuperSlab's pages do not come before some thread has a slab. */
static int commit_late(void *ctx, void *ptr, size_t size, bool *zeroed) {
  (void)ctx, (void)ptr;
  *zeroed = false;
  if (size != HAK_SUPERSLAB_SIZE || hak_add_relaxed(&growths, 1) != 0) return 0;
  while (hak_load_relaxed(&served) == 0) explore_wait_for_change();
  return 0;
}
static void start_late(void) {
  hooks = *hak_os_default();
  hooks.commit = commit_late;
  start_heap(HAK_HUGE_ALWAYS, &hooks);
}
static void get_late(unsigned thread) {
  get_slab(thread);
  hak_add_relaxed(&served, 1);
}
static void get_late_0(void) { get_late(0); }
static void get_late_1(void) { get_late(1); }
static void get_late_2(void) { get_late(2); }
/* All have waited as long, and one of them took over. */
static void taken_over_once(void) {
  is_whole();
  EXPLORE_CHECK(hak_load_relaxed(&growths) == 2);
  EXPLORE_CHECK(hak_load_relaxed(&pool->superslabs) == 2);
}
const explore_scenario_t pool_take_over = {.name = "pool.take_over",
                                           .setup = start_late,
                                           .hasty = 1,
                                           .thread = {get_late_0, get_late_1},
                                           .check = taken_over_once};
const explore_scenario_t pool_take_over_alone = {
    .name = "pool.take_over_alone",
    .setup = start_late,
    .hasty = 1,
    .thread = {get_late_0, get_late_1, get_late_2},
    .check = taken_over_once};

/* The growth comes to its end at the moment when another thread has lost patience. */
static void get_0(void) { get_slab(0); }
static void get_1(void) { get_slab(1); }
static void start_slow(void) { start_heap(HAK_HUGE_DEFAULT, NULL); }
static void both_have_one(void) {
  is_whole();
  EXPLORE_CHECK(got[0] != got[1] && hak_load_relaxed(&pool->taken) == 2);
}
const explore_scenario_t pool_grow_slowly = {.name = "pool.grow_slowly",
                                             .setup = start_slow,
                                             .hasty = 1,
                                             .thread = {get_0, get_1},
                                             .check = both_have_one};

/* The last slab of the heap's only SuperSlab is put back as another thread wants one. */
static void start_one(void) {
  start_slow();
  explore_as(1, get_1);
}
static void put_1(void) { put_slab(1); }
static void one_taken(void) {
  is_whole();
  EXPLORE_CHECK(hak_load_relaxed(&pool->taken) == 1);
  EXPLORE_CHECK(*hak_slab_start(got[0]) == 0);
}
const explore_scenario_t pool_grow_give = {.name = "pool.grow_give",
                                           .setup = start_one,
                                           .thread = {get_0, put_1},
                                           .check = one_taken};

/* --- huge pages in the place of small ones -----------------------------------------
 */

/* Slots 0 and 1 of a SuperSlab are in use, and slot 2 was: it lies idle. */
static void start_small_pages(void) {
  start_heap(HAK_HUGE_DEFAULT, NULL);
  for (unsigned i = 0; i < 3; i++) get_slab(i);
  put_slab(2);
}
static hak_superslab_t *superslab(void) { return hak_slab_superslab(got[0]); }
static void mend(void) {
  uint64_t visit = hak_regions_visit_begin();
  hak_huge_mend(superslab());
  hak_regions_visit_end(visit);
}
static void purge_idle(void) {
  size_t slabs = SIZE_MAX;
  (void)hak_pool_purge(pool, UINT64_MAX, SIZE_MAX, &slabs);
}
static void put_and_purge(void) {
  put_slab(1);
  purge_idle();
}
/* The system does as was decided last, and fills no hole. */
static void is_advised(void) {
  is_whole();
  const char *base = superslab()->extent.base;
  EXPLORE_CHECK(explore_is_advised_huge(base) == hak_superslab_is_huge(superslab()));
  EXPLORE_CHECK(!explore_is_advised_huge(base) || !explore_has_holes(base));
}
static void is_advised_and_counted(void) {
  is_advised();
  uint64_t huge = hak_superslab_is_huge(superslab()) ? 1 : 0;
  EXPLORE_CHECK(hak_load_relaxed(&hak_huge_superslabs) == huge);
  EXPLORE_CHECK(hak_load_relaxed(&hak_huge_pieces) == huge);
}
const explore_scenario_t huge_mend = {.name = "huge.mend",
                                      .setup = start_small_pages,
                                      .thread = {mend, purge_idle},
                                      .check = is_advised_and_counted};
const explore_scenario_t huge_mend_put = {.name = "huge.mend_put",
                                          .setup = start_small_pages,
                                          .thread = {mend, put_and_purge, purge_idle},
                                          .check = is_advised_and_counted};

/* A SuperSlab that gave most of its pages back is taken into use again, in a heap that
 * has many. */
enum {
  OTHERS = 16 /* SuperSlabs */
};
static void start_again(void) {
  start_heap(HAK_HUGE_ALWAYS, NULL);
  for (unsigned i = 0; i < 3; i++) get_slab(i);
  for (int i = 0; i < OTHERS; i++) {
    bool zeroed;
    EXPLORE_CHECK(hak_pool_get(pool, HAK_SUPERSLAB_SLABS, HAK_SUPERSLAB_SIZE, 4096, false,
                               &zeroed) != NULL);
  }
  purge_idle(); /* all but slots 0, 1 and 2 */
  EXPLORE_CHECK(hak_load_relaxed(&superslab()->parts) == HAK_PARTS_GONE);
  put_slab(2);
}
static void refill(void) { hak_pool_refill(pool, superslab()); }
const explore_scenario_t huge_again = {.name = "huge.again",
                                       .setup = start_again,
                                       .thread = {refill, put_and_purge},
                                       .check = is_advised};

/* The same in few steps: what hak_pool_refill comes to, in a small heap. */
static void start_gone(void) {
  start_small_pages();
  purge_idle();
  EXPLORE_CHECK(hak_load_relaxed(&superslab()->parts) == HAK_PARTS_GONE);
}
static void take_again(void) {
  hak_store_relaxed(&superslab()->parts, HAK_PARTS_BACK);
  (void)hak_huge_again(superslab());
}
const explore_scenario_t huge_taken_again = {.name = "huge.taken_again",
                                             .setup = start_gone,
                                             .thread = {take_again, put_and_purge},
                                             .check = is_advised_and_counted};
