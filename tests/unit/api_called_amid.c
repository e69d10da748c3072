/* api_called_amid.c - calls in hooks of a collection, which has the lease of what it
 * collects: they wait for nothing that it has. */
#include "child.h"
#include "support.h"

#include <errno.h>

static unsigned g_calls;
static bool g_inside_hook;
static unsigned g_asks, g_refused;
static hak_heap_t *g_collected;
static void *g_last;

static void *reserve_outside(void *ctx, size_t size, size_t alignment) {
  (void)ctx;
  return g_inside_hook ? NULL : hak_os_default()->reserve(NULL, size, alignment);
}

static bool see(const hak_block_t *block, void *ctx) {
  (void)block;
  (void)ctx;
  return true;
}

/* Nobody has such a block, so all gives way that the thread keeps. */
static void ask_for_everything(void) {
  CHECK(hak_alloc(GIB) == NULL);
  CHECK(hak_heap_alloc(g_collected, GIB) == NULL);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_check(g_collected), 0);
  int error = hak_heap_visit(g_collected, see, NULL, 0);
  CHECK(error == 0 || error == EBUSY);
  g_refused += error == EBUSY;
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  (void)hak_collect(g_collected, SIZE_MAX, HAK_COLLECT_ALL);
  hak_thread_idle();
}

/* Which may come by this again. */
static int ask_and_purge(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  if (!g_inside_hook) {
    g_inside_hook = true;
    if (g_last != NULL) {
      hak_free(g_last);
      g_last = NULL;
    } else if (g_asks > 0) {
      g_asks--;
      ask_for_everything();
    }
    g_inside_hook = false;
    g_calls++;
  }
  return hak_os_default()->purge(NULL, ptr, size);
}

static void begin_with_hooks(void) {
  hak_os_t os = *hak_os_default();
  os.reserve = reserve_outside;
  os.purge = ask_and_purge;
  (void)hak_shutdown(HAK_SHUTDOWN_FORCE);
  hak_config_t config = {.struct_size = sizeof config, .os = &os};
  CHECK_EQ(hak_init(&config), 0);
  test_set(HAK_OPTION_PURGE_MODE, 0);
  g_calls = 0;
}

/* Pages of free blocks among those that stay, of which one is returned. */
static void *leave_holes(hak_heap_t *heap, bool stay) {
  enum {
    BLOCKS = 20000
  };
  static void *blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) {
    CHECK((blocks[i] = hak_heap_alloc(heap, i * 37 % 30000)) != NULL);
  }
  for (size_t i = 1; i < BLOCKS; i++) {
    if (!stay || i % 5 != 0) hak_free(blocks[i]);
  }
  return blocks[0];
}

TEST_IN_CHILD(calls__in_a_hook_of_a_collection_do_not_wait_for_it, 30) {
  begin_with_hooks();
  leave_holes(NULL, true);
  g_asks = 20;
  CHECK(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL) > 0);
  CHECK(g_calls > 0 && g_refused > 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(calls__in_a_hook_of_a_heap_s_collection_do_not_wait_for_it, 30) {
  begin_with_hooks();
  g_collected = test_heap_make((hak_heap_config_t){0});
  leave_holes(g_collected, true);
  g_asks = 20;
  CHECK(hak_collect(g_collected, SIZE_MAX, HAK_COLLECT_ALL) > 0);
  CHECK(g_calls > 0 && g_refused > 0);
  CHECK_EQ(hak_heap_destroy(g_collected), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* A released heap ends with its last block. */
TEST_IN_CHILD(free__in_a_hook_of_a_released_heap_s_collection_leaves_its_end_to_that,
              30) {
  begin_with_hooks();
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){0});
  void *last = leave_holes(heap, false);
  hak_thread_idle();
  CHECK_EQ(hak_heap_release(heap), 0);
  g_last = last;
  CHECK(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL) > 0);
  CHECK(g_last == NULL);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN(T(calls__in_a_hook_of_a_collection_do_not_wait_for_it),
          T(calls__in_a_hook_of_a_heap_s_collection_do_not_wait_for_it),
          T(free__in_a_hook_of_a_released_heap_s_collection_leaves_its_end_to_that))
