/* api_ready.c - memory made ready beforehand, allocations that may not ask the system,
 * and manual purging: system calls and page faults are counted around the calls. Each
 * case runs in a child of its own. */
#include "child.h"
#include "syscalls.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What sanitizers do with memory meets pages of their own. */
static bool g_faults_count = !TEST_ASAN && !TEST_TSAN;

/* The program's own pages, code that runs for the first time among them, are there
 * from here on; faults are those of blocks. */
static void settle(void) {
  if (mlockall(MCL_CURRENT) != 0 || munlockall() != 0) g_faults_count = false;
}

typedef struct quiet {
  uint64_t calls, faults;
} quiet_t;

static quiet_t quiet_begin(void) {
  return (quiet_t){test_syscalls_all(), test_page_faults()};
}

static void quiet_end(quiet_t before, const char *what, size_t size) {
  uint64_t faults = test_page_faults() - before.faults;
  uint64_t calls = test_syscalls_all() - before.calls;
  CHECK_MSG(calls == 0, "%s of %zu: %llu system calls", what, size,
            (unsigned long long)calls);
  CHECK_MSG(!g_faults_count || faults == 0, "%s of %zu: %llu page faults", what, size,
            (unsigned long long)faults);
}

static void touch(char *block, size_t size) {
  for (size_t at = 0; at < size; at += 4096) block[at] = 1;
  block[size - 1] = 1;
}

/* ---- Prewarmed blocks --------------------------------------------------- */

typedef struct tier {
  size_t size, count;
} tier_t;

static const tier_t tiers[] = {{1, 20000},    {16, 100000},  {48, 50000},   {100, 30000},
                               {1000, 10000}, {1500, 5000},  {5000, 2000},  {20000, 500},
                               {32768, 300},  {33000, 200},  {100000, 100}, {500000, 30},
                               {1 << 20, 20}, {1100000, 20}, {3 << 20, 10}, {20 << 20, 3},
                               {40 << 20, 2}};

enum {
  BLOCKS_MOST = 100000
};
static char *g_blocks[BLOCKS_MOST];

static int prewarm_child(void *ctx) {
  bool own = *(bool *)ctx;
  /* Nothing becomes due, however long a busy machine takes from one call to the next. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 3600000), 0);
  settle();
  for (size_t i = 0; i < TEST_COUNT(tiers); i++) {
    size_t size = tiers[i].size, count = test_scale(tiers[i].count);
    if (count > tiers[i].count) count = tiers[i].count;
    hak_heap_t *heap = own ? hak_heap_create(NULL) : NULL;
    CHECK(heap != NULL || !own);
    for (int round = 0; round < 3; round++) {
      errno = TEST_ERRNO;
      CHECK_EQ(hak_heap_prewarm(heap, size, count), count);
      CHECK_EQ(errno, TEST_ERRNO);
      quiet_t quiet = quiet_begin();
      for (size_t k = 0; k < count; k++) {
        g_blocks[k] = hak_heap_alloc(heap, size);
        CHECK(g_blocks[k] != NULL);
        touch(g_blocks[k], size);
      }
      quiet_end(quiet, "blocks prewarmed", size);
      for (size_t k = 0; k < count; k++) hak_free(g_blocks[k]);
    }
    CHECK_EQ(hak_check(heap), 0);
    if (own) CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  CHECK_EQ(test_live_blocks(), 0);
  return 0;
}

static void prewarm__then_blocks_of_every_tier_cost_no_call_and_no_fault(void **state) {
  (void)state;
  bool own = false;
  test_child_must_succeed(prewarm_child, &own, 60);
  own = true;
  test_child_must_succeed(prewarm_child, &own, 60);
}

/* Blocks of all sizes came and went, so there are better places than new ones. */
static void come_and_go(hak_heap_t *heap) {
  for (size_t k = 0; k < 300; k++) {
    g_blocks[k] = hak_heap_alloc(heap, 1 + k * 6151 % 20000);
    CHECK(g_blocks[k] != NULL);
    *g_blocks[k] = 1;
  }
  for (size_t k = 0; k < 300; k++) hak_free(g_blocks[k]);
}

TEST_IN_CHILD(prewarm__then_blocks_cost_nothing_in_heaps_of_any_kind_that_were_used, 60) {
  static const tier_t some[] = {{780, 4000}, {1950, 300}, {26000, 60}, {600000, 12}};
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 3600000), 0);
  settle();
  for (unsigned kind = 0; kind < 4; kind++) {
    hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
    config.flags = kind == 0   ? HAK_HEAP_SERIAL
                   : kind == 1 ? HAK_HEAP_WATCHED
                   : kind == 2 ? HAK_HEAP_NO_PURGE
                               : 0;
    if (kind == 3) config.hard_limit = 400 * MIB;
    for (size_t i = 0; i < TEST_COUNT(some); i++) {
      hak_heap_t *heap = hak_heap_create(&config);
      CHECK(heap != NULL);
      come_and_go(heap);
      CHECK_EQ(hak_heap_prewarm(heap, some[i].size, some[i].count), some[i].count);
      quiet_t quiet = quiet_begin();
      for (size_t k = 0; k < some[i].count; k++) {
        g_blocks[k] = hak_heap_alloc(heap, some[i].size);
        CHECK(g_blocks[k] != NULL);
        touch(g_blocks[k], some[i].size);
      }
      quiet_end(quiet, "blocks in a used heap", some[i].size);
      CHECK_EQ(hak_heap_destroy(heap), 0);
    }
  }
}

TEST_IN_CHILD(prewarm__takes_no_more_than_is_missing_and_idle_gives_it_up, 20) {
  hak_heap_t *heap = hak_heap_create(NULL);
  /* What is ready counts: nothing more is taken. */
  CHECK_EQ(hak_heap_prewarm(heap, 100, 5000), 5000);
  hak_stats_t before = {.struct_size = sizeof before};
  CHECK_EQ(hak_stats_get(heap, &before), 0);
  CHECK_EQ(before.live_blocks, 0);
  CHECK_EQ(hak_heap_prewarm(heap, 100, 5000), 5000);
  CHECK_EQ(hak_heap_prewarm(heap, 100, 3), 3);
  hak_stats_t after = {.struct_size = sizeof after};
  CHECK_EQ(hak_stats_get(heap, &after), 0);
  CHECK_EQ(after.slabs_active, before.slabs_active);
  /* It is not this thread's for good. */
  hak_thread_idle();
  CHECK_EQ(hak_stats_get(heap, &after), 0);
  CHECK_EQ(after.slabs_active, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(ready__bad_arguments_are_named_by_errno, 20) {
  hak_heap_t *gone = hak_heap_create(NULL);
  CHECK_EQ(hak_heap_destroy(gone), 0);
  errno = 0;
  CHECK_EQ(hak_heap_prewarm(gone, 100, 10), 0);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(hak_heap_prefault(gone, 4096), EINVAL);
  errno = 0;
  CHECK_EQ(hak_heap_prewarm(NULL, (size_t)PTRDIFF_MAX + 1, 1), 0);
  CHECK_EQ(errno, ENOMEM);
  errno = 0;
  CHECK_EQ(hak_heap_prewarm(NULL, 100, test_opaque(SIZE_MAX)), 0);
  CHECK_EQ(errno, ENOMEM);
  CHECK_EQ(hak_heap_prefault(NULL, (size_t)PTRDIFF_MAX + 1), ENOMEM);
  /* What no machine has is not begun with: the system would end the process. */
  uint64_t committed = test_stats().committed_bytes;
  CHECK_EQ(hak_heap_prefault(NULL, PTRDIFF_MAX), ENOMEM);
  errno = 0;
  CHECK_EQ(hak_heap_prewarm(NULL, 100, PTRDIFF_MAX / 100), 0);
  CHECK_EQ(errno, ENOMEM);
  errno = 0;
  CHECK_EQ(hak_heap_prewarm(NULL, 64 * MIB, PTRDIFF_MAX / (64 * MIB)), 0);
  CHECK_EQ(errno, ENOMEM);
  hak_heap_config_t much = {.struct_size = sizeof much, .prefault = PTRDIFF_MAX};
  errno = 0;
  CHECK(hak_heap_create(&much) == NULL);
  CHECK_EQ(errno, ENOMEM);
  CHECK(test_stats().committed_bytes <= committed + MIB);
  errno = TEST_ERRNO;
  CHECK_EQ(hak_heap_prewarm(NULL, 100, 0), 0);
  CHECK_EQ(errno, TEST_ERRNO);
  /* Larger ones would be released by the next free. */
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, 0), 0);
  CHECK_EQ(hak_heap_prewarm(NULL, 64 * MIB, 1), 0);
  CHECK_EQ(errno, ENOMEM);
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = 0x80000000u};
  errno = 0;
  CHECK(hak_heap_create(&config) == NULL);
  CHECK_EQ(errno, EINVAL);
  config.flags = 0;
  config.reserve = SIZE_MAX;
  CHECK(hak_heap_create(&config) == NULL);
  CHECK_EQ(errno, ENOMEM);
  /* Records for so much would be more than the machine has. */
  config.reserve = PTRDIFF_MAX;
  errno = 0;
  CHECK(hak_heap_create(&config) == NULL);
  CHECK_EQ(errno, ENOMEM);
  config.reserve = 0;
  config.prefault = SIZE_MAX;
  CHECK(hak_heap_create(&config) == NULL);
  CHECK_EQ(errno, ENOMEM);
  CHECK_EQ(hak_check(NULL), 0);
}

/* ---- Prefaulted heaps ---------------------------------------------------- */

/* Allocates, of all sizes to `max`, most of so many bytes; how many blocks. */
static size_t fill(hak_heap_t *heap, size_t bytes, size_t max) {
  test_rng_t rng = test_rng(test_seed(), 7);
  size_t taken = 0, count = 0;
  while (count < BLOCKS_MOST) {
    size_t size = test_random_size(&rng, max);
    if (size == 0) size = 1;
    size_t slabs = (hak_good_size(size) + 65535) / 65536 * 65536;
    taken += size > 32768 ? slabs : hak_good_size(size);
    if (taken > bytes) break;
    g_blocks[count] = hak_heap_alloc(heap, size);
    CHECK(g_blocks[count] != NULL);
    touch(g_blocks[count], size);
    count++;
  }
  return count;
}

static int prefault_child(void *ctx) {
  bool later = *(bool *)ctx;
  settle();
  hak_heap_config_t config = {.struct_size = sizeof config,
                              .prefault = later ? 0 : 32 * MIB};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  if (later) CHECK_EQ(hak_heap_prefault(heap, 32 * MIB), 0);
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(heap, &stats), 0);
  CHECK(stats.committed_bytes >= 32 * MIB);
  for (int round = 0; round < 3; round++) {
    quiet_t quiet = quiet_begin();
    /* Spans of all classes are begun at once, and SuperSlabs have ends. */
    size_t count = fill(heap, 18 * MIB, 32768);
    quiet_end(quiet, "prefaulted", count);
    for (size_t i = 0; i < count; i++) hak_free(g_blocks[i]);
    hak_thread_idle();
  }
  /* It stays, whatever is collected, until it is given up. */
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_stats_get(heap, &stats), 0);
  CHECK(stats.committed_bytes >= 32 * MIB);
  quiet_t quiet = quiet_begin();
  void *block = hak_heap_alloc(heap, 100000);
  quiet.faults = test_page_faults();
  quiet_end(quiet, "prefaulted", 100000);
  hak_free(block);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_prefault(heap, 0), 0);
  for (int i = 0; i < 50; i++) (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_stats_get(heap, &stats), 0);
  CHECK_EQ(stats.committed_bytes, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return 0;
}

static void prefault__then_blocks_cost_no_call_and_no_fault(void **state) {
  (void)state;
  bool later = false;
  test_child_must_succeed(prefault_child, &later, 30);
  later = true;
  test_child_must_succeed(prefault_child, &later, 30);
}

/* Blocks of named places may lie in slabs of their own, which are kept no longer. */
TEST_IN_CHILD(prefault__of_nothing_lets_pages_of_sampled_blocks_go, 30) {
  static hak_site_t place = {__FILE__, __LINE__, "sampled", {0}};
  static void *blocks[500];
  test_start();
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  hak_heap_t *heap = test_heap(0, "ready", NULL);
  CHECK_EQ(hak_heap_prefault(heap, MIB), 0);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_heap_alloc_at(heap, 1000, &place);
    CHECK(blocks[i] != NULL);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  CHECK_EQ(hak_heap_prefault(heap, 0), 0);
  hak_thread_idle();
  (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_heap_stats(heap).committed_bytes, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(reserve__is_address_space_that_stays_the_heaps, 30) {
  hak_heap_config_t config = {.struct_size = sizeof config, .reserve = 64 * MIB};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(heap, &stats), 0);
  CHECK_EQ(stats.superslabs, 32);
  CHECK(stats.reserved_bytes >= 64 * MIB);
  hak_free(hak_heap_alloc(heap, 1)); /* this thread's thread cache */
  for (int round = 0; round < 2; round++) {
    uint64_t mapped = test_syscalls(TEST_MMAP);
    size_t count = fill(heap, 48 * MIB, 100000);
    CHECK_EQ(test_syscalls(TEST_MMAP), mapped);
    for (size_t i = 0; i < count; i++) hak_free(g_blocks[i]);
    hak_thread_idle();
    CHECK_EQ(hak_stats_get(heap, &stats), 0);
    CHECK_EQ(stats.superslabs, 32);
  }
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(no_purge__keeps_what_a_heap_has_until_its_end, 30) {
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_NO_PURGE};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  size_t count = fill(heap, 20 * MIB, 1 * MIB);
  hak_stats_t full = {.struct_size = sizeof full}, empty = full;
  CHECK_EQ(hak_stats_get(heap, &full), 0);
  for (size_t i = 0; i < count; i++) hak_free(g_blocks[i]);
  hak_thread_idle();
  (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_stats_get(heap, &empty), 0);
  CHECK_EQ(empty.live_blocks, 0);
  CHECK(empty.committed_bytes >= full.committed_bytes);
  quiet_t quiet = quiet_begin();
  count = fill(heap, 20 * MIB, 1 * MIB);
  quiet.faults = test_page_faults(); /* what was committed need not have been touched */
  quiet_end(quiet, "kept", count);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  for (int i = 0; i < 50; i++) (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(test_stats().retained_bytes < MIB);
}

/* Heaps take over the records of those that ended. */
TEST_IN_CHILD(no_purge__ends_with_the_heap, 30) {
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_NO_PURGE};
  CHECK_EQ(hak_heap_destroy(hak_heap_create(&config)), 0);
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(heap != NULL);
  CHECK_EQ(hak_heap_prefault(heap, 4 * MIB), 0);
  CHECK_EQ(hak_heap_prefault(heap, 0), 0);
  (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_heap_stats(heap).committed_bytes, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* In the default heap: free memory that is due at once, for whoever comes to look. */
static void *leave_what_is_due(void *ctx) {
  (void)ctx;
  size_t count = fill(NULL, 20 * MIB, 1 * MIB);
  for (size_t i = 0; i < count; i++) hak_free(g_blocks[i]);
  hak_thread_exit();
  return NULL;
}

TEST_IN_CHILD(no_purge__frees_in_the_heap_give_nothing_of_other_heaps_back, 30) {
  enum {
    BLOCKS = 512
  };
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_NO_PURGE};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  static const size_t own[] = {64, 1024, 20000, 100000};
  for (size_t i = 0; i < TEST_COUNT(own); i++) {
    CHECK_EQ(hak_heap_prewarm(heap, own[i], BLOCKS), BLOCKS);
  }
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 32 * MIB), 0);
  pthread_t other;
  CHECK_EQ(pthread_create(&other, NULL, leave_what_is_due, NULL), 0);
  CHECK_EQ(pthread_join(other, NULL), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 1), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  static void *blocks[BLOCKS];
  uint64_t calls = test_syscalls_all();
  for (int round = 0; round < 40; round++) {
    size_t size = own[(size_t)round % TEST_COUNT(own)];
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = hak_allocx(heap, size, 0, HAK_NO_GROW, NULL);
      CHECK(blocks[i] != NULL);
    }
    for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
    usleep(200);
  }
  CHECK_EQ(test_syscalls_all(), calls);
  /* It had been due all the time. */
  usleep(20000);
  CHECK(hak_collect(NULL, SIZE_MAX, 0) > 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- Allocations that may not ask ----------------------------------------- */

static const size_t sizes[] = {1,      48,      1000,    5000,     32768,    33000,
                               100000, 1 << 20, 3 << 20, 40 << 20, 300 << 20};

/* Reallocates without growth to every size from every size, and frees. */
static void resize_all(hak_heap_t *heap, bool may_move) {
  unsigned flags = HAK_NO_GROW | (may_move ? 0 : HAK_NO_MOVE);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
      char *block = hak_heap_alloc(heap, sizes[i]);
      CHECK(block != NULL);
      uint64_t calls = test_syscalls_all();
      char *other = hak_reallocx(heap, block, sizes[k], 0, flags, NULL);
      CHECK_MSG(test_syscalls_all() == calls, "%zu to %zu", sizes[i], sizes[k]);
      hak_free(other != NULL ? other : block);
    }
  }
}

TEST_IN_CHILD(no_grow__never_enters_the_system_on_any_tier, 60) {
  /* Whatever is looked at for its age is old. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  uint64_t calls = test_syscalls_all();
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    errno = 0;
    CHECK(hak_allocx(NULL, sizes[i], 0, HAK_NO_GROW, NULL) == NULL);
    CHECK_EQ(errno, ENOMEM);
  }
  CHECK_EQ(test_syscalls_all(), calls); /* not even to start the library */
  for (int own = 0; own < 2; own++) {
    hak_heap_t *heap = own ? hak_heap_create(NULL) : hak_heap_default();
    calls = test_syscalls_all();
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      char *block = hak_allocx(heap, sizes[i], 0, HAK_NO_GROW | HAK_ZERO, NULL);
      if (block != NULL) touch(block, sizes[i]);
      hak_reallocx(heap, block, 0, 0, HAK_NO_GROW, NULL);
    }
    CHECK_EQ(test_syscalls_all(), calls);
    resize_all(heap, true);
    resize_all(heap, false);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static void *no_grow_thread(void *ctx) {
  (void)ctx;
  uint64_t calls = test_syscalls_all();
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *block = hak_allocx(NULL, sizes[i], 0, HAK_NO_GROW, NULL);
    CHECK_MSG(sizes[i] > 1000 || block != NULL, "%zu", sizes[i]);
    CHECK_EQ(test_syscalls_all(), calls);
    hak_free(block);
    calls = test_syscalls_all();
  }
  return NULL;
}

TEST_IN_CHILD(no_grow__may_be_a_threads_first_call, 20) {
  for (size_t size = 1; size < 2000; size += 16) hak_free(hak_alloc(size));
  hak_thread_idle();
  test_thread_run(no_grow_thread, NULL);
  CHECK_EQ(test_live_blocks(), 0);
}

TEST_IN_CHILD(no_grow__finds_free_memory_that_has_its_pages, 20) {
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  /* Free memory of the process serves any heap, with its pages. */
  void *block = hak_alloc(20 * MIB);
  touch(block, 20 * MIB);
  hak_free(block);
  hak_free(hak_alloc(1));
  for (size_t i = 0; i < 9; i++) {
    void *one = hak_allocx(NULL, sizes[i], 0, HAK_NO_GROW, NULL);
    CHECK_MSG(one != NULL, "%zu", sizes[i]);
    hak_free(one);
  }
}

/* ---- Manual purging -------------------------------------------------------- */

enum {
  SLOTS = 400
};

/* Every way to allocate, resize and free, on every tier. */
static void churn(uint64_t salt, size_t steps) {
  test_rng_t rng = test_rng(test_seed(), salt);
  char *slots[SLOTS] = {NULL};
  for (size_t step = 0; step < steps; step++) {
    char **slot = &slots[test_below(&rng, SLOTS)];
    size_t size = test_random_size(&rng, test_below(&rng, 50) == 0 ? 80 * MIB : MIB);
    switch (test_below(&rng, 6)) {
      case 0:
        hak_free(*slot);
        *slot = hak_alloc(size);
        break;
      case 1:
        hak_free(*slot);
        *slot = hak_calloc(1, size < 100000 ? size : 100000);
        break;
      case 2:
        hak_free(*slot);
        *slot = hak_aligned_alloc((size_t)1 << test_below(&rng, 24), size);
        break;
      case 3: {
        char *other = hak_realloc(*slot, size);
        if (other != NULL) *slot = other;
        break;
      }
      case 4:
        if (*slot != NULL) (void)hak_resize_in_place(*slot, 1, size);
        break;
      default:
        hak_free(*slot);
        *slot = NULL;
        break;
    }
  }
  for (size_t i = 0; i < SLOTS; i++) hak_free(slots[i]);
}

static void *churn_thread(void *ctx) {
  churn((uint64_t)(uintptr_t)ctx, test_scale(3000));
  return NULL;
}

TEST_IN_CHILD(manual_mode__gives_nothing_back_inside_alloc_or_free, 60) {
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES_MAX, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, 0), 0);
  CHECK_EQ(hak_init(NULL), 0);
  uint64_t gave = test_syscalls_giving(), advised = test_syscalls(TEST_MADVISE);
  uint64_t asked = test_stats().os_reserve + test_stats().os_remap;
  churn(1, test_scale(10000));
  pthread_t threads[4];
  for (size_t i = 0; i < TEST_COUNT(threads); i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, churn_thread, (void *)(i + 2)), 0);
  }
  test_threads_end(threads, TEST_COUNT(threads));
  hak_thread_idle();
  CHECK_EQ(test_stats().os_purge, 0);
  CHECK_EQ(test_stats().os_release, 0);
  CHECK_EQ(test_syscalls(TEST_MADVISE), advised);
  /* What a reservation has too much at its ends, for its alignment, goes at once. */
  asked = test_stats().os_reserve + test_stats().os_remap - asked;
  CHECK_MSG(test_syscalls_giving() <= gave + 3 * asked, "%llu calls that give back",
            (unsigned long long)(test_syscalls_giving() - gave));
  uint64_t retained = test_stats().retained_bytes;
  CHECK(retained > 0);
  for (int i = 0; i < 200; i++) (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(test_stats().os_purge + test_stats().os_release > 0);
  CHECK_MSG(test_stats().retained_bytes == 0, "%llu of %llu retained",
            (unsigned long long)test_stats().retained_bytes,
            (unsigned long long)retained);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
}

/* A slab of the class that was begun has few pages, and may get no more. */
TEST_IN_CHILD(prefault__serves_a_class_that_was_begun, 60) {
  enum {
    COUNT = 8192
  };
  static void *blocks[COUNT];
  hak_heap_t *heap = hak_heap_create(NULL);
  void *first = hak_heap_alloc(heap, 64);
  CHECK(first != NULL);
  CHECK_EQ(hak_heap_prefault(heap, MIB), 0);
  for (size_t i = 0; i < COUNT; i++) {
    blocks[i] = hak_allocx(heap, 64, 0, HAK_NO_GROW, NULL);
    CHECK_MSG(blocks[i] != NULL, "%zu", i);
    CHECK_EQ(hak_usable_size(blocks[i]), hak_usable_size(first));
  }
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN_FRESH(T(prefault__serves_a_class_that_was_begun),
                T(prewarm__then_blocks_of_every_tier_cost_no_call_and_no_fault),
                T(prewarm__then_blocks_cost_nothing_in_heaps_of_any_kind_that_were_used),
                T(prewarm__takes_no_more_than_is_missing_and_idle_gives_it_up),
                T(ready__bad_arguments_are_named_by_errno),
                T(prefault__then_blocks_cost_no_call_and_no_fault),
                T(prefault__of_nothing_lets_pages_of_sampled_blocks_go),
                T(reserve__is_address_space_that_stays_the_heaps),
                T(no_purge__keeps_what_a_heap_has_until_its_end),
                T(no_purge__ends_with_the_heap),
                T(no_purge__frees_in_the_heap_give_nothing_of_other_heaps_back),
                T(no_grow__never_enters_the_system_on_any_tier),
                T(no_grow__may_be_a_threads_first_call),
                T(no_grow__finds_free_memory_that_has_its_pages),
                T(manual_mode__gives_nothing_back_inside_alloc_or_free))
