/* os_leaks.c - what LeakSanitizer is told of: all memory that may have blocks, while it
 * may. Its functions are the test's own. */
#include "support.h"

#include <string.h>

enum {
  ROOTS = 1000
};

typedef struct root {
  const char *start;
  size_t size;
} root_t;

static root_t g_roots[ROOTS];
static size_t g_count, g_unknown; /* roots now; those that went and had not come */

void __lsan_register_root_region(const void *ptr, size_t size);
void __lsan_unregister_root_region(const void *ptr, size_t size);

void __lsan_register_root_region(const void *ptr, size_t size) {
  if (g_count < ROOTS) g_roots[g_count++] = (root_t){ptr, size};
}

void __lsan_unregister_root_region(const void *ptr, size_t size) {
  for (size_t i = 0; i < g_count; i++) {
    if (g_roots[i].start != ptr || g_roots[i].size != size) continue;
    g_roots[i] = g_roots[--g_count];
    return;
  }
  g_unknown++;
}

static bool is_in_root(const void *ptr) {
  for (size_t i = 0; i < g_count; i++) {
    if (test_is_within(ptr, g_roots[i].start, g_roots[i].size)) return true;
  }
  return false;
}

static void blocks__of_all_tiers_lie_in_roots(void **state) {
  (void)state;
  static const size_t sizes[] = {16, 5000, 100000, 3 << 20, 40 << 20};
  CHECK_EQ(g_count, 0);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = hak_alloc(sizes[i]);
    CHECK(is_in_root(block) && is_in_root(block + sizes[i] - 1));
    block = hak_realloc(block, 2 * sizes[i]);
    CHECK(is_in_root(block) && is_in_root(block + 2 * sizes[i] - 1));
    hak_free(block);
  }
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_count, 0);
  CHECK_EQ(g_unknown, 0);
}

static void blocks__in_memory_of_the_callers_lie_in_roots_till_their_heap_ends(
    void **state) {
  (void)state;
  static _Alignas(64) char memory[12 << 20];
  static const size_t sizes[] = {256 << 10, sizeof memory}; /* both kinds of such heaps */
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    hak_heap_config_t config = {
        .struct_size = sizeof config, .memory = memory, .memory_size = sizes[i]};
    hak_heap_t *heap = hak_heap_create(&config);
    CHECK(heap != NULL);
    void *block = hak_heap_alloc(heap, 100);
    CHECK(block != NULL && is_in_root(block));
    CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK(!is_in_root(memory + sizes[i] / 2));
  }
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_count, 0);
  CHECK_EQ(g_unknown, 0);
}

TEST_MAIN_FRESH(T(blocks__of_all_tiers_lie_in_roots),
                T(blocks__in_memory_of_the_callers_lie_in_roots_till_their_heap_ends))
