/* api_memory_os.c - a heap in memory of the caller's asks the operating system for
 * nothing once it is made: the hooks abort. */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static hak_os_t g_real;
static atomic_bool g_closed;

static void check_open(void) {
  if (g_closed) test_fail(__FILE__, __LINE__, "the operating system was called");
}

static void *reserve(void *ctx, size_t size, size_t alignment) {
  check_open();
  return g_real.reserve(ctx, size, alignment);
}
static int release(void *ctx, void *ptr, size_t size) {
  check_open();
  return g_real.release(ctx, ptr, size);
}
static int commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  check_open();
  return g_real.commit(ctx, ptr, size, zeroed);
}
static int purge(void *ctx, void *ptr, size_t size) {
  check_open();
  return g_real.purge(ctx, ptr, size);
}
static void *remap(void *ctx, void *ptr, size_t old_size, size_t new_size) {
  check_open();
  return g_real.remap(ctx, ptr, old_size, new_size);
}

static hak_os_t g_hooks;

static void start(void) {
  g_real = *hak_os_default();
  g_hooks = g_real;
  g_hooks.reserve = reserve;
  g_hooks.release = release;
  g_hooks.commit = commit;
  g_hooks.purge = purge;
  g_hooks.remap = remap;
  hak_config_t config = {.struct_size = sizeof config, .os = &g_hooks};
  CHECK_EQ(hak_init(&config), 0);
}

static _Alignas(16) char g_small[256 << 10];
static char g_large[16 << 20];
static hak_heap_t *g_heap;

enum {
  SLOTS = 300
};

static void work(uint64_t salt, size_t most) {
  void *slots[SLOTS] = {NULL};
  test_rng_t rng = test_rng(test_seed(), salt);
  for (size_t n = 0; n < test_scale(50000); n++) {
    void **slot = &slots[test_below(&rng, SLOTS)];
    size_t size = test_random_size(&rng, most);
    switch (test_below(&rng, 4)) {
      case 0:
        hak_free(*slot);
        *slot = NULL;
        break;
      case 1:
        if (*slot == NULL) *slot = hak_heap_alloc(g_heap, size);
        break;
      case 2:
        if (*slot == NULL) *slot = hak_heap_aligned_alloc(g_heap, 4096, size);
        break;
      default: {
        void *moved =
            *slot == NULL ? hak_heap_calloc(g_heap, 1, size) : hak_realloc(*slot, size);
        if (moved != NULL) *slot = moved;
      }
    }
  }
  for (size_t i = 0; i < SLOTS; i++) hak_free(slots[i]);
}

static void *work_in_thread(void *most) {
  work(2, *(size_t *)most);
  return NULL;
}

static bool visit(const hak_block_t *block, void *ctx) {
  (void)block;
  (void)ctx;
  return true;
}

static void use_up(char *memory, size_t size, size_t most) {
  hak_heap_config_t config = {.struct_size = sizeof config};
  config.memory = memory;
  config.memory_size = size;
  g_heap = hak_heap_create(&config);
  CHECK(g_heap != NULL);
  CHECK_EQ(hak_thread_init(), 0);
  g_closed = true;
  work(1, most);
  /* A thread that never used the library needs no state of its own for this. */
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, work_in_thread, &most), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  while (hak_heap_alloc(g_heap, 1000) != NULL) {}
  CHECK(hak_heap_alloc(g_heap, 10 * size) == NULL);
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(g_heap, &stats), 0);
  CHECK(stats.live_blocks > 0);
  CHECK_EQ(hak_heap_visit(g_heap, visit, NULL, 0), 0);
  CHECK_EQ(hak_check(g_heap), 0);
  CHECK_EQ(hak_heap_reset(g_heap), 0);
  work(3, most);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  g_closed = false;
}

static void heap__of_256_kib_never_calls_the_system(void **state) {
  (void)state;
  use_up(g_small, sizeof g_small, 4000);
}

static void heap__of_16_mib_never_calls_the_system(void **state) {
  (void)state;
  use_up(g_large + 12345, sizeof g_large - 12345, 400000);
}

/* A heap that the owner forgot: the library goes, the memory is his all the same. */
static void shutdown__leaves_the_memory_alone(void **state) {
  (void)state;
  hak_heap_config_t config = {.struct_size = sizeof config};
  config.memory = g_small;
  config.memory_size = sizeof g_small;
  hak_heap_t *heap = hak_heap_create(&config);
  char *block = hak_heap_alloc(heap, 100);
  memset(block, 7, 100);
  CHECK_EQ(hak_shutdown(0), 0);
  for (int i = 0; i < 100; i++) CHECK_EQ(block[i], 7);
  start();
  CHECK(hak_heap_of(block) == NULL);
  CHECK(hak_heap_create(&config) != NULL);
}

int main(void) {
  test_begin();
  start();
  const struct CMUnitTest tests[] = {T(heap__of_256_kib_never_calls_the_system),
                                     T(heap__of_16_mib_never_calls_the_system),
                                     T(shutdown__leaves_the_memory_alone)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
