/* heap_maintenance.c - the library's own thread: calls that meet a change, what keeps it
 * from work, what it asks itself, and the end of the code that it runs. */
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "heap/give_up.h"
#include "heap/hole_sweep.h"
#include "heap/lifecycle.h"
#include "heap/maintenance.h"
#include "heap/stay.h"

enum {
  PERIOD_NS = 1234567 /* nobody else sleeps for so long */
};

/* What the library tells others of the thread. */
static const hak_companion_t *g_companion;
static void (*g_before_unload)(void);
void __real_hak_lifecycle_accompany(const hak_companion_t *by);
void __wrap_hak_lifecycle_accompany(const hak_companion_t *by);
void __wrap_hak_lifecycle_accompany(const hak_companion_t *by) {
  g_companion = by;
  __real_hak_lifecycle_accompany(by);
}
void __real_hak_sys_thread_before_unload(void (*fn)(void));
void __wrap_hak_sys_thread_before_unload(void (*fn)(void));
void __wrap_hak_sys_thread_before_unload(void (*fn)(void)) {
  g_before_unload = fn;
  __real_hak_sys_thread_before_unload(fn);
}

/* Called once: while the thread begins, while it is waited for, and in the thread, where
 * it sleeps and where it works. */
typedef void (*call_t)(void);
static _Atomic(call_t) g_amid_begin, g_amid_end, g_asleep, g_at_work;
static sem_t g_slept, g_worked;
static atomic_uint g_works;

static void call(_Atomic(call_t) *what) {
  call_t now = atomic_exchange(what, NULL);
  if (now != NULL) now();
}
int __real_hak_sys_thread_begin(uint64_t *thread, const char *name, void *(*fn)(void *));
int __wrap_hak_sys_thread_begin(uint64_t *thread, const char *name, void *(*fn)(void *));
int __wrap_hak_sys_thread_begin(uint64_t *thread, const char *name, void *(*fn)(void *)) {
  call(&g_amid_begin);
  return __real_hak_sys_thread_begin(thread, name, fn);
}
void __real_hak_sys_thread_join(uint64_t thread);
void __wrap_hak_sys_thread_join(uint64_t thread);
void __wrap_hak_sys_thread_join(uint64_t thread) {
  call(&g_amid_end);
  __real_hak_sys_thread_join(thread);
}
bool __real_hak_sys_wait_for(hak_atomic_u32_t *word, uint32_t value, uint64_t ns);
bool __wrap_hak_sys_wait_for(hak_atomic_u32_t *word, uint32_t value, uint64_t ns);
bool __wrap_hak_sys_wait_for(hak_atomic_u32_t *word, uint32_t value, uint64_t ns) {
  if (ns == PERIOD_NS) {
    call(&g_asleep);
    sem_post(&g_slept);
  }
  return __real_hak_sys_wait_for(word, value, ns);
}
/* Only that thread asks, and each time that it works. */
static bool g_unused, g_holes;
static atomic_uint g_given_up;
bool __wrap_hak_give_up_unused_is_time(void);
bool __wrap_hak_give_up_unused_is_time(void) { return g_unused; }
bool __wrap_hak_hole_sweep_is_time(void);
bool __wrap_hak_hole_sweep_is_time(void) {
  call(&g_at_work);
  atomic_fetch_add(&g_works, 1);
  sem_post(&g_worked);
  return g_holes;
}
void __real_hak_give_up_unused(hak_thread_t *me);
void __wrap_hak_give_up_unused(hak_thread_t *me);
void __wrap_hak_give_up_unused(hak_thread_t *me) {
  atomic_fetch_add(&g_given_up, 1);
  __real_hak_give_up_unused(me);
}

/* So many more times. It never takes as long as is waited here. */
static void await(sem_t *what, int times) {
  struct timespec end;
  CHECK_EQ(clock_gettime(CLOCK_REALTIME, &end), 0);
  end.tv_sec += 20;
  while (sem_trywait(what) == 0) {}
  for (int i = 0; i < times; i++) CHECK_EQ(sem_timedwait(what, &end), 0);
}
/* What it may have been at is over after the first, and the second comes after a look
 * whether it may work. */
static bool is_idle(void) {
  await(&g_slept, 2);
  unsigned before = atomic_load(&g_works);
  await(&g_slept, 3);
  return atomic_load(&g_works) == before;
}

static void prepare(void) {
  hak_free(hak_alloc(100));
  CHECK_EQ(sem_init(&g_slept, 0, 0), 0);
  CHECK_EQ(sem_init(&g_worked, 0, 0), 0);
}
static void begin(void) {
  prepare();
  CHECK_EQ(hak_maintenance_begin(PERIOD_NS), 0);
  await(&g_worked, 2);
}
static void end(void) {
  CHECK_EQ(hak_maintenance_end(), 0);
  CHECK_EQ(hak_maintenance_end(), EINVAL);
  CHECK_EQ(hak_check(NULL), 0);
}

static void change_amid_change(void) {
  CHECK_EQ(hak_maintenance_begin(PERIOD_NS), EBUSY);
  CHECK_EQ(hak_maintenance_end(), EBUSY);
}

TEST_IN_CHILD(changes__amid_another_are_refused, 60) {
  g_amid_begin = g_amid_end = change_amid_change;
  begin();
  CHECK_EQ(hak_maintenance_begin(PERIOD_NS), EALREADY);
  end();
  CHECK(g_amid_begin == NULL && g_amid_end == NULL);
}

static void shut_down_amid_change(void) {
  CHECK(g_companion->pause());
  g_before_unload();
}

/* A shutdown that begins then, and what an unload does then, leave it alone. */
TEST_IN_CHILD(thread__that_begins_is_not_paused, 60) {
  g_amid_begin = shut_down_amid_change;
  begin();
  end();
}

TEST_IN_CHILD(thread__does_nothing_while_it_is_paused, 60) {
  begin();
  CHECK(g_companion->pause());
  CHECK(is_idle());
  g_companion->resume();
  await(&g_worked, 2);
  end();
}

TEST_IN_CHILD(thread__does_nothing_while_the_library_does_not_run, 60) {
  begin();
  hak_stays_close();
  CHECK(is_idle());
  hak_stays_open();
  await(&g_worked, 2);
  end();
}

static sem_t g_there, g_go_on;
static void wait_there(void) {
  sem_post(&g_there);
  while (sem_wait(&g_go_on) != 0) {}
}

TEST_IN_CHILD(thread__that_does_not_come_out_is_not_paused, 60) {
  CHECK(sem_init(&g_there, 0, 0) == 0 && sem_init(&g_go_on, 0, 0) == 0);
  begin();
  g_at_work = wait_there;
  await(&g_there, 1);
  CHECK(!g_companion->pause());
  sem_post(&g_go_on);
  await(&g_worked, 2);
  end();
}

static void ask_in_thread(void) {
  CHECK(!g_companion->pause());
  CHECK_EQ(hak_maintenance_end(), EDEADLK);
  g_before_unload();
}

TEST_IN_CHILD(thread__neither_pauses_nor_ends_itself, 60) {
  begin();
  g_asleep = ask_in_thread;
  await(&g_worked, 3);
  CHECK(g_asleep == NULL);
  end();
}

/* The child has the thread that forked, and that is not the library's there. */
static void fork_in_thread(void) {
  pid_t child = test_fork();
  if (child == 0) {
    CHECK_EQ(hak_maintenance_end(), EINVAL);
    CHECK(g_companion->pause());
    _exit(0);
  }
  test_fork_end(child);
}

TEST_IN_CHILD(thread__that_forks_is_no_thread_of_the_library_in_the_child, 60) {
  begin();
  g_asleep = fork_in_thread;
  await(&g_worked, 3);
  CHECK(g_asleep == NULL);
  end();
}

TEST_IN_CHILD(unload__ends_the_thread_if_there_is_one, 60) {
  begin();
  g_before_unload();
  CHECK_EQ(hak_maintenance_end(), EINVAL);
  g_before_unload();
  CHECK_EQ(hak_maintenance_end(), EINVAL);
  begin();
  end();
}

TEST_IN_CHILD(thread__gives_up_unused_heaps_when_it_is_time, 60) {
  g_holes = true;
  begin();
  CHECK_EQ(hak_maintenance_end(), 0);
  CHECK_EQ(atomic_load(&g_given_up), 0);
  g_unused = true;
  begin();
  end();
  CHECK(atomic_load(&g_given_up) != 0);
}

TEST_MAIN(T(changes__amid_another_are_refused), T(thread__that_begins_is_not_paused),
          T(thread__does_nothing_while_it_is_paused),
          T(thread__does_nothing_while_the_library_does_not_run),
          T(thread__that_does_not_come_out_is_not_paused),
          T(thread__neither_pauses_nor_ends_itself),
          T(thread__that_forks_is_no_thread_of_the_library_in_the_child),
          T(unload__ends_the_thread_if_there_is_one),
          T(thread__gives_up_unused_heaps_when_it_is_time))
