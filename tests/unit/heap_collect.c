/* heap_collect.c - what hak_collect may touch, and where it stops: of each kind of free
 * memory, of caches, and of records that nobody uses. Each case has a library of its own,
 * whose clock goes on when it is told to. */
#include "clock.h"
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>

#include "heap/heap.h"
#include "heap/thread.h"
#include "heap/threads.h"

enum {
  SLAB = 65536,
  SIZE = 1000,
  BLOCKS = 600,
  HEAPS = 3,
  DECAY_MS = 1000
};

static hak_heap_t *g_heaps[HEAPS];

/* Nothing goes by itself, nor is beyond what may stay for a while. */
static int begin(void **state) {
  (void)state;
  hak_os_t os = *hak_os_default();
  os.now_ns = test_clock_ns;
  test_set(HAK_OPTION_PURGE_MODE, 0);
  test_set(HAK_OPTION_PURGE_SURPLUS, 0);
  test_set(HAK_OPTION_RETAIN_BYTES, 0);
  test_set(HAK_OPTION_RETAIN_SHARE, 0);
  test_set(HAK_OPTION_HUGE_PAGES, 0);
  test_set(HAK_OPTION_HEAP_CACHE_AFTER, 0);
  test_set(HAK_OPTION_QUARANTINE_BYTES, 0);
  test_set(HAK_OPTION_LEARN, 0);
  test_set(HAK_OPTION_SAMPLE_BYTES, 0);
  test_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS);
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
  return 0;
}

static uint64_t cached(hak_heap_t *heap) { return test_heap_stats(heap).cached_bytes; }
static uint64_t retained(void) { return test_stats().retained_bytes; }
static uint64_t releases(void) { return test_stats().os_release; }

/* This thread keeps free blocks of the heap, beside one that stays. */
static void cache_of_size(hak_heap_t *heap, size_t size) {
  void *blocks[BLOCKS];
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < BLOCKS; i++) {
      CHECK((blocks[i] = hak_heap_alloc(heap, size)) != NULL);
    }
    for (int i = round < 3 ? 0 : 1; i < BLOCKS; i++) hak_free(blocks[i]);
  }
  CHECK(cached(heap) > 0);
}

static void cache_some(hak_heap_t *heap) { cache_of_size(heap, SIZE); }

/* Every other one of these slabs is free. */
static void leave_slots(hak_heap_t *heap) {
  enum {
    COUNT = 12
  };
  void *blocks[COUNT];
  for (int i = 0; i < COUNT; i++) {
    CHECK((blocks[i] = hak_heap_alloc(heap, SLAB)) != NULL);
  }
  for (int i = 0; i < COUNT; i += 2) hak_free(blocks[i]);
}

/* Free SuperSlabs and a mapping that is kept. */
static void leave_free(void) {
  void *runs[3], *mapping = hak_alloc(40 * MIB);
  CHECK(mapping != NULL);
  for (int i = 0; i < 3; i++) CHECK((runs[i] = hak_alloc(2 * MIB)) != NULL);
  for (int i = 0; i < 3; i++) hak_free(runs[i]);
  hak_free(mapping);
}

/* Blocks have more pages than they need. */
static void leave_tails(hak_heap_t *heap) {
  enum {
    COUNT = 8
  };
  void *blocks[COUNT];
  for (int i = 0; i < COUNT; i++)
    CHECK((blocks[i] = hak_heap_alloc(heap, 128000)) != NULL);
  for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
  for (int i = 0; i < COUNT; i++)
    CHECK((blocks[i] = hak_heap_alloc(heap, 80000)) != NULL);
}

static void *use_heaps(void *ctx) {
  (void)ctx;
  for (int i = 0; i < HEAPS; i++) hak_free(hak_heap_alloc(g_heaps[i], SIZE));
  return NULL;
}

/* --- bounds in bytes ------------------------------------------------------------------
 */

enum {
  RECORDS = 2 /* of a serial heap, and of one that is none */
};

/* States of threads, of serial heaps and of heaps that are no more. */
static void leave_records(void) {
  hak_heap_t *gone[2 * RECORDS];
  for (int i = 0; i < 2 * RECORDS; i++) {
    gone[i] = test_heap_make((hak_heap_config_t){.flags = i % 2 ? HAK_HEAP_SERIAL : 0});
    hak_free(hak_heap_alloc(gone[i], SIZE));
  }
  test_thread_run(use_heaps, NULL);
  for (int i = 0; i < 2 * RECORDS; i++) CHECK_EQ(hak_heap_destroy(gone[i]), 0);
}

/* Everything, up to a bound: no more than the rest of a slab or of a record beyond that.
 */
static size_t collect_up_to(size_t most) {
  hak_stats_t before = test_stats();
  size_t given = hak_collect(NULL, most, HAK_COLLECT_ALL);
  hak_stats_t after = test_stats();
  size_t of_records = before.metadata_bytes - after.metadata_bytes;
  size_t memory = before.committed_bytes - after.committed_bytes - of_records;
  CHECK_MSG(memory < most + SLAB && given >= memory && given <= memory + of_records,
            "%zu of %zu and %zu", given, memory, of_records);
  if (given >= most) CHECK_EQ(before.os_release, after.os_release);
  if (memory >= most) CHECK_EQ(of_records, 0);
  return given;
}

/* Whatever it is that reaches the bound, nothing that comes after it goes. */
static void collect__stops_at_whatever_reaches_its_bound(void **state) {
  (void)state;
  for (int i = 0; i < HEAPS; i++) {
    leave_slots(g_heaps[i]);
    leave_tails(g_heaps[i]);
  }
  leave_slots(NULL);
  leave_tails(NULL);
  leave_free();
  leave_records();
  CHECK_EQ(collect_up_to(1), SLAB);
  CHECK(hak_threads_try_memory());
  while (collect_up_to(SLAB + 1) > 0) {} /* of a mapping nothing less than a slab goes */
  CHECK_EQ(retained(), 0);
  hak_threads_end_memory();
  int calls = 0;
  while (collect_up_to(1) > 0) calls++;
  CHECK_MSG(calls > 3 * RECORDS, "%d", calls);
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL), 0);
}

/* The same of what is due, of the process and of the default heap. */
static void collect__of_what_is_due_stops_at_its_bound(void **state) {
  (void)state;
  for (int i = 0; i < HEAPS; i++) leave_slots(g_heaps[i]);
  leave_slots(NULL);
  leave_free();
  hak_thread_idle();
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, 0), 0);
  CHECK_EQ(hak_collect(hak_heap_default(), SIZE_MAX, 0), 0); /* it is young */
  uint64_t idle = retained();
  test_set(HAK_OPTION_PURGE_SURPLUS, 1);
  test_pass_ms(10 * DECAY_MS);
  for (int i = 0; i < 4; i++) {
    CHECK_EQ(hak_collect(i % 2 ? hak_heap_default() : NULL, 1, 0), SLAB);
    CHECK_EQ(idle -= SLAB, retained());
  }
  /* Of one heap, and then of all, though the thread is at work. */
  uint64_t given = hak_collect(hak_heap_default(), SIZE_MAX, 0);
  CHECK(given > 0 && given < idle);
  hak_thread_self->looks++;
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, 0), idle - given);
  CHECK_EQ(retained(), 0);
}

/* A region goes back as a whole: not if there was enough without it. */
static void regions__stay_where_the_bound_is_reached(void **state) {
  (void)state;
  leave_free();
  hak_thread_idle();
  uint64_t before = test_stats().os_release, idle = retained();
  CHECK_EQ(hak_collect(NULL, SLAB + 1, HAK_COLLECT_ALL), 2 * SLAB);
  CHECK_EQ(retained(), idle - 2 * SLAB);
  CHECK_EQ(test_stats().os_release, before);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(test_stats().os_release > before);
}

/* A heap that the program names is all that is touched, but for free memory of the
 * process. */
static void collect__of_one_heap_leaves_the_others_alone(void **state) {
  (void)state;
  leave_records();
  for (int i = 0; i < HEAPS; i++) cache_some(g_heaps[i]);
  cache_some(NULL);
  uint64_t others = cached(g_heaps[1]), all = cached(NULL);
  uint64_t regions = releases();
  (void)hak_collect(g_heaps[0], SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(cached(g_heaps[0]), 0);
  CHECK_EQ(cached(g_heaps[1]), others);
  CHECK(cached(NULL) < all);
  (void)hak_collect(hak_heap_default(), SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(cached(g_heaps[1]), others);
  CHECK_EQ(releases(), regions);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(cached(NULL), 0);
}

/* --- caches ---------------------------------------------------------------------------
 */

/* Those of a thread that works stay; they go once it has needed nothing for a decay. */
static void caches__of_a_thread_go_when_it_has_been_quiet_for_a_decay(void **state) {
  (void)state;
  test_pass_ms(10 * DECAY_MS);
  cache_some(NULL);
  cache_some(g_heaps[0]);
  uint64_t of_default = cached(NULL), of_heap = cached(g_heaps[0]);
  for (int i = 0; i < 4; i++) { /* each time there was a refill since the last one */
    (void)hak_collect(NULL, SIZE_MAX, 0);
    (void)hak_collect(g_heaps[0], SIZE_MAX, 0);
    (void)hak_collect(hak_heap_default(), SIZE_MAX, 0);
    CHECK_EQ(cached(NULL), of_default);
    CHECK_EQ(cached(g_heaps[0]), of_heap);
    test_pass_ms(DECAY_MS);
    hak_thread_self->looks++;
  }
  (void)hak_collect(NULL, SIZE_MAX, 0);
  test_pass_ms(DECAY_MS - 1);
  (void)hak_collect(NULL, SIZE_MAX, 0);
  CHECK_EQ(cached(NULL), of_default);
  test_pass_ms(1);
  (void)hak_collect(NULL, SIZE_MAX, 0);
  CHECK_EQ(cached(NULL), 0);
}

static pthread_key_t g_key;

/* After the thread has lost its state, in the third round of destructors. */
static void allocate_late(void *value) {
  static _Thread_local int round;
  if (++round < 3) {
    CHECK_EQ(pthread_setspecific(g_key, value), 0);
    return;
  }
  void *blocks[BLOCKS];
  for (int i = 0; i < BLOCKS; i++) CHECK((blocks[i] = hak_alloc(SIZE)) != NULL);
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
}

static void *end_late(void *ctx) {
  (void)ctx;
  hak_free(hak_alloc(SIZE));
  CHECK_EQ(pthread_setspecific(g_key, &g_key), 0);
  return NULL;
}

/* Threads without a state of their own are not asked whether they are quiet. */
static void caches__that_threads_share_go_where_all_is_wanted(void **state) {
  (void)state;
  CHECK_EQ(pthread_key_create(&g_key, allocate_late), 0);
  test_thread_run(end_late, NULL);
  uint64_t kept = cached(NULL);
  CHECK(kept > 0);
  (void)hak_collect(NULL, SIZE_MAX, 0);
  CHECK_EQ(cached(NULL), kept);
  (void)hak_collect(g_heaps[0], SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(cached(NULL), kept);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(cached(NULL), 0);
  CHECK_EQ(pthread_key_delete(g_key), 0);
}

static void *hold_some(void *ctx) {
  (void)ctx;
  CHECK(hak_heap_alloc(g_heaps[0], SIZE) != NULL);
  return NULL;
}

/* What it keeps of others is no matter. */
static void caches__stay_where_the_thread_has_none_of_the_heap(void **state) {
  (void)state;
  test_thread_run(hold_some, NULL);
  cache_some(NULL);
  uint64_t kept = cached(NULL);
  (void)hak_collect(g_heaps[0], SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(cached(NULL), kept);
  CHECK_EQ(hak_check(NULL), 0);
}

/* What a serial heap keeps is whoever's has it, who names it. */
static void caches__of_a_serial_heap_go_if_it_is_named(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(HAK_HEAP_SERIAL, NULL, NULL);
  cache_some(heap);
  uint64_t kept = cached(heap);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  (void)hak_collect(heap, SIZE_MAX, 0);
  CHECK_EQ(cached(heap), kept);
  (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(cached(heap), 0);
}

/* Who works at a heap has its lease: no collection of all heaps waits for it. */
static void heap__that_somebody_works_at_is_left_out(void **state) {
  (void)state;
  cache_some(g_heaps[0]);
  cache_some(g_heaps[1]);
  hak_heap_t *heap = hak_heap_record(g_heaps[0]);
  uint64_t kept = cached(g_heaps[0]);
  hak_heap_lease(heap);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(!hak_heap_try_lease(heap));
  CHECK_EQ(cached(g_heaps[0]), kept);
  CHECK_EQ(cached(g_heaps[1]), 0);
  hak_heap_unlease(heap);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(cached(g_heaps[0]), 0);
}

/* Each call does a part, and what the default heap keeps is not in the way of the rest.
 */
static void calls__that_do_a_part_come_to_all_heaps(void **state) {
  (void)state;
  enum {
    SLABS = 4096
  };
  test_set(HAK_OPTION_COLLECT_SLABS, SLABS);
  for (size_t i = 1; i <= 8; i++) cache_of_size(NULL, 200 * i);
  cache_some(g_heaps[0]);
  (void)hak_collect(NULL, SIZE_MAX, 0);
  test_pass_ms(2 * DECAY_MS);
  uint64_t all = cached(NULL), of_heap = cached(g_heaps[0]);
  (void)hak_collect(NULL, SIZE_MAX, 0);
  (void)hak_collect(NULL, SIZE_MAX, 0);
  CHECK(cached(NULL) > all / 2);
  CHECK(cached(g_heaps[0]) < of_heap / 4);
  /* Where all is wanted it is no matter whose turn it is. */
  (void)hak_collect(NULL, SIZE_MAX, 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(cached(NULL), 0);
}

/* However little each may do: what is due of caches would stay due for good. */
static void calls__that_do_very_little_come_to_the_end_of_caches(void **state) {
  (void)state;
  test_set(HAK_OPTION_COLLECT_SLABS, 32);
  for (size_t i = 1; i <= 8; i++) cache_of_size(NULL, 200 * i);
  cache_some(g_heaps[0]);
  (void)hak_collect(NULL, SIZE_MAX, 0);
  test_pass_ms(2 * DECAY_MS);
  CHECK(cached(NULL) > 0 && cached(g_heaps[0]) > 0);
  for (size_t calls = 0; cached(NULL) + cached(g_heaps[0]) > 0; calls++) {
    CHECK(calls < 1000);
    test_pass_ms(DECAY_MS / 2);
    (void)hak_collect(NULL, SIZE_MAX, 0);
  }
}

static int refuse(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  (void)ptr;
  (void)size;
  return ENOMEM;
}

/* A heap has old memory that its hooks do not take back: looks at it take all that a call
 * may do, and caches come to their end all the same. */
static void calls__that_look_at_what_is_refused_come_to_caches_too(void **state) {
  (void)state;
  hak_os_t os = *hak_os_default();
  os.purge = refuse;
  hak_heap_t *refused = test_heap_make((hak_heap_config_t){.os = &os});
  leave_slots(refused);
  test_set(HAK_OPTION_COLLECT_SLABS, 32);
  cache_some(NULL);
  cache_some(g_heaps[0]);
  (void)hak_collect(NULL, SIZE_MAX, 0);
  test_pass_ms(2 * DECAY_MS);
  for (size_t calls = 0; cached(NULL) + cached(g_heaps[0]) > 0; calls++) {
    CHECK(calls < 1000);
    test_pass_ms(DECAY_MS / 2);
    (void)hak_collect(NULL, SIZE_MAX, 0);
  }
  CHECK_EQ(hak_heap_destroy(refused), 0);
}

/* --- records ---------------------------------------------------------------------------
 */

/* Bytes of records that are resident. */
static uint64_t records(void) { return test_stats().metadata_bytes; }

static void records__go_if_all_is_wanted_of_the_process(void **state) {
  (void)state;
  leave_records();
  uint64_t before = records();
  (void)hak_collect(g_heaps[0], SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(records(), before);
  (void)hak_collect(NULL, SIZE_MAX, 0);
  CHECK_EQ(records(), before);
  /* While another thread is at them they stay. */
  CHECK(hak_threads_try_memory());
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  before = records(); /* those of regions may have gone */
  CHECK(!hak_threads_try_memory());
  hak_threads_end_memory();
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(records() < before);
}

/* --- pages of free blocks
 * --------------------------------------------------------------- */

/* Most blocks of the heap are free, and each slab has some that are not. */
static void leave_holes(hak_heap_t *heap) {
  enum {
    COUNT = 3000,
    KEPT = 40
  };
  static void *blocks[COUNT];
  for (int i = 0; i < COUNT; i++) CHECK((blocks[i] = hak_heap_alloc(heap, SIZE)) != NULL);
  for (int i = 0; i < COUNT; i++) {
    if (i % KEPT != 0) hak_free(blocks[i]);
  }
  hak_thread_idle();
}

static uint64_t holes(void) { return test_stats().hole_bytes; }

static void holes_and_tails__go_where_all_is_wanted(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) leave_holes(g_heaps[i]);
  leave_holes(NULL);
  leave_tails(NULL);
  leave_tails(g_heaps[0]);
  uint64_t tails = test_stats().class_waste_bytes;
  (void)hak_collect(NULL, SIZE_MAX, 0);
  test_pass_ms(DECAY_MS);
  for (int i = 0; i < 2; i++) { /* the thread is quiet the second time */
    (void)hak_collect(g_heaps[0], SIZE_MAX, 0);
    (void)hak_collect(hak_heap_default(), SIZE_MAX, 0);
    test_pass_ms(DECAY_MS);
  }
  CHECK_EQ(holes(), 0);
  CHECK_EQ(test_stats().class_waste_bytes, tails);
  leave_slots(NULL);
  hak_thread_idle();
  /* Not beyond what was asked for. */
  for (int i = 0; i < 2; i++) {
    hak_heap_t *heap = i == 0 ? hak_heap_default() : NULL;
    size_t given = hak_collect(heap, SLAB + 1, HAK_COLLECT_ALL);
    CHECK_MSG(given > SLAB + 1 && given <= 2 * SLAB && holes() == 0, "%d: %zu, %llu", i,
              given, (unsigned long long)holes());
  }
  /* Each heap has about as many. */
  (void)hak_collect(g_heaps[0], SIZE_MAX, HAK_COLLECT_ALL);
  uint64_t one = holes();
  CHECK(one > 0);
  (void)hak_collect(hak_heap_default(), SIZE_MAX, HAK_COLLECT_ALL);
  uint64_t two = holes();
  CHECK(two > one && two - one < one + one / 4);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(holes() > two + one / 2);
  CHECK(test_stats().class_waste_bytes < tails);
}

/* Whoever asks need not have called for long. */
static void due__is_told_by_the_time_that_it_is_now(void **state) {
  (void)state;
  leave_holes(NULL);
  (void)hak_collect(NULL, SIZE_MAX, 0);
  int due = hak_purge_due();
  CHECK(due > 1);
  test_pass_ms(1);
  CHECK_EQ(hak_purge_due(), due - 1);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, begin, end)
TEST_MAIN_FRESH(CASE(collect__stops_at_whatever_reaches_its_bound),
                CASE(collect__of_what_is_due_stops_at_its_bound),
                CASE(regions__stay_where_the_bound_is_reached),
                CASE(collect__of_one_heap_leaves_the_others_alone),
                CASE(caches__of_a_thread_go_when_it_has_been_quiet_for_a_decay),
                CASE(caches__that_threads_share_go_where_all_is_wanted),
                CASE(caches__stay_where_the_thread_has_none_of_the_heap),
                CASE(caches__of_a_serial_heap_go_if_it_is_named),
                CASE(heap__that_somebody_works_at_is_left_out),
                CASE(calls__that_do_a_part_come_to_all_heaps),
                CASE(calls__that_do_very_little_come_to_the_end_of_caches),
                CASE(calls__that_look_at_what_is_refused_come_to_caches_too),
                CASE(records__go_if_all_is_wanted_of_the_process),
                CASE(due__is_told_by_the_time_that_it_is_now),
                CASE(holes_and_tails__go_where_all_is_wanted))
