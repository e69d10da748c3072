/* api_guarded_beside.c - guarded blocks beside threads, in forks, and where the system
 * refuses. */
#include "child.h"
#include "guard.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "os/os.h"
#include "pages/meta.h"

/* --- the system's refusals: linked with --wrap=mprotect and --wrap=munmap --------------
 */

static atomic_bool g_keep; /* nothing is unmapped */

int __real_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size) {
  if (!atomic_load(&g_keep)) return __real_munmap(address, size);
  errno = ENOMEM;
  return -1;
}

static atomic_int g_calls, g_fail_from, g_fail_count, g_delay_us;

int __real_mprotect(void *address, size_t size, int protection);
int __wrap_mprotect(void *address, size_t size, int protection);
int __wrap_mprotect(void *address, size_t size, int protection) {
  int call = atomic_fetch_add(&g_calls, 1), from = atomic_load(&g_fail_from);
  if (from != 0 && call + 1 >= from && call + 1 < from + atomic_load(&g_fail_count)) {
    errno = ENOMEM;
    return -1;
  }
  if (atomic_load(&g_delay_us) != 0) usleep((useconds_t)atomic_load(&g_delay_us));
  return __real_mprotect(address, size, protection);
}

static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* --- beside others --------------------------------------------------------------------
 */

enum {
  THREADS = 4,
  PLACES = 32
};
static _Atomic(char *) g_places[PLACES];

/* Blocks change hands: whoever finds one frees it. */
static void *exchange(void *number) {
  test_rng_t rng = test_rng(test_seed(), (uint64_t)(uintptr_t)number);
  size_t count = test_scale(5000);
  for (size_t i = 0; i < count; i++) {
    size_t size = 1 + test_below(&rng, 5000);
    char *block = hak_alloc(size);
    CHECK(block != NULL);
    block[0] = 1;
    block[size - 1] = 1;
    hak_free(atomic_exchange(&g_places[test_below(&rng, PLACES)], block));
  }
  return NULL;
}
TEST_IN_CHILD(threads__allocate_and_free_each_others_blocks, 120) {
  pthread_t threads[THREADS];
  for (int64_t mean = 1; mean <= 100; mean *= 10) {
    test_guard(mean);
    test_threads_begin_numbered(threads, THREADS, exchange);
    CHECK_EQ(hak_check(NULL), 0);
    test_threads_end(threads, THREADS);
    for (size_t i = 0; i < PLACES; i++) hak_free(atomic_exchange(&g_places[i], NULL));
    CHECK_EQ(test_live_blocks(), 0);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

static atomic_bool g_stop;
static void *churn(void *ctx) {
  (void)ctx;
  while (!atomic_load(&g_stop)) hak_free(hak_alloc(100));
  return NULL;
}
static size_t cells_passing(void) {
  const char *base = (const char *)(uintptr_t)hak_load_relaxed(&hak_cells_base);
  size_t passing = 0;
  for (size_t i = 0; i < HAK_CELLS; i++) {
    hak_cell_facts_t facts;
    passing += hak_cell_look(base + i * HAK_SUPERSLAB_SIZE, &facts) == HAK_CELL_PASSING;
  }
  return passing;
}
TEST_IN_CHILD(fork__leaves_both_with_their_blocks, 120) {
  pthread_t threads[2];
  test_guard(1);
  char *block = hak_alloc(100);
  memset(block, 5, 100);
  test_threads_begin(threads, 2, churn, NULL);
  for (size_t i = 0; i < test_scale(50); i++) {
    pid_t child = test_fork();
    if (child == 0) {
      CHECK(block[99] == 5);
      hak_free(block);
      /* None stays with a thread that was about to take it at the fork. */
      CHECK_EQ(cells_passing(), 0);
      for (size_t k = 0; k < TEST_GUARDED_MOST; k++) {
        char *own = hak_alloc(200);
        CHECK(own != NULL && test_is_guarded(own));
        own[199] = 1;
        hak_free(own);
      }
      CHECK_EQ(hak_check(NULL), 0);
      _exit(0);
    }
    test_fork_end(child);
  }
  atomic_store(&g_stop, true);
  test_threads_end(threads, 2);
  CHECK(block[99] == 5);
  hak_free(block);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* --- where the system refuses ---------------------------------------------------------
 */

static void use_much(void) {
  char *blocks[40];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(1 + i * 100);
    /* A hardened build has no memory at all without guards around it. */
    if (TEST_CHECKS >= 3 && blocks[i] == NULL) continue;
    CHECK(blocks[i] != NULL);
    memset(blocks[i], 1, 1 + i * 100);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(refusals__leave_ordinary_blocks, 120) {
  for (int from = 1; from < 100; from += from < 12 ? 1 : 17) {
    for (int count = 1; count < 1000; count *= 30) {
      atomic_store(&g_calls, 0);
      atomic_store(&g_fail_count, count);
      atomic_store(&g_fail_from, from);
      test_guard(1);
      use_much();
      atomic_store(&g_fail_from, 0);
      use_much();
      /* What was not emptied when it was closed is cleared before it serves again. */
      for (int i = 0; i < 300; i++) {
        char *block = hak_calloc(1, 2000);
        CHECK(block != NULL && test_is_zero(block, 2000));
        hak_free(block);
      }
      CHECK_EQ(hak_shutdown(0), 0);
    }
  }
}

TEST_IN_CHILD(address_space__that_is_short_leaves_ordinary_blocks, 60) {
  if (TEST_ASAN || TEST_TSAN) return; /* they need more themselves */
  hak_free(hak_alloc(1));
  struct rlimit limit = {.rlim_cur = 300 * MIB, .rlim_max = RLIM_INFINITY};
  CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  test_guard(1);
  for (int i = 0; i < 1000; i++) {
    char *block = hak_alloc(1000);
    CHECK(block != NULL && !test_is_guarded(block));
    hak_free(block);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

/* What the system did not take back serves the next run, as memory that may be touched
 * wherever it was guarded. */
TEST_IN_CHILD(range__that_the_system_keeps_may_be_touched_by_the_next_run, 60) {
  for (int round = 0; round < 3; round++) {
    test_guard(1);
    use_much();
    atomic_store(&g_keep, true);
    CHECK_EQ(hak_shutdown(0), 0);
    atomic_store(&g_keep, false);
    test_guard(0);
    for (size_t size = 100; size < 1000 * MIB; size *= 8) {
      char *block = hak_alloc(size);
      CHECK(block != NULL);
      for (size_t i = 0; i < size; i += page()) block[i] = 1;
      hak_free(block);
    }
    use_much();
    CHECK_EQ(hak_shutdown(0), 0);
  }
}

TEST_IN_CHILD(cells__are_asked_for_again_where_they_could_not_be_had, 60) {
  if (TEST_ASAN || TEST_TSAN) return; /* they need more themselves */
  hak_free(hak_alloc(1));
  test_guard(1);
  /* Nothing may be asked of the system now: that is no refusal. */
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  void *block = hak_alloc(100);
  CHECK(block == NULL || !test_is_guarded(block));
  hak_os_leave(before);
  hak_free(block);
  block = hak_alloc(9000); /* no bin has one */
  CHECK(test_is_guarded(block));
  hak_free(block);
  CHECK_EQ(hak_shutdown(0), 0);
  struct rlimit all, limit;
  CHECK_EQ(getrlimit(RLIMIT_AS, &all), 0);
  limit = (struct rlimit){.rlim_cur = 300 * MIB, .rlim_max = all.rlim_max};
  test_guard(1);
  CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  uint64_t records = 0;
  for (int i = 0; i < 1000; i++) {
    CHECK(!test_is_guarded(hak_alloc(9000)));
    if (i == 10) records = hak_load_relaxed(&hak_meta_committed);
  }
  CHECK(hak_load_relaxed(&hak_meta_committed) < records + 100 * KIB);
  CHECK_EQ(setrlimit(RLIMIT_AS, &all), 0);
  int i = 0;
  while (!test_is_guarded(hak_alloc(9000))) CHECK(i++ < 3000);
}

/* --- threads that are first at once ---------------------------------------------------
 */

static pthread_barrier_t g_ready, g_counted;
static void *be_first(void *ctx) {
  hak_free(hak_alloc(100)); /* the thread has a state */
  pthread_barrier_wait(&g_ready);
  pthread_barrier_wait(&g_counted);
  for (int i = 0; i < 10; i++) hak_free(hak_alloc(9000));
  return ctx;
}
TEST_IN_CHILD(cells__are_made_by_one_thread, 60) {
  enum {
    MANY = 16
  };
  pthread_t threads[MANY];
  pthread_barrier_init(&g_ready, NULL, MANY + 1);
  pthread_barrier_init(&g_counted, NULL, MANY + 1);
  for (int round = 0; round < 5; round++) {
    test_guard(0);
    test_threads_begin(threads, MANY, be_first, NULL);
    pthread_barrier_wait(&g_ready);
    uint64_t before = hak_load_relaxed(&hak_meta_committed);
    atomic_store(&g_delay_us, 1000); /* the others come meanwhile */
    test_guard(1);
    pthread_barrier_wait(&g_counted);
    test_threads_end(threads, MANY);
    atomic_store(&g_delay_us, 0);
    uint64_t after = hak_load_relaxed(&hak_meta_committed);
    CHECK(after < before + HAK_CELLS * sizeof(hak_cell_t) + 128 * KIB);
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(hak_shutdown(0), 0);
  }
}

/* --- two frees at once ----------------------------------------------------------------
 */

static char *g_twice;
static void *free_twice(void *rounds) {
  for (size_t i = 0; i < *(size_t *)rounds; i++) {
    pthread_barrier_wait(&g_ready);
    hak_free(g_twice);
    pthread_barrier_wait(&g_counted);
  }
  return NULL;
}
TEST_IN_CHILD(double_free__by_two_threads_at_once_is_one_too_many, 60) {
  pthread_t threads[2];
  size_t rounds = test_scale(3000);
  test_guard(1);
  pthread_barrier_init(&g_ready, NULL, 3);
  pthread_barrier_init(&g_counted, NULL, 3);
  test_reports_begin();
  test_threads_begin(threads, 2, free_twice, &rounds);
  for (size_t i = 0; i < rounds; i++) {
    g_twice = hak_alloc(100);
    CHECK(test_is_guarded(g_twice));
    pthread_barrier_wait(&g_ready);
    pthread_barrier_wait(&g_counted);
  }
  test_threads_end(threads, 2);
  CHECK_EQ(g_reports.count, rounds);
  hak_set_error_handler(NULL, NULL);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN(T(threads__allocate_and_free_each_others_blocks),
          T(fork__leaves_both_with_their_blocks), T(refusals__leave_ordinary_blocks),
          T(address_space__that_is_short_leaves_ordinary_blocks),
          T(range__that_the_system_keeps_may_be_touched_by_the_next_run),
          T(cells__are_asked_for_again_where_they_could_not_be_had),
          T(cells__are_made_by_one_thread),
          T(double_free__by_two_threads_at_once_is_one_too_many))
