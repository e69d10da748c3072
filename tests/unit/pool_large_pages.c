/* pool_large_pages.c - which pages large blocks over the system's own hooks have, what is
 * asked of the system for them, and how old contents go where it refuses. */
#include "support.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "os/os.h"

static bool g_keep_pages; /* the system takes no page back */

int __real_madvise(void *address, size_t size, int advice);
int __wrap_madvise(void *address, size_t size, int advice);
int __wrap_madvise(void *address, size_t size, int advice) {
  if (advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE) return 0;
  if (g_keep_pages) {
    errno = ENOMEM;
    return -1;
  }
  return __real_madvise(address, size, advice);
}

static int setup(void **state) {
  (void)state;
  g_keep_pages = false;
  test_set(HAK_OPTION_PURGE_MODE, 1);
  CHECK_EQ(hak_init(NULL), 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  g_keep_pages = false;
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  test_set(HAK_OPTION_HUGE_PAGES, 1);
  return 0;
}

static const size_t run = 8 << 20;

/* Looks at what is resident of a run, as it comes and as it goes. */
static uint64_t looks_at_run(hak_heap_t *heap) {
  uint64_t before = hak_load_relaxed(&hak_os_counts.look);
  char *block = hak_heap_alloc(heap, run);
  CHECK(block != NULL);
  memset(block, 1, run);
  hak_free(block);
  return hak_load_relaxed(&hak_os_counts.look) - before;
}

/* To look costs a call of the system. */
static void density__is_looked_at_where_it_chooses_pages(void **state) {
  (void)state;
  hak_heap_config_t config = {.struct_size = sizeof config, .huge_pages = HAK_HUGE_NEVER};
  hak_heap_t *small = hak_heap_create(&config), *heap = hak_heap_create(NULL);
  CHECK(small != NULL && heap != NULL);
  test_set(HAK_OPTION_HUGE_PAGES, 0);
  CHECK_EQ(looks_at_run(heap), 0); /* the option chooses */
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  test_set(HAK_OPTION_HUGE_PAGES, 1);
  CHECK_EQ(looks_at_run(small), 0); /* its heap chooses */
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(looks_at_run(heap) != 0);
  CHECK_EQ(hak_heap_destroy(small), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Pages that the system does not take back are cleared instead. */
static void zeroes__come_where_old_pages_stay(void **state) {
  (void)state;
  static const size_t sizes[] = {1 << 20, 8 << 20, 64 << 20};
  test_set(HAK_OPTION_HUGE_PAGES, 0);
  test_set(HAK_OPTION_ZERO_PURGE_BYTES, 1 << 20);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    g_keep_pages = false;
    char *block = hak_alloc(sizes[i]);
    CHECK(block != NULL);
    memset(block, 0x5a, sizes[i]);
    hak_free(block);
    g_keep_pages = true;
    uint64_t failures = hak_load_relaxed(&hak_os_counts.failures);
    block = hak_calloc(1, sizes[i]);
    CHECK(block != NULL && test_is_zero(block, sizes[i]));
    CHECK(hak_load_relaxed(&hak_os_counts.failures) > failures);
    hak_free(block);
  }
  test_set(HAK_OPTION_ZERO_PURGE_BYTES, 8 << 20);
}

#define P(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(P(density__is_looked_at_where_it_chooses_pages),
                P(zeroes__come_where_old_pages_stay))
