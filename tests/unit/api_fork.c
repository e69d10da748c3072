/* api_fork.c - fork while other threads are inside the library. */
#include "child.h"
#include "strict_os.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHURNERS 4

typedef struct churn {
  atomic_bool stop;
  _Atomic(void *) exchange[64];
} churn_t;

static churn_t g_churn;

/* Allocates, frees and passes blocks on: refills, spills and remote frees are
 * under way at any moment. */
static void *churn_thread(void *argument) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)argument);
  void *mine[200] = {0};
  for (unsigned i = 0; !atomic_load(&g_churn.stop); i++) {
    size_t at = (size_t)test_below(&rng, TEST_COUNT(mine));
    hak_free(mine[at]);
    mine[at] = hak_alloc(test_random_size(&rng, i % 50 == 0 ? 300 * KIB : 2000));
    size_t slot = (size_t)test_below(&rng, TEST_COUNT(g_churn.exchange));
    mine[at] = atomic_exchange(&g_churn.exchange[slot], mine[at]);
    if (i % 5000 == 0) {
      hak_thread_idle();
    }
  }
  for (size_t i = 0; i < TEST_COUNT(mine); i++) {
    hak_free(mine[i]);
  }
  return NULL;
}

/* What a child does with the memory that it inherited and with its own. */
static void use_in_child(unsigned char *inherited) {
  CHECK(test_verify(inherited, 5000, 77));
  hak_free(inherited);
  for (size_t i = 0; i < TEST_COUNT(g_churn.exchange); i++) {
    hak_free(atomic_exchange(&g_churn.exchange[i], NULL));
  }
  test_rng_t rng = test_rng(test_seed(), 99);
  void *blocks[300] = {0};
  for (int i = 0; i < 3000; i++) {
    size_t at = (size_t)test_below(&rng, TEST_COUNT(blocks));
    if (blocks[at] != NULL) {
      CHECK(test_verify(blocks[at], 24, at));
    }
    hak_free(blocks[at]);
    blocks[at] = hak_alloc(24 + test_random_size(&rng, 100 * KIB));
    CHECK(blocks[at] != NULL);
    test_fill(blocks[at], 24, at);
  }
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_check(NULL), 0);
}

/* False if the child did not end well in time. */
static bool await(pid_t pid, int *status) {
  double deadline = test_seconds() + (TEST_TSAN || TEST_ASAN ? 60 : 15);
  while (waitpid(pid, status, WNOHANG) == 0) {
    if (test_seconds() > deadline) {
      kill(pid, SIGKILL);
      waitpid(pid, status, 0);
      return false;
    }
    usleep(200);
  }
  return true;
}

static int fork_many(bool by_hand) {
  pthread_t threads[CHURNERS];
  for (size_t i = 0; i < CHURNERS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, churn_thread, (void *)(i + 1)), 0);
  }
  size_t forks = test_scale(100);
  for (size_t i = 0; i < forks; i++) {
    unsigned char *block = hak_alloc(5000);
    test_fill(block, 5000, 77);
    if (by_hand) {
      hak_fork_prepare();
    }
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      if (by_hand) {
        hak_fork_child();
      }
      alarm(0);
      use_in_child(block);
      _exit(0);
    }
    if (by_hand) {
      hak_fork_parent();
    }
    int status = 0;
    bool in_time = await(pid, &status);
    CHECK_MSG(in_time, "child %zu hangs", i);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %zu: status 0x%x", i,
              (unsigned)status);
    CHECK(test_verify(block, 5000, 77));
    hak_free(block);
  }
  atomic_store(&g_churn.stop, true);
  test_threads_end(threads, CHURNERS);
  for (size_t i = 0; i < TEST_COUNT(g_churn.exchange); i++) {
    hak_free(atomic_exchange(&g_churn.exchange[i], NULL));
  }
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  return 0;
}

static int automatic_child(void *ctx) {
  (void)ctx;
  test_start();
  hak_free(hak_alloc(1));
  return fork_many(false);
}

static void fork__under_churn_leaves_a_working_child_and_parent(void **state) {
  (void)state;
  test_child_must_succeed(automatic_child, NULL, 120);
}

static int by_hand_child(void *ctx) {
  (void)ctx;
  hak_config_t config = {.struct_size = sizeof config};
  if (test_config() != NULL) {
    config = *test_config();
  }
  config.flags |= HAK_INIT_NO_FORK;
  CHECK_EQ(hak_init(&config), 0);
  return fork_many(true);
}

static void fork__handlers_called_by_hand_do_the_same(void **state) {
  (void)state;
  test_child_must_succeed(by_hand_child, NULL, 120);
}

static pthread_barrier_t g_attached;

static void *stay_attached(void *unused) {
  hak_free(hak_alloc(100));
  pthread_barrier_wait(&g_attached); /* it is there now */
  pthread_barrier_wait(&g_attached); /* forks are over */
  return unused;
}

/* Threads that a child counts, where one more than that which forked was attached. */
static uint64_t threads_in_child(uint32_t flags) {
  hak_config_t config = {.struct_size = sizeof config};
  if (test_config() != NULL) config = *test_config();
  config.flags |= flags;
  CHECK_EQ(hak_init(&config), 0);
  hak_free(hak_alloc(100));
  CHECK_EQ(pthread_barrier_init(&g_attached, NULL, 2), 0);
  pthread_t thread;
  test_threads_begin(&thread, 1, stay_attached, NULL);
  pthread_barrier_wait(&g_attached);
  CHECK_EQ(test_stats().threads, 2);
  pid_t pid = fork();
  if (pid == 0) _exit((int)test_stats().threads);
  int status = 0;
  CHECK(await(pid, &status));
  pthread_barrier_wait(&g_attached);
  test_threads_end(&thread, 1);
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK(WIFEXITED(status));
  return (uint64_t)WEXITSTATUS(status);
}

TEST_IN_CHILD(fork__handlers_are_registered_unless_the_program_says_no, 60) {
  CHECK_EQ(threads_in_child(HAK_INIT_NO_FORK), 2);
  CHECK_EQ(threads_in_child(0), 1);
}

TEST_IN_CHILD(fork__before_first_use_is_nothing_special, 20) {
  /* Neither side has used the library; then both do. */
  hak_fork_prepare();
  hak_fork_parent();
  pid_t pid = fork();
  if (pid == 0) {
    hak_free(hak_alloc(100));
    _exit(hak_check(NULL));
  }
  hak_free(hak_alloc(100));
  int status = 0;
  CHECK(await(pid, &status));
  CHECK_EQ(status, 0);
}

/* ---- While the library starts ----------------------------------------- */

static test_os_t g_os;
static atomic_bool g_starting, g_started;
static void *(*g_reserve)(void *ctx, size_t size, size_t alignment);

/* Says that the start is under way, and takes long enough to be met there. */
static void *slow_reserve(void *ctx, size_t size, size_t alignment) {
  if (!atomic_exchange(&g_starting, true)) {
    usleep(300000);
  }
  return g_reserve(ctx, size, alignment);
}

static void *start_thread(void *argument) {
  (void)argument;
  CHECK_EQ(test_os_init(&g_os), 0);
  hak_free(hak_alloc(100));
  atomic_store(&g_started, true);
  return NULL;
}

TEST_IN_CHILD(fork__while_another_thread_starts_the_library_does_not_hang, 60) {
  test_os_open(&g_os, 0);
  g_reserve = g_os.hooks.reserve;
  g_os.hooks.reserve = slow_reserve;
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, start_thread, NULL), 0);
  /* The child could not join it: a leak, to ThreadSanitizer. */
  CHECK_EQ(pthread_detach(thread), 0);
  while (!atomic_load(&g_starting)) {
    usleep(100);
  }
  pid_t pid = fork();
  if (pid == 0) {
    /* The thread that was starting the library is not in this process, but the fork
     * waited for it to be done: where it had been at something, its lock would be held
     * for good. */
    CHECK_EQ(hak_init(NULL), EALREADY);
    void *block = hak_alloc(100);
    CHECK(block != NULL);
    hak_free(block);
    _exit(hak_check(NULL));
  }
  int status = 0;
  CHECK_MSG(await(pid, &status), "the child waits for a thread that it does not have");
  CHECK_EQ(status, 0);
  while (!atomic_load(&g_started)) usleep(100);
  hak_free(hak_alloc(100));
}

TEST_IN_CHILD(fork__children_may_fork_again, 60) {
  test_start();
  unsigned char *block = hak_alloc(5000);
  test_fill(block, 5000, 77);
  /* Children of children, five deep. */
  for (int depth = 0; depth < 5; depth++) {
    hak_free(hak_alloc(1000 * (size_t)(depth + 1)));
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid != 0) {
      int status = 0;
      CHECK(await(pid, &status));
      CHECK_EQ(status, 0);
      CHECK(test_verify(block, 5000, 77));
      _exit(0);
    }
    CHECK_EQ(test_stats().threads, 1);
  }
  use_in_child(block);
}

static void *block_maker_thread(void *argument) {
  void **blocks = argument;
  for (size_t i = 0; i < 5000; i++) {
    blocks[i] = hak_alloc(64);
    test_fill(blocks[i], 64, i);
  }
  for (size_t i = 0; i < 5000; i += 3) {
    hak_free(blocks[i]);
    blocks[i] = NULL;
  }
  atomic_store(&g_churn.stop, true);
  pause();
  return NULL;
}

TEST_IN_CHILD(fork__blocks_of_threads_that_stayed_behind_can_be_freed, 20) {
  test_start();
  static void *blocks[5000];
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, block_maker_thread, blocks), 0);
  while (!atomic_load(&g_churn.stop)) {
    usleep(100);
  }
  pid_t pid = fork();
  if (pid == 0) {
    /* The maker does not exist here; what it held and cached must serve. */
    for (size_t i = 0; i < 5000; i++) {
      if (blocks[i] != NULL) {
        CHECK(test_verify(blocks[i], 64, i));
        hak_free(blocks[i]);
      }
    }
    CHECK_EQ(test_stats().threads, 1);
    CHECK_EQ(hak_check(NULL), 0);
    _exit(0);
  }
  int status = 0;
  CHECK(await(pid, &status));
  CHECK_EQ(status, 0);
}

/* ---- A thread that is lost inside the library -------------------------- */

#define LOST_BLOCKS 40000

static atomic_bool g_stuck;
static void *g_lost[LOST_BLOCKS];

/* The thread that asks for this much stays here while the other one forks. */
static void *stuck_reserve(void *ctx, size_t size, size_t alignment) {
  if (size >= 100 * MIB) {
    atomic_store(&g_stuck, true);
    while (!atomic_load(&g_churn.stop)) {
      usleep(100);
    }
  }
  return g_reserve(ctx, size, alignment);
}

/* Holds many slabs, most of their blocks free, when it is lost. */
static void *stuck_thread(void *argument) {
  (void)argument;
  for (size_t i = 0; i < LOST_BLOCKS; i++) {
    g_lost[i] = hak_alloc(64);
    test_fill(g_lost[i], 64, i);
  }
  for (size_t i = 0; i < LOST_BLOCKS; i++) {
    if (i % 10 != 0) {
      hak_free(g_lost[i]);
      g_lost[i] = NULL;
    }
  }
  hak_free(hak_alloc(1000)); /* lies in a bin, and is lost */
  hak_free(hak_alloc(100 * MIB));
  return NULL;
}

static void work_without_it(void) {
  static void *blocks[LOST_BLOCKS * 3 / 4];
  hak_stats_t before = test_stats();
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(before.threads, 1);
  CHECK_MSG(before.fork_lost_bytes > 0 && before.fork_lost_bytes < MIB,
            "%llu bytes are said to be lost", (unsigned long long)before.fork_lost_bytes);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK((blocks[i] = hak_alloc(64)) != NULL);
    test_fill(blocks[i], 64, i + 1);
  }
  uint64_t after = test_stats().committed_bytes;
  CHECK_MSG(after <= before.committed_bytes + before.fork_lost_bytes + 256 * KIB,
            "%llu bytes are committed, then %llu",
            (unsigned long long)before.committed_bytes, (unsigned long long)after);
  for (size_t i = 0; i < LOST_BLOCKS; i += 10) {
    CHECK(test_verify(g_lost[i], 64, i));
    hak_free(g_lost[i]);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK(test_verify(blocks[i], 64, i + 1));
    hak_free(blocks[i]);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(fork__slabs_of_a_thread_lost_inside_the_library_serve_on, 60) {
  test_os_open(&g_os, 0);
  g_reserve = g_os.hooks.reserve;
  g_os.hooks.reserve = stuck_reserve;
  CHECK_EQ(test_os_init(&g_os), 0);
  CHECK_EQ(hak_thread_init(), 0);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, stuck_thread, NULL), 0);
  while (!atomic_load(&g_stuck)) {
    usleep(100);
  }
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    work_without_it();
    _exit(0);
  }
  int status = 0;
  CHECK(await(pid, &status));
  CHECK_EQ(status, 0);
  atomic_store(&g_churn.stop, true);
  pthread_join(thread, NULL);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_stats().fork_lost_bytes, 0);
}

TEST_IN_CHILD(fork__prepared_by_hand_too_is_prepared_once, 60) {
  unsigned char *block = hak_alloc(5000);
  CHECK(block != NULL);
  for (int i = 0; i < 3; i++) {
    hak_fork_prepare();
    pid_t pid = fork();
    if (pid == 0) {
      hak_fork_child();
      hak_free(block);
      hak_free(hak_calloc(1, 300 * KIB));
      _exit(hak_check(NULL));
    }
    hak_fork_parent();
    int status = 0;
    CHECK_MSG(await(pid, &status), "the child waits for itself");
    CHECK_EQ(status, 0);
    hak_free(hak_calloc(1, 300 * KIB));
  }
  hak_free(block);
}

TEST_MAIN_FRESH(T(fork__before_first_use_is_nothing_special),
                T(fork__handlers_are_registered_unless_the_program_says_no),
                T(fork__while_another_thread_starts_the_library_does_not_hang),
                T(fork__prepared_by_hand_too_is_prepared_once),
                T(fork__children_may_fork_again),
                T(fork__blocks_of_threads_that_stayed_behind_can_be_freed),
                T(fork__slabs_of_a_thread_lost_inside_the_library_serve_on),
                T(fork__under_churn_leaves_a_working_child_and_parent),
                T(fork__handlers_called_by_hand_do_the_same))
