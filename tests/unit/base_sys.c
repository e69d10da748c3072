/* base_sys.c - what a port promises for threads and the process: sleepers that are woken,
 * functions that run as a thread ends and around a fork, the environment, the report. */
#include "child.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "os/maps.h"
#include "os/memory.h"

enum {
  THREADS = 8
};

/* --- waiting --------------------------------------------------------------------- */

static void wait__returns_at_once_where_the_word_is_another(void **state) {
  (void)state;
  hak_atomic_u32_t word = 1;
  errno = TEST_ERRNO;
  hak_sys_wait(&word, 2); /* a hang is a failure */
  hak_sys_wake(&word);
  hak_sys_yield();
  hak_sys_has_one_processor();
  CHECK_EQ(errno, TEST_ERRNO);
}

static hak_atomic_u32_t g_word, g_asleep;

static void *sleeper_main(void *argument) {
  (void)argument;
  errno = TEST_ERRNO;
  hak_add_relaxed(&g_asleep, 1);
  while (hak_load_relaxed(&g_word) == 0) {
    if (!hak_sys_wait(&g_word, 0)) hak_sys_yield();
  }
  CHECK_EQ(errno, TEST_ERRNO);
  return NULL;
}

static void wake__lets_each_sleeper_go_on(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  hak_store_relaxed(&g_word, 0);
  for (int i = 0; i < THREADS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, sleeper_main, NULL), 0);
  }
  while (hak_load_relaxed(&g_asleep) < THREADS) hak_sys_yield();
  hak_sys_sleep(20000000);
  hak_store_relaxed(&g_word, 1);
  for (int i = 0; i < THREADS; i++) hak_sys_wake(&g_word);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void sleep__takes_the_time_that_it_was_given(void **state) {
  (void)state;
  errno = TEST_ERRNO;
  double start = test_seconds();
  hak_sys_sleep(20000000);
  CHECK(test_seconds() - start > 0.015);
  CHECK_EQ(errno, TEST_ERRNO);
}

/* --- the end of a thread --------------------------------------------------------- */

static void count_map(const hak_code_map_t *map, void *ctx) {
  (void)map;
  ++*(int *)ctx;
  hak_sys_sleep(1000);
}
static void *nothing_main(void *argument) { return argument; }

/* Would end at the first call that lets it. */
static void *cancelled_main(void *argument) {
  hak_atomic_u32_t word = 1;
  uint64_t random[4], thread;
  int maps = 0;
  CHECK_EQ(pthread_cancel(pthread_self()), 0);
  hak_memory_is_huge_unasked();
  hak_sys_sleep(1000);
  hak_sys_wait(&word, 2);
  hak_sys_wait_for(&word, 1, 1000);
  hak_sys_wake(&word);
  hak_sys_yield();
  hak_sys_has_one_processor();
  hak_sys_write("cancelled\n", 10);
  hak_sys_random(random, TEST_COUNT(random));
  hak_sys_entropy();
  hak_code_maps(count_map, &maps);
  CHECK(maps > 0);
  CHECK_EQ(hak_sys_thread_begin(&thread, "nothing", nothing_main), 0);
  hak_sys_thread_join(thread);
  CHECK_EQ(hak_sys_thread_begin(&thread, "nothing", nothing_main), 0);
  CHECK(hak_sys_thread_join_within(thread, 60000000000u));
  CHECK(!hak_sys_thread_is_last()); /* the first one is there */
  *(bool *)argument = true;
  /* AddressSanitizer takes frames that a cancelled thread has left for live ones. */
  if (TEST_ASAN) pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  pthread_testcancel(); /* what was forbidden is allowed again */
  *(bool *)argument = TEST_ASAN;
  return PTHREAD_CANCELED;
}

static void cancelled__thread_is_ended_by_none_of_these(void **state) {
  (void)state;
  bool came_through = false;
  pthread_t thread;
  void *end;
  CHECK_EQ(pthread_create(&thread, NULL, cancelled_main, &came_through), 0);
  CHECK_EQ(pthread_join(thread, &end), 0);
  CHECK(came_through);
  CHECK(end == PTHREAD_CANCELED);
}

static hak_atomic_u32_t g_ended, g_wrong;
static _Thread_local void *t_mine;

static void at_end(void *state) {
  hak_add_relaxed(state == t_mine ? &g_ended : &g_wrong, 1);
}

typedef enum way {
  SETS,
  SETS_TWICE,
  SETS_AND_TAKES_BACK,
  SETS_NOTHING
} way_t;

static void *ending_main(void *argument) {
  static char first, last;
  way_t way = *(way_t *)argument;
  t_mine = &last;
  if (way == SETS_TWICE) CHECK(hak_sys_thread_end_set(&first));
  if (way != SETS_NOTHING) CHECK(hak_sys_thread_end_set(&last));
  if (way == SETS_AND_TAKES_BACK) CHECK(hak_sys_thread_end_set(NULL));
  return NULL;
}

static void end_threads(way_t way) {
  pthread_t threads[THREADS];
  hak_store_relaxed(&g_ended, 0);
  for (int i = 0; i < THREADS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, ending_main, &way), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(hak_load_relaxed(&g_wrong), 0);
}

static void thread_end__is_told_what_the_thread_set_last(void **state) {
  (void)state;
  CHECK(hak_sys_thread_end_start(at_end));
  CHECK(hak_sys_thread_end_start(at_end)); /* is started already */
  end_threads(SETS);
  CHECK_EQ(hak_load_relaxed(&g_ended), THREADS);
  end_threads(SETS_TWICE);
  CHECK_EQ(hak_load_relaxed(&g_ended), THREADS);
  hak_sys_thread_end_stop();
}

static void thread_end__is_not_told_of_threads_that_set_nothing(void **state) {
  (void)state;
  CHECK(hak_sys_thread_end_start(at_end));
  end_threads(SETS_AND_TAKES_BACK);
  CHECK_EQ(hak_load_relaxed(&g_ended), 0);
  end_threads(SETS_NOTHING);
  CHECK_EQ(hak_load_relaxed(&g_ended), 0);
  hak_sys_thread_end_stop();
}

static hak_atomic_u32_t g_may_end;

static void *late_main(void *argument) {
  CHECK(hak_sys_thread_end_set(argument));
  hak_add_release(&g_asleep, 1); /* pairs with the test's acquire */
  while (hak_load_relaxed(&g_may_end) == 0) hak_sys_yield();
  return NULL;
}

static void thread_end__is_told_nothing_after_a_stop(void **state) {
  (void)state;
  CHECK(!hak_sys_thread_end_set(&g_ended)); /* before a start */
  CHECK(hak_sys_thread_end_start(at_end));
  hak_store_relaxed(&g_ended, 0);
  hak_store_relaxed(&g_asleep, 0);
  pthread_t late;
  CHECK_EQ(pthread_create(&late, NULL, late_main, &g_ended), 0);
  while (hak_load_acquire(&g_asleep) == 0) hak_sys_yield();
  hak_sys_thread_end_stop();
  hak_sys_thread_end_stop(); /* is stopped already */
  CHECK(!hak_sys_thread_end_set(&g_ended));
  hak_store_relaxed(&g_may_end, 1);
  pthread_join(late, NULL);
  CHECK_EQ(hak_load_relaxed(&g_ended) + hak_load_relaxed(&g_wrong), 0);
  /* A second start serves as well as the first. */
  CHECK(hak_sys_thread_end_start(at_end));
  end_threads(SETS);
  CHECK_EQ(hak_load_relaxed(&g_ended), THREADS);
  hak_sys_thread_end_stop();
}

/* --- the process ------------------------------------------------------------------- */

static uint64_t g_process;
static int g_prepared, g_in_parent, g_in_child;

static void prepare(void) { g_prepared++; }
static void parent(void) { g_in_parent += g_prepared; }
static void child(void) { g_in_child += g_prepared; }

static void fork__runs_the_functions_around_it_and_changes_the_process(void **state) {
  (void)state;
  g_process = hak_sys_process();
  CHECK_EQ(hak_sys_process(), g_process);
  CHECK(hak_sys_at_fork(prepare, parent, child));
  pid_t pid = fork();
  if (pid == 0) {
    bool ok = g_prepared == 1 && g_in_parent == 0 && g_in_child == 1;
    _exit(ok && hak_sys_process() != g_process ? 0 : 1);
  }
  int status = -1;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, 0);
  CHECK(g_prepared == 1 && g_in_parent == 1 && g_in_child == 0);
  CHECK_EQ(hak_sys_process(), g_process);
}

static bool g_is_first; /* of its space of process numbers, as its parent of another */

pid_t __real_getpid(void);
pid_t __wrap_getpid(void);
pid_t __wrap_getpid(void) { return g_is_first ? 1 : __real_getpid(); }

static void process__is_another_in_a_child_with_the_same_number(void **state) {
  (void)state;
  g_is_first = true;
  uint64_t number = hak_sys_process();
  pid_t child = fork();
  if (child == 0) {
    uint64_t mine = hak_sys_process();
    child = fork();
    if (child == 0) _exit(hak_sys_process() != mine && mine != number ? 0 : 1);
    int end = -1;
    _exit(waitpid(child, &end, 0) == child && end == 0 ? 0 : 1);
  }
  g_is_first = false;
  int status = -1;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK(number >> 47 == 0);
}

static char g_order[16]; /* the functions below, as they ran */

static void note(char which) {
  size_t length = strlen(g_order);
  CHECK(length + 1 < sizeof g_order);
  g_order[length] = which;
}
static void prepare_noted(void) { note('p'); }
static void after_noted(void) { note('q'); }
static void others_before(void) { note('b'); }
static void others_after(void) { note('a'); }

/* Those of the library's are registered as the object is loaded. */
static int fork_among_others(void *late) {
  CHECK_EQ(pthread_atfork(others_before, others_after, others_after), 0);
  CHECK(hak_sys_at_fork(prepare_noted, after_noted, after_noted));
  CHECK(hak_sys_at_fork(prepare_noted, after_noted, after_noted)); /* nothing changes */
  if (late != NULL) hak_sys_fork_after_others();
  const char *expected = late != NULL ? "pbaq" : "bpqa";
  for (int i = 0; i < 2; i++) {
    memset(g_order, 0, sizeof g_order);
    pid_t child = test_fork();
    CHECK(strcmp(g_order, expected) == 0);
    if (child == 0) _exit(0);
    test_fork_end(child);
  }
  return 0;
}

static void fork__comes_next_to_the_functions_unless_they_are_to_be_late(void **state) {
  (void)state;
  bool late = true;
  test_child_must_succeed(fork_among_others, NULL, 20);
  test_child_must_succeed(fork_among_others, &late, 20);
}

static bool g_secure; /* as in a program with more rights than who starts it */

unsigned long __real_getauxval(unsigned long type);
unsigned long __wrap_getauxval(unsigned long type);
unsigned long __wrap_getauxval(unsigned long type) {
  return type == AT_SECURE && g_secure ? 1 : __real_getauxval(type);
}

static int g_found, g_variables;

static void look(const char *variable, bool arg) {
  CHECK(arg);
  g_variables++;
  if (strcmp(variable, "SYS_FIRST=1 = one") == 0) g_found++;
  if (strcmp(variable, "SYS_EMPTY=") == 0) g_found++;
}

static void environment__is_told_variable_by_variable(void **state) {
  (void)state;
  CHECK_EQ(setenv("SYS_FIRST", "1 = one", 1), 0);
  CHECK_EQ(setenv("SYS_EMPTY", "", 1), 0);
  hak_sys_environment(look, true);
  CHECK_EQ(g_found, 2);
  int before = g_variables;
  g_secure = true;
  hak_sys_environment(look, true);
  g_secure = false;
  CHECK_EQ(g_variables, before);
  unsetenv("SYS_FIRST");
  unsetenv("SYS_EMPTY");
  hak_sys_environment(look, true);
  CHECK_EQ(g_found, 2);
  CHECK_EQ(g_variables - before, before - 2);
  clearenv(); /* may leave no list at all */
  hak_sys_environment(look, true);
}

static int last_words(void *ctx) {
  (void)ctx;
  errno = TEST_ERRNO;
  hak_sys_write("some last ", 10);
  hak_sys_write("words and more", 5);
  CHECK_EQ(errno, TEST_ERRNO);
  close(STDERR_FILENO);
  hak_sys_write("nobody hears", 12);
  CHECK_EQ(errno, TEST_ERRNO);
  hak_sys_abort();
}

static void write__is_heard_before_the_process_aborts(void **state) {
  (void)state;
  test_child_must_abort(last_words, NULL, "some last words", NULL);
}

static void entropy__differs_from_call_to_call(void **state) {
  (void)state;
  uint64_t first = hak_sys_entropy();
  hak_sys_sleep(1000000);
  CHECK(hak_sys_entropy() != first);
}

TEST_MAIN_FRESH(T(wait__returns_at_once_where_the_word_is_another),
                T(wake__lets_each_sleeper_go_on),
                T(sleep__takes_the_time_that_it_was_given),
                T(cancelled__thread_is_ended_by_none_of_these),
                T(thread_end__is_told_what_the_thread_set_last),
                T(thread_end__is_not_told_of_threads_that_set_nothing),
                T(thread_end__is_told_nothing_after_a_stop),
                T(fork__comes_next_to_the_functions_unless_they_are_to_be_late),
                T(fork__runs_the_functions_around_it_and_changes_the_process),
                T(process__is_another_in_a_child_with_the_same_number),
                T(environment__is_told_variable_by_variable),
                T(write__is_heard_before_the_process_aborts),
                T(entropy__differs_from_call_to_call))
