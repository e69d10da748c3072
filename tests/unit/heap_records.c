/* heap_records.c - memory of records that wait for the next heap or thread: it stays for
 * a decay, then goes but for what may stay, a few records a call, and what is needed
 * meanwhile stays. Each case has a library of its own, whose clock goes on when it is
 * told to. */
#include "child.h"
#include "clock.h"
#include "support.h"
#include "threads.h"

#include <pthread.h>

#include "heap/records.h"
#include "os/os.h"
#include "pages/idle.h"
#include "pages/meta.h"

enum {
  DECAY_MS = 1000,
  RETAIN = 256 * KIB,
  HEAPS = 64, /* with more than twice that in their records */
  STATES = 24
};

static hak_heap_t *g_heaps[HEAPS];

static int purge(void *ctx, void *ptr, size_t size) {
  return hak_os_default()->purge(ctx, ptr, size);
}

static int begin_with(hak_os_t *os) {
  os->now_ns = test_clock_ns;
  test_set(HAK_OPTION_PURGE_SURPLUS, 0);
  test_set(HAK_OPTION_RETAIN_BYTES, RETAIN);
  test_set(HAK_OPTION_RETAIN_SHARE, 0);
  test_set(HAK_OPTION_HEAP_CACHE_AFTER, 0);
  test_set(HAK_OPTION_LEARN, 0);
  test_set(HAK_OPTION_SAMPLE_BYTES, 0);
  test_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS);
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = os};
  CHECK_EQ(hak_init(&config), 0);
  test_pass_ms(DECAY_MS); /* since what another case looked at */
  return 0;
}

static int begin(void **state) {
  (void)state;
  hak_os_t os = *hak_os_default();
  return begin_with(&os);
}

static int end(void **state) {
  (void)state;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK_EQ(hak_load_relaxed(&hak_idle_records), 0);
  return 0;
}

static uint64_t committed(void) { return hak_load_relaxed(&hak_meta_committed); }
static uint64_t waiting(void) { return hak_load_relaxed(&hak_idle_records); }

/* So many heaps at once, each of which has been used. */
static void make_heaps(size_t count, uint32_t flags) {
  for (size_t i = 0; i < count; i++) {
    g_heaps[i] = test_heap_make((hak_heap_config_t){.flags = flags});
    CHECK(hak_heap_alloc(g_heaps[i], 100) != NULL);
  }
}

static void end_heaps(size_t count) {
  for (size_t i = 0; i < count; i++) CHECK_EQ(hak_heap_destroy(g_heaps[i]), 0);
}

static void come_and_go(size_t count, uint32_t flags) {
  make_heaps(count, flags);
  end_heaps(count);
}

/* What is due by now. A call of hak_collect takes all after a decay without refills. */
static void give_due(void) {
  (void)hak_purge_due(); /* brings the coarse clock up to date */
  do {
    size_t looks = SIZE_MAX;
    (void)hak_records_give(SIZE_MAX, &looks, false);
  } while (hak_records_due_in() == 0);
}

/* The first look begins to count, after which all of a decay has to pass. */
static void pass_decay(void) {
  give_due();
  test_pass_ms(DECAY_MS);
  give_due();
}

static void heaps__leave_what_may_stay_after_a_decay(void **state) {
  (void)state;
  come_and_go(HEAPS, 0);
  uint64_t before = committed(), idle = waiting();
  CHECK(idle > 2 * RETAIN);
  give_due();
  test_pass_ms(DECAY_MS - 1);
  give_due();
  CHECK_EQ(committed(), before);
  test_pass_ms(1);
  give_due();
  CHECK(waiting() <= RETAIN && waiting() > RETAIN / 2);
  CHECK(before - committed() >= idle - waiting());
  pass_decay();
  CHECK(waiting() > RETAIN / 2);
  /* They serve again as if nothing had been. */
  make_heaps(HEAPS, 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(waiting(), 0);
  end_heaps(HEAPS);
}

static void serial_heaps__leave_what_they_cached_too(void **state) {
  (void)state;
  come_and_go(HEAPS, HAK_HEAP_SERIAL);
  uint64_t before = committed(), idle = waiting();
  pass_decay();
  CHECK(waiting() <= RETAIN && idle > 3 * RETAIN);
  CHECK(before - committed() >= idle - waiting());
  make_heaps(HEAPS, HAK_HEAP_SERIAL);
  CHECK_EQ(waiting(), 0);
  end_heaps(HEAPS);
}

static pthread_barrier_t g_all;

static void idle__gives_back_what_is_due(void **state) {
  (void)state;
  come_and_go(HEAPS, 0);
  hak_thread_idle();
  test_pass_ms(DECAY_MS - 1);
  hak_thread_idle();
  CHECK(waiting() > 2 * RETAIN);
  test_pass_ms(1);
  hak_thread_idle();
  CHECK(waiting() <= RETAIN && waiting() > RETAIN / 2);
  CHECK_EQ(hak_purge_due(), -1);
}

static void *attach(void *ctx) {
  (void)ctx;
  hak_free(hak_alloc(100));
  pthread_barrier_wait(&g_all);
  return NULL;
}

static void threads__leave_what_may_stay_after_a_decay(void **state) {
  (void)state;
  pthread_t threads[STATES];
  test_set(HAK_OPTION_RETAIN_BYTES, 0);
  CHECK_EQ(pthread_barrier_init(&g_all, NULL, STATES), 0);
  test_threads_begin(threads, STATES, attach, NULL);
  test_threads_end(threads, STATES);
  uint64_t before = committed();
  CHECK(waiting() > 0);
  give_due();
  CHECK_EQ(committed(), before);
  test_pass_ms(DECAY_MS);
  give_due();
  CHECK_EQ(waiting(), 0);
  CHECK(before - committed() >= STATES * 8 * KIB);
  test_threads_begin(threads, STATES, attach, NULL);
  test_threads_end(threads, STATES);
  CHECK_EQ(committed(), before);
}

/* A program that makes and ends heaps all the time needs their records. */
static void records__needed_within_a_decay_stay(void **state) {
  (void)state;
  come_and_go(HEAPS, 0);
  uint64_t before = committed();
  give_due();
  for (int i = 0; i < 4; i++) {
    test_pass_ms(DECAY_MS / 2);
    come_and_go(HEAPS, 0);
    give_due();
  }
  CHECK_EQ(committed(), before);
}

static void records__not_needed_within_a_decay_go_alone(void **state) {
  (void)state;
  come_and_go(HEAPS, 0);
  give_due();
  come_and_go(HEAPS / 2, 0);
  uint64_t idle = waiting();
  test_pass_ms(DECAY_MS);
  give_due();
  CHECK(waiting() < idle && waiting() >= idle / 2);
}

static void due__says_when_some_go(void **state) {
  (void)state;
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_records_due_in(), UINT64_MAX);
  come_and_go(HEAPS, 0);
  test_pass_ms(DECAY_MS);
  give_due();
  CHECK_EQ(hak_records_due_in(), DECAY_MS * UINT64_C(1000000));
  int ms = hak_purge_due();
  CHECK(ms >= 0 && ms <= DECAY_MS);
  test_pass_ms(DECAY_MS);
  CHECK_EQ(hak_purge_due(), 0);
  CHECK_EQ(hak_records_due_in(), 0);
  give_due();
  CHECK_EQ(hak_records_due_in(), UINT64_MAX);
}

/* Refills give back a few each, whatever else is idle. */
static void calls__give_back_a_few_records_each(void **state) {
  (void)state;
  enum {
    BLOCKS = 2000,
    SIZE = 4096
  };
  static void *blocks[BLOCKS];
  come_and_go(HEAPS, 0);
  give_due();
  test_pass_ms(DECAY_MS);
  uint64_t last = waiting(), most = 0;
  for (size_t i = 0; i < BLOCKS; i++) {
    CHECK((blocks[i] = hak_alloc(SIZE)) != NULL);
    test_pass_ms(DECAY_MS / 16);
    if (last - waiting() > most) most = last - waiting();
    last = waiting();
  }
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  CHECK(most > 0 && most <= 8 * 32 * KIB);
  CHECK(waiting() <= RETAIN);
}

static void *use_heaps(void *ctx) {
  (void)ctx;
  for (size_t i = 0; i < HEAPS; i++) hak_free(hak_heap_alloc(g_heaps[i], 100));
  pthread_barrier_wait(&g_all);
  return NULL;
}

/* What threads keep for heaps that are no more counts as much as records do: with many
 * threads one record would take a call of the system for each of them. */
static void calls__give_back_a_few_caches_each(void **state) {
  (void)state;
  enum {
    LOOKS = 8
  };
  pthread_t threads[STATES];
  CHECK_EQ(pthread_barrier_init(&g_all, NULL, STATES + 1), 0);
  make_heaps(HEAPS, 0);
  test_threads_begin(threads, STATES, use_heaps, NULL);
  pthread_barrier_wait(&g_all);
  test_threads_end(threads, STATES);
  end_heaps(HEAPS);
  give_due();
  test_pass_ms(DECAY_MS);
  (void)hak_purge_due();
  uint64_t before = committed();
  for (size_t calls = 0; hak_records_due_in() == 0; calls++) {
    CHECK(calls < HEAPS * (STATES + 2));
    uint64_t purges = hak_load_relaxed(&hak_os_counts.purge);
    size_t looks = LOOKS;
    CHECK(hak_records_give(SIZE_MAX, &looks, false) > 0);
    CHECK(hak_load_relaxed(&hak_os_counts.purge) - purges <= LOOKS);
  }
  CHECK(waiting() <= RETAIN);
  CHECK(before - committed() > 16 * KIB * STATES);
}

/* A part of what is due goes, and the rest with the next call. */
static void give__goes_on_where_it_was(void **state) {
  (void)state;
  come_and_go(HEAPS, 0);
  give_due();
  test_pass_ms(DECAY_MS);
  (void)hak_purge_due();
  uint64_t idle = waiting();
  /* A record goes after what threads have cached of its heap. */
  size_t looks = 1, first = hak_records_give(SIZE_MAX, &looks, false);
  CHECK(first > 0 && looks == 0);
  CHECK_EQ(waiting(), idle);
  looks = 2;
  first = hak_records_give(SIZE_MAX, &looks, false);
  CHECK(first > 0 && looks == 0);
  uint64_t one = idle - waiting();
  CHECK(one > 0);
  CHECK(one <= first); /* with what this thread had cached of that heap */
  looks = SIZE_MAX;
  CHECK_EQ(hak_records_give(1, &looks, false), first);
  CHECK_EQ(hak_records_due_in(), 0);
  looks = SIZE_MAX;
  size_t rest = hak_records_give(SIZE_MAX, &looks, false);
  CHECK(rest > first && waiting() < idle - 2 * one);
  CHECK(idle - waiting() <= 2 * first + rest);
}

/* What the system does not take is offered a decay later, not with each call. */
static void give__tries_what_is_refused_a_decay_later(void **state) {
  (void)state;
  come_and_go(HEAPS, 0);
  uint64_t before = waiting();
  give_due();
  test_pass_ms(DECAY_MS);
  (void)hak_purge_due();
  size_t looks = SIZE_MAX;
  hak_os_scope_t scope = hak_os_enter(HAK_OS_BARRED);
  CHECK_EQ(hak_records_give(SIZE_MAX, &looks, false), 0);
  hak_os_leave(scope);
  CHECK_EQ(waiting(), before);
  CHECK_EQ(hak_records_due_in(), DECAY_MS * UINT64_C(1000000));
  test_pass_ms(DECAY_MS);
  give_due();
  CHECK(waiting() <= RETAIN);
}

/* Hooks that do not promise zeroes keep records for good: nothing is ever due. */
static void hooks__of_the_programs_keep_all(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  hak_os_t os = *hak_os_default();
  os.purge = purge;
  begin_with(&os);
  come_and_go(HEAPS, 0);
  uint64_t before = committed();
  CHECK_EQ(hak_records_due_in(), UINT64_MAX);
  pass_decay();
  CHECK_EQ(committed(), before);
}

static int child(void *ctx) {
  (void)ctx;
  uint64_t states = waiting();
  CHECK_EQ(hak_check(NULL), 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(states > 0);
  CHECK_EQ(waiting(), 0);
  return 0;
}

/* Whether a state waits is asked anew there. */
static void child__counts_what_waits_anew(void **state) {
  (void)state;
  pthread_t threads[STATES];
  CHECK_EQ(pthread_barrier_init(&g_all, NULL, STATES), 0);
  test_threads_begin(threads, STATES, attach, NULL);
  test_threads_end(threads, STATES);
  come_and_go(HEAPS, HAK_HEAP_SERIAL);
  test_child_must_succeed(child, NULL, 60);
}

#define R(function) cmocka_unit_test_setup_teardown(function, begin, end)

TEST_MAIN_FRESH(R(heaps__leave_what_may_stay_after_a_decay),
                R(serial_heaps__leave_what_they_cached_too),
                R(idle__gives_back_what_is_due),
                R(threads__leave_what_may_stay_after_a_decay),
                R(records__needed_within_a_decay_stay),
                R(records__not_needed_within_a_decay_go_alone), R(due__says_when_some_go),
                R(calls__give_back_a_few_records_each),
                R(calls__give_back_a_few_caches_each), R(give__goes_on_where_it_was),
                R(give__tries_what_is_refused_a_decay_later),
                R(hooks__of_the_programs_keep_all), R(child__counts_what_waits_anew))
