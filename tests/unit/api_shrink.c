/* api_shrink.c - a block can always be made smaller: in a full heap, where the system
 * gives nothing, inside a pressure callback; and nobody is asked for room for that. */
#include "os_fixture.h"

#include <errno.h>
#include <hakmem/hooks.h>
#include <string.h>

typedef struct shrink {
  size_t from, to;
} shrink_t;

static const shrink_t shrinks[] = {
    {5000, 16},   {30000, 100},     {60000, 700},   {200000, 3000},  {1500000, 40000},
    {1500000, 8}, {1200000, 20000}, {900000, 2000}, {100000, 60000}, {400, 8},
};

static int g_asked;
static int never_asked(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap;
  (void)needed;
  (void)level;
  (void)ctx;
  g_asked++;
  return 0;
}

static void *g_filler[200000];

/* Blocks of all sizes until none can be had; how many. */
static size_t fill(hak_heap_t *heap) {
  size_t count = 0;
  for (size_t size = MIB; size >= 8; size /= 2) {
    void *block;
    while (count < TEST_COUNT(g_filler) && (block = hak_heap_alloc(heap, size)) != NULL) {
      g_filler[count++] = block;
    }
  }
  return count;
}

static void check_shrinks(hak_heap_t *heap) {
  unsigned char *blocks[TEST_COUNT(shrinks)];
  for (size_t i = 0; i < TEST_COUNT(shrinks); i++) {
    CHECK((blocks[i] = hak_heap_alloc(heap, shrinks[i].from)) != NULL);
    test_fill_sparse(blocks[i], shrinks[i].from, i);
  }
  size_t count = fill(heap);
  CHECK(count > 0);
  int asked = g_asked;
  for (size_t i = 0; i < TEST_COUNT(shrinks); i++) {
    const shrink_t *s = &shrinks[i];
    errno = TEST_ERRNO;
    unsigned char *block =
        i % 3 == 0   ? hak_realloc(blocks[i], s->to)
        : i % 3 == 1 ? hak_hook_resize(heap, blocks[i], s->from, s->to)
                     : hak_reallocx(heap, blocks[i], s->to, 0, HAK_NO_GROW, NULL);
    CHECK_MSG(block != NULL, "%zu to %zu", s->from, s->to);
    CHECK_EQ(errno, TEST_ERRNO);
    CHECK(hak_usable_size(block) >= s->to);
    blocks[i] = block;
    CHECK(test_verify_sparse_prefix(block, s->from, s->to, i));
  }
  CHECK_EQ(g_asked, asked);
  for (size_t i = 0; i < TEST_COUNT(shrinks); i++) hak_free(blocks[i]);
  while (count > 0) hak_free(g_filler[--count]);
  CHECK_EQ(hak_check(NULL), 0);
}

static void shrink__of_a_block_of_a_full_heap_never_fails(void **state) {
  (void)state;
  for (unsigned serial = 0; serial < 2; serial++) {
    hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
    config.hard_limit = 16 * MIB;
    config.on_pressure = never_asked;
    config.flags = serial != 0 ? HAK_HEAP_SERIAL : 0;
    hak_heap_t *heap = hak_heap_create(&config);
    CHECK(heap != NULL);
    check_shrinks(heap);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void shrink__in_memory_of_the_callers_never_fails(void **state) {
  (void)state;
  static unsigned char memory[20 << 20];
  static const size_t sizes[] = {sizeof memory, 7 << 20}; /* large and little */
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
    config.memory = memory;
    config.memory_size = sizes[i];
    hak_heap_t *heap = hak_heap_create(&config);
    CHECK(heap != NULL);
    check_shrinks(heap);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void shrink__where_the_system_gives_nothing_never_fails(void **state) {
  (void)state;
  unsigned char *blocks[TEST_COUNT(shrinks)];
  for (size_t i = 0; i < TEST_COUNT(shrinks); i++) {
    CHECK((blocks[i] = hak_alloc(shrinks[i].from)) != NULL);
    test_fill_sparse(blocks[i], shrinks[i].from, i);
  }
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH,
               1u << TEST_OS_RESERVE | 1u << TEST_OS_COMMIT | 1u << TEST_OS_REMAP, 1);
  for (size_t i = 0; i < TEST_COUNT(shrinks); i++) {
    errno = TEST_ERRNO;
    unsigned char *block = hak_realloc(blocks[i], shrinks[i].to);
    CHECK_MSG(block != NULL, "%zu to %zu", shrinks[i].from, shrinks[i].to);
    CHECK_EQ(errno, TEST_ERRNO);
    CHECK(test_verify_sparse_prefix(block, shrinks[i].from, shrinks[i].to, i));
    blocks[i] = block;
  }
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  for (size_t i = 0; i < TEST_COUNT(shrinks); i++) hak_free(blocks[i]);
}

/* To a stricter alignment a block has to move, and that may fail. */
static void alignment__that_needs_another_block_may_fail(void **state) {
  (void)state;
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.hard_limit = 4 * MIB;
  hak_heap_t *heap = hak_heap_create(&config);
  void *block = hak_heap_alloc(heap, 48);
  CHECK(block != NULL);
  size_t count = fill(heap);
  errno = 0;
  void *moved = hak_aligned_realloc(block, 64 * KIB, 40);
  CHECK(moved == NULL || (uintptr_t)moved % (64 * KIB) == 0);
  if (moved == NULL) CHECK_EQ(errno, ENOMEM);
  hak_free(moved != NULL ? moved : block);
  while (count > 0) hak_free(g_filler[--count]);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

#define O(function) TEST_OVER_OS(function, 0)

TEST_MAIN_FRESH(O(shrink__of_a_block_of_a_full_heap_never_fails),
                O(shrink__in_memory_of_the_callers_never_fails),
                O(shrink__where_the_system_gives_nothing_never_fails),
                O(alignment__that_needs_another_block_may_fail))
