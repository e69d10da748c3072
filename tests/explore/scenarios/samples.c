/* samples.c - blocks that are sampled: their heap, which is made beside those who ask for
 * one and ends with the heap that they are of; frees by other threads; places that are
 * new while others look at all.
 */
#include <string.h>

#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/fork.h"
#include "heap/heap.h"
#include "heap/samples.h"
#include "start.h"

enum {
  SIZE = 1000,
  MORE = 1020, /* of the same class */
  LARGER = 3000,
  BLOCKS = 3
};

static hak_site_t places[2] = {{.file = "a.c", .line = 1}, {.file = "b.c", .line = 2}};
static hak_heap_t *heap, *record;
static uint64_t *blocks[BLOCKS];

static uint64_t *use(uint64_t *block, uint64_t value) {
  EXPLORE_CHECK(block != NULL);
  block[0] = block[1] = value;
  return block;
}
static uint64_t *allocate(unsigned place, uint64_t value) {
  uint64_t *block = heap == NULL ? hak_alloc_at(SIZE, &places[place])
                                 : hak_heap_alloc_at(heap, SIZE, &places[place]);
  return use(block, value);
}
static void give(uint64_t *block, uint64_t value) {
  EXPLORE_CHECK(block[0] == value && block[1] == value);
  hak_free(block);
}
static void sample_all(int64_t bytes) {
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_SAMPLE_BYTES, bytes) == 0);
}
static void start(void) {
  sample_all(1);
  start_library();
  for (unsigned i = 0; i < 3; i++) explore_as(i, start_thread);
}
static void have_samples(void) {
  for (unsigned i = 0; i < BLOCKS; i++) blocks[i] = allocate(0, i);
}
static void start_samples(void) {
  start();
  explore_as(2, have_samples);
}
static void have_heap(void) {
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
  record = hak_heap_record(heap);
}
static void start_heap(void) {
  start();
  have_heap();
}
static void start_heap_samples(void) {
  start_heap();
  explore_as(2, have_samples);
}
static void all_well(void) { EXPLORE_CHECK(hak_check(NULL) == 0); }

/* --- what is known of places ----------------------------------------------------- */

typedef struct seen {
  uint64_t samples, live;
} seen_t;
static seen_t seen[2];

static bool note(const hak_site_info_t *site, void *ctx) {
  (void)ctx;
  EXPLORE_CHECK(site->samples >= site->live_samples && site->blocks >= site->live_blocks);
  EXPLORE_CHECK(site->samples == 0 || site->largest >= site->smallest);
  if (site->line == 0) return true;
  EXPLORE_CHECK(site->line <= 2 && site->file[0] == (site->line == 1 ? 'a' : 'b'));
  seen[site->line - 1] = (seen_t){site->samples, site->live_samples};
  return true;
}
static void look(void) { EXPLORE_CHECK(hak_sites_visit(note, NULL) == 0); }
static void known(unsigned place, uint64_t samples, uint64_t live) {
  seen[place] = (seen_t){0, 0};
  all_well();
  look();
  EXPLORE_CHECK(seen[place].samples == samples && seen[place].live == live);
}

/* --- the first sample ------------------------------------------------------------ */

static void sample_0(void) { blocks[0] = allocate(0, 0); }
static void sample_1(void) { blocks[1] = allocate(1, 1); }
static void two_places(void) {
  /* Whoever came while the other one made the heap has a block that is only counted. */
  all_well();
  look();
  known(0, 1, seen[0].live);
  known(1, 1, seen[1].live);
  hak_free(blocks[0]);
  hak_free(blocks[1]);
  known(0, 1, 0);
  known(1, 1, 0);
}
const explore_scenario_t samples_first = {.name = "samples.first",
                                          .setup = start,
                                          .is_wide = true,
                                          .thread = {sample_0, sample_1, look},
                                          .check = two_places};
const explore_scenario_t samples_first_of_heap = {.name = "samples.first_of_heap",
                                                  .setup = start_heap,
                                                  .is_wide = true,
                                                  .thread = {sample_0, sample_1, look},
                                                  .check = two_places};

/* --- blocks that others free ----------------------------------------------------- */

static void free_0(void) { give(blocks[0], 0); }
static void free_1(void) { give(blocks[1], 1); }
static void sample_again(void) { give(allocate(1, 9), 9); }
static void one_left(void) {
  known(0, BLOCKS, 1);
  known(1, 1, 0);
}
const explore_scenario_t samples_free = {.name = "samples.free",
                                         .setup = start_samples,
                                         .is_wide = true,
                                         .thread = {free_0, free_1, sample_again},
                                         .check = one_left};
const explore_scenario_t samples_free_of_heap = {.name = "samples.free_of_heap",
                                                 .setup = start_heap_samples,
                                                 .is_wide = true,
                                                 .thread = {free_0, free_1, sample_again},
                                                 .check = one_left};
static void free_2_and_idle(void) {
  give(blocks[2], 2);
  hak_thread_idle();
}
static void collect(void) { (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); }
static void none_left(void) { known(0, BLOCKS, 0); }
static void free_0_and_1(void) {
  free_0();
  free_1();
}
/* One that is freed is kept for the next one, and goes home with what lies idle. */
const explore_scenario_t samples_kept = {
    .name = "samples.kept",
    .setup = start_samples,
    .is_wide = true,
    .thread = {free_0_and_1, collect, free_2_and_idle},
    .check = none_left};

/* --- a block passes to another place --------------------------------------------- */

static void grow_for_1(void) {
  blocks[0] = hak_realloc_at(blocks[0], MORE, &places[1]);
  EXPLORE_CHECK(blocks[0] != NULL && blocks[0][0] == 0 && blocks[0][1] == 0);
}
static void move_for_1(void) {
  blocks[1] = hak_realloc_at(blocks[1], LARGER, &places[1]);
  EXPLORE_CHECK(blocks[1] != NULL && blocks[1][0] == 1 && blocks[1][1] == 1);
}
static void two_live(void) {
  all_well();
  look();
  EXPLORE_CHECK(seen[0].live + seen[1].live == BLOCKS - 1);
}
const explore_scenario_t samples_move = {
    .name = "samples.move",
    .setup = start_samples,
    .is_wide = true,
    .thread = {grow_for_1, move_for_1, free_2_and_idle},
    .check = two_live};

/* --- the heap's end -------------------------------------------------------------- */

static void destroy(void) { EXPLORE_CHECK(hak_heap_destroy(heap) == 0); }
static void reset(void) { EXPLORE_CHECK(hak_heap_reset(heap) == 0); }
const explore_scenario_t samples_destroy = {.name = "samples.destroy",
                                            .setup = start_heap_samples,
                                            .is_wide = true,
                                            .thread = {destroy, collect, look},
                                            .check = none_left};
const explore_scenario_t samples_reset = {.name = "samples.reset",
                                          .setup = start_heap_samples,
                                          .is_wide = true,
                                          .thread = {reset, collect, look},
                                          .check = none_left};

/* Blocks of a heap that is released live on; it ends with the last one. */
static void release(void) { EXPLORE_CHECK(hak_heap_release(heap) == 0); }
static void has_ended(void) {
  all_well();
  for (uint32_t i = 1; i < hak_heaps_made(); i++) {
    hak_heap_t *at = hak_heap_at(i);
    bool is_of_default = hak_heap_samples(hak_heap_get_default()) == at;
    EXPLORE_CHECK(at == NULL || is_of_default || hak_load_relaxed(&at->released) == 0);
  }
}
/* No thread has a cache of the heap, which would keep it until the thread idles. */
static void start_two_samples(void) {
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 200) == 0);
  start_heap_samples();
  hak_free(blocks[2]);
}
const explore_scenario_t samples_release = {.name = "samples.release",
                                            .setup = start_two_samples,
                                            .is_wide = true,
                                            .thread = {release, free_0, free_1},
                                            .check = has_ended};

/* --- forks ----------------------------------------------------------------------- */

static void fork_and_sample(void) {
  hak_forking_prepare();
  explore_fork();
  hak_forking_child();
  EXPLORE_CHECK(hak_check(NULL) == 0);
  uint64_t *block = allocate(0, 5);
  hak_heap_t *above = heap == NULL ? hak_heap_get_default() : record;
  EXPLORE_CHECK(hak_heap_samples(above) != NULL);
  give(block, 5);
  look();
  collect();
  EXPLORE_CHECK(hak_check(NULL) == 0);
  if (heap != NULL) destroy();
  EXPLORE_CHECK(hak_check(NULL) == 0);
}
static void sample_and_free(void) {
  sample_1();
  free_1();
}
const explore_scenario_t samples_fork = {.name = "samples.fork",
                                         .setup = start,
                                         .is_wide = true,
                                         .forks = true,
                                         .thread = {fork_and_sample, sample_and_free}};
const explore_scenario_t samples_fork_of_heap = {
    .name = "samples.fork_of_heap",
    .setup = start_heap,
    .is_wide = true,
    .forks = true,
    .thread = {fork_and_sample, sample_and_free}};

/* --- what was learned ------------------------------------------------------------ */

static void drop(const char *text, size_t length, void *ctx) {
  (void)text, (void)length, (void)ctx;
}
static void save(void) { EXPLORE_CHECK(hak_learned_save("1", drop, NULL) == 0); }
static void start_learning(void) {
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_LEARN, 1) == 0);
  start_samples();
  start_used_up();
}
const explore_scenario_t samples_save = {.name = "samples.save",
                                         .setup = start_learning,
                                         .is_wide = true,
                                         .thread = {sample_1, save, free_0},
                                         .check = all_well};
