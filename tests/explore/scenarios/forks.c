/* forks.c - the first thread forks while others are anywhere: the child finds what they
 * had done by then, and goes on alone. And the locks that a fork takes, beside those that
 * others take.
 */
#include "base/option.h"
#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/fork.h"
#include "heap/groups.h"
#include "heap/heap.h"
#include "heap/thread_cache.h"
#include "start.h"
#include "superslab/huge.h"
#include "superslab/locate.h"
#include "superslab/region.h"
#include "superslab/shared_pool.h"
#include "tiny/flush.h"
#include "tiny/refill.h"
#include "tiny/spill.h"

enum {
  SIZE = 8192,
  LARGE = 128 * 1024,
  BLOCKS = 3
};

static hak_heap_t *heap;
static uint64_t *blocks[2][BLOCKS];

static void have(unsigned thread) {
  start_thread();
  for (int i = 0; i < BLOCKS; i++) blocks[thread][i] = start_new_block_of_77(heap, SIZE);
}
static void have_0(void) { have(0); }
static void have_1(void) { have(1); }
static void start(void) {
  start_library();
  explore_as(0, have_0);
  explore_as(1, have_1);
}
static void start_heap(void) {
  heap = start_with_heap();
  explore_as(0, have_0);
  explore_as(1, have_1);
}

/* The child has the blocks that it had, may have others, and all is in order. */
static void fork_now(void) {
  hak_forking_prepare();
  explore_fork();
  hak_forking_child();
}
static void use(void) {
  EXPLORE_CHECK(hak_check(NULL) == 0);
  for (int i = 0; i < BLOCKS; i++) {
    EXPLORE_CHECK(blocks[0][i][0] == 77 && blocks[0][i][1] == 77);
    hak_free(blocks[0][i]);
  }
  for (int i = 0; i < BLOCKS; i++) blocks[0][i] = start_new_block_of_77(NULL, SIZE);
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[0][i]);
  hak_free(start_new_block_of_77(NULL, LARGE));
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  EXPLORE_CHECK(hak_check(NULL) == 0);
}
static void fork_and_use(void) {
  fork_now();
  use();
}
static void fork_and_destroy(void) {
  fork_now();
  EXPLORE_CHECK(hak_check(NULL) == 0);
  EXPLORE_CHECK(hak_heap_destroy(heap) == 0);
  EXPLORE_CHECK(hak_check(NULL) == 0);
}
/* In the parent nothing has changed. */
static void prepare_and_go_on(void) {
  hak_forking_prepare();
  hak_forking_parent();
}
static void all_well(void) { EXPLORE_CHECK(hak_check(NULL) == 0); }

#define FORK_SCENARIO(id, begin, forks_by, ...)              \
  const explore_scenario_t fork_##id = {.name = "fork." #id, \
                                        .setup = begin,      \
                                        .forks = true,       \
                                        .is_wide = true,     \
                                        .thread = {forks_by, __VA_ARGS__}}

/* --- small and large blocks --------------------------------------------------------
 */

static void alloc_new(void) { (void)start_new_block_of_77(NULL, 1024); }
static void alloc_large(void) { (void)start_new_block_of_77(NULL, LARGE); }
static void start_foreign(void) {
  start();
  uint64_t *mine = blocks[0][0]; /* the child's: the other thread frees another one */
  blocks[0][0] = blocks[1][0];
  blocks[1][0] = mine;
}
static void free_of_0(void) { hak_free(blocks[1][0]); }
static void flush_all(void) { hak_thread_idle(); }
static void freed(void) {
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[1][i]);
}
static void start_freed(void) {
  start();
  explore_as(1, freed);
}
FORK_SCENARIO(alloc, start, fork_and_use, alloc_new);
/* What was freed last comes after what lies ready. */
static void alloc_again(void) {
  for (int i = 0; i < 2 * BLOCKS; i++) (void)start_new_block_of_77(NULL, SIZE);
}
FORK_SCENARIO(flip, start_freed, fork_and_use, alloc_again);
FORK_SCENARIO(large, start, fork_and_use, alloc_large);
FORK_SCENARIO(free, start_foreign, fork_and_use, free_of_0);
FORK_SCENARIO(idle, start_freed, fork_and_use, flush_all);

/* --- threads that end --------------------------------------------------------------
 */

static void nothing(void) {}
const explore_scenario_t fork_exit = {.name = "fork.exit",
                                      .setup = start_freed,
                                      .forks = true,
                                      .ends = true,
                                      .is_wide = true,
                                      .thread = {fork_and_use, nothing}};

/* --- heaps -------------------------------------------------------------------------
 */

static void destroy(void) { (void)hak_heap_destroy(heap); }
static void reset(void) { (void)hak_heap_reset(heap); }
static void create(void) { (void)hak_heap_create(NULL); }
static void fork_and_check(void) {
  fork_now();
  EXPLORE_CHECK(hak_check(NULL) == 0);
  hak_heap_t *other = hak_heap_create(NULL);
  EXPLORE_CHECK(other != NULL);
  (void)start_new_block_of_77(other, SIZE);
  EXPLORE_CHECK(hak_heap_destroy(other) == 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  EXPLORE_CHECK(hak_check(NULL) == 0);
}
FORK_SCENARIO(destroy, start_heap, fork_and_check, destroy);
FORK_SCENARIO(reset, start_heap, fork_and_check, reset);
FORK_SCENARIO(create, start_heap, fork_and_check, create);
FORK_SCENARIO(heap_idle, start_heap, fork_and_destroy, flush_all);

/* --- pools -------------------------------------------------------------------------
 */

static void collect(void) { (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); }
static void grow(void) { (void)start_new_block_of_77(heap, LARGE); }
static void start_empty_heap(void) {
  start();
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
}
FORK_SCENARIO(collect, start_freed, fork_and_use, collect);
static void fork_and_grow(void) {
  fork_now();
  (void)start_new_block_of_77(heap, LARGE);
  EXPLORE_CHECK(hak_heap_destroy(heap) == 0 && hak_check(NULL) == 0);
}
FORK_SCENARIO(grow, start_empty_heap, fork_and_grow, grow);

static hak_superslab_t *superslab;
static void start_mend(void) {
  start();
  superslab = hak_slab_superslab(hak_slab_of(blocks[0][0]));
}
static void mend(void) {
  uint64_t visit = hak_regions_visit_begin();
  hak_huge_mend(superslab);
  hak_regions_visit_end(visit);
}
FORK_SCENARIO(mend, start_mend, fork_and_use, mend);

/* --- slabs that threads lend each other --------------------------------------------
 */

enum {
  LENT = 2048
};
static hak_heap_t *group;
static const hak_cache_t *mine(void) {
  const hak_cache_t *cache = hak_cache_get(hak_thread_self, group);
  EXPLORE_CHECK(cache != NULL);
  return cache;
}
static uint64_t *lent[2];
static void take_lent(unsigned thread) {
  lent[thread] = hak_refill_bin(hak_thread_self, mine(), hak_class_of(LENT));
  EXPLORE_CHECK(lent[thread] != NULL);
  lent[thread][0] = 7;
}
static void take_lent_0(void) { take_lent(0); }
static void take_lent_1(void) {
  hak_store_relaxed(&hak_thread_self->busy, 1);
  take_lent(1);
  hak_flush_class(hak_thread_self, mine(), hak_class_of(LENT));
  hak_store_relaxed(&hak_thread_self->busy, 0);
}
static void have_mine(void) { (void)mine(); }
static void start_lent(void) {
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_LEARN, 1) == 0);
  start();
  group = hak_group_heap(1);
  EXPLORE_CHECK(group != NULL && group->store->shares);
  explore_as(1, have_mine);
  explore_as(0, take_lent_0);
}
static void fork_and_give(void) {
  fork_now();
  EXPLORE_CHECK(hak_check(NULL) == 0 && lent[0][0] == 7);
  hak_free(lent[0]);
  use();
}
FORK_SCENARIO(lend, start_lent, fork_and_give, take_lent_1);

/* --- the locks alone ---------------------------------------------------------------
 */

const explore_scenario_t fork_locks = {
    .name = "fork.locks",
    .setup = start_foreign,
    .is_wide = true,
    .thread = {prepare_and_go_on, free_of_0, alloc_new},
    .check = all_well};
const explore_scenario_t fork_twice = {.name = "fork.twice",
                                       .setup = start,
                                       .is_wide = true,
                                       .thread = {prepare_and_go_on, prepare_and_go_on},
                                       .check = all_well};
