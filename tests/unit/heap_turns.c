/* heap_turns.c - turns of idle memory: what lies between threads goes home once in a
 * decay, in steps however small; heaps that somebody else is at are left alone; released
 * ones end. */
#include "os_fixture.h"
#include "threads.h"

#include "give_up.h"
#include "heap/give_up.h"
#include "heap/kind.h"
#include "heap/samples.h"
#include "heap/thread.h"
#include "heap/threads.h"
#include "pages/clock.h"
#include "tiny/refill.h"
#include "tiny/size_class.h"
#include "tiny/transfer.h"

enum {
  SIZE = 64,
  DECAY_MS = 86400000, /* of test_keep_unused */
  MAGAZINES = 2
};

static int setup(void **state) {
  CHECK_EQ(test_over_os_setup(state), 0);
  test_keep_unused(true);
  CHECK_EQ(hak_thread_init(), 0);
  return 0;
}

static void pass_ms(uint64_t ms) {
  test_os_advance_ms(&g_os, ms);
  hak_clock_refresh();
}

/* --- magazines on their way -----------------------------------------------------------
 */

static hak_heap_t *g_heap; /* the record */
static void *g_blocks[MAGAZINES * HAK_MAGAZINE_BLOCKS];

static size_t on_their_way(void) {
  const hak_central_t *central = &g_heap->store->centrals[hak_class_of(SIZE)];
  size_t n = 0;
  for (int i = 0; i < HAK_TRANSFER_PLACES; i++)
    n += hak_load_relaxed((hak_atomic_ptr_t *)&central->places[i]) != NULL;
  return n;
}

static void *free_as_others(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_thread_init(), 0);
  const hak_cache_t *cache = hak_kind_cache(hak_thread_self, g_heap);
  CHECK(cache != NULL);
  for (size_t i = 0; i < TEST_COUNT(g_blocks); i++)
    hak_transfer_add(hak_thread_self, cache, hak_class_of(SIZE), g_blocks[i]);
  return NULL;
}

/* Another thread has freed this one's blocks. */
static void hand_over(void) {
  for (size_t i = 0; i < TEST_COUNT(g_blocks); i++)
    CHECK((g_blocks[i] = hak_heap_alloc(hak_heap_handle(g_heap), SIZE)) != NULL);
  test_thread_run(free_as_others, NULL);
  CHECK_EQ(on_their_way(), MAGAZINES);
}

static void magazines__of_a_heap_go_home_once_in_a_decay(void **state) {
  (void)state;
  g_heap = hak_heap_record(test_heap(0, NULL, NULL));
  for (int round = 0; round < 2; round++) {
    hand_over();
    pass_ms(DECAY_MS + 100);
    test_give_up(HAK_CLASSES);
    CHECK_EQ(on_their_way(), 0);
    hand_over();
    test_give_up(HAK_CLASSES);
    CHECK_EQ(on_their_way(), MAGAZINES);
    /* The next time, also if its classes have their turns in many calls. */
    pass_ms(DECAY_MS + 100);
    for (int i = 0; i < HAK_CLASSES; i++) test_give_up(1);
    CHECK_EQ(on_their_way(), 0);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

/* In each step nothing would be due of what has passed since the last one. */
static void magazines__of_the_default_heap_go_home_in_small_steps(void **state) {
  (void)state;
  enum {
    STEPS = 4 * HAK_SHARED_CLASSES
  };
  g_heap = hak_heap_get_default();
  pass_ms(DECAY_MS);
  test_give_up(1);
  hand_over();
  for (int i = 0; i < 2 * STEPS; i++) {
    pass_ms(DECAY_MS / STEPS);
    test_give_up(1);
  }
  CHECK_EQ(on_their_way(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* --- heaps that somebody else is at, or has released
 * ------------------------------------
 */

static void begin_unused(void) {
  hak_thread_t *me = hak_thread_enter_started();
  CHECK(me != NULL);
  hak_give_up_unused(me);
  hak_thread_leave(me, "test");
}

static void heap__that_is_leased_is_left_alone_and_stays_so(void **state) {
  (void)state;
  g_heap = hak_heap_get_default();
  hak_heap_t *other = hak_heap_record(test_heap(0, NULL, NULL));
  CHECK(hak_heap_alloc(hak_heap_handle(other), SIZE) != NULL);
  hak_heap_t *samples = hak_samples_heap(g_heap);
  CHECK(samples != NULL);
  hak_heap_t *heaps[] = {g_heap, samples, other};
  hand_over();
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) hak_heap_lease(heaps[i]);
  pass_ms(DECAY_MS);
  test_give_up(HAK_CLASSES);
  begin_unused();
  CHECK_EQ(on_their_way(), MAGAZINES);
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) {
    CHECK(!hak_heap_try_lease(heaps[i]));
    hak_heap_unlease(heaps[i]);
  }
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) {
    CHECK(hak_heap_try_lease(heaps[i]));
    hak_heap_unlease(heaps[i]);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static void *release(void *heap) {
  CHECK_EQ(hak_heap_release(heap), 0);
  return NULL;
}

/* Of all that it had this thread's cached blocks are left. */
static void heap__that_was_released_ends_with_its_turn(void **state) {
  (void)state;
  hak_heap_t *handle = test_heap(0, NULL, NULL), *heap = hak_heap_record(handle);
  void *blocks[100];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++)
    CHECK((blocks[i] = hak_heap_alloc(handle, SIZE)) != NULL);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  test_thread_run(release, handle);
  CHECK(hak_heap_is_used(heap));
  test_give_up(HAK_CLASSES);
  CHECK(!hak_heap_is_used(heap));
  CHECK_EQ(hak_check(NULL), 0);
}

/* --- threads without a state -----------------------------------------------------------
 */

static void collection__of_a_heap_takes_what_threads_without_a_state_cache(void **state) {
  (void)state;
  hak_heap_t *handle = test_heap(0, NULL, NULL), *heap = hak_heap_record(handle);
  hak_thread_t *shared = hak_threads_lease_shared();
  void *block = hak_refill_bin(shared, hak_kind_cache(shared, heap), hak_class_of(SIZE));
  hak_threads_unlease_shared();
  CHECK(block != NULL);
  CHECK(test_heap_stats(handle).cached_bytes > 0);
  (void)hak_collect(handle, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_heap_stats(handle).cached_bytes, 0);
  hak_free(block);
  CHECK_EQ(hak_check(NULL), 0);
}

#define TURN(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(TURN(magazines__of_a_heap_go_home_once_in_a_decay),
                TURN(magazines__of_the_default_heap_go_home_in_small_steps),
                TURN(heap__that_is_leased_is_left_alone_and_stays_so),
                TURN(heap__that_was_released_ends_with_its_turn),
                TURN(collection__of_a_heap_takes_what_threads_without_a_state_cache))
