/* api_stack.c - how much of the stack calls take, which threads with little of it and
 * fibers go by: no more than docs/LIFECYCLE.md says. */
#include "support.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum {
  MARK = 0x5a,
  STACK = 256 << 10
};
static ucontext_t g_back, g_fiber;
static void (*g_call)(void);

static void run(void) { g_call(); }

/* Bytes of a stack of its own that `call` took, its caller's frame included. */
static size_t deepest(void (*call)(void)) {
  unsigned char *stack =
      mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(stack != MAP_FAILED);
  call(); /* what the loader does at a first call is its own */
  memset(stack, MARK, STACK);
  CHECK_EQ(getcontext(&g_fiber), 0);
  g_fiber.uc_stack.ss_sp = stack;
  g_fiber.uc_stack.ss_size = STACK;
  g_fiber.uc_link = &g_back;
  g_call = call;
  makecontext(&g_fiber, run, 0);
  CHECK_EQ(swapcontext(&g_back, &g_fiber), 0);
  size_t untouched = 0;
  while (stack[untouched] == MARK) untouched++;
  CHECK_EQ(munmap(stack, STACK), 0);
  return STACK - untouched;
}

static void expect(const char *what, void (*call)(void), size_t most) {
  size_t took = deepest(call);
  CHECK_MSG(took <= most, "%s: %zu bytes of stack, at most %zu", what, took, most);
}

static void drop(const char *text, size_t length, void *ctx) {
  (void)text;
  *(size_t *)ctx += length;
}

static void of_all_sizes(void) {
  static void *blocks[22];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_alloc((size_t)16 << i);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  void *block = NULL;
  for (size_t i = 0; i < 22; i++) block = hak_realloc(block, (size_t)10 << i);
  hak_free(hak_realloc(block, 100));
  hak_free(hak_calloc(3, 100000));
}
static void of_heaps(void) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.hard_limit = 1 << 20;
  hak_heap_t *heap = hak_heap_create(&config);
  while (hak_heap_alloc(heap, 3000) != NULL) {}
  CHECK_EQ(hak_heap_reset(heap), 0);
  (void)hak_heap_prewarm(heap, 100, 100);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}
static void of_threads(void) {
  hak_thread_exit();
  hak_free(hak_alloc(100));
  hak_thread_idle();
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
}

static void calls__take_4_kib_of_the_stack(void **state) {
  (void)state;
  expect("allocations and frees", of_all_sizes, 4 * KIB);
  expect("heaps and their limits", of_heaps, 4 * KIB);
  expect("threads and collections", of_threads, 4 * KIB);
}

static void of_statistics(void) {
  static hak_stats_t stats = HAK_STATS_INIT;
  size_t length = 0;
  CHECK_EQ(hak_stats_get(NULL, &stats), 0);
  CHECK_EQ(hak_stats_print(NULL, HAK_FORMAT_TEXT, drop, &length), 0);
  CHECK_EQ(hak_stats_print(NULL, HAK_FORMAT_JSON, drop, &length), 0);
}
static void of_maps(void) {
  size_t length = 0;
  CHECK_EQ(hak_heaps_print(HAK_FORMAT_JSON, drop, &length), 0);
  CHECK_EQ(hak_sites_print(HAK_FORMAT_TEXT, drop, &length), 0);
  CHECK_EQ(hak_sites_print(HAK_FORMAT_JSON, drop, &length), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

static void of_shutdown(void) {
  CHECK_EQ(hak_shutdown(0), 0);
  hak_free(hak_alloc(100));
}

static void statistics__take_8_kib_of_the_stack(void **state) {
  (void)state;
  expect("statistics", of_statistics, 8 * KIB);
  expect("heaps and places", of_maps, 8 * KIB);
  expect("a shutdown", of_shutdown, 8 * KIB);
}

/* To the handler that prints, and nobody reads it. */
static void of_leaks(void) {
  int stderr_before = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);
  CHECK(stderr_before >= 0 && dup2(nowhere, STDERR_FILENO) == STDERR_FILENO);
  hak_set_error_handler(NULL, NULL);
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.flags = HAK_HEAP_REPORT_LEAKS;
  config.name = "stack";
  hak_heap_t *heap = hak_heap_create(&config);
  for (size_t i = 0; i < 100; i++) {
    CHECK(hak_allocx(heap, 50 + i, 0, 0, HAK_CALLSITE()) != NULL);
  }
  int error = hak_heap_destroy(heap);
  CHECK(dup2(stderr_before, STDERR_FILENO) == STDERR_FILENO);
  CHECK_EQ(close(stderr_before) | close(nowhere) | error, 0);
}
static void of_profiles(void) {
  size_t length = 0;
  for (int format = HAK_FORMAT_PPROF; format <= HAK_FORMAT_HEAPTRACK; format++) {
    CHECK_EQ(hak_sites_print(format, drop, &length), 0);
    CHECK_EQ(hak_sites_print(format | HAK_FORMAT_STACKS, drop, &length), 0);
  }
}

static void leak_reports_and_profiles__take_12_and_16_kib_of_the_stack(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  expect("a report of leaks", of_leaks, 12 * KIB);
  expect("profiles", of_profiles, 16 * KIB);
}

TEST_MAIN(T(calls__take_4_kib_of_the_stack), T(statistics__take_8_kib_of_the_stack),
          T(leak_reports_and_profiles__take_12_and_16_kib_of_the_stack))
