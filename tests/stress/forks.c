/* forks.c - forks while threads churn blocks and heaps, end, collect and go idle. Each
 * child checks the library, frees what it inherited, ends every heap and works on; so
 * does the parent in the end. What the child cannot have back is counted and bounded.
 *
 *   forks [<forks> <threads>]
 */
#include "child.h"
#include "parcel.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  THREADS_MAX = 64,
  EXCHANGE = 256,
  SHARED_HEAPS = 4,
  HEAPS_MAX = 1024,
  OWN_BLOCKS = 100,
  LEAST_BINS_BYTES = 16 << 20 /* a thread's bins and magazines of a few heaps */
};

static size_t g_forks, g_threads = 8;
static atomic_bool g_stop, g_pause;
static _Atomic(void *) g_exchange[EXCHANGE];
static char g_memory[THREADS_MAX][10 << 20];
static hak_heap_t *g_parent, *g_heaps[SHARED_HEAPS];

/* What children say of themselves. */
static struct notes {
  _Atomic uint64_t children, losers, lost_bytes, lost_most;
} * g_notes;

/* ---- Threads at work -------------------------------------------------- */

static void *make(test_rng_t *rng) {
  uint64_t draw = test_below(rng, 200);
  size_t size = 16 + test_random_size(rng, draw == 0  ? 3 * MIB
                                           : draw < 5 ? 200 * KIB
                                                      : 4000);
  if (test_below(rng, 2) == 0) {
    return parcel_make(rng, size);
  }
  hak_heap_t *heap = g_heaps[test_below(rng, SHARED_HEAPS)];
  void *block = hak_heap_alloc(heap, 64);
  CHECK(block != NULL);
  test_fill(block, 64, 5);
  hak_free(block);
  return parcel_make(rng, size);
}

static void swap(test_rng_t *rng, void **block) {
  *block = atomic_exchange(&g_exchange[test_below(rng, EXCHANGE)], *block);
}

static void *pass_by(void *argument) {
  test_rng_t *rng = argument;
  void *block = make(rng);
  swap(rng, &block);
  parcel_free(block);
  return NULL;
}

/* Called with no lock held, and perhaps at the moment of a fork. */
static int on_pressure(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)needed;
  (void)level;
  void *block = hak_alloc(2000);
  (void)hak_collect(heap, MIB, 0);
  hak_free(block);
  return atomic_fetch_add((atomic_uint *)ctx, 1) % 2 == 0;
}

/* A heap of the thread's own, from beginning to end: with a budget below the parent's,
 * or in memory of the thread's. */
static void use_heap(test_rng_t *rng, size_t thread) {
  static atomic_uint pressed;
  hak_heap_config_t config = {.struct_size = sizeof config,
                              .parent = g_parent,
                              .soft_limit = 400 * KIB,
                              .hard_limit = 600 * KIB,
                              .on_pressure = on_pressure,
                              .ctx = &pressed};
  bool own_memory = test_below(rng, 4) == 0;
  if (own_memory) {
    config = (hak_heap_config_t){
        .struct_size = sizeof config,
        .memory = g_memory[thread],
        /* little, or with whole units */
        .memory_size = test_below(rng, 2) == 0 ? 512 * KIB : sizeof g_memory[0]};
  }
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  for (unsigned round = 0; round < 3; round++) {
    for (size_t i = 0; i < OWN_BLOCKS; i++) {
      void *block = hak_heap_alloc(heap, 1 + test_random_size(rng, 20000));
      if (i % 2 == 0) {
        hak_free(block);
      }
    }
    if (round == 0) {
      CHECK_EQ(hak_heap_reset(heap), 0);
    }
  }
  if (!own_memory && test_below(rng, 3) == 0) {
    CHECK_EQ(hak_heap_reset(heap), 0);
    void *block = hak_heap_alloc(heap, 1000);
    CHECK_EQ(hak_heap_release(heap), 0);
    hak_free(block);
  } else {
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void *churn(void *argument) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)argument);
  void *mine[OWN_BLOCKS] = {NULL};
  while (!atomic_load(&g_stop)) {
    for (unsigned i = 0; i < 100; i++) {
      size_t at = (size_t)test_below(&rng, OWN_BLOCKS);
      parcel_free(mine[at]);
      mine[at] = make(&rng);
      swap(&rng, &mine[at]);
    }
    while (atomic_load(&g_pause)) {
      usleep(200);
    }
    pthread_t passing;
    switch (test_below(&rng, 8)) {
      case 0:
        hak_thread_idle();
        break;
      case 1:
        (void)hak_collect(NULL, MIB, 0);
        break;
      case 2:
        hak_thread_exit();
        break;
      case 3:
        CHECK_EQ(pthread_create(&passing, NULL, pass_by, &rng), 0);
        pthread_join(passing, NULL);
        break;
      default:
        use_heap(&rng, (uintptr_t)argument);
        break;
    }
  }
  for (size_t i = 0; i < OWN_BLOCKS; i++) {
    parcel_free(mine[i]);
  }
  return NULL;
}

/* ---- Both sides of a fork --------------------------------------------- */

typedef struct heap_list {
  hak_heap_t *heaps[HEAPS_MAX];
  size_t count;
} heap_list_t;

static bool list_heap(hak_heap_t *heap, void *ctx) {
  heap_list_t *list = ctx;
  if (heap != hak_heap_default() && list->count < HEAPS_MAX) {
    list->heaps[list->count++] = heap;
  }
  return true;
}

/* Those with heaps below them go in a later round. */
static void end_all_heaps(void) {
  static heap_list_t list;
  hak_stats_t stats = {.struct_size = sizeof stats};
  for (int round = 0; round < 4; round++) {
    list.count = 0;
    CHECK_EQ(hak_visit_heaps(list_heap, &list), 0);
    for (size_t i = 0; i < list.count; i++) {
      if (round > 0) {
        /* No heap lies below it any more, but for those that threads had just released
         * with a block: nothing else is charged, whatever they were charging. */
        CHECK_EQ(hak_stats_get(list.heaps[i], &stats), 0);
        CHECK_MSG(stats.committed_bytes <= g_threads * MIB, "%llu bytes are charged",
                  (unsigned long long)stats.committed_bytes);
      }
      int error = hak_heap_destroy(list.heaps[i]);
      CHECK(error == 0 || error == EBUSY);
    }
  }
  CHECK_EQ(list.count, 0);
}

static void free_exchanged(void) {
  for (size_t i = 0; i < EXCHANGE; i++) {
    parcel_free(atomic_exchange(&g_exchange[i], NULL));
  }
}

static void work_on(test_rng_t *rng) {
  void *blocks[200] = {NULL};
  for (size_t i = 0; i < 500; i++) {
    size_t at = (size_t)test_below(rng, TEST_COUNT(blocks));
    parcel_free(blocks[at]);
    blocks[at] = parcel_make(rng, 16 + test_random_size(rng, 20 * KIB));
    CHECK(blocks[at] != NULL);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    parcel_free(blocks[i]);
  }
}

static void *work_thread(void *argument) {
  work_on(argument);
  return NULL;
}

/* At most what the threads may cache by default, bins that have grown included. */
static void note_loss(void) {
  uint64_t lost = test_stats().fork_lost_bytes;
  uint64_t most = (uint64_t)hak_option_get(HAK_OPTION_BIN_GROWTH_ALL_BYTES) +
                  (g_threads + 1) * LEAST_BINS_BYTES;
  CHECK_MSG(lost <= most, "%llu bytes lost", (unsigned long long)lost);
  g_notes->children++;
  g_notes->losers += lost != 0;
  g_notes->lost_bytes += lost;
  if (lost > g_notes->lost_most) {
    g_notes->lost_most = lost;
  }
}

static void in_child(size_t number, void *inherited) {
  test_rng_t rng = test_rng(test_seed(), number + 1000), other = rng;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_stats().threads, 1);
  parcel_free(inherited);
  free_exchanged();
  for (size_t i = 0; i < SHARED_HEAPS; i++) {
    for (size_t size = 16; size < 4 * MIB; size *= 9) {
      CHECK(hak_heap_alloc(g_heaps[i], size) != NULL);
    }
  }
  work_on(&rng);
  CHECK_EQ(hak_check(NULL), 0);
  end_all_heaps();
  pthread_t thread;
  /* Sanitizers' own records of threads do not outlive a fork. */
  if (number % 4 == 0 && !TEST_TSAN && !TEST_ASAN) {
    CHECK_EQ(pthread_create(&thread, NULL, work_thread, &other), 0);
    work_on(&rng);
    pthread_join(thread, NULL);
  }
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_check(NULL), 0);
  note_loss();
}

static void run_fork(size_t number, test_rng_t *rng) {
  void *block = parcel_make(rng, 5000);
  CHECK(block != NULL);
  pid_t pid = test_fork();
  if (pid == 0) {
    in_child(number, block);
    _exit(0);
  }
  /* The threads leave the processors to the child, and are at work again before the
   * next fork. */
  int status = 0;
  atomic_store(&g_pause, true);
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  atomic_store(&g_pause, false);
  usleep(500 + (unsigned)test_below(rng, 1000));
  CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %zu: status 0x%x",
            number, (unsigned)status);
  parcel_free(block);
}

static int forks_child(void *ctx) {
  (void)ctx;
  test_start();
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = 64 * MIB};
  g_parent = hak_heap_create(&config);
  for (size_t i = 0; i < SHARED_HEAPS; i++) {
    CHECK((g_heaps[i] = hak_heap_create(NULL)) != NULL);
  }
  pthread_t threads[THREADS_MAX];
  test_threads_begin_numbered(threads, g_threads, churn);
  test_rng_t rng = test_rng(test_seed(), 999);
  for (size_t i = 0; i < g_forks; i++) {
    run_fork(i, &rng);
  }
  atomic_store(&g_stop, true);
  test_threads_end(threads, g_threads);
  free_exchanged();
  end_all_heaps();
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(test_live_bytes(), 0);
  return 0;
}

static void fork__under_churn_leaves_both_sides_whole(void **state) {
  (void)state;
  test_child_must_succeed(forks_child, NULL, 7000);
  CHECK_EQ(g_notes->children, g_forks);
  fprintf(stderr,
          "%llu forks: %llu children lost something, %llu KiB each, %llu at most\n",
          (unsigned long long)g_notes->children, (unsigned long long)g_notes->losers,
          (unsigned long long)(g_notes->lost_bytes / g_notes->children / KIB),
          (unsigned long long)(g_notes->lost_most / KIB));
}

int main(int argc, char **argv) {
  test_begin();
  g_forks = test_argument(argc, argv, 1, test_scale(100));
  g_threads = test_argument(argc, argv, 2, g_threads);
  CHECK(g_threads >= 1 && g_threads <= THREADS_MAX);
  g_notes = mmap(NULL, sizeof *g_notes, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(g_notes != MAP_FAILED);
  test_print_seed();
  const struct CMUnitTest tests[] = {T(fork__under_churn_leaves_both_sides_whole)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
