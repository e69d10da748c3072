/* fork_lists.c - the lists of a thread that is not in the child of a fork: whatever it
 * was at, no block is on two of them afterwards, and what is lost is counted.
 *
 * The child gives all that was that thread's to threads of its own, and these allocate
 * more than was ever free: a block that is there twice is given out twice.
 */
#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/fork.h"
#include "heap/heap.h"
#include "heap/kind.h"
#include "heap/threads.h"
#include "start.h"
#include "superslab/locate.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/refill.h"

enum {
  MID = 8192,
  TINY = 1024,
  BLOCKS = 3,  /* of each of the two threads */
  STATES = 2,  /* of threads that the child begins: more than are not there */
  ALL = 3 * 8, /* blocks that each of those allocates: more than ever were free */
  IN_HAND = 1  /* blocks */
};

static hak_heap_t *heap; /* or NULL: the default heap */
static size_t size = MID;
static uint64_t *blocks[2][BLOCKS];
static uint32_t owned; /* blocks that the second thread has, which nobody else knows */

static void have(unsigned thread) {
  start_thread();
  for (int i = 0; i < BLOCKS; i++) {
    blocks[thread][i] = start_new_block_of_77(heap, size);
  }
}
static void have_0(void) { have(0); }
/* The second thread has others, too, so that its slab has more blocks out than it frees.
 */
static void have_1(void) {
  have(1);
  for (int i = 0; i < BLOCKS; i++) (void)start_new_block(heap, size);
  owned = BLOCKS;
}
static void free_all(void) {
  for (unsigned i = 0; i < BLOCKS; i++) hak_free(blocks[1][i]);
}
static void have_freed(void) {
  explore_as(0, have_0);
  explore_as(1, have_1);
  explore_as(1, free_all);
}
static void start_freed(void) {
  start_library();
  have_freed();
}
static void start_heap_freed(void) {
  heap = start_with_heap();
  have_freed();
}
/* Their bins' lists flip. */
static void start_tiny_freed(void) {
  size = TINY;
  start_freed();
}
static void start_heap_tiny_freed(void) {
  size = TINY;
  start_heap_freed();
}

/* --- the child ------------------------------------------------------------------- */

static uint64_t *got[STATES][ALL];

/* Takes the state of a thread that is not there, or a new one. */
static hak_thread_t *be_other(unsigned state) {
  hak_thread_self = &hak_thread_none;
  start_thread();
  for (unsigned i = 0; i < ALL; i++) {
    got[state][i] = start_new_block(heap, size);
    got[state][i][0] = got[state][i][1] = 1000 * (state + 1) + i;
  }
  return hak_thread_self;
}
/* Nobody else has written to any of them. */
static void check_all(void) {
  for (unsigned state = 0; state < STATES; state++) {
    for (unsigned i = 0; i < ALL; i++) {
      EXPLORE_CHECK(got[state][i][0] == 1000 * (state + 1) + i);
      EXPLORE_CHECK(got[state][i][1] == 1000 * (state + 1) + i);
    }
  }
  for (int i = 0; i < BLOCKS; i++) {
    EXPLORE_CHECK(blocks[0][i][0] == 77 && blocks[0][i][1] == 77);
  }
}
static void give_all(unsigned state, hak_thread_t *as) {
  hak_thread_self = as;
  for (unsigned i = 0; i < ALL; i++) hak_free(got[state][i]);
  hak_thread_idle();
}

/* What is not counted is the block that the thread was just allocating or freeing. */
static void check_lost(void) {
  uint32_t out = start_count_out(heap, hak_class_of(size));
  EXPLORE_CHECK(out <= owned + hak_forking_lost_bytes() / size + IN_HAND);
}
/* No block came home twice, which a thread that is not there would never report. */
static void is_well(hak_thread_t *state, void *ctx) {
  (void)ctx;
  EXPLORE_CHECK(state->deferred.error == 0);
}
static void fork_and_use_all(void) {
  hak_thread_t *me = hak_thread_self;
  hak_forking_prepare();
  explore_fork();
  hak_forking_child();
  hak_threads_visit(is_well, NULL);
  EXPLORE_CHECK(hak_check(NULL) == 0);
  hak_thread_t *others[STATES];
  for (unsigned state = 0; state < STATES; state++) others[state] = be_other(state);
  check_all();
  for (unsigned state = 0; state < STATES; state++) give_all(state, others[state]);
  hak_thread_self = me;
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[0][i]);
  hak_thread_idle();
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  EXPLORE_CHECK(hak_check(NULL) == 0);
  check_lost();
}

#define LISTS_SCENARIO(id, begin, ...)                                   \
  const explore_scenario_t fork_lists_##id = {.name = "fork_lists." #id, \
                                              .setup = begin,            \
                                              .forks = true,             \
                                              .is_wide = true,           \
                                              .thread = {fork_and_use_all, __VA_ARGS__}}

/* --- where the other thread is --------------------------------------------------- */

/* In fast paths: what it freed last comes after what lies ready, or before. */
static void alloc_again(void) {
  for (unsigned i = 0; i < 2 * BLOCKS; i++) {
    (void)start_new_block(heap, size);
    owned++;
  }
}
static void alloc_and_free(void) {
  for (unsigned i = 0; i < BLOCKS; i++) {
    blocks[1][i] = start_new_block(heap, size);
    owned++;
  }
  for (unsigned i = 0; i < BLOCKS; i++) {
    owned--;
    hak_free(blocks[1][i]);
  }
}
LISTS_SCENARIO(flip, start_tiny_freed, alloc_again);
LISTS_SCENARIO(flip_of_heap, start_heap_tiny_freed, alloc_again);
LISTS_SCENARIO(last, start_freed, alloc_again);
LISTS_SCENARIO(fast, start_freed, alloc_and_free);
LISTS_SCENARIO(fast_of_heap, start_heap_freed, alloc_and_free);

/* In slow paths, which have its lists in any state. */
static void idle(void) { hak_thread_idle(); }
LISTS_SCENARIO(idle, start_freed, idle);
LISTS_SCENARIO(idle_of_heap, start_heap_freed, idle);
static void work_slowly(void) {
  hak_thread_t *me = hak_thread_self;
  const hak_cache_t *cache = hak_kind_cache_made(me, hak_heap_record(heap));
  EXPLORE_CHECK(cache != NULL);
  uint32_t cls = hak_class_of(size);
  hak_store_relaxed(&me->busy, 1);
  hak_flush_blocks(me, cache, cls);
  if (hak_refill_bin(me, cache, cls) != NULL) owned++;
  hak_store_relaxed(&me->busy, 0);
}
LISTS_SCENARIO(slow_of_heap, start_heap_freed, work_slowly);

/* Of a slab that it shares with the child's thread: it holds none, and carves and takes
 * from the list of those that nobody holds. */
static void start_shared(void) {
  enum {
    ENDS = 16 /* of short threads */
  };
  start_library();
  for (int i = 0; i < ENDS; i++) hak_capacity_note_end(1);
  explore_as(0, have_0);
  explore_as(1, start_thread);
}
static void share(void) {
  alloc_and_free();
  hak_thread_idle();
}
LISTS_SCENARIO(shared, start_shared, share);
/* Of one that is carved whole it takes what came home, and leaves some of it. */
static void use_all_of_it(void) {
  void *rest[HAK_SLAB_SIZE / MID];
  hak_slab_t *slab = hak_slab_of(blocks[0][0]);
  unsigned count = 0;
  while (hak_slab_carved(slab) < hak_slab_capacity(slab)) {
    EXPLORE_CHECK(count < sizeof rest / sizeof rest[0]);
    rest[count++] = start_new_block(NULL, size);
  }
  for (unsigned i = 0; i < count; i++) hak_free(rest[i]);
  hak_thread_idle();
}
static void start_shared_full(void) {
  start_shared();
  explore_as(1, use_all_of_it);
  explore_as(0, hak_thread_idle);
}
LISTS_SCENARIO(shared_full, start_shared_full, share);
