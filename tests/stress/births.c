/* births.c - threads that come and go: with and without a goodbye, in the middle of
 * handing blocks on, and with work in late destructors.
 *
 *   births [<threads>]
 */
#include "child.h"
#include "parcel.h"
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define AT_ONCE 16
#define LEFT 4096

static size_t g_births = 20000;
static _Atomic(void *) g_left[LEFT];

typedef struct life {
  unsigned number;
} life_t;

/* Takes over blocks of threads that are gone, leaves half of its own behind. */
static void *live_and_die(void *argument) {
  const life_t *life = argument;
  test_rng_t rng = test_rng(test_seed(), life->number);
  void *mine[120];
  for (size_t i = 0; i < TEST_COUNT(mine); i++) {
    mine[i] = parcel_make(&rng, test_random_size(&rng, i == 0 ? 100 * KIB : 3000));
    CHECK(mine[i] != NULL);
  }
  for (size_t i = 0; i < TEST_COUNT(mine); i++) {
    if (i % 2 == 0) {
      mine[i] = atomic_exchange(&g_left[test_below(&rng, LEFT)], mine[i]);
    }
    parcel_free(mine[i]);
  }
  switch (life->number % 4) {
    case 0:
      hak_thread_exit();
      break;
    case 1:
      hak_thread_idle();
      break;
    case 2: /* Says goodbye and comes back for a moment. */
      hak_thread_exit();
      parcel_free(parcel_make(&rng, 100));
      break;
    default:
      break;
  }
  return NULL;
}

static void free_what_is_left(void) {
  for (size_t i = 0; i < LEFT; i++) {
    parcel_free(atomic_exchange(&g_left[i], NULL));
  }
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(test_live_bytes(), 0);
}

static void bear(size_t births, void *(*function)(void *)) {
  pthread_t threads[AT_ONCE];
  life_t lives[AT_ONCE];
  for (size_t born = 0; born < births;) {
    size_t count = births - born < AT_ONCE ? births - born : AT_ONCE;
    for (size_t i = 0; i < count; i++) {
      lives[i].number = (unsigned)(born + i);
      CHECK_EQ(pthread_create(&threads[i], NULL, function, &lives[i]), 0);
    }
    test_threads_end(threads, count);
    born += count;
    if (born % (AT_ONCE * 32) == 0) {
      CHECK_EQ(hak_check(NULL), 0);
    }
  }
}

TEST_IN_CHILD(threads__that_come_and_go_leave_nothing_behind, 3600) {
  test_start();
  hak_free(hak_alloc(1));
  bear(g_births, live_and_die);
  free_what_is_left();
  CHECK_EQ(test_stats().threads, 1);
  CHECK(test_stats().thread_attaches >= g_births);
}

/* ---- Producers and consumers ------------------------------------------ */

#define RING 2048

static struct {
  _Atomic(void *) slot[RING];
  atomic_size_t produced, consumed;
  size_t total;
} g_ring;

/* Slots are taken in no order; what matters is that each parcel arrives once. */
static void *produce(void *argument) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)argument);
  while (atomic_fetch_add(&g_ring.produced, 1) < g_ring.total) {
    void *parcel = parcel_make(&rng, test_random_size(&rng, 2000));
    CHECK(parcel != NULL);
    for (size_t at = (size_t)test_below(&rng, RING);; at = (at + 1) % RING) {
      void *expected = NULL;
      if (atomic_compare_exchange_strong(&g_ring.slot[at], &expected, parcel)) {
        break;
      }
      if (at == 0) {
        sched_yield();
      }
    }
  }
  return NULL;
}

static void *consume(void *argument) {
  (void)argument;
  while (atomic_load(&g_ring.consumed) < g_ring.total) {
    for (size_t at = 0; at < RING; at++) {
      void *parcel = atomic_exchange(&g_ring.slot[at], NULL);
      if (parcel != NULL) {
        parcel_free(parcel);
        atomic_fetch_add(&g_ring.consumed, 1);
      }
    }
    sched_yield();
  }
  return NULL;
}

static void run_pipeline(size_t producers, size_t consumers) {
  pthread_t threads[16];
  memset(&g_ring, 0, sizeof g_ring);
  g_ring.total = test_scale(600000);
  for (size_t i = 0; i < producers + consumers; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, i < producers ? produce : consume,
                            (void *)(i + 1)),
             0);
  }
  for (size_t i = 0; i < producers + consumers; i++) {
    pthread_join(threads[i], NULL);
  }
  free_what_is_left();
}

TEST_IN_CHILD(producers_and_consumers__lose_no_block, 3600) {
  test_start();
  run_pipeline(1, 1);
  run_pipeline(4, 1);
  run_pipeline(1, 4);
  run_pipeline(3, 3);
}

/* ---- Late destructors ------------------------------------------------- */

static pthread_key_t g_keys[3];

/* Comes again in every round that the system grants, so also after the library
 * has said goodbye to the thread. TSan ends its own work in the last round and
 * cannot run code after that. */
static void late_destructor(void *value) {
  static _Thread_local unsigned round;
  void **box = value;
  test_rng_t rng = test_rng(test_seed(), round);
  parcel_free(box[0]);
  box[0] = NULL;
  void *parcel = parcel_make(&rng, 200 + round * 100);
  parcel_free(atomic_exchange(&g_left[test_below(&rng, LEFT)], parcel));
  if (++round < (TEST_TSAN ? 3 : 24)) {
    pthread_setspecific(g_keys[round % 3], box);
  }
}

static void *die_late(void *argument) {
  const life_t *life = argument;
  test_rng_t rng = test_rng(test_seed(), life->number);
  static _Thread_local void *boxes[3];
  /* Some of the keys are older than the library's own, some younger. */
  boxes[0] = parcel_make(&rng, 1000);
  pthread_setspecific(g_keys[life->number % 3], &boxes[0]);
  return NULL;
}

TEST_IN_CHILD(destructors__may_allocate_and_free_to_the_very_end, 600) {
  CHECK_EQ(pthread_key_create(&g_keys[0], late_destructor), 0);
  test_start();
  hak_free(hak_alloc(1));
  CHECK_EQ(pthread_key_create(&g_keys[1], late_destructor), 0);
  CHECK_EQ(pthread_key_create(&g_keys[2], late_destructor), 0);
  bear(test_scale(500), die_late);
  hak_stats_t before = test_stats();
  bear(test_scale(2000), die_late);
  hak_stats_t after = test_stats();
  CHECK_MSG(
      after.committed_bytes <= before.committed_bytes + 16 * test_scale(2000) + 2 * MIB,
      "committed %llu, then %llu", (unsigned long long)before.committed_bytes,
      (unsigned long long)after.committed_bytes);
  CHECK_EQ(after.threads, 1);
  free_what_is_left();
}

static void *touch_and_end(void *argument) {
  const life_t *life = argument;
  hak_free(hak_alloc(16 + life->number % 1000));
  return NULL;
}

/* One after the other: at most 16 bytes may stay of each. */
TEST_IN_CHILD(threads__in_sequence_leave_16_bytes_each_at_most, 600) {
  size_t births = test_scale(8000);
  test_start();
  hak_free(hak_alloc(1));
  bear(500, touch_and_end);
  hak_stats_t before = test_stats();
  life_t life = {0};
  for (size_t i = 0; i < births; i++) {
    pthread_t thread;
    life.number = (unsigned)i;
    CHECK_EQ(pthread_create(&thread, NULL, touch_and_end, &life), 0);
    pthread_join(thread, NULL);
  }
  hak_stats_t after = test_stats();
  CHECK_EQ(after.threads, 1);
  /* And the pages that slabs of classes which came up late are cut from. */
  uint64_t cut = 64 * KIB;
  CHECK_MSG(after.committed_bytes <= before.committed_bytes + births * 16 + cut,
            "committed %llu, then %llu", (unsigned long long)before.committed_bytes,
            (unsigned long long)after.committed_bytes);
  CHECK_EQ(after.reserved_bytes, before.reserved_bytes);
  CHECK_EQ(test_live_blocks(), 0);
}

int main(int argc, char **argv) {
  test_begin();
  g_births = test_argument(argc, argv, 1, test_scale(g_births));
  test_print_seed();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads__that_come_and_go_leave_nothing_behind),
      cmocka_unit_test(producers_and_consumers__lose_no_block),
      cmocka_unit_test(destructors__may_allocate_and_free_to_the_very_end),
      cmocka_unit_test(threads__in_sequence_leave_16_bytes_each_at_most),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
