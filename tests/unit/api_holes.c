/* api_holes.c - whole pages of free blocks go back while other blocks of their slabs are
 * in use: with a collection, and when they are due; the blocks serve as before. Each case
 * runs in a child of its own. */
#include "child.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum {
  BLOCKS = 8000,
  KEPT = 401, /* one block of so many stays */
  DECAY_MS = 50
};

static char *g_blocks[BLOCKS];
static size_t g_least, g_steps, g_step;

static size_t size_of_block(size_t i) { return g_least + i % g_steps * g_step; }
static bool is_kept(size_t i) { return i % KEPT == 0; }

static void fill(size_t i) {
  g_blocks[i] = hak_alloc(size_of_block(i));
  test_fill(g_blocks[i], size_of_block(i), i);
}

static void fill_all(void) {
  for (size_t i = 0; i < BLOCKS; i++) fill(i);
}

static void free_most(void) {
  for (size_t i = 0; i < BLOCKS; i++) {
    if (!is_kept(i)) hak_free(g_blocks[i]);
  }
}

/* All blocks that stayed have what was written to them, and so have those that come
 * again. */
static void use_again(void) {
  for (size_t i = 0; i < BLOCKS; i++) {
    if (!is_kept(i)) fill(i);
  }
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t i = 0; i < BLOCKS; i++) {
    CHECK(test_verify(g_blocks[i], size_of_block(i), i));
    hak_free(g_blocks[i]);
  }
}

/* Bytes of free blocks' pages that are still there, by the statistics. */
static uint64_t still_there(void) {
  hak_stats_t s = test_stats();
  return s.free_bytes - s.hole_bytes;
}

static void collect_all(void) { hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); }

static void pages_go_with_a_collection(size_t least, size_t steps, size_t step) {
  g_least = least;
  g_steps = steps;
  g_step = step;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_HOLES, 0), 0);
  fill_all();
  free_most();
  collect_all();
  uint64_t without = still_there();
  CHECK_EQ(test_stats().hole_bytes, 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_HOLES, 1), 0);
  collect_all();
  hak_stats_t first = test_stats();
  CHECK_MSG(still_there() < without / 2, "%llu bytes of %llu stay",
            (unsigned long long)still_there(), (unsigned long long)without);
  CHECK_EQ(hak_check(NULL), 0);
  /* Nothing is looked at twice. */
  collect_all();
  CHECK_EQ(test_stats().os_purge, first.os_purge);
  CHECK_EQ(test_stats().hole_bytes, first.hole_bytes);
  use_again();
}

TEST_IN_CHILD(holes__of_small_blocks_go_with_a_collection, 60) {
  pages_go_with_a_collection(16, 8, 16);
}
TEST_IN_CHILD(holes__of_blocks_of_half_a_page_go_with_a_collection, 60) {
  pages_go_with_a_collection(1000, 5, 300);
}
TEST_IN_CHILD(holes__of_blocks_over_a_page_go_with_a_collection, 60) {
  pages_go_with_a_collection(4096, 5, 7000);
}

/* --- by the clock ------------------------------------------------------------------- */

static void sleep_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, NULL);
}

/* A few slow paths in classes that have no part in the rest. */
static void light_load(int rounds) {
  enum {
    BYTES = 50000,
    AT_ONCE = 16
  };
  void *some[AT_ONCE];
  for (int i = 0; i < rounds; i++) {
    for (int k = 0; k < AT_ONCE; k++) some[k] = hak_alloc(BYTES);
    for (int k = 0; k < AT_ONCE; k++) hak_free(some[k]);
    sleep_ms(1);
  }
}

static void begin_due(void) {
  g_least = 200;
  g_steps = 1;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS), 0);
  fill_all();
  free_most();
  hak_thread_idle();
}

TEST_IN_CHILD(holes__come_by_slow_paths_when_they_are_due, 60) {
  begin_due();
  CHECK_EQ(test_stats().hole_bytes, 0);
  light_load(6 * DECAY_MS);
  hak_stats_t s = test_stats();
  CHECK_MSG(s.hole_bytes > s.free_bytes / 2, "%llu of %llu bytes",
            (unsigned long long)s.hole_bytes, (unsigned long long)s.free_bytes);
  use_again();
}

/* The thread neither ends nor goes idle: it holds what it freed. */
TEST_IN_CHILD(holes__come_of_slabs_that_the_thread_holds, 60) {
  g_least = 200;
  g_steps = 1;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS), 0);
  fill_all();
  free_most();
  light_load(8 * DECAY_MS);
  hak_stats_t s = test_stats();
  CHECK_MSG(s.hole_bytes > s.free_bytes / 2, "%llu of %llu bytes",
            (unsigned long long)s.hole_bytes, (unsigned long long)s.free_bytes);
  CHECK_EQ(hak_check(NULL), 0);
  use_again();
}

TEST_IN_CHILD(holes__are_told_to_event_loops_and_come_with_what_is_due, 60) {
  begin_due();
  for (int looks = 0, ms; (ms = hak_purge_due()) >= 0; looks++) {
    CHECK(looks < 100);
    sleep_ms(ms + 5);
    hak_collect(NULL, SIZE_MAX, 0);
  }
  hak_stats_t s = test_stats();
  CHECK_MSG(s.hole_bytes > s.free_bytes / 2, "%llu of %llu bytes",
            (unsigned long long)s.hole_bytes, (unsigned long long)s.free_bytes);
  use_again();
}

TEST_IN_CHILD(holes__come_by_maintenance, 60) {
  begin_due();
  CHECK_EQ(hak_maintenance_start(DECAY_MS / 2), 0);
  sleep_ms(10 * DECAY_MS);
  CHECK_EQ(hak_maintenance_stop(), 0);
  hak_stats_t s = test_stats();
  CHECK_MSG(s.hole_bytes > s.free_bytes / 2, "%llu of %llu bytes",
            (unsigned long long)s.hole_bytes, (unsigned long long)s.free_bytes);
  use_again();
}

/* Time that goes on when it is told to. */
static uint64_t g_now = 1000000000;
static uint64_t told_now(void *ctx) {
  (void)ctx;
  return g_now;
}

/* A millisecond, and slow paths. */
static void step(void) {
  void *some[16];
  g_now += 1000000;
  for (int k = 0; k < 16; k++) some[k] = hak_alloc(50000);
  for (int k = 0; k < 16; k++) hak_free(some[k]);
}

/* Milliseconds until most of what is free is holes, 20 decays at most. */
static int holes_after(void) {
  int ms = 0;
  for (; ms < 20 * DECAY_MS; ms++) {
    step();
    hak_stats_t s = test_stats();
    if (s.hole_bytes > s.free_bytes / 2) break;
  }
  return ms;
}

/* What is needed again takes more than a twentieth of a half decay, but not of the time
 * from one load to the next. */
TEST_IN_CHILD(holes__come_as_soon_after_each_load_that_is_far_apart, 60) {
  hak_os_t os = *hak_os_default();
  os.now_ns = told_now;
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = &os};
  CHECK_EQ(hak_init(&config), 0);
  g_least = 1000;
  g_steps = 1;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 20), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_CALL_US, 0), 0);
  fill_all();
  for (int load = 0; load < 8; load++) {
    free_most();
    hak_thread_idle();
    int ms = holes_after();
    /* Twice as long if each load had made sweeps rarer. */
    CHECK_MSG(ms <= (load == 0 ? 25 : 15), "%d ms after load %d", ms, load);
    g_now += (uint64_t)160000000;
    for (size_t i = 0; i < BLOCKS; i++) {
      if (!is_kept(i)) fill(i);
      if (i % 400 == 0) step(); /* there are sweeps while load comes */
    }
  }
  free_most();
  use_again();
}

TEST_IN_CHILD(holes__do_not_come_where_purging_is_manual, 60) {
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  begin_due();
  light_load(4 * DECAY_MS);
  CHECK_EQ(test_stats().hole_bytes, 0);
}

/* --- what sees free blocks ---------------------------------------------------------- */

static void begin_holes(void) {
  g_least = 200;
  g_steps = 1;
  fill_all();
  free_most();
  collect_all();
  CHECK(test_stats().hole_bytes > 0);
}

static bool count_block(const hak_block_t *block, void *ctx) {
  (void)block;
  ++*(size_t *)ctx;
  return true;
}

TEST_IN_CHILD(holes__are_no_blocks_to_visits_and_statistics, 60) {
  begin_holes();
  size_t visited = 0, live = (BLOCKS + KEPT - 1) / KEPT;
  CHECK_EQ(hak_heap_visit(NULL, count_block, &visited, 0), 0);
  CHECK_EQ(visited, live);
  CHECK_EQ(test_stats().live_blocks, live);
  use_again();
}

TEST_IN_CHILD(holes__end_with_their_slabs, 60) {
  begin_holes();
  for (size_t i = 0; i < BLOCKS; i++) {
    if (is_kept(i)) hak_free(g_blocks[i]);
  }
  collect_all();
  hak_stats_t s = test_stats();
  CHECK_EQ(s.hole_bytes, 0);
  CHECK_EQ(s.live_blocks, 0);
  CHECK_EQ(hak_check(NULL), 0);
  fill_all();
  for (size_t i = 0; i < BLOCKS; i++) hak_free(g_blocks[i]);
}

/* The block itself says nothing any more: the free is found when it comes home. */
TEST_IN_CHILD(holes__a_block_that_lies_in_one_is_not_freed_twice, 60) {
  begin_holes();
  test_reports_begin();
  size_t live = (BLOCKS + KEPT - 1) / KEPT;
  /* A page further on than a block that stays. */
  for (size_t i = 30; i < BLOCKS; i += KEPT) hak_free(g_blocks[i]);
  collect_all();
  CHECK(g_reports.count > 0);
  hak_set_error_handler(NULL, NULL);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK(test_stats().live_blocks <= live);
}

TEST_IN_CHILD(holes__are_known_to_the_child_of_a_fork, 60) {
  begin_holes();
  pid_t child = test_fork();
  if (child == 0) {
    use_again();
    _exit(0);
  }
  test_fork_end(child);
  use_again();
}

TEST_IN_CHILD(holes__in_heaps_that_are_destroyed_leave_nothing, 60) {
  hak_heap_t *heap = hak_heap_create(NULL);
  for (size_t i = 0; i < BLOCKS; i++) g_blocks[i] = hak_heap_alloc(heap, 200);
  for (size_t i = 0; i < BLOCKS; i++) {
    if (!is_kept(i)) hak_free(g_blocks[i]);
  }
  hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(test_stats().hole_bytes > 0);
  CHECK_EQ(hak_check(heap), 0);
  hak_heap_destroy(heap);
  CHECK_EQ(test_stats().hole_bytes, 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(holes__do_not_come_where_memory_is_to_stay, 60) {
  hak_heap_t *heap = test_heap(HAK_HEAP_NO_PURGE, "kept", NULL);
  for (size_t i = 0; i < BLOCKS; i++) g_blocks[i] = hak_heap_alloc(heap, 200);
  for (size_t i = 0; i < BLOCKS; i++) {
    if (!is_kept(i)) hak_free(g_blocks[i]);
  }
  hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  collect_all();
  CHECK_EQ(test_stats().hole_bytes, 0);
}

/* --- forks beside a sweep ----------------------------------------------------------- */

static _Atomic(int) g_stops, g_stopped, g_goes_on;
static _Thread_local bool t_sweeps;

/* Stops the thread that sweeps at a hole: whole slabs may go otherwise. */
static void stop_at_hole(hak_event_t event, const void *address, size_t size, void *ctx) {
  (void)address;
  (void)ctx;
  if (event != HAK_EVENT_PURGE || size % 65536 == 0 || !t_sweeps) return;
  if (atomic_exchange(&g_stops, 0) == 0) return;
  atomic_store(&g_stopped, 1);
  while (atomic_load(&g_goes_on) == 0) sleep_ms(1);
}

static void collect_what_is_due(void) {
  for (int looks = 0, ms; looks < 20 && (ms = hak_purge_due()) >= 0; looks++) {
    sleep_ms(ms + 5 < 2 * DECAY_MS ? ms + 5 : 2 * DECAY_MS);
    hak_collect(NULL, SIZE_MAX, 0);
  }
}

static void *sweep_main(void *argument) {
  (void)argument;
  t_sweeps = true;
  collect_what_is_due();
  return NULL;
}

/* The child goes on without the thread that swept. */
TEST_IN_CHILD(holes__come_in_both_processes_if_one_forks_beside_a_sweep, 60) {
  enum {
    OTHERS = 4000
  };
  static void *others[OTHERS];
  hak_heap_t *heap = hak_heap_create(NULL);
  pthread_t thread;
  for (size_t i = 0; i < OTHERS; i++) others[i] = hak_heap_alloc(heap, 200);
  for (size_t i = 0; i < OTHERS; i++) {
    if (!is_kept(i)) hak_free(others[i]);
  }
  begin_due();
  atomic_store(&g_stops, 1);
  hak_set_event_hook(stop_at_hole, NULL);
  CHECK_EQ(pthread_create(&thread, NULL, sweep_main, NULL), 0);
  while (atomic_load(&g_stopped) == 0) sleep_ms(1);
  uint64_t before = test_stats().hole_bytes;
  pid_t child = test_fork();
  if (child == 0) {
    collect_what_is_due();
    CHECK(test_stats().hole_bytes > before);
    CHECK_EQ(hak_check(NULL), 0);
    use_again();
    _exit(0);
  }
  test_fork_end(child);
  atomic_store(&g_goes_on, 1);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK(test_stats().hole_bytes > before);
  CHECK_EQ(hak_check(NULL), 0);
  hak_heap_destroy(heap);
  use_again();
}

/* --- threads ------------------------------------------------------------------------ */

enum {
  THREADS = 4,
  SLOTS = 4096
};
static _Atomic(char *) g_slots[SLOTS];
static _Atomic(int) g_at_work;

/* Blocks in slots that all threads share, so that they come home to others' slabs. */
static void *work_main(void *argument) {
  test_rng_t rng = test_rng(test_seed(), (uint64_t)(uintptr_t)argument);
  size_t rounds = test_scale(60000);
  for (size_t i = 0; i < rounds; i++) {
    size_t size = 16 + (size_t)test_below(&rng, i % 8 == 0 ? 20000 : 600);
    char *block = test_below(&rng, 3) == 0 ? hak_alloc(size) : NULL;
    if (block != NULL) block[0] = block[size - 1] = 1;
    hak_free(atomic_exchange(&g_slots[test_below(&rng, SLOTS)], block));
    if (i % 10000 == 9999) hak_thread_idle();
  }
  atomic_fetch_sub(&g_at_work, 1);
  return NULL;
}

static void *collect_main(void *argument) {
  (void)argument;
  while (atomic_load(&g_at_work) > 1) {
    collect_all();
    CHECK_EQ(hak_check(NULL), 0);
    sleep_ms(1);
  }
  return NULL;
}

TEST_IN_CHILD(holes__come_and_go_beside_threads_at_work, 120) {
  pthread_t threads[THREADS + 1];
  /* Slabs are looked through as often as can be. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  atomic_store(&g_at_work, THREADS + 1);
  for (size_t i = 0; i < THREADS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, work_main, (void *)(i + 1)), 0);
  }
  CHECK_EQ(pthread_create(&threads[THREADS], NULL, collect_main, NULL), 0);
  for (size_t i = 0; i <= THREADS; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  for (size_t i = 0; i < SLOTS; i++) hak_free(atomic_load(&g_slots[i]));
  collect_all();
  CHECK_EQ(hak_check(NULL), 0);
  hak_stats_t s = test_stats();
  CHECK_EQ(s.live_blocks, 0);
  CHECK_EQ(s.hole_bytes, 0);
}

TEST_MAIN_FRESH(T(holes__of_small_blocks_go_with_a_collection),
                T(holes__of_blocks_of_half_a_page_go_with_a_collection),
                T(holes__of_blocks_over_a_page_go_with_a_collection),
                T(holes__come_by_slow_paths_when_they_are_due),
                T(holes__come_of_slabs_that_the_thread_holds),
                T(holes__are_told_to_event_loops_and_come_with_what_is_due),
                T(holes__come_by_maintenance),
                T(holes__come_as_soon_after_each_load_that_is_far_apart),
                T(holes__do_not_come_where_purging_is_manual),
                T(holes__are_no_blocks_to_visits_and_statistics),
                T(holes__end_with_their_slabs),
                T(holes__a_block_that_lies_in_one_is_not_freed_twice),
                T(holes__are_known_to_the_child_of_a_fork),
                T(holes__in_heaps_that_are_destroyed_leave_nothing),
                T(holes__do_not_come_where_memory_is_to_stay),
                T(holes__come_in_both_processes_if_one_forks_beside_a_sweep),
                T(holes__come_and_go_beside_threads_at_work))
