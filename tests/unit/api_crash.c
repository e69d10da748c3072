/* api_crash.c - what may be asked in a crash handler: it answers whoever has which lock,
 * and at whatever moment a thread is interrupted. */
#include "child.h"
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

enum {
  CLASSES = 128,
  BLOCKS = 8
};
static hak_heap_t *g_heaps[4]; /* plain, serial, in memory of ours, below the first */
static void *g_blocks[BLOCKS];
static char g_memory[512 << 10];

static void drop(const char *text, size_t length, void *ctx) {
  (void)text;
  *(size_t *)ctx += length;
}

static void make(void) {
  hak_heap_config_t plain = HAK_HEAP_CONFIG_INIT, serial = plain, ours = plain;
  serial.flags = HAK_HEAP_SERIAL;
  ours.memory = g_memory;
  ours.memory_size = sizeof g_memory;
  g_heaps[0] = hak_heap_create(&plain);
  g_heaps[1] = hak_heap_create(&serial);
  g_heaps[2] = hak_heap_create(&ours);
  plain.parent = g_heaps[0];
  g_heaps[3] = hak_heap_create(&plain);
  for (int i = 0; i < BLOCKS; i++) {
    size_t size = i % 2 == 0 ? 100 : i == 1 ? (size_t)40 << 20 : 100000;
    g_blocks[i] = hak_heap_alloc(i < 4 ? NULL : g_heaps[i - 4], size);
    CHECK(g_blocks[i] != NULL);
  }
}

/* Everything that docs/INTROSPECTION.md says may be asked there; false if an answer is
 * wrong. */
static bool ask(void) {
  static hak_class_stats_t rows[CLASSES];
  hak_stats_t stats = HAK_STATS_INIT;
  size_t length = 0;
  bool right = hak_stats_get(NULL, &stats) == 0 && stats.live_blocks >= BLOCKS;
  right = right && hak_stats_print(NULL, HAK_FORMAT_TEXT, drop, &length) == 0;
  right = right && hak_stats_print(NULL, HAK_FORMAT_JSON, drop, &length) == 0;
  rows[0].struct_size = (uint32_t)sizeof rows[0];
  right = right && hak_stats_classes(NULL, rows, CLASSES) > 0 && length > 0;
  for (int i = 0; i < 4; i++) {
    right = right && hak_stats_get(g_heaps[i], &stats) == 0 && stats.live_blocks >= 1;
    right = right && hak_heap_name(g_heaps[i]) != NULL;
    right = right && hak_heap_user(g_heaps[i]) == NULL;
  }
  right = right && hak_heap_parent(g_heaps[3]) == g_heaps[0];
  for (int i = 0; i < BLOCKS; i++) {
    hak_block_t block = HAK_BLOCK_INIT;
    right = right && hak_ptr_info(g_blocks[i], &block) == 0 && block.is_start;
    right = right && hak_heap_of(g_blocks[i]) == block.heap;
  }
  return right;
}

/* A fork takes every lock that there is. */
TEST_IN_CHILD(crash__who_has_every_lock_may_ask, 30) {
  make();
  CHECK(ask());
  hak_fork_prepare();
  bool right = ask();
  hak_fork_parent();
  CHECK(right);
  CHECK(ask());
}

static volatile sig_atomic_t g_asked, g_wrong;

/* By the processor's time, and anew after each answer: the program comes on between two,
 * however long these take. */
static void arm(void) {
  struct itimerval soon = {{0, 0}, {0, 500}};
  CHECK(setitimer(ITIMER_PROF, &soon, NULL) == 0);
}

static void on_time(int signal) {
  (void)signal;
  int saved = errno;
  if (!ask()) g_wrong = 1;
  g_asked++;
  arm();
  errno = saved;
}

/* Regions, thread states and heaps come and go, which takes the locks that visits took.
 */
static void work(test_rng_t *rng) {
  enum {
    LIVE = 200
  };
  void *blocks[LIVE];
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(heap != NULL);
  for (int i = 0; i < LIVE; i++) {
    size_t most = test_below(rng, 20) == 0 ? (size_t)3 << 20 : 4000;
    blocks[i] = hak_heap_alloc(i % 2 == 0 ? heap : NULL, test_random_size(rng, most));
  }
  for (int i = 1; i < LIVE; i += 2) hak_free(blocks[i]);
  if (test_below(rng, 4) == 0) hak_thread_exit();
  CHECK(hak_heap_destroy(heap) == 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
}

TEST_IN_CHILD(crash__a_handler_may_ask_at_any_moment, 60) {
  make();
  struct sigaction action = {.sa_handler = on_time, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGPROF, &action, NULL) == 0);
  arm();
  test_rng_t rng = test_rng(test_seed(), 1);
  for (int i = 0; i < 20 || (g_asked < 200 && i < 2000); i++) work(&rng);
  CHECK(g_asked > 0 && g_wrong == 0);
}

TEST_MAIN(T(crash__who_has_every_lock_may_ask), T(crash__a_handler_may_ask_at_any_moment))
