/* api_ready_kinds.c - heaps that cannot have memory ready as others can, in memory of the
 * caller's or of malloc's, or under a limit: what they promise is what they have, and
 * nobody else pays for it. By a clock that the test sets. */
#include "child.h"
#include "clock.h"
#include "support.h"

#include <errno.h>
#include <sys/mman.h>

enum {
  DECAY_MS = 100
};

static int begin(int64_t backend) {
  hak_os_t os = *hak_os_default();
  os.now_ns = test_clock_ns;
  test_set(HAK_OPTION_BACKEND, backend);
  test_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS);
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = &os};
  CHECK_EQ(hak_init(&config), 0);
  return 0;
}
static int begin_own(void **state) {
  (void)state;
  return begin(HAK_BACKEND_NATIVE);
}
static int begin_malloc(void **state) {
  (void)state;
  return begin(HAK_BACKEND_MALLOC);
}

static int end(void **state) {
  (void)state;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  return 0;
}

static void *map(size_t size) {
  void *memory =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

static size_t resident(void *memory, size_t size) {
  static unsigned char pages[(64 << 20) / 4096];
  size_t count = size / 4096, sum = 0;
  CHECK(count <= sizeof pages && mincore(memory, size, pages) == 0);
  for (size_t i = 0; i < count; i++) sum += pages[i] & 1;
  return sum * 4096;
}

/* --- memory of the caller's --- */

static void prefault__leaves_memory_of_the_callers_as_it_is(void **state) {
  (void)state;
  size_t size = 32 * MIB;
  void *memory = map(size);
  hak_heap_t *heap = test_heap_in(memory, size, 0, NULL);
  CHECK(heap != NULL);
  size_t before = resident(memory, size);
  CHECK_EQ(hak_heap_prefault(heap, 16 * MIB), 0);
  CHECK_EQ(resident(memory, size), before);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(munmap(memory, size), 0);
}

static void prewarm__in_memory_of_the_callers_is_not_asked_what_the_system_keeps(
    void **state) {
  (void)state;
  test_set(HAK_OPTION_HUGE_RETAIN_BYTES, 0);
  size_t size = 64 * MIB;
  void *memory = map(size);
  hak_heap_t *heap = test_heap_in(memory, size, 0, NULL);
  CHECK_EQ(hak_heap_prewarm(heap, 40 * MIB, 1), 1);
  CHECK(resident(memory, size) >= 40 * MIB);
  CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(munmap(memory, size), 0);
}

static void limits__of_memory_of_the_callers_stay_its_size(void **state) {
  (void)state;
  size_t size = 8 * MIB;
  void *memory = map(size);
  hak_heap_t *heap = test_heap_in(memory, size, 0, NULL);
  CHECK_EQ(hak_heap_set_limits(heap, 4096, 4096), EINVAL);
  CHECK(hak_heap_alloc(heap, MIB) != NULL);
  CHECK_EQ(test_heap_stats(heap).budget_refused, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(munmap(memory, size), 0);
}

/* It gives nothing of others back, which takes calls to the system. */
static void end__of_memory_of_the_callers_takes_nothing_of_others(void **state) {
  (void)state;
  size_t size = 8 * MIB;
  void *memory = map(size);
  hak_heap_t *heap = test_heap_in(memory, size, 0, NULL);
  hak_heap_t *other = test_heap(0, NULL, NULL);
  CHECK(hak_heap_alloc(heap, 100) != NULL);
  void *blocks[8];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK((blocks[i] = hak_alloc(MIB)) != NULL);
    test_fill_sparse(blocks[i], MIB, i);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  test_pass_ms(20 * DECAY_MS);
  uint64_t before = test_stats().retained_bytes;
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(test_stats().retained_bytes, before);
  CHECK_EQ(hak_heap_destroy(other), 0);
  CHECK(test_stats().retained_bytes < before);
  CHECK_EQ(munmap(memory, size), 0);
}

/* --- limits --- */

/* The product of what is asked for is 0 in a word. */
static void prewarm__of_a_product_that_wraps_takes_nothing(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 8 * MIB});
  uint64_t before = test_heap_stats(heap).committed_bytes;
  errno = 0;
  CHECK_EQ(hak_heap_prewarm(heap, 4096, SIZE_MAX / 4096 + 1), 0);
  CHECK_EQ(errno, ENOMEM);
  CHECK_EQ(test_heap_stats(heap).committed_bytes, before);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* --- blocks of malloc's --- */

static void mallocs_blocks__are_never_ready_and_cost_nothing_before(void **state) {
  (void)state;
  hak_heap_t *heap = hak_heap_create(NULL);
  hak_stats_t before = test_stats();
  CHECK_EQ(hak_heap_prefault(heap, 64 * MIB), 0);
  CHECK_EQ(hak_heap_prewarm(heap, 100, 1000), 1000);
  CHECK_EQ(hak_heap_prewarm(heap, 8 * MIB, 4), 4);
  CHECK_EQ(hak_heap_set_limits(heap, 0, MIB), 0);
  CHECK_EQ(hak_heap_prewarm(heap, 100000, 100), 100);
  hak_heap_config_t config = {.struct_size = sizeof config, .reserve = 256 * MIB};
  hak_heap_t *reserving = hak_heap_create(&config);
  CHECK(reserving != NULL);
  hak_stats_t after = test_stats();
  CHECK(after.reserved_bytes < before.reserved_bytes + 16 * MIB);
  CHECK(after.committed_bytes < before.committed_bytes + MIB);
  CHECK_EQ(test_heap_stats(heap).slow_alloc, 0);
  CHECK_EQ(hak_heap_destroy(reserving), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* As of heaps with slabs: sizes that no block can have are out of memory. */
static void mallocs_blocks__are_not_promised_beyond_any_size(void **state) {
  (void)state;
  hak_heap_config_t reserve = {.struct_size = sizeof reserve,
                               .reserve = (size_t)PTRDIFF_MAX + 1};
  hak_heap_config_t prefault = {.struct_size = sizeof prefault,
                                .prefault = (size_t)PTRDIFF_MAX + 1};
  errno = 0;
  CHECK(hak_heap_create(&reserve) == NULL);
  CHECK_EQ(errno, ENOMEM);
  errno = 0;
  CHECK(hak_heap_create(&prefault) == NULL);
  CHECK_EQ(errno, ENOMEM);
}

static int count_call(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap, (void)needed, (void)level;
  ++*(int *)ctx;
  return 0;
}

/* HAK_NO_GROW asks nobody, here as elsewhere. */
static void mallocs_blocks__without_growth_ask_nobody(void **state) {
  (void)state;
  int calls = 0;
  hak_heap_config_t config = {
      .hard_limit = MIB, .on_pressure = count_call, .ctx = &calls};
  hak_heap_t *heap = test_heap_make(config);
  CHECK(hak_allocx(heap, 2 * MIB, 0, HAK_NO_GROW, NULL) == NULL);
  CHECK_EQ(calls, 0);
  CHECK(hak_heap_alloc(heap, 2 * MIB) == NULL);
  CHECK(calls > 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

#define OWN(function) cmocka_unit_test_setup_teardown(function, begin_own, end)
#define MALLOC(function) cmocka_unit_test_setup_teardown(function, begin_malloc, end)

TEST_MAIN_FRESH(OWN(prefault__leaves_memory_of_the_callers_as_it_is),
                OWN(prewarm__in_memory_of_the_callers_is_not_asked_what_the_system_keeps),
                OWN(limits__of_memory_of_the_callers_stay_its_size),
                OWN(end__of_memory_of_the_callers_takes_nothing_of_others),
                OWN(prewarm__of_a_product_that_wraps_takes_nothing),
                MALLOC(mallocs_blocks__are_never_ready_and_cost_nothing_before),
                MALLOC(mallocs_blocks__are_not_promised_beyond_any_size),
                MALLOC(mallocs_blocks__without_growth_ask_nobody))
