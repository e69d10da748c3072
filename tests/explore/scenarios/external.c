/* external.c - heaps in memory of the caller's: blocks that several threads allocate and
 * free, the memory's way back to its owner, who may write to all of it then, and others
 * who have memory beside it or in it next.
 */
#include <errno.h>
#include <string.h>

#include "external/external_heap.h"
#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/fork.h"
#include "heap/heap.h"
#include "start.h"
#include "superslab/locate.h"
#include "superslab/region.h"

enum {
  BYTES = 256 * 1024, /* of memory: the least that makes a heap */
  UNITS = 8 << 20,    /* the least that serves as slabs */
  SIZE = 100,
  BLOCKS = 4
};

static char *memory;
static hak_heap_t *heap;
static uint64_t *blocks[BLOCKS];

static hak_heap_t *make(char *at, size_t size) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.memory = at;
  config.memory_size = size;
  return hak_heap_create(&config);
}
static uint64_t *allocate(uint64_t value) {
  uint64_t *block = hak_heap_alloc(heap, SIZE);
  EXPLORE_CHECK(block != NULL);
  block[0] = block[1] = value;
  return block;
}
static void give(uint64_t *block, uint64_t value) {
  EXPLORE_CHECK(block[0] == value && block[1] == value);
  hak_free(block);
}
static void have_memory(size_t size) {
  const hak_os_t *hooks = start_hooks();
  start_library();
  memory = hooks->reserve(hooks->ctx, size, HAK_SUPERSLAB_SIZE);
  EXPLORE_CHECK(memory != NULL);
}
static void have_heap(size_t size) {
  have_memory(size);
  heap = make(memory, size);
  EXPLORE_CHECK(heap != NULL);
  for (int i = 0; i < BLOCKS; i++) blocks[i] = allocate(i);
}
static void start_memory(void) { have_memory(2 * BYTES); }
static void start_heap(void) { have_heap(BYTES); }
static void all_well(void) { EXPLORE_CHECK(hak_check(NULL) == 0); }

/* Blocks in use by what the heap counts, and by its map. */
static void are_live(uint64_t count) {
  hak_external_heap_t *external = hak_heap_external(hak_heap_record(heap));
  EXPLORE_CHECK(hak_check(heap) == 0 && hak_external_live_blocks(external) == count);
}

/* --- blocks ---------------------------------------------------------------------- */

static void alloc_and_free(void) { give(allocate(70), 70); }
static void free_0(void) { give(blocks[0], 0); }
static void free_1(void) { give(blocks[1], 1); }
static void free_and_alloc_2(void) {
  give(blocks[2], 2);
  blocks[2] = allocate(2);
}
static void grow_3(void) {
  uint64_t *more = hak_realloc(blocks[3], 2 * SIZE);
  EXPLORE_CHECK(more != NULL && more[0] == 3 && more[1] == 3);
  blocks[3] = more;
}
static void two_left(void) { are_live(BLOCKS - 2); }
static void three_left(void) { are_live(BLOCKS - 1); }
static void four_left(void) { are_live(BLOCKS); }
const explore_scenario_t external_free = {.name = "external.free",
                                          .setup = start_heap,
                                          .stale = 1,
                                          .thread = {free_0, free_1},
                                          .check = two_left};
const explore_scenario_t external_alloc = {.name = "external.alloc",
                                           .setup = start_heap,
                                           .stale = 1,
                                           .thread = {alloc_and_free, free_and_alloc_2},
                                           .check = four_left};
const explore_scenario_t external_grow = {.name = "external.grow",
                                          .setup = start_heap,
                                          .is_wide = true,
                                          .thread = {grow_3, free_0, free_and_alloc_2},
                                          .check = three_left};

/* --- the memory goes back to its owner ------------------------------------------- */

/* Whoever asks about an address waits for nobody, and looks no more when the memory is
 * its owner's, who writes to it at once. */
static void look(void) {
  hak_external_chunk_t chunk;
  hak_external_heap_t *external =
      hak_external_of_extent(hak_locate((uintptr_t)blocks[0]).extent);
  if (external == NULL || !hak_external_chunk_at(external, blocks[0], &chunk)) return;
  EXPLORE_CHECK(chunk.start == (char *)blocks[0] && chunk.size >= SIZE);
}
static void use_memory(void) { memset(memory, 1, BYTES); }
static void destroy_and_use(void) {
  EXPLORE_CHECK(hak_heap_destroy(heap) == 0);
  use_memory();
}
const explore_scenario_t external_destroy = {.name = "external.destroy",
                                             .setup = start_heap,
                                             .is_wide = true,
                                             .thread = {destroy_and_use, look},
                                             .check = all_well};

/* A heap that is released ends with its last block, whichever thread frees that. */
static bool is_gone(void) { return hak_locate((uintptr_t)memory).extent == NULL; }
static void start_two_blocks(void) {
  start_heap();
  hak_free(blocks[2]);
  hak_free(blocks[3]);
}
static void release_and_free(void) {
  EXPLORE_CHECK(hak_heap_release(heap) == 0);
  free_0();
}
static void memory_is_back(void) {
  all_well();
  EXPLORE_CHECK(is_gone());
  use_memory();
  EXPLORE_CHECK(make(memory, BYTES) != NULL);
}
const explore_scenario_t external_release = {.name = "external.release",
                                             .setup = start_two_blocks,
                                             .is_wide = true,
                                             .thread = {release_and_free, free_1},
                                             .check = memory_is_back};
static void release(void) { EXPLORE_CHECK(hak_heap_release(heap) == 0); }
const explore_scenario_t external_release_beside = {.name = "external.release_beside",
                                                    .setup = start_two_blocks,
                                                    .is_wide = true,
                                                    .thread = {release, free_0, free_1},
                                                    .check = memory_is_back};

/* --- others' memory -------------------------------------------------------------- */

static hak_heap_t *made[2];
/* Two want the same memory: one of them has it, and the other has not written to it. */
static void want(unsigned thread, char *at) {
  made[thread] = make(at, BYTES);
  if (made[thread] == NULL) return;
  uint64_t *block = hak_heap_alloc(made[thread], SIZE);
  EXPLORE_CHECK(block != NULL && (char *)block - at < BYTES);
  block[0] = thread;
  EXPLORE_CHECK(hak_heap_of(block) == made[thread] && block[0] == thread);
}
static void want_0(void) { want(0, memory); }
static void want_1(void) { want(1, memory + BYTES / 2); }
static void want_beside(void) { want(1, memory + BYTES); }
static void one_has_it(void) {
  all_well();
  EXPLORE_CHECK((made[0] != NULL) != (made[1] != NULL));
}
static void both_have_it(void) {
  all_well();
  EXPLORE_CHECK(made[0] != NULL && made[1] != NULL);
}
const explore_scenario_t external_same = {.name = "external.same",
                                          .setup = start_memory,
                                          .is_wide = true,
                                          .thread = {want_0, want_1},
                                          .check = one_has_it};
const explore_scenario_t external_beside = {.name = "external.beside",
                                            .setup = start_memory,
                                            .is_wide = true,
                                            .thread = {want_0, want_beside},
                                            .check = both_have_it};

/* One heap ends, and the next one has its memory; who frees a block of the next one finds
 * that one. */
static void destroy_and_make(void) {
  EXPLORE_CHECK(hak_heap_destroy(heap) == 0);
  heap = make(memory, BYTES);
  EXPLORE_CHECK(heap != NULL);
  alloc_and_free();
}
const explore_scenario_t external_again = {.name = "external.again",
                                           .setup = start_heap,
                                           .is_wide = true,
                                           .thread = {destroy_and_make, look},
                                           .check = all_well};

/* --- much memory: slabs ---------------------------------------------------------- */

static void attach_and_alloc(unsigned thread) {
  start_thread();
  for (unsigned i = thread; i < BLOCKS; i += 2) blocks[i] = allocate(i);
}
static void alloc_0(void) { attach_and_alloc(0); }
static void alloc_1(void) { attach_and_alloc(1); }
static void start_units(void) {
  have_memory(UNITS);
  start_caching();
  heap = make(memory, UNITS);
  EXPLORE_CHECK(heap != NULL);
  explore_as(0, alloc_0);
  explore_as(1, alloc_1);
}
static void destroy(void) { EXPLORE_CHECK(hak_heap_destroy(heap) == 0); }
static void idle(void) { hak_thread_idle(); }
static void free_others_of_0(void) {
  give(blocks[1], 1);
  give(blocks[3], 3);
}
static void free_others_of_1(void) {
  give(blocks[0], 0);
  give(blocks[2], 2);
}
static void release_and_free_others(void) {
  release();
  free_others_of_0();
}
const explore_scenario_t external_units = {.name = "external.units",
                                           .setup = start_units,
                                           .is_wide = true,
                                           .ends = true,
                                           .thread = {free_others_of_0, free_others_of_1},
                                           .check = all_well};
const explore_scenario_t external_units_destroy = {.name = "external.units_destroy",
                                                   .setup = start_units,
                                                   .is_wide = true,
                                                   .ends = true,
                                                   .thread = {destroy, idle},
                                                   .check = all_well};
static void units_are_back(void) {
  all_well();
  EXPLORE_CHECK(is_gone() && make(memory, UNITS) != NULL);
}
const explore_scenario_t external_units_release = {
    .name = "external.units_release",
    .setup = start_units,
    .is_wide = true,
    .ends = true,
    .thread = {release_and_free_others, free_others_of_1},
    .check = units_are_back};

/* A large block lies in all units, one of which has slots left for small ones: whoever
 * finds slabs in that unit finds whose they are. */
static void start_annexed(void) {
  have_memory(UNITS);
  start_caching();
  heap = make(memory, UNITS);
  EXPLORE_CHECK(heap != NULL);
  EXPLORE_CHECK(hak_heap_alloc(heap, UNITS - HAK_SUPERSLAB_SIZE / 2) != NULL);
  explore_as(0, start_thread);
}
static void alloc_in_unit(void) { (void)allocate(70); }
static bool look_at_unit(hak_superslab_t *ss, void *ctx) {
  (void)ctx;
  if (hak_load_acquire(&ss->extent.kind) != HAK_EXTENT_SLABS) return true;
  EXPLORE_CHECK(hak_heap_of_extent(&ss->extent) == hak_heap_record(heap));
  return true;
}
static void look_at_units(void) { hak_region_visit(look_at_unit, NULL); }
const explore_scenario_t external_units_annexed = {
    .name = "external.units_annexed",
    .setup = start_annexed,
    .is_wide = true,
    .thread = {alloc_in_unit, look_at_units},
    .check = all_well};

/* --- forks ----------------------------------------------------------------------- */

/* The child has the heap as it was before or after what the other thread did. */
static void fork_and_use(void) {
  hak_forking_prepare();
  explore_fork();
  hak_forking_child();
  EXPLORE_CHECK(hak_check(NULL) == 0 && hak_check(heap) == 0);
  give(blocks[0], 0);
  give(allocate(5), 5);
  EXPLORE_CHECK(hak_heap_destroy(heap) == 0);
  use_memory();
  EXPLORE_CHECK(make(memory, BYTES) != NULL && hak_check(NULL) == 0);
}
static void free_and_alloc_more(void) {
  free_and_alloc_2();
  free_1();
  grow_3();
}
const explore_scenario_t external_fork = {.name = "external.fork",
                                          .setup = start_heap,
                                          .is_wide = true,
                                          .forks = true,
                                          .thread = {fork_and_use, free_and_alloc_more}};
/* What the other thread was making is not there; what it was ending is gone. */
static bool note_other(hak_heap_t *at, void *ctx) {
  (void)ctx;
  if (at != hak_heap_default()) made[1] = at;
  return true;
}
static void fork_and_have_memory(void) {
  hak_forking_prepare();
  explore_fork();
  hak_forking_child();
  EXPLORE_CHECK(hak_check(NULL) == 0);
  EXPLORE_CHECK(hak_visit_heaps(note_other, NULL) == 0);
  if (made[1] != NULL) EXPLORE_CHECK(hak_heap_destroy(made[1]) == 0);
  EXPLORE_CHECK(make(memory, BYTES) != NULL && hak_check(NULL) == 0);
  EXPLORE_CHECK(make(memory + BYTES, BYTES) != NULL && hak_check(NULL) == 0);
}
static void make_1(void) { made[1] = make(memory + BYTES, BYTES); }
static void destroy_it(void) { (void)hak_heap_destroy(heap); }
const explore_scenario_t external_fork_make = {.name = "external.fork_make",
                                               .setup = start_memory,
                                               .is_wide = true,
                                               .forks = true,
                                               .thread = {fork_and_have_memory, make_1}};
static void fork_and_make_again(void) {
  hak_forking_prepare();
  explore_fork();
  hak_forking_child();
  (void)hak_heap_destroy(heap); /* if it was not being destroyed yet */
  EXPLORE_CHECK(hak_check(NULL) == 0 && is_gone());
  use_memory();
  EXPLORE_CHECK(make(memory, BYTES) != NULL && hak_check(NULL) == 0);
}
const explore_scenario_t external_fork_destroy = {
    .name = "external.fork_destroy",
    .setup = start_heap,
    .is_wide = true,
    .forks = true,
    .thread = {fork_and_make_again, destroy_it}};
