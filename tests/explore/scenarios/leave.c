/* leave.c - slabs that are left: by the program, which moves their blocks elsewhere
 * (tiny/leave.h), and by threads that end, whose slabs others free into and take over.
 */
#include "tiny/leave.h"

#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/heap.h"
#include "heap/thread_state.h"
#include "start.h"
#include "superslab/locate.h"

enum {
  SIZE = 1024,                 /* the largest class whose slabs are one of 64 KiB */
  SLAB = HAK_SLAB_SIZE / SIZE, /* blocks of one */
  SLABS = 3,
  LEFT = 2 /* blocks of the first slab that stay; of the others half stays */
};

static hak_heap_t *heap; /* or NULL: the default heap */
static uint64_t *blocks[SLABS][SLAB];

static uint64_t *allocate(uint64_t value) {
  uint64_t *block = start_new_block(heap, SIZE);
  block[0] = block[1] = value;
  return block;
}
static void give(uint64_t **block, uint64_t value) {
  EXPLORE_CHECK((*block)[0] == value && (*block)[1] == value);
  hak_free(*block);
  *block = NULL;
}
static void have_blocks(void) {
  start_thread();
  for (int s = 0; s < SLABS; s++) {
    for (int i = 0; i < SLAB; i++) blocks[s][i] = allocate(100 * s + i);
  }
  hak_slab_t *first = hak_slab_of(blocks[0][0]);
  EXPLORE_CHECK(hak_slab_of(blocks[0][SLAB - 1]) == first);
  EXPLORE_CHECK(hak_slab_of(blocks[1][0]) != first);
  for (int s = 0; s < SLABS; s++) {
    for (int i = s == 0 ? LEFT : SLAB / 2; i < SLAB; i++)
      give(&blocks[s][i], 100 * s + i);
  }
  hak_thread_idle();
}
static void start(void) {
  start_library();
  explore_as(2, have_blocks);
  for (unsigned i = 0; i < 2; i++) explore_as(i, start_thread);
}
static void start_heap(void) {
  heap = start_with_heap();
  explore_as(2, have_blocks);
  for (unsigned i = 0; i < 2; i++) explore_as(i, start_thread);
}

/* What is out is what the program has, once threads keep nothing. */
static void flush(void) {
  if (hak_thread_self->kind == HAK_THREAD_ATTACHED) hak_thread_idle();
}
static uint32_t live(void) {
  uint32_t count = 0;
  for (int s = 0; s < SLABS; s++) {
    for (int i = 0; i < SLAB; i++) count += blocks[s][i] != NULL;
  }
  return count;
}
static void all_well(void) { EXPLORE_CHECK(hak_check(NULL) == 0); }
static void all_out_is_live(void) {
  for (unsigned i = 0; i < 3; i++) explore_as(i, flush);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  all_well();
  EXPLORE_CHECK(start_count_out(heap, hak_class_of(SIZE)) == live());
}

/* --- blocks that are moved ------------------------------------------------------- */

static bool hinted(int i) { return hak_move_hint(blocks[0][i]) != 0; }
static void move(int i) {
  if (!hinted(i)) return;
  uint64_t *to = allocate(blocks[0][i][0]);
  hak_free(blocks[0][i]);
  blocks[0][i] = to;
}
static void move_0(void) { move(0); }
static void move_1(void) { move(1); }
static void move_both(void) {
  move(0);
  move(1);
}
static void free_1(void) { give(&blocks[0][1], 1); }
static void free_of_second(void) { give(&blocks[1][0], 100); }
static void take_some(void) {
  for (int i = SLAB - 1; i >= SLAB / 2; i--) blocks[1][i] = allocate(100 + i);
}
static void take_all(void) {
  for (int i = LEFT; i < SLAB; i++) blocks[0][i] = allocate(i);
  take_some();
}
static void take_and_free(void) {
  uint64_t *block = allocate(9);
  give(&block, 9);
}
static void collect(void) { (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); }

#define LEAVE_SCENARIO(id, begin, ...)                             \
  const explore_scenario_t leave_##id = {.name = "leave." #id,     \
                                         .setup = begin,           \
                                         .is_wide = true,          \
                                         .check = all_out_is_live, \
                                         .thread = {__VA_ARGS__}}
/* The last of the slab's blocks are moved and freed at once. */
LEAVE_SCENARIO(free, start, move_0, free_1);
LEAVE_SCENARIO(two, start, move_0, move_1);
/* Others take what they can have, the slab that is leaving last. */
LEAVE_SCENARIO(refill, start, move_both, take_and_free, free_of_second);
LEAVE_SCENARIO(serve_again, start, move_0, take_all);
LEAVE_SCENARIO(collect, start, move_both, collect);
LEAVE_SCENARIO(free_of_heap, start_heap, move_0, free_1);
LEAVE_SCENARIO(two_of_heap, start_heap, move_0, move_1);
LEAVE_SCENARIO(refill_of_heap, start_heap, move_both, take_and_free, free_of_second);
/* A thread that is asked for a hint gives up what it keeps, and another one ends. */
const explore_scenario_t leave_exit = {.name = "leave.exit",
                                       .setup = start,
                                       .is_wide = true,
                                       .ends = true,
                                       .check = all_out_is_live,
                                       .thread = {move_both, take_and_free}};
/* The heap ends with the last of its blocks, while one asks about another. */
static void release(void) { EXPLORE_CHECK(hak_heap_release(heap) == 0); }
static void ask_and_free(void) {
  (void)hinted(0);
  give(&blocks[0][0], 0);
  hak_thread_idle();
}
static void free_rest(void) {
  for (int s = 0; s < SLABS; s++) {
    for (int i = s == 0 ? 1 : 0; i < SLAB; i++) {
      if (blocks[s][i] != NULL) give(&blocks[s][i], 100 * s + i);
    }
  }
  hak_thread_idle();
}
static hak_heap_t *released;
static void start_released(void) {
  start_heap();
  released = hak_heap_record(heap);
}
static void has_ended(void) {
  for (unsigned i = 0; i < 3; i++) explore_as(i, flush);
  all_well();
  EXPLORE_CHECK(hak_load_relaxed(&released->released) == 0);
}
const explore_scenario_t leave_release = {.name = "leave.release",
                                          .setup = start_released,
                                          .is_wide = true,
                                          .check = has_ended,
                                          .thread = {release, ask_and_free, free_rest}};

/* --- threads that end
 * --------------------------------------------------------------------------
 *
 * The first thread holds a slab that is partly free, with blocks that others free; it
 * gives up all that it has, and whoever allocates next takes the slab over.
 */

static void have_held(void) {
  start_thread();
  for (int i = 0; i < SLAB; i++) blocks[0][i] = allocate(i);
  for (int i = LEFT; i < SLAB; i++) give(&blocks[0][i], i);
}
static void start_held(void) {
  start_library();
  explore_as(0, have_held);
  for (unsigned i = 1; i < 3; i++) explore_as(i, start_thread);
}
static void start_held_of_heap(void) {
  heap = start_with_heap();
  explore_as(0, have_held);
  for (unsigned i = 1; i < 3; i++) explore_as(i, start_thread);
}
static void end(void) { hak_thread_exit(); }
static void free_both(void) {
  give(&blocks[0][0], 0);
  give(&blocks[0][1], 1);
}
static void free_0(void) { give(&blocks[0][0], 0); }
static void take_over(void) {
  for (int i = 0; i < 2; i++) blocks[2][i] = allocate(200 + i);
  give(&blocks[2][0], 200);
}
LEAVE_SCENARIO(end_free, start_held, end, free_both);
LEAVE_SCENARIO(end_two_free, start_held, end, free_0, free_1);
LEAVE_SCENARIO(end_take_over, start_held, end, take_over, free_both);
LEAVE_SCENARIO(end_collect, start_held, end, collect, free_both);
LEAVE_SCENARIO(end_free_of_heap, start_held_of_heap, end, free_both);
LEAVE_SCENARIO(end_take_over_of_heap, start_held_of_heap, end, take_over, free_both);
LEAVE_SCENARIO(end_collect_of_heap, start_held_of_heap, end, collect, free_both);
/* The state serves the next thread, which finds nothing of the last one's. */
static void end_and_begin(void) {
  end();
  start_thread();
  take_over();
}
LEAVE_SCENARIO(end_begin, start_held, end_and_begin, free_both);
