/* api_heap_os.c - heaps that say where pages come from: hooks of their own, to which all
 * goes back, also when they fail; huge pages always or never. */
#include "os_fixture.h"
#include "records.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const size_t sizes[] = {1,     100,    1024,    5000,    32768,
                               60000, 300000, 1 << 20, 3 << 20, 40 << 20};

static hak_heap_t *make(test_os_t *os, hak_heap_t *parent) {
  return test_heap_make((hak_heap_config_t){.parent = parent, .os = &os->hooks});
}

/* The library is over hooks of its own; g_os is for the heaps. */
static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  test_os_close(&g_os);
  return 0;
}

static void check_given_back(const test_os_t *os) {
  CHECK_EQ(os->ranges, 0);
  CHECK_EQ(os->reserved_bytes, 0);
  CHECK_EQ(os->committed_bytes, 0);
}

static void fill(hak_heap_t *heap, unsigned char **blocks) {
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    blocks[i] = hak_heap_alloc(heap, sizes[i]);
    CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == heap);
    test_fill_sparse(blocks[i], sizes[i], i);
  }
}

/* Process-wide reservations while `heap` works: none is made for its blocks. */
static void blocks__come_from_the_hooks_and_go_back_to_them(void **state) {
  (void)state;
  unsigned char *blocks[TEST_COUNT(sizes)];
  for (int cycle = 0; cycle < 20; cycle++) {
    hak_heap_t *heap = make(&g_os, NULL);
    CHECK_EQ(g_os.ranges, 0);
    fill(heap, blocks);
    CHECK(g_os.committed_bytes >= 44 * MIB);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      CHECK(test_verify_sparse(blocks[i], sizes[i], i));
      blocks[i] = hak_realloc(blocks[i], sizes[i] * 2);
      CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == heap);
      CHECK(test_verify_sparse_prefix(blocks[i], sizes[i], sizes[i] / 2, i) ||
            sizes[i] < 4096);
      if (i % 2 == 0) hak_free(blocks[i]);
    }
    CHECK_EQ(hak_check(NULL), 0);
    size_t committed = g_os.committed_bytes;
    hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
    CHECK(g_os.committed_bytes <= committed);
    if (cycle % 2 == 0) CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK(hak_heap_alloc(heap, 5000) != NULL);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    check_given_back(&g_os);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

static void heaps__that_come_and_go_leave_no_records_behind(void **state) {
  (void)state;
  uint64_t metadata = 0;
  for (int cycle = 0; cycle < 300; cycle++) {
    hak_heap_t *heap = make(&g_os, NULL);
    CHECK(hak_heap_alloc(heap, 100) != NULL && hak_heap_alloc(heap, MIB) != NULL);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    check_given_back(&g_os);
    if (cycle == 10) metadata = test_record_bytes();
  }
  CHECK(test_record_bytes() <= metadata + 64 * KIB);
}

static void heaps__with_the_same_hooks_do_not_share_what_comes_from_them(void **state) {
  (void)state;
  hak_heap_t *first = make(&g_os, NULL), *second = make(&g_os, first);
  void *block = hak_heap_alloc(first, 100);
  size_t ranges = g_os.ranges;
  CHECK(block != NULL && hak_heap_alloc(second, 100) != NULL);
  CHECK_EQ(g_os.ranges, 2 * ranges);
  CHECK_EQ(hak_heap_destroy(first), EBUSY);
  CHECK_EQ(hak_heap_destroy(second), 0);
  CHECK_EQ(g_os.ranges, ranges);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(first), 0);
  check_given_back(&g_os);
}

static void release__gives_all_back_with_the_last_block(void **state) {
  (void)state;
  hak_heap_t *heap = make(&g_os, NULL);
  unsigned char *blocks[TEST_COUNT(sizes)];
  fill(heap, blocks);
  CHECK_EQ(hak_heap_release(heap), 0);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    CHECK(g_os.ranges > 0);
    CHECK(test_verify_sparse(blocks[i], sizes[i], i));
    hak_free(blocks[i]);
  }
  hak_thread_idle();
  check_given_back(&g_os);
}

static void reserve_and_prefault__take_from_the_hooks_and_go_back(void **state) {
  (void)state;
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_NO_PURGE};
  config.os = &g_os.hooks;
  config.reserve = 8 * MIB;
  config.prefault = 3 * MIB;
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  CHECK(g_os.reserved_bytes >= 8 * MIB && g_os.committed_bytes >= 3 * MIB);
  for (size_t i = 0; i < 100; i++) CHECK(hak_heap_alloc(heap, 20000) != NULL);
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  check_given_back(&g_os);
}

/* Where purging is manual frees give nothing back; the end of the heap does. */
static void manual_purging__gives_back_at_the_end(void **state) {
  (void)state;
  int64_t mode = hak_option_get(HAK_OPTION_PURGE_MODE);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  hak_heap_t *heap = make(&g_os, NULL);
  for (size_t i = 0; i < 5; i++) {
    uint64_t calls = g_os.calls[TEST_OS_RELEASE] + g_os.calls[TEST_OS_PURGE];
    void *large = hak_heap_alloc(heap, (40 + i) * MIB);
    CHECK(large != NULL);
    hak_free(large);
    hak_free(hak_heap_alloc(heap, 3 * MIB));
    CHECK_EQ(g_os.calls[TEST_OS_RELEASE] + g_os.calls[TEST_OS_PURGE], calls);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
  check_given_back(&g_os);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, mode), 0);
}

static void hooks__of_other_page_sizes_serve_beside_the_process(void **state) {
  (void)state;
  static const unsigned flags[] = {TEST_OS_PAGE_16K, TEST_OS_PAGE_64K, TEST_OS_FAR,
                                   TEST_OS_NO_REMAP, TEST_OS_PURGE_NOOP};
  for (size_t f = 0; f < TEST_COUNT(flags); f++) {
    test_os_open(&g_os, flags[f]);
    hak_heap_t *heap = make(&g_os, NULL);
    unsigned char *blocks[TEST_COUNT(sizes)];
    fill(heap, blocks);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      CHECK(hak_usable_size(blocks[i]) >= sizes[i]);
      blocks[i] = hak_realloc(blocks[i], sizes[i] * 3);
      CHECK(blocks[i] != NULL);
      hak_free(blocks[i]);
    }
    unsigned char *zero = hak_heap_calloc(heap, 1, 3 * MIB);
    CHECK(zero != NULL && test_is_zero(zero, 3 * MIB));
    CHECK_EQ(hak_heap_destroy(heap), 0);
    check_given_back(&g_os);
    test_os_close(&g_os);
  }
}

static void hooks__that_fail_give_null_and_serve_again(void **state) {
  (void)state;
  for (uint64_t n = 1; n < 40; n++) {
    hak_heap_t *heap = make(&g_os, NULL);
    test_os_fail(&g_os, n % 2 == 0 ? TEST_FAIL_NTH : TEST_FAIL_FROM_NTH,
                 TEST_OS_ALL_KINDS, n);
    unsigned char *blocks[TEST_COUNT(sizes)];
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      errno = 0;
      blocks[i] = hak_heap_alloc(heap, sizes[i]);
      CHECK(blocks[i] != NULL || errno == ENOMEM);
    }
    void *other = hak_alloc(5 * MIB); /* nobody else is concerned */
    CHECK(other != NULL);
    hak_free(other);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK(hak_heap_alloc(heap, 3 * MIB) != NULL);
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK_EQ(hak_check(NULL), 0);
    /* What a hook refused to take back is offered to it again. */
    hak_free(hak_alloc(80 * MIB));
    hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    check_given_back(&g_os);
  }
}

static void create__refuses_bad_hooks(void **state) {
  (void)state;
  static char memory[300 << 10];
  hak_os_t os = *hak_os_default();
  hak_heap_config_t config = {.struct_size = sizeof config, .os = &os};
  os.page_size = 3000;
  CHECK(hak_heap_create(&config) == NULL && errno == EINVAL);
  os = *hak_os_default();
  os.commit = NULL;
  CHECK(hak_heap_create(&config) == NULL && errno == EINVAL);
  os = *hak_os_default();
  config.memory = memory;
  config.memory_size = sizeof memory;
  CHECK(hak_heap_create(&config) == NULL && errno == EINVAL);
}

/* ---- threads ---------------------------------------------------------------- */

enum {
  THREADS = 3,
  SLOTS = 100
};
static hak_heap_t *g_heap;

static void *work(void *ctx) {
  test_rng_t rng = test_rng(test_seed(), (uint64_t)(uintptr_t)ctx);
  void *slots[SLOTS] = {NULL};
  for (size_t n = 0; n < test_scale(20000); n++) {
    void **slot = &slots[test_below(&rng, SLOTS)];
    hak_free(*slot);
    hak_heap_t *heap = test_below(&rng, 2) == 0 ? NULL : g_heap;
    *slot = hak_heap_alloc(heap, test_random_size(&rng, 3 * MIB));
    CHECK(*slot != NULL);
    if (n % 1000 == 0) hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  }
  for (size_t i = 0; i < SLOTS; i += 2) hak_free(slots[i]);
  return NULL;
}

/* Threads end or collect while heaps with hooks of their own come and go. */
static void threads__leave_nothing_in_the_hooks_when_the_heap_goes(void **state) {
  (void)state;
  g_heap = make(&g_os, NULL);
  pthread_t threads[THREADS];
  test_threads_begin_numbered(threads, THREADS, work);
  test_os_t passing;
  test_os_open(&passing, 0);
  for (size_t n = 0; n < test_scale(100); n++) {
    hak_heap_t *heap = make(&passing, NULL);
    CHECK(hak_heap_alloc(heap, 1000) != NULL && hak_heap_alloc(heap, 3 * MIB) != NULL);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    check_given_back(&passing);
  }
  test_os_close(&passing);
  test_threads_end(threads, THREADS);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  check_given_back(&g_os);
}

static void shutdown__gives_what_is_left_to_the_hooks(void **state) {
  (void)state;
  hak_heap_t *heap = make(&g_os, NULL);
  unsigned char *blocks[TEST_COUNT(sizes)];
  fill(heap, blocks);
  CHECK_EQ(hak_heap_destroy(make(&g_os, NULL)), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  check_given_back(&g_os);
  test_restart();
}

/* ---- huge pages ----------------------------------------------------------------- */

/* What the system was told of the pages at an address: 'h' huge, 'n' none, '-'
 * nothing. */
static char advice_at(const void *address) {
  FILE *maps = fopen("/proc/self/smaps", "r");
  CHECK(maps != NULL);
  char line[1024], advice = '?';
  bool here = false;
  while (advice == '?' && fgets(line, sizeof line, maps) != NULL) {
    unsigned long from, to;
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
      here = (uintptr_t)address >= from && (uintptr_t)address < to;
    } else if (here && strncmp(line, "VmFlags:", 8) == 0) {
      advice = strstr(line, " hg") != NULL   ? 'h'
               : strstr(line, " nh") != NULL ? 'n'
                                             : '-';
    }
  }
  fclose(maps);
  return advice;
}

static void huge_pages__are_asked_for_always_or_never(void **state) {
  (void)state;
  /* By madvise, which hooks do not have, nor do all kernels. */
  if (test_is_strict() || access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0)
    skip();
  static const size_t asked[] = {100, 20000, 500000, 3 << 20, 40 << 20};
  for (int32_t wish = HAK_HUGE_NEVER; wish <= HAK_HUGE_ALWAYS; wish++) {
    hak_heap_config_t config = {.struct_size = sizeof config, .huge_pages = wish};
    hak_heap_t *heap = hak_heap_create(&config);
    CHECK(heap != NULL);
    for (size_t i = 0; i < TEST_COUNT(asked); i++) {
      void *block = hak_heap_alloc(heap, asked[i]);
      CHECK(block != NULL);
      char advice = advice_at(block);
      CHECK_MSG((advice == 'h') == (wish == HAK_HUGE_ALWAYS), "%zu bytes: %c", asked[i],
                advice);
    }
    CHECK_EQ(hak_check(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  hak_heap_config_t config = {.struct_size = sizeof config, .huge_pages = 3};
  CHECK(hak_heap_create(&config) == NULL && errno == EINVAL);
  config.huge_pages = -1;
  CHECK(hak_heap_create(&config) == NULL && errno == EINVAL);
}

#define M(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN(T(huge_pages__are_asked_for_always_or_never),
          M(blocks__come_from_the_hooks_and_go_back_to_them),
          M(heaps__that_come_and_go_leave_no_records_behind),
          M(heaps__with_the_same_hooks_do_not_share_what_comes_from_them),
          M(release__gives_all_back_with_the_last_block),
          M(reserve_and_prefault__take_from_the_hooks_and_go_back),
          M(manual_purging__gives_back_at_the_end),
          T(hooks__of_other_page_sizes_serve_beside_the_process),
          M(hooks__that_fail_give_null_and_serve_again), T(create__refuses_bad_hooks),
          M(threads__leave_nothing_in_the_hooks_when_the_heap_goes),
          M(shutdown__gives_what_is_left_to_the_hooks))
