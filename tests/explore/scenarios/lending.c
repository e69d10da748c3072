/* lending.c - slabs that threads share which have had little of a class (tiny/refill.h):
 * a few blocks of a slab go to one thread, the next to another, while others free some of
 * them, or end. In groups and other heaps whose threads do so, and in the default heap
 * where threads are short.
 */
#include "hakmem/hakmem.h"
#include "heap/groups.h"
#include "heap/heap.h"
#include "heap/thread_cache.h"
#include "start.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/partial_list.h"
#include "tiny/refill.h"
#include "tiny/spill.h"

enum {
  SIZE = 2048, /* two such blocks, and the thread shares slabs no longer */
  BLOCKS = 4   /* of each thread, at most */
};

static hak_heap_t *heap; /* the record */
static uint32_t cls;
static uint64_t *blocks[EXPLORE_THREADS][BLOCKS];

static hak_thread_t *me(void) { return hak_thread_self; }
static const hak_cache_t *mine(void) {
  const hak_cache_t *cache = hak_cache_get(me(), heap);
  EXPLORE_CHECK(cache != NULL);
  return cache;
}
static void attach(void) {
  start_thread();
  (void)mine();
}
static void start_of(hak_heap_t *record) {
  heap = record;
  EXPLORE_CHECK(heap != NULL);
  cls = hak_class_of(SIZE);
  for (unsigned i = 0; i < 3; i++) explore_as(i, attach);
}
static void start_group(void) {
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_LEARN, 1) == 0);
  start_library();
  start_of(hak_group_heap(1));
  EXPLORE_CHECK(heap->store->shares);
}

static void take(unsigned thread, unsigned i) {
  uint64_t *block = hak_refill_bin(me(), mine(), cls);
  EXPLORE_CHECK(block != NULL);
  block[0] = block[1] = 10 * thread + i;
  blocks[thread][i] = block;
}
static void check_block(unsigned thread, unsigned i) {
  EXPLORE_CHECK(blocks[thread][i][0] == 10 * thread + i);
}
static void give(unsigned thread, unsigned i) {
  uint64_t *block = blocks[thread][i];
  check_block(thread, i);
  block[0] = block[1] = 99;
  blocks[thread][i] = NULL;
  hak_spill_free(me(), mine(), cls, block);
}
static void flush(void) { hak_flush_class(me(), mine(), cls); }

/* What is not on a list is out: in the hands of threads, or in what they keep. */
static void count_slab(hak_slab_t *slab, uint32_t *out) {
  for (; slab != NULL; slab = slab->next) *out += hak_slab_out(slab);
}
static uint32_t out_of_listed(void) {
  hak_central_t *central = &heap->store->centrals[cls];
  uint32_t out = 0;
  count_slab(hak_load_relaxed(&central->uncarved), &out);
  for (int i = 0; i < HAK_PARTIAL_GROUPS; i++) count_slab(central->partial[i], &out);
  return out;
}
static uint32_t live(void) {
  uint32_t count = 0;
  for (unsigned t = 0; t < EXPLORE_THREADS; t++) {
    for (unsigned i = 0; i < BLOCKS; i++) {
      if (blocks[t][i] == NULL) continue;
      check_block(t, i);
      count++;
    }
  }
  return count;
}
static void is_valid(void) {
  EXPLORE_CHECK(hak_partial_is_valid(&heap->store->centrals[cls]));
  EXPLORE_CHECK(hak_pool_is_valid(&heap->store->pool));
}
/* Threads keep nothing: what is out of listed slabs is live. No slab is FULL. */
static void all_listed(void) {
  is_valid();
  EXPLORE_CHECK(out_of_listed() == live());
}
static void all_gone(void) {
  is_valid();
  EXPLORE_CHECK(hak_load_relaxed(hak_store_spans(heap->store, cls)) == 0);
  EXPLORE_CHECK(hak_load_relaxed(&heap->store->pool.taken) == 0);
}

/* --- young threads lend each other's slab ------------------------------------------
 */

static void take_0(void) { take(0, 0); }
static void take_1(void) { take(1, 0); }
static void take_2(void) { take(2, 0); }
static void take_2_more(void) {
  mine()->holds[cls].shared = 0;
  take(2, 1);
}
static void take_and_flush_0(void) {
  take(0, 0);
  flush();
}
static void take_and_flush_1(void) {
  take(1, 0);
  flush();
}
static void take_and_give_0(void) {
  take(0, 0);
  give(0, 0);
  flush();
}
static void take_and_give_1(void) {
  take(1, 0);
  give(1, 0);
  flush();
}
const explore_scenario_t lend_first = {.name = "lend.first",
                                       .setup = start_group,
                                       .thread = {take_and_flush_0, take_and_flush_1},
                                       .check = all_listed};
const explore_scenario_t lend_and_back = {.name = "lend.and_back",
                                          .setup = start_group,
                                          .thread = {take_and_give_0, take_and_give_1},
                                          .check = all_gone};

/* One slab is there: one thread takes of it, another brings a block home. */
static void start_lent(void) {
  start_group();
  explore_as(2, take_2);
}
static void give_2(void) {
  give(2, 0);
  flush();
}
const explore_scenario_t lend_and_home = {
    .name = "lend.and_home",
    .setup = start_lent,
    .thread = {take_and_flush_0, take_and_give_1, give_2},
    .check = all_listed};

/* --- whoever has had enough of the class holds slabs of its own --------------------
 */

static void grow_up(void) {
  take(0, 0);
  take(0, 1);
  take(0, 2);
}
static void flush_grown(void) {
  grow_up();
  flush();
}
static void take_home_from_holder(void) {
  give(2, 0);
  take(2, 1);
  flush();
}
const explore_scenario_t lend_grown = {
    .name = "lend.grown",
    .setup = start_lent,
    .thread = {flush_grown, take_and_flush_1, take_home_from_holder},
    .check = all_listed};

/* --- the last blocks of a slab that is carved whole --------------------------------
 */

static void *most[HAK_SLAB_SIZE / SIZE];
static uint32_t taken;

/* All but one of the slab's blocks are out. */
static void take_most(void) {
  hak_slab_t *slab = hak_slab_of(blocks[2][0]);
  while (hak_slab_capacity(slab) - hak_slab_out(slab) > 1) {
    mine()->holds[cls].shared = 0; /* the thread stays young */
    most[taken] = hak_refill_bin(me(), mine(), cls);
    EXPLORE_CHECK(most[taken++] != NULL);
  }
}
static void start_nearly_full(void) {
  start_lent();
  explore_as(2, take_most);
}
static hak_slab_t *full;
static void start_full(void) {
  start_nearly_full();
  full = hak_slab_of(blocks[2][0]);
  explore_as(0, take_0);
  EXPLORE_CHECK(hak_slab_out(full) == hak_slab_capacity(full));
}
/* Whoever comes second needs another slab, or has the block that came home. */
const explore_scenario_t lend_last = {.name = "lend.last",
                                      .setup = start_nearly_full,
                                      .thread = {take_0, take_1, give_2},
                                      .check = is_valid};
static void give_0(void) {
  give(0, 0);
  flush();
}
const explore_scenario_t lend_full = {.name = "lend.full",
                                      .setup = start_full,
                                      .thread = {give_0, take_1, give_2},
                                      .check = is_valid};

/* Three of its blocks come home before that. */
static void give_three(void) {
  for (int i = 0; i < 3; i++) hak_spill_free(me(), mine(), cls, most[--taken]);
  flush();
}
static void start_three_home(void) {
  start_full();
  explore_as(2, give_three);
}
const explore_scenario_t lend_of_carved = {.name = "lend.of_carved",
                                           .setup = start_three_home,
                                           .thread = {take_1, take_2_more, give_0},
                                           .check = is_valid};

/* --- threads that end beside it ----------------------------------------------------
 */

const explore_scenario_t lend_exit = {.name = "lend.exit",
                                      .setup = start_lent,
                                      .ends = true,
                                      .is_wide = true,
                                      .thread = {take_0, take_1, give_2},
                                      .check = all_listed};

/* --- the default heap, where threads are short -------------------------------------
 */

enum {
  ENDS = 16 /* of short threads, after which those that come share slabs */
};

static void start_after(int ends) {
  start_library();
  for (int i = 0; i < ends; i++) hak_capacity_note_end(1);
  start_of(hak_heap_get_default());
}
static void start_short(void) { start_after(ENDS); }
const explore_scenario_t lend_short_first = {
    .name = "lend.short_first",
    .setup = start_short,
    .thread = {take_and_flush_0, take_and_flush_1},
    .check = all_listed};
const explore_scenario_t lend_short_and_back = {
    .name = "lend.short_and_back",
    .setup = start_short,
    .thread = {take_and_give_0, take_and_give_1},
    .check = all_gone};

/* Two threads have blocks of one slab. */
static void start_short_lent(void) {
  start_short();
  explore_as(2, take_2);
  explore_as(1, take_1);
  EXPLORE_CHECK(hak_slab_of(blocks[1][0]) == hak_slab_of(blocks[2][0]));
}
static void give_1(void) {
  give(1, 0);
  flush();
}
const explore_scenario_t lend_short_and_home = {
    .name = "lend.short_and_home",
    .setup = start_short_lent,
    .thread = {take_and_flush_0, give_1, give_2},
    .check = all_listed};

/* The slab's last block goes out while others come home. */
static void start_short_nearly_full(void) {
  start_short_lent();
  explore_as(2, take_most);
}
const explore_scenario_t lend_short_last = {.name = "lend.short_last",
                                            .setup = start_short_nearly_full,
                                            .thread = {take_0, give_1, give_2},
                                            .check = is_valid};

/* By what programs call, and with the ends of threads. */
static void free_first(unsigned thread) {
  check_block(thread, 0);
  hak_free(blocks[thread][0]);
  blocks[thread][0] = NULL;
}
static void use(unsigned thread) {
  for (unsigned i = 0; i < 2; i++) {
    uint64_t *block = start_new_block(NULL, SIZE);
    block[0] = block[1] = 10 * thread + i;
    blocks[thread][i] = block;
  }
  free_first(thread);
}
static void use_0(void) { use(0); }
static void use_1(void) { use(1); }
static void free_of_1(void) { free_first(1); }
static void free_of_2(void) { free_first(2); }
static void all_theirs(void) {
  (void)live();
  is_valid();
  EXPLORE_CHECK(hak_check(NULL) == 0);
}
const explore_scenario_t lend_short_exit = {.name = "lend.short_exit",
                                            .setup = start_short_lent,
                                            .ends = true,
                                            .is_wide = true,
                                            .thread = {use_0, free_of_1, free_of_2},
                                            .check = all_theirs};
/* The end of one is what makes others share, or not yet. */
static void start_nearly_short(void) {
  start_after(ENDS - 1);
  explore_as(2, take_2);
}
const explore_scenario_t lend_short_begin = {.name = "lend.short_begin",
                                             .setup = start_nearly_short,
                                             .ends = true,
                                             .is_wide = true,
                                             .thread = {use_0, use_1, free_of_2},
                                             .check = all_theirs};

/* --- the heap's end beside it ------------------------------------------------------
 */

/* Groups end at shutdown. Another heap that lends does at any time. */
static hak_heap_t *handle;
static void start_heap(void) {
  start_library();
  handle = hak_heap_create(NULL);
  EXPLORE_CHECK(handle != NULL);
  hak_heap_record(handle)->store->shares = true;
  start_of(hak_heap_record(handle));
  explore_as(1, take_1);
  explore_as(2, take_2);
}
static void destroy(void) { EXPLORE_CHECK(hak_heap_destroy(handle) == 0); }
static void release(void) { EXPLORE_CHECK(hak_heap_release(handle) == 0); }
static void nothing(void) {}
static void idle(void) { hak_thread_idle(); }
static void all_well(void) { EXPLORE_CHECK(hak_check(NULL) == 0); }
const explore_scenario_t lend_destroy = {.name = "lend.destroy",
                                         .setup = start_heap,
                                         .ends = true,
                                         .is_wide = true,
                                         .thread = {destroy, nothing, idle},
                                         .check = all_well};
static void free_1(void) { hak_free(blocks[1][0]); }
static void free_2(void) { hak_free(blocks[2][0]); }
const explore_scenario_t lend_release = {.name = "lend.release",
                                         .setup = start_heap,
                                         .ends = true,
                                         .is_wide = true,
                                         .thread = {release, free_1, free_2},
                                         .check = all_well};
