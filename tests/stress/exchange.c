/* exchange.c - many threads, every tier, blocks that change threads; every byte of
 * every block is verified before it goes.
 *
 *   exchange [<threads> <phases> <operations per thread and phase>]
 */
#include "child.h"
#include "parcel.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS 512
#define MAX_THREADS 128

static unsigned g_threads = 8, g_phases = 5;
static size_t g_operations = 80000;

static _Atomic(void *) g_exchange[SLOTS];
static pthread_barrier_t g_phase_end;
/* Bytes in blocks of more than 64 KiB, so that a machine's memory is enough. */
static atomic_size_t g_large_bytes;
#define MOST_LARGE_BYTES ((size_t)512 << 20)

typedef struct worker {
  unsigned index;
  bool leaves; /* detaches, idles and comes back on the way */
  void *mine[256];
} worker_t;

static size_t draw_size(test_rng_t *rng) {
  size_t most = 40 * KIB;
  if (atomic_load_explicit(&g_large_bytes, memory_order_relaxed) < MOST_LARGE_BYTES) {
    uint64_t draw = test_below(rng, 4000);
    most = draw == 0 ? 24 * MIB : draw < 8 ? 2 * MIB : draw < 60 ? 200 * KIB : most;
  }
  return test_random_size(rng, most);
}

static void account(const void *parcel, bool comes) {
  size_t size = parcel == NULL ? 0 : parcel_size(parcel);
  if (size > 64 * KIB && comes) {
    atomic_fetch_add(&g_large_bytes, size);
  } else if (size > 64 * KIB) {
    atomic_fetch_sub(&g_large_bytes, size);
  }
}

static void drop(void *parcel) {
  account(parcel, false);
  parcel_free(parcel);
}

static void step(worker_t *me, test_rng_t *rng) {
  void **slot = &me->mine[test_below(rng, TEST_COUNT(me->mine))];
  uint64_t draw = test_below(rng, 100);
  if (draw < 45) {
    drop(*slot);
    *slot = parcel_make(rng, draw_size(rng));
    account(*slot, true);
  } else if (draw < 60) {
    drop(*slot);
    *slot = NULL;
  } else if (draw < 68 && *slot != NULL) {
    account(*slot, false);
    *slot = parcel_resize(rng, *slot, draw_size(rng));
    account(*slot, true);
  } else if (draw < 95) {
    *slot = atomic_exchange(&g_exchange[test_below(rng, SLOTS)], *slot);
  } else if (draw < 98 && *slot != NULL) {
    parcel_verify(*slot);
  } else if (draw == 99) {
    /* A wave of one small size, freed at once: whole slabs come and go. */
    void *wave[200];
    size_t size = 8 + (size_t)test_below(rng, 600);
    for (size_t i = 0; i < TEST_COUNT(wave); i++) {
      wave[i] = parcel_make(rng, size);
    }
    for (size_t i = 0; i < TEST_COUNT(wave); i++) {
      parcel_free(wave[i]);
    }
  }
  if (me->leaves && test_below(rng, 2000) == 0) {
    switch (test_below(rng, 3)) {
      case 0:
        hak_thread_idle();
        break;
      case 1:
        hak_thread_exit();
        break;
      default:
        (void)hak_collect(NULL, MIB, 0);
        break;
    }
  }
}

static void *work(void *argument) {
  worker_t *me = argument;
  test_rng_t rng = test_rng(test_seed(), me->index);
  for (unsigned phase = 0; phase < g_phases; phase++) {
    for (size_t i = 0; i < g_operations; i++) {
      step(me, &rng);
    }
    /* Between the phases one thread walks all invariants while all are quiet. */
    if (pthread_barrier_wait(&g_phase_end) == PTHREAD_BARRIER_SERIAL_THREAD) {
      CHECK_EQ(hak_check(NULL), 0);
    }
    pthread_barrier_wait(&g_phase_end);
  }
  for (size_t i = 0; i < TEST_COUNT(me->mine); i++) {
    drop(me->mine[i]);
  }
  return NULL;
}

static void expect_nothing_live(void) {
  for (size_t i = 0; i < SLOTS; i++) {
    drop(atomic_exchange(&g_exchange[i], NULL));
  }
  CHECK_EQ(atomic_load(&g_large_bytes), 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(test_live_bytes(), 0);
}

static void run_workers(unsigned threads, bool leaves) {
  static worker_t workers[MAX_THREADS];
  pthread_t ids[MAX_THREADS];
  memset(workers, 0, sizeof workers);
  pthread_barrier_init(&g_phase_end, NULL, threads);
  for (unsigned i = 0; i < threads; i++) {
    workers[i].index = i;
    workers[i].leaves = leaves;
    CHECK_EQ(pthread_create(&ids[i], NULL, work, &workers[i]), 0);
  }
  test_threads_end(ids, threads);
  pthread_barrier_destroy(&g_phase_end);
}

TEST_IN_CHILD(threads__exchange_blocks_of_all_tiers, 3600) {
  test_start();
  hak_free(hak_alloc(1));
  run_workers(g_threads, false);
  expect_nothing_live();
  run_workers(g_threads, true);
  expect_nothing_live();
  CHECK_EQ(test_stats().threads, 1);
}

TEST_IN_CHILD(threads__beyond_the_number_with_caches_work_without, 3600) {
  CHECK_EQ(hak_option_set(HAK_OPTION_MAX_THREADS, 2), 0);
  test_start();
  hak_free(hak_alloc(1));
  g_operations /= 2;
  run_workers(g_threads, true);
  expect_nothing_live();
  run_workers(g_threads, false);
  expect_nothing_live();
}

/* Whole slabs fill and empty; a free list is then flushed while other threads need slabs.
 */
static void *waves(void *argument) {
  test_rng_t rng = test_rng(test_seed(), *(unsigned *)argument);
  for (size_t round = 0; round < g_operations / 40; round++) {
    void *wave[200];
    size_t size = 256 << test_below(&rng, 3);
    for (size_t i = 0; i < TEST_COUNT(wave); i++) {
      wave[i] = parcel_make(&rng, size);
    }
    for (size_t i = 0; i < TEST_COUNT(wave); i++) {
      parcel_free(wave[i]);
    }
    hak_thread_idle();
  }
  return NULL;
}

TEST_IN_CHILD(slabs__that_a_flush_empties_serve_others_at_once, 3600) {
  enum {
    THREADS = 4
  };
  test_start();
  pthread_t ids[THREADS];
  unsigned numbers[THREADS];
  for (unsigned i = 0; i < THREADS; i++) {
    numbers[i] = i;
    CHECK_EQ(pthread_create(&ids[i], NULL, waves, &numbers[i]), 0);
  }
  test_threads_end(ids, THREADS);
  expect_nothing_live();
}

static int extreme_options_child(void *ctx) {
  int which = *(int *)ctx;
  test_start();
#define HAK_OPTION(id, env, def, min, max, doc) {HAK_OPTION_##id, min, max},
  static const struct {
    hak_option_t option;
    int64_t min, max;
  } all[] = {
#include <hakmem/options.def>
  };
#undef HAK_OPTION
  for (size_t i = 0; i < TEST_COUNT(all); i++) {
    if (all[i].option != HAK_OPTION_MAX_THREADS &&
        all[i].option != HAK_OPTION_PREWARM_BYTES) {
      CHECK_EQ(hak_option_set(all[i].option, which == 0 ? all[i].min : all[i].max), 0);
    }
  }
  g_operations /= 2;
  run_workers(g_threads, true);
  expect_nothing_live();
  return 0;
}

static void threads__exchange_blocks_with_all_options_at_their_ends(void **state) {
  (void)state;
  for (int which = 0; which < 2; which++) {
    test_child_must_succeed(extreme_options_child, &which, 3600);
  }
}

/* ---- Beside other threads' work --------------------------------------- */

static atomic_bool g_stop;

static void discard(const char *text, size_t length, void *ctx) {
  (void)text;
  *(size_t *)ctx += length;
}

static bool visit_nothing(hak_heap_t *heap, void *ctx) {
  (void)ctx;
  return heap != NULL;
}

/* Looks at everything and turns every knob, a thousand times a second or so. */
static void *meddle(void *argument) {
  (void)argument;
  test_rng_t rng = test_rng(test_seed(), 1000);
  size_t written = 0;
  while (!atomic_load(&g_stop)) {
    hak_stats_t stats = test_stats();
    CHECK(stats.live_bytes < (uint64_t)1 << 40);
    CHECK(stats.live_blocks < (uint64_t)1 << 32);
    switch (test_below(&rng, 8)) {
      case 0:
        (void)hak_collect(NULL, (size_t)test_below(&rng, 8 * MIB), 0);
        break;
      case 1:
        CHECK_EQ(hak_check(NULL), 0);
        break;
      case 2:
        CHECK_EQ(hak_stats_print(NULL, HAK_FORMAT_JSON, discard, &written), 0);
        break;
      case 3:
        CHECK_EQ(hak_visit_heaps(visit_nothing, NULL), 0);
        break;
      case 4:
        CHECK_EQ(
            hak_option_set(HAK_OPTION_RETAIN_BYTES, (int64_t)test_below(&rng, 16 * MIB)),
            0);
        break;
      case 5:
        CHECK_EQ(
            hak_option_set(HAK_OPTION_BIN_BLOCKS, 4 + (int64_t)test_below(&rng, 200)), 0);
        break;
      case 6:
        CHECK_EQ(
            hak_option_set(HAK_OPTION_TRANSFER_MAGAZINES, (int64_t)test_below(&rng, 17)),
            0);
        break;
      default:
        CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, (int64_t)test_below(&rng, 3)),
                 0);
        break;
    }
    struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
  }
  return NULL;
}

TEST_IN_CHILD(statistics_checks_and_options__beside_mutators_are_safe, 3600) {
  test_start();
  pthread_t meddler;
  CHECK_EQ(pthread_create(&meddler, NULL, meddle, NULL), 0);
  run_workers(g_threads, true);
  /* Counts are exact only once nobody is inside the library. */
  atomic_store(&g_stop, true);
  pthread_join(meddler, NULL);
  expect_nothing_live();
}

int main(int argc, char **argv) {
  test_begin();
  g_operations = test_scale(g_operations);
  if (argc == 4) {
    g_threads = (unsigned)atoi(argv[1]);
    g_phases = (unsigned)atoi(argv[2]);
    g_operations = (size_t)atol(argv[3]);
    CHECK(g_threads >= 1 && g_threads <= MAX_THREADS);
  }
  test_print_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads__exchange_blocks_of_all_tiers),
      cmocka_unit_test(slabs__that_a_flush_empties_serve_others_at_once),
      cmocka_unit_test(threads__beyond_the_number_with_caches_work_without),
      cmocka_unit_test(threads__exchange_blocks_with_all_options_at_their_ends),
      cmocka_unit_test(statistics_checks_and_options__beside_mutators_are_safe),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
