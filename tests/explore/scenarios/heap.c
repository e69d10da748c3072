/* heap.c - the library as a whole: heaps that end, threads that end, start and shutdown,
 * by calls of the public interface. Executions are long, so that few of all orders are
 * seen: those with one or two preemptions, and random ones.
 */
#include "heap/heap.h"
#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "start.h"

enum {
  SIZE = 8192,
  BLOCKS = 4
};

static void all_well(void) { EXPLORE_CHECK(hak_check(NULL) == 0); }
static void start(void) { EXPLORE_CHECK(hak_init(NULL) == 0); }
static void attach(void) { EXPLORE_CHECK(hak_thread_init() == 0); }

static void *allocate(hak_heap_t *heap) {
  uint64_t *block = heap == NULL ? hak_alloc(SIZE) : hak_heap_alloc(heap, SIZE);
  EXPLORE_CHECK(block != NULL);
  block[0] = block[1] = 77;
  return block;
}

/* --- start ---------------------------------------------------------------------------
 */

static void alloc_and_free(void) { hak_free(allocate(NULL)); }
static void look_at_default(void) {
  hak_heap_t *heap = hak_heap_get_default();
  if (heap == NULL) return;
  EXPLORE_CHECK(heap->store != NULL && heap->store->centrals != NULL);
}
const explore_scenario_t start_twice = {.name = "start.twice",
                                        .thread = {alloc_and_free, alloc_and_free},
                                        .is_wide = true,
                                        .check = all_well};
const explore_scenario_t start_look = {.name = "start.look",
                                       .thread = {start, look_at_default},
                                       .is_wide = true,
                                       .check = all_well};

/* --- threads that end -----------------------------------------------------------------
 */

static void *blocks[2][BLOCKS];
static hak_heap_t *heap;

static void allocate_all(unsigned thread) {
  for (int i = 0; i < BLOCKS; i++) blocks[thread][i] = allocate(heap);
}
static void free_all(unsigned thread) {
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[thread][i]);
}
static void have_0(void) { attach(), allocate_all(0); }
static void have_1(void) { attach(), allocate_all(1); }
static void free_0(void) { free_all(0); }
static void free_1(void) { free_all(1); }
static void start_two(void) {
  start();
  explore_as(0, have_0);
  explore_as(1, have_1);
}
static void collect(void) { (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); }
/* Each frees what the other one has allocated, and ends. */
const explore_scenario_t exit_both = {.name = "exit.both",
                                      .setup = start_two,
                                      .thread = {free_1, free_0},
                                      .ends = true,
                                      .is_wide = true,
                                      .check = all_well};
static void start_freed(void) {
  start_two();
  explore_as(0, free_1);
  explore_as(1, free_0);
}
static void nothing(void) {}
const explore_scenario_t exit_collect = {.name = "exit.collect",
                                         .setup = start_freed,
                                         .thread = {nothing, collect},
                                         .ends = true,
                                         .is_wide = true,
                                         .check = all_well};

/* --- heaps that end -------------------------------------------------------------------
 */

/* What threads freed in time may lie in their caches, and comes home late. */
static void start_heap_freed(void) {
  start();
  start_caching();
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
  explore_as(0, have_0);
  explore_as(1, have_1);
  explore_as(0, free_1);
  explore_as(1, free_0);
}
static void destroy(void) { EXPLORE_CHECK(hak_heap_destroy(heap) == 0); }
static void release(void) { EXPLORE_CHECK(hak_heap_release(heap) == 0); }
const explore_scenario_t heap_destroy_collect = {.name = "heap.destroy_collect",
                                                 .setup = start_heap_freed,
                                                 .thread = {destroy, collect},
                                                 .is_wide = true,
                                                 .check = all_well};
const explore_scenario_t heap_destroy_exit = {.name = "heap.destroy_exit",
                                              .setup = start_heap_freed,
                                              .thread = {destroy, nothing},
                                              .ends = true,
                                              .is_wide = true,
                                              .check = all_well};
static void start_heap(void) {
  start();
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
  explore_as(0, have_0);
  explore_as(1, have_1);
}
/* A released heap ends with its last block, whichever thread frees it. */
static void release_and_free(void) {
  release();
  free_all(0);
}
const explore_scenario_t heap_release_free = {.name = "heap.release_free",
                                              .setup = start_heap,
                                              .thread = {release_and_free, free_1},
                                              .ends = true,
                                              .is_wide = true,
                                              .check = all_well};
