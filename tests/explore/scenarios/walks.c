/* walks.c - walks over all that the library has, for statistics, reports and visits,
 * while others come and go.
 */
#include "api/tree_fill.h"
#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/heap.h"
#include "heap/thread_cache.h"
#include "start.h"

static hak_heap_t *heap;

/* --- reports --------------------------------------------------------------------------
 */

static void use_new_heap(void) {
  hak_heap_t *made = hak_heap_create(NULL);
  EXPLORE_CHECK(made != NULL && hak_heap_alloc(made, 100) != NULL);
}
static void start_two(void) {
  start_library();
  explore_as(0, start_thread);
  explore_as(1, start_thread);
  start_used_up();
}
static void add_up(void) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  EXPLORE_CHECK(hak_stats_get(NULL, &stats) == 0);
}
static void fill_tree(void) {
  hak_tree_t tree;
  EXPLORE_CHECK(hak_tree_take(&tree) == 0);
  hak_tree_fill(&tree);
  hak_tree_release(&tree);
}
static void drop(const char *text, size_t length, void *ctx) {
  (void)text, (void)length, (void)ctx;
}
static void print_map(void) {
  EXPLORE_CHECK(hak_heaps_print(HAK_FORMAT_JSON, drop, NULL) == 0);
}
const explore_scenario_t walk_stats = {.name = "walk.stats",
                                       .is_wide = true,
                                       .setup = start_two,
                                       .thread = {use_new_heap, add_up}};
const explore_scenario_t walk_tree = {.name = "walk.tree",
                                      .is_wide = true,
                                      .setup = start_two,
                                      .thread = {use_new_heap, fill_tree}};
const explore_scenario_t walk_map = {.name = "walk.map",
                                     .is_wide = true,
                                     .setup = start_two,
                                     .thread = {use_new_heap, print_map}};

/* --- thread caches --------------------------------------------------------------------
 */

static void have_heap(void) {
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
}
static void start_cache(void) {
  start_two();
  have_heap();
  start_used_up();
}
static void have_cache(void) {
  EXPLORE_CHECK(hak_cache_make(hak_thread_self, hak_heap_record(heap)) != NULL);
}
const explore_scenario_t walk_cache_stats = {.name = "walk.cache_stats",
                                             .is_wide = true,
                                             .setup = start_cache,
                                             .thread = {have_cache, add_up}};
const explore_scenario_t walk_cache_tree = {.name = "walk.cache_tree",
                                            .is_wide = true,
                                            .setup = start_cache,
                                            .thread = {have_cache, fill_tree}};

/* --- memory of the caller's -----------------------------------------------------------
 */

static char *memory;
static void start_memory(void) {
  enum {
    SIZE = 256 * 1024
  };
  start_two();
  const hak_os_t *hooks = start_hooks();
  memory = hooks->reserve(hooks->ctx, SIZE, HAK_SUPERSLAB_SIZE);
  EXPLORE_CHECK(memory != NULL);
}
static void have_external_heap(void) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.memory = memory;
  config.memory_size = 256 * 1024;
  heap = hak_heap_create(&config);
  EXPLORE_CHECK(heap != NULL);
}
/* An address in there, of which nothing else is known. */
static void look_at_memory(void) {
  hak_place_t place = hak_locate((uintptr_t)memory + 128 * 1024);
  if (place.extent == NULL) return;
  hak_heap_t *owner = hak_heap_of_extent(place.extent);
  if (owner == NULL) return;
  EXPLORE_CHECK(owner->tag != 0 && hak_heap_external(owner) != NULL);
}
const explore_scenario_t walk_external = {.name = "walk.external",
                                          .setup = start_memory,
                                          .thread = {have_external_heap, look_at_memory}};

/* --- visits of blocks -----------------------------------------------------------------
 */

enum {
  SIZE = 8192,
  BLOCKS = 6,
  FREED = 3 /* by the other thread, which has them in its caches */
};
static void *blocks[BLOCKS];
static uint32_t visited;

static void have_blocks(void) {
  for (int i = 0; i < BLOCKS; i++) {
    blocks[i] = hak_heap_alloc(heap, SIZE);
    EXPLORE_CHECK(blocks[i] != NULL);
  }
}
static void free_some(void) {
  for (int i = 0; i < FREED; i++) hak_free(blocks[i]);
}
static void start_blocks(void) {
  start_two();
  have_heap();
  explore_as(0, have_blocks);
  explore_as(1, free_some);
}
static bool count_block(const hak_block_t *block, void *ctx) {
  (void)block, (void)ctx;
  visited++;
  return true;
}
/* The heap is quiet, and what others cached of it goes home at this moment. */
static void visit(void) {
  EXPLORE_CHECK(hak_heap_visit(heap, count_block, NULL, 0) == 0);
}
static void idle(void) { hak_thread_idle(); }
static void live_visited(void) { EXPLORE_CHECK(visited == BLOCKS - FREED); }
const explore_scenario_t walk_visit = {.name = "walk.visit",
                                       .is_wide = true,
                                       .setup = start_blocks,
                                       .thread = {visit, idle},
                                       .check = live_visited};
