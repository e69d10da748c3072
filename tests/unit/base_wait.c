/* base_wait.c - a wait spins, yields, and sleeps in the end; a word that changes wakes
 * who waits for it. */
#include "threads.h"

#include <errno.h>

#include "base/wait.h"

enum {
  BEFORE_SLEEP = 80, /* steps that spin or yield */
  STEPS_AT_MOST = 85 /* the count stays there, and so does the time of a step */
};

static double seconds_of(unsigned *rounds, unsigned steps) {
  double begun = test_seconds();
  for (unsigned i = 0; i < steps; i++) hak_wait_step(rounds);
  return test_seconds() - begun;
}

static void steps__come_to_sleep_a_millisecond_at_most(void **state) {
  (void)state;
  unsigned rounds = 0;
  errno = TEST_ERRNO;
  for (unsigned i = 1; i <= BEFORE_SLEEP; i++) {
    hak_wait_step(&rounds);
    CHECK_EQ(rounds, i);
  }
  for (unsigned i = 0; i < 10; i++) hak_wait_step(&rounds);
  CHECK_EQ(rounds, STEPS_AT_MOST);
  CHECK(seconds_of(&rounds, 20) >= 20 * 0.001); /* sleeps are never shorter */
  CHECK_EQ(rounds, STEPS_AT_MOST);
  CHECK_EQ(errno, TEST_ERRNO);
}

static void word__that_is_another_is_not_waited_for(void **state) {
  (void)state;
  hak_atomic_u32_t word = 5;
  errno = TEST_ERRNO;
  for (int i = 0; i < 1000; i++) hak_wait_on(&word, 4);
  hak_wake_one(&word); /* nobody is there */
  CHECK_EQ(errno, TEST_ERRNO);
}

enum {
  TURNS = 2000
};
static hak_atomic_u32_t g_word;

/* Each makes the word odd or even, and waits until the other has made it the opposite. */
static void *answer(void *ctx) {
  for (uint32_t turn = 0; turn < TURNS; turn++) {
    while (hak_load_acquire(&g_word) != 2 * turn + 1) hak_wait_on(&g_word, 2 * turn);
    hak_store_release(&g_word, 2 * turn + 2);
    hak_wake_one(&g_word);
  }
  return ctx;
}

static void word__wakes_who_waits_each_time_it_changes(void **state) {
  (void)state;
  pthread_t thread;
  test_threads_begin(&thread, 1, answer, NULL);
  for (uint32_t turn = 0; turn < TURNS; turn++) {
    hak_store_release(&g_word, 2 * turn + 1);
    hak_wake_one(&g_word);
    while (hak_load_acquire(&g_word) != 2 * turn + 2) hak_wait_on(&g_word, 2 * turn + 1);
  }
  test_threads_end(&thread, 1);
  CHECK_EQ(hak_load_relaxed(&g_word), 2 * TURNS);
}

TEST_MAIN_FRESH(T(steps__come_to_sleep_a_millisecond_at_most),
                T(word__that_is_another_is_not_waited_for),
                T(word__wakes_who_waits_each_time_it_changes))
