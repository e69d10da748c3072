/* walks.c - walks over all that the library has, for statistics, reports and visits,
 * while others come and go.
 */
#include <stdio.h>
#include <string.h>

#include "api/out.h"
#include "api/tree_fill.h"
#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/heap.h"
#include "heap/thread_cache.h"
#include "start.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/transfer.h"

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
  start_caching();
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

/* --- a SuperSlab that passes to another heap
 * --------------------------------------------
 *
 * It held small blocks of one heap, and is a large block of another one then. Who walks
 * sees it as one or the other.
 */

enum {
  RUN = 3 * HAK_SUPERSLAB_SIZE / 4
};
static hak_heap_t *other;
static void *small;

static void have_small(void) {
  small = hak_heap_alloc(heap, SIZE);
  EXPLORE_CHECK(small != NULL);
}
static void start_moving(void) {
  start_library();
  explore_as(0, start_thread);
  explore_as(1, start_thread);
  have_heap();
  other = hak_heap_create(NULL);
  EXPLORE_CHECK(other != NULL);
  explore_as(1, have_small);
}
static void have_run(void) {
  const char *run = hak_heap_alloc(other, RUN);
  EXPLORE_CHECK(run != NULL && (uintptr_t)small - (uintptr_t)run < HAK_SUPERSLAB_SIZE);
}
static void move(void) {
  EXPLORE_CHECK(hak_freex(small, HAK_NO_CACHE) == 0);
  have_run();
}
static void add_up_heap(void) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  EXPLORE_CHECK(hak_stats_get(heap, &stats) == 0);
  EXPLORE_CHECK(stats.large_blocks == 0);
}
static void fill_tree_of_heap(void) {
  hak_tree_t tree;
  EXPLORE_CHECK(hak_tree_take(&tree) == 0);
  hak_tree_fill(&tree);
  for (uint32_t i = 0; i < tree.count; i++) {
    if (tree.heaps[i].handle == heap) EXPLORE_CHECK(tree.heaps[i].large_blocks == 0);
  }
  hak_tree_release(&tree);
}
const explore_scenario_t walk_moved_stats = {.name = "walk.moved_stats",
                                             .stale = 1,
                                             .setup = start_moving,
                                             .thread = {add_up_heap, move}};
const explore_scenario_t walk_moved_tree = {.name = "walk.moved_tree",
                                            .stale = 1,
                                            .setup = start_moving,
                                            .thread = {fill_tree_of_heap, move}};

/* The map is written piece by piece: of each SuperSlab what it is, and then whose. */
static bool is_large;
static void read_map(const char *text, size_t length, void *ctx) {
  (void)length, (void)ctx;
  char mine[32];
  snprintf(mine, sizeof mine, "\"heap\":\"%p\"", (void *)heap);
  if (strstr(text, "\"use\":") != NULL) is_large = strstr(text, "\"large\"") != NULL;
  if (strstr(text, mine) != NULL) EXPLORE_CHECK(!is_large);
}
static void write_map(void) {
  hak_tree_t tree;
  hak_out_t out = hak_out_to(read_map, NULL);
  EXPLORE_CHECK(hak_tree_take(&tree) == 0);
  hak_map_json(&tree, &out);
  hak_tree_release(&tree);
}
const explore_scenario_t walk_moved_map = {.name = "walk.moved_map",
                                           .stale = 1,
                                           .setup = start_moving,
                                           .thread = {write_map, move}};

/* For a visit the heap is quiet: the block is in the other thread's cache. */
static void free_small(void) { hak_free(small); }
static void start_moving_cached(void) {
  start_caching();
  start_moving();
  explore_as(1, free_small);
}
/* As hak_give_up_some does. */
static void give_up_and_have_run(void) {
  hak_thread_t *me = hak_thread_self;
  hak_heap_t *record = hak_heap_record(heap);
  hak_heap_lease(record);
  hak_flush_class(me, hak_cache_get(me, record), hak_class_of(SIZE));
  hak_heap_unlease(record);
  char *run = hak_heap_alloc(other, RUN);
  EXPLORE_CHECK(run != NULL);
}
static void visit_none(void) {
  visit();
  EXPLORE_CHECK(visited == 0);
}
const explore_scenario_t walk_moved_visit = {
    .name = "walk.moved_visit",
    .stale = 1,
    .setup = start_moving_cached,
    .thread = {visit_none, give_up_and_have_run}};

static void add_up_of_heap(void) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  EXPLORE_CHECK(hak_stats_get(heap, &stats) == 0);
}

/* --- a thread cache whose pages went with its last heap ----------------------------
 */

static hak_heap_t *bare; /* the record */
static void collect(void) { (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); }
static void is_bare(void) {
  EXPLORE_CHECK(hak_cache_at(hak_thread_self, bare->index)->heap == NULL);
}
/* Hooks that do not give zeroes have no pages of records back. */
static void start_bare_cache(void) {
  EXPLORE_CHECK(hak_init(NULL) == 0);
  explore_as(0, start_thread);
  explore_as(1, start_thread);
  have_heap();
  bare = hak_heap_record(heap);
  explore_as(0, have_cache);
  EXPLORE_CHECK(hak_heap_destroy(heap) == 0);
  explore_as(0, collect);
  explore_as(0, is_bare);
  have_heap();
  EXPLORE_CHECK(hak_heap_record(heap) == bare);
}
const explore_scenario_t walk_bare_stats = {.name = "walk.bare_stats",
                                            .is_wide = true,
                                            .setup = start_bare_cache,
                                            .thread = {have_cache, add_up_of_heap}};
const explore_scenario_t walk_bare_tree = {.name = "walk.bare_tree",
                                           .is_wide = true,
                                           .setup = start_bare_cache,
                                           .thread = {have_cache, fill_tree}};

/* --- a thread's first magazine -----------------------------------------------------
 */

static void *block;
static void have_block(void) {
  block = hak_alloc(SIZE);
  EXPLORE_CHECK(block != NULL);
}
static void start_block(void) {
  start_library();
  explore_as(0, start_thread);
  explore_as(1, start_thread);
  explore_as(0, have_block);
  start_used_up();
}
static void have_magazine(void) {
  hak_thread_t *me = hak_thread_self;
  hak_transfer_add(me, &me->cache, hak_class_of(SIZE), block);
}
const explore_scenario_t walk_magazine = {.name = "walk.magazine",
                                          .is_wide = true,
                                          .setup = start_block,
                                          .thread = {have_magazine, add_up}};
/* It has one block, and passes on at once. */
static void be_short(void) {
  hak_thread_t *me = hak_thread_self;
  hak_capacity_begin(&me->cache, hak_class_of(SIZE));
  me->holds[hak_class_of(SIZE)].magazine_blocks = 1;
}
static void start_short(void) {
  start_block();
  explore_as(0, be_short);
}
const explore_scenario_t walk_magazine_over = {.name = "walk.magazine_over",
                                               .is_wide = true,
                                               .setup = start_short,
                                               .thread = {have_magazine, add_up}};
