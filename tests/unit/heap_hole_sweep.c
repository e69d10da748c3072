/* heap_hole_sweep.c - sweeps for pages of free blocks, step by step: when one is due, how
 * far it goes, which heaps it leaves alone, and what threads hold. Each case has a
 * library of its own, whose clock goes on when it is told to. */
#include "clock.h"
#include "support.h"

#include "heap/heap.h"
#include "heap/hole_sweep.h"
#include "heap/thread.h"
#include "pages/idle.h"

enum {
  SIZE = 1000,
  BLOCKS = 3000,
  KEPT = 40, /* one block of so many stays */
  HEAPS = 2,
  HALF_MS = 500 /* half a decay: between two sweeps */
};

static hak_heap_t *g_heaps[HEAPS];

/* The fine clock, by which calls end, if the test has one: it goes on by so much with
 * each look. */
static bool g_fine_is_mine;
static uint64_t g_fine_now, g_fine_step;

uint64_t __real_hak_sys_fine_ns(void);
uint64_t __wrap_hak_sys_fine_ns(void);
uint64_t __wrap_hak_sys_fine_ns(void) {
  return g_fine_is_mine ? (g_fine_now += g_fine_step) : __real_hak_sys_fine_ns();
}

static void tell_fine(uint64_t step_ns) {
  g_fine_is_mine = true;
  g_fine_step = step_ns;
}

/* No slow path sweeps before the test does. */
static int begin(void **state) {
  (void)state;
  hak_os_t os = *hak_os_default();
  os.now_ns = test_clock_ns;
  test_set(HAK_OPTION_PURGE_MODE, 1);
  test_set(HAK_OPTION_PURGE_HOLES, 0);
  test_set(HAK_OPTION_PURGE_SURPLUS, 0);
  test_set(HAK_OPTION_PURGE_CALL_US, 0);
  test_set(HAK_OPTION_RETAIN_BYTES, (int64_t)GIB);
  test_set(HAK_OPTION_HUGE_PAGES, 0);
  test_set(HAK_OPTION_HEAP_CACHE_AFTER, 0);
  test_set(HAK_OPTION_QUARANTINE_BYTES, 0);
  test_set(HAK_OPTION_LEARN, 0);
  test_set(HAK_OPTION_SAMPLE_BYTES, 0);
  test_set(HAK_OPTION_PURGE_DECAY_MS, 2 * HALF_MS);
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = &os};
  CHECK_EQ(hak_init(&config), 0);
  for (int i = 0; i < HEAPS; i++) g_heaps[i] = test_heap_make((hak_heap_config_t){0});
  return 0;
}

static int end(void **state) {
  (void)state;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  g_fine_is_mine = false;
  return 0;
}

static uint64_t holes(void) { return test_stats().hole_bytes; }

/* The thread holds slabs most of whose blocks are free. */
static void leave_free(hak_heap_t *heap) {
  static void *blocks[BLOCKS];
  for (int i = 0; i < BLOCKS; i++)
    CHECK((blocks[i] = hak_heap_alloc(heap, SIZE)) != NULL);
  for (int i = 0; i < BLOCKS; i++) {
    if (i % KEPT != 0) hak_free(blocks[i]);
  }
}
/* They are everybody's. */
static void leave_listed(hak_heap_t *heap) {
  leave_free(heap);
  hak_thread_idle();
}

/* From here on there are sweeps, the first one at once. */
static void allow(void) {
  test_set(HAK_OPTION_PURGE_HOLES, 1);
  hak_idle_set_others(HAK_IDLE_OTHERS_NEW);
}

static void step_without_turns(void) {
  hak_thread_t *me = hak_thread_enter_started();
  CHECK(me != NULL);
  hak_clock_refresh();
  hak_hole_sweep_step(me);
  hak_thread_leave(me, "test");
}

/* All that caches keep had its turns meanwhile. */
static void step(void) {
  hak_add_relaxed(&hak_idle_turned, 3 * HAK_SHARED_CLASSES);
  step_without_turns();
}

static size_t sweep_due(size_t max_bytes, size_t slabs) {
  hak_thread_t *me = hak_thread_enter_started();
  hak_clock_refresh();
  size_t given = hak_hole_sweep_due(me, max_bytes, &slabs);
  hak_thread_leave(me, "test");
  return given;
}

static size_t sweep_all(size_t max_bytes) {
  hak_thread_t *me = hak_thread_enter_started();
  size_t given = hak_hole_sweep_all(me, max_bytes);
  hak_thread_leave(me, "test");
  return given;
}

static bool is_anything_due(void) { return hak_hole_sweep_due_in() != UINT64_MAX; }

static void sweeps__are_half_a_decay_apart_and_end(void **state) {
  (void)state;
  leave_listed(g_heaps[0]);
  step();
  CHECK(!hak_hole_sweep_is_time());
  allow();
  CHECK(hak_hole_sweep_is_time());
  step();
  CHECK_EQ(holes(), 0);
  test_pass_ms(HALF_MS - 1);
  step();
  CHECK_EQ(sweep_due(SIZE_MAX, SIZE_MAX), 0);
  CHECK_EQ(holes(), 0);
  test_pass_ms(1);
  step();
  uint64_t all = holes();
  CHECK(all > BLOCKS / 2 * SIZE);
  /* What was found had aged before; the second sweep in a row to which nothing comes is
   * the last one. */
  CHECK(is_anything_due());
  test_pass_ms(HALF_MS);
  step();
  CHECK(!is_anything_due());
  test_pass_ms(HALF_MS);
  step();
  CHECK_EQ(holes(), all);
}

/* What caches keep pins slabs until it has gone home, and that goes by turns. Collections
 * do not come with any. */
static void sweeps__in_vain_go_on_until_caches_had_their_turns(void **state) {
  (void)state;
  leave_listed(g_heaps[0]);
  allow();
  for (int i = 0; i < 10; i++) {
    step_without_turns();
    CHECK(is_anything_due());
    test_pass_ms(HALF_MS);
  }
  hak_add_relaxed(&hak_idle_turned, 3 * HAK_SHARED_CLASSES - 1);
  step_without_turns();
  CHECK(is_anything_due());
  test_pass_ms(HALF_MS);
  hak_add_relaxed(&hak_idle_turned, 1);
  step_without_turns();
  CHECK(!is_anything_due());
  allow();
  for (int i = 0; i < 3; i++) {
    test_pass_ms(HALF_MS);
    (void)sweep_due(SIZE_MAX, SIZE_MAX);
  }
  CHECK(!is_anything_due());
}

static void sweep__where_purging_is_manual_is_none(void **state) {
  (void)state;
  leave_listed(g_heaps[0]);
  allow();
  test_set(HAK_OPTION_PURGE_MODE, 0);
  for (int i = 0; i < 4; i++) {
    step();
    test_pass_ms(HALF_MS);
  }
  CHECK_EQ(holes(), 0);
  /* Nor has it taken away what a collection finds. */
  CHECK(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL) > 0);
  CHECK(holes() > BLOCKS / 2 * SIZE);
}

/* Where time is no bound it goes through all of them. */
static void sweep__of_many_heaps_is_one(void **state) {
  (void)state;
  enum {
    MANY = 150
  };
  for (int i = 0; i < MANY; i++) (void)test_heap_make((hak_heap_config_t){0});
  allow();
  step();
  CHECK(!hak_hole_sweep_is_time());
}

/* Where it is one, and there is time, it goes through all of them as well. */
static void sweep__of_many_heaps_goes_on_while_there_is_time(void **state) {
  (void)state;
  enum {
    MANY = 150
  };
  for (int i = 0; i < MANY; i++) (void)test_heap_make((hak_heap_config_t){0});
  test_set(HAK_OPTION_PURGE_CALL_US, 1000);
  tell_fine(0);
  allow();
  step();
  CHECK(!hak_hole_sweep_is_time());
}

/* Each heap counts as one look, also where nothing was to be looked at. */
static void sweep__of_so_many_looks_ends_behind_the_heap_that_took_them(void **state) {
  (void)state;
  CHECK(hak_heap_alloc(g_heaps[0], SIZE) != NULL);
  allow();
  for (int i = 0; i < 1 + HEAPS; i++) {
    CHECK_EQ(sweep_due(SIZE_MAX, 1), 0);
    CHECK(hak_hole_sweep_is_time());
  }
  CHECK_EQ(sweep_due(SIZE_MAX, 1), 0);
  CHECK(!hak_hole_sweep_is_time());
}

static int g_purges;

/* Asks for more from within a sweep, also as the child of a fork does. */
static void ask_within(hak_event_t event, const void *address, size_t size, void *me) {
  (void)address;
  (void)size;
  if (event != HAK_EVENT_PURGE || g_purges++ > 0) return;
  uint64_t before = holes();
  size_t slabs = SIZE_MAX;
  hak_hole_sweep_forget_lost();
  CHECK(hak_hole_sweep_is_time());
  CHECK_EQ(hak_hole_sweep_all(me, SIZE_MAX), 0);
  CHECK_EQ(hak_hole_sweep_due(me, SIZE_MAX, &slabs), 0);
  hak_hole_sweep_step(me);
  CHECK_EQ(holes(), before);
}

/* Who sweeps owns the sweep until its end, whatever it calls. */
static void sweep__within_a_sweep_is_none(void **state) {
  (void)state;
  leave_listed(g_heaps[0]);
  leave_listed(g_heaps[1]);
  allow();
  step();
  test_pass_ms(HALF_MS);
  hak_clock_refresh();
  g_purges = 0;
  hak_set_event_hook(ask_within, hak_thread_self);
  size_t given = sweep_all(SIZE_MAX);
  hak_set_event_hook(NULL, NULL);
  CHECK(g_purges > 0);
  CHECK_EQ(holes(), given);
}

/* The child of a fork waits for the next sweep as long as its parent does. */
static void child__keeps_the_time_of_the_next_sweep(void **state) {
  (void)state;
  allow();
  step();
  CHECK(!hak_hole_sweep_is_time());
  hak_hole_sweep_forget_lost();
  CHECK(!hak_hole_sweep_is_time());
  test_pass_ms(HALF_MS);
  hak_clock_refresh();
  CHECK(hak_hole_sweep_is_time());
}

/* An option acts from when it is set: what a long decay put off does not wait for it. */
static void sweep__comes_by_the_decay_that_is_set_meanwhile(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_DECAY_MS, 86400000);
  allow();
  step();
  test_pass_ms(HALF_MS);
  hak_clock_refresh();
  CHECK(!hak_hole_sweep_is_time());
  test_set(HAK_OPTION_PURGE_DECAY_MS, 2 * HALF_MS);
  CHECK(hak_hole_sweep_is_time());
  CHECK_EQ(hak_hole_sweep_due_in(), 0);
}

/* It goes on where it was, and counts as one. */
static void sweep__in_parts_comes_to_everything_once(void **state) {
  (void)state;
  leave_listed(NULL);
  leave_listed(g_heaps[0]);
  leave_listed(g_heaps[1]);
  allow();
  step();
  step();
  hak_thread_t *me = hak_thread_self;
  CHECK(!hak_hole_sweep_is_news(me));
  test_pass_ms(HALF_MS);
  CHECK_EQ(sweep_due(0, SIZE_MAX), 0);
  CHECK_EQ(sweep_due(SIZE_MAX, 0), 0);
  uint64_t last = 0;
  int parts = 0;
  for (; hak_hole_sweep_is_time() && parts < 1000; parts++) {
    size_t given =
        parts % 2 ? sweep_due(1, SIZE_MAX) : sweep_due(SIZE_MAX, parts == 0 ? 1 : 40);
    CHECK_EQ(holes() - last, given);
    CHECK_MSG(given <= 2 * 65536, "%zu", given);
    last += given;
    if (parts == 0) {
      CHECK(hak_hole_sweep_is_news(me));
      me->sweep++;
    }
    CHECK_MSG(!hak_hole_sweep_is_news(me), "%d", parts);
  }
  CHECK_MSG(parts > 10 && parts < 1000, "%d", parts);
  CHECK(last > BLOCKS * SIZE);
}

/* Each call's time is over before it has looked at anything. */
static void sweep__without_time_comes_to_everything(void **state) {
  (void)state;
  leave_listed(NULL);
  leave_listed(g_heaps[0]);
  allow();
  step();
  step();
  test_pass_ms(HALF_MS);
  test_set(HAK_OPTION_PURGE_CALL_US, 1);
  tell_fine(1000000);
  int steps = 1;
  for (step(); hak_hole_sweep_is_time() && steps < 1000; steps++) step();
  CHECK_MSG(steps > 10 && steps < 1000, "%d", steps);
  CHECK(holes() > BLOCKS * SIZE);
}

static void sweep__of_all_waits_for_nothing(void **state) {
  (void)state;
  leave_listed(g_heaps[0]);
  CHECK_EQ(sweep_all(SIZE_MAX), 0);
  (void)hak_collect(g_heaps[0], SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(holes(), 0);
  allow();
  CHECK_EQ(sweep_all(0), 0);
  size_t given = sweep_all(SIZE_MAX);
  CHECK_MSG(given > BLOCKS / 2 * SIZE, "%zu", given);
  CHECK_EQ(holes(), given);
}

/* It has its turn in a later one, which comes for it. */
static void heap__that_somebody_works_at_is_left_out(void **state) {
  (void)state;
  leave_listed(g_heaps[0]);
  hak_heap_t *heap = hak_heap_record(g_heaps[0]);
  allow();
  step();
  hak_heap_lease(heap);
  for (int i = 0; i < 4; i++) {
    test_pass_ms(HALF_MS);
    step();
    CHECK_EQ(holes(), 0);
    CHECK(is_anything_due());
    CHECK(!hak_heap_try_lease(heap));
  }
  hak_heap_unlease(heap);
  for (int i = 0; i < 2; i++) {
    test_pass_ms(HALF_MS);
    step();
  }
  CHECK(holes() > 0);
}

static int purge_counted(void *ctx, void *ptr, size_t size) {
  ++*(int *)ctx;
  return hak_os_default()->purge(NULL, ptr, size);
}

/* Those whose memory the thread cannot know to be free, or is to keep. */
static void heaps__without_holes_are_left_alone(void **state) {
  (void)state;
  int purges = 0;
  hak_os_t os = *hak_os_default();
  os.purge = purge_counted;
  os.ctx = &purges;
  hak_heap_t *heaps[] = {test_heap(HAK_HEAP_SERIAL, NULL, NULL),
                         test_heap(HAK_HEAP_NO_PURGE, NULL, NULL),
                         test_heap_make((hak_heap_config_t){.os = &os})};
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) leave_listed(heaps[i]);
  (void)hak_collect(heaps[0], SIZE_MAX, HAK_COLLECT_ALL);
  allow();
  int before = purges;
  CHECK_EQ(sweep_all(SIZE_MAX), 0);
  for (int i = 0; i < 3; i++) {
    step();
    test_pass_ms(HALF_MS);
  }
  CHECK_EQ(holes(), 0);
  CHECK_EQ(purges, before);
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
}

/* What a thread holds, of the default heap and of another one, it lists itself once it
 * has not changed from one sweep to the next. */
static void held_slabs__are_listed_when_they_were_still(void **state) {
  (void)state;
  hak_heap_t *of_default = hak_heap_get_default(), *other = hak_heap_record(g_heaps[0]);
  leave_free(NULL);
  leave_free(g_heaps[0]);
  allow();
  /* Not while somebody works at the heaps. */
  for (int i = 0; i < 6; i++) {
    hak_heap_t *heap = i < 3 ? of_default : other;
    hak_heap_lease(heap);
    step();
    CHECK(!hak_heap_try_lease(heap));
    if (i < 3) CHECK(hak_hole_sweep_is_news(hak_thread_self) || i == 0);
    hak_heap_unlease(heap);
    test_pass_ms(HALF_MS);
  }
  for (int i = 0; i < 4; i++) {
    step();
    test_pass_ms(HALF_MS);
  }
  CHECK_MSG(holes() > BLOCKS * SIZE, "%llu", (unsigned long long)holes()); /* of both */
  CHECK(!is_anything_due());
}

/* They are still if they were so in the sweep before: not if they are looked at twice. */
static void held_slabs__are_looked_at_once_in_a_sweep(void **state) {
  (void)state;
  leave_free(g_heaps[0]);
  allow();
  int sweeps = 0;
  for (; sweeps < 10 && holes() == 0; sweeps++) {
    step();
    step();
    test_pass_ms(HALF_MS);
  }
  CHECK_EQ(sweeps, 2);
}

/* The thread looks at nothing before the next sweep, however often it is called. */
static void held_slabs__of_later_wait_for_the_next_sweep(void **state) {
  (void)state;
  allow();
  step();
  step();
  leave_free(g_heaps[0]);
  for (int i = 0; i < 3; i++) step();
  test_pass_ms(HALF_MS);
  step();
  CHECK_EQ(holes(), 0);
}

/* What is held and has nothing to give is no reason for another sweep. */
static void held_slabs__without_free_pages_are_nothing_to_wait_for(void **state) {
  (void)state;
  CHECK(hak_alloc(SIZE) != NULL);
  allow();
  for (int i = 0; i < 4; i++) {
    step();
    test_pass_ms(HALF_MS);
  }
  CHECK(!is_anything_due());
}

/* Nor are slabs of which so little is free that no page is. */
static void held_slabs__that_are_nearly_full_are_nothing_to_wait_for(void **state) {
  (void)state;
  static void *blocks[BLOCKS];
  for (int i = 0; i < BLOCKS; i++) CHECK((blocks[i] = hak_alloc(SIZE)) != NULL);
  for (int i = 0; i < BLOCKS; i += KEPT) hak_free(blocks[i]);
  for (int i = 1; i < BLOCKS; i += KEPT) hak_free(blocks[i]);
  allow();
  for (int i = 0; i < 4; i++) {
    step();
    test_pass_ms(HALF_MS);
  }
  CHECK(!is_anything_due());
}

/* Memory of a program's own hooks never has holes, so its slabs stay held. */
static void held_slabs__of_own_hooks_are_nothing_to_wait_for(void **state) {
  (void)state;
  hak_os_t os = *hak_os_default();
  int purges = 0;
  os.purge = purge_counted;
  os.ctx = &purges;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.os = &os});
  leave_free(heap);
  allow();
  for (int i = 0; i < 2; i++) {
    step();
    test_pass_ms(HALF_MS);
  }
  CHECK(!is_anything_due());
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* What a thread kept of a heap that has ended has gone. */
static void held_slabs__are_not_looked_for_in_heaps_that_ended(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){0});
  leave_free(heap);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  allow();
  for (int i = 0; i < 2; i++) {
    step();
    test_pass_ms(HALF_MS);
  }
  CHECK(!is_anything_due());
}

/* Where a call has no time for all classes the next one goes on. */
static void held_slabs__are_looked_at_class_by_class(void **state) {
  (void)state;
  leave_free(NULL);
  test_set(HAK_OPTION_PURGE_CALL_US, 1000);
  hak_thread_t *me = hak_thread_self;
  allow();
  step();
  step();
  test_pass_ms(HALF_MS);
  step();
  tell_fine(1000000);
  int steps = 0;
  for (; hak_hole_sweep_is_news(me) && steps < 1000; steps++) step();
  CHECK_MSG(steps > HAK_SHARED_CLASSES / 2 && steps < 1000, "%d", steps);
}

/* Nor for all heaps. */
static void held_slabs__are_looked_at_some_heaps_at_a_time(void **state) {
  (void)state;
  hak_heap_t *heap = NULL;
  for (int i = 0; i < HAK_CACHE_CHUNK; i++) {
    heap = test_heap_make((hak_heap_config_t){0});
  }
  leave_free(heap);
  allow();
  int sweeps = 0;
  for (; sweeps < 10 && holes() == 0; sweeps++) {
    for (int k = 0; k < 3; k++) step();
    test_pass_ms(HALF_MS);
  }
  CHECK_EQ(sweeps, 3);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, begin, end)
TEST_MAIN_FRESH(CASE(sweeps__are_half_a_decay_apart_and_end),
                CASE(sweeps__in_vain_go_on_until_caches_had_their_turns),
                CASE(sweep__where_purging_is_manual_is_none),
                CASE(sweep__of_many_heaps_is_one),
                CASE(sweep__of_many_heaps_goes_on_while_there_is_time),
                CASE(sweep__of_so_many_looks_ends_behind_the_heap_that_took_them),
                CASE(sweep__within_a_sweep_is_none),
                CASE(child__keeps_the_time_of_the_next_sweep),
                CASE(sweep__comes_by_the_decay_that_is_set_meanwhile),
                CASE(held_slabs__of_later_wait_for_the_next_sweep),
                CASE(held_slabs__that_are_nearly_full_are_nothing_to_wait_for),
                CASE(held_slabs__of_own_hooks_are_nothing_to_wait_for),
                CASE(held_slabs__are_not_looked_for_in_heaps_that_ended),
                CASE(held_slabs__are_looked_at_class_by_class),
                CASE(held_slabs__are_looked_at_some_heaps_at_a_time),
                CASE(held_slabs__without_free_pages_are_nothing_to_wait_for),
                CASE(held_slabs__are_looked_at_once_in_a_sweep),
                CASE(sweep__in_parts_comes_to_everything_once),
                CASE(sweep__without_time_comes_to_everything),
                CASE(sweep__of_all_waits_for_nothing),
                CASE(heap__that_somebody_works_at_is_left_out),
                CASE(heaps__without_holes_are_left_alone),
                CASE(held_slabs__are_listed_when_they_were_still))
