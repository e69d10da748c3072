/* signals.c - what may be asked in a crash handler (docs/INTROSPECTION.md), at any access
 * of the thread that the handler interrupts: nothing waits for a lock that the thread
 * has, and the answers are right for what it does not just do something with.
 */
#include <string.h>

#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/fork.h"
#include "start.h"

enum {
  SIZE = 8192,
  LARGE = 128 * 1024,
  MAPPED = 3 << 20, /* with a mapping of its own, if LARGE_MAX says so */
  LARGE_MAX = 1 << 20,
  BLOCKS = 3,
  CLASSES = 128,
  HEAPS = 2
};

static hak_heap_t *heap, *parent;
static void *blocks[BLOCKS]; /* that the thread frees */
static void
    *kept[1 + HEAPS]; /* that it does not touch: of the default heap, and the others */

static void drop(const char *text, size_t length, void *ctx) {
  (void)text, (void)length, (void)ctx;
}
static void ask_of(hak_heap_t *of) {
  hak_stats_t stats = HAK_STATS_INIT;
  EXPLORE_CHECK(hak_stats_get(of, &stats) == 0);
  EXPLORE_CHECK(stats.live_blocks >= 1 && stats.live_bytes >= SIZE);
}
static void ask_of_block(void *block, hak_heap_t *of) {
  hak_block_t info = HAK_BLOCK_INIT;
  EXPLORE_CHECK(hak_ptr_info((char *)block + 1, &info) == 0);
  EXPLORE_CHECK(info.address == block && info.size >= SIZE && info.heap == of);
  EXPLORE_CHECK(hak_heap_of(block) == of);
}
static void ask(void) {
  ask_of(NULL);
  ask_of_block(kept[0], hak_heap_default());
  if (parent != NULL) {
    ask_of(parent);
    ask_of_block(kept[1], parent);
    EXPLORE_CHECK(strcmp(hak_heap_name(parent), "parent") == 0);
  }
}
static void print(void) {
  static hak_class_stats_t rows[CLASSES];
  rows[0].struct_size = (uint32_t)sizeof rows[0];
  EXPLORE_CHECK(hak_stats_classes(NULL, rows, CLASSES) > 0);
  EXPLORE_CHECK(hak_stats_print(NULL, HAK_FORMAT_TEXT, drop, NULL) == 0);
}
/* Of heaps that are just being made or ended anything is right. */
static void ask_of_any(void) {
  hak_stats_t stats = HAK_STATS_INIT;
  hak_block_t info = HAK_BLOCK_INIT;
  ask();
  (void)hak_stats_get(heap, &stats);
  (void)hak_ptr_info(blocks[0], &info);
  (void)hak_heap_name(heap);
}

#define SIGNAL_SCENARIO(id, begin, does, asks)                   \
  const explore_scenario_t signal_##id = {.name = "signal." #id, \
                                          .setup = begin,        \
                                          .is_wide = true,       \
                                          .handler = asks,       \
                                          .thread = {does},      \
                                          .check = all_well}

static void all_well(void) { EXPLORE_CHECK(hak_check(NULL) == 0); }

/* --- blocks that come and go ----------------------------------------------------- */

static void have_blocks(void) {
  start_thread();
  kept[0] = start_new_block(NULL, SIZE);
  for (int i = 0; i < BLOCKS; i++) blocks[i] = start_new_block(NULL, SIZE);
}
static void start(void) {
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_LARGE_MAX_BYTES, LARGE_MAX) == 0);
  start_library();
  explore_as(0, have_blocks);
}
static void free_and_idle(void) {
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  hak_thread_idle();
}
static void alloc_other_class(void) { hak_free(start_new_block(NULL, 1024)); }
static void alloc_large(void) { hak_free(start_new_block(NULL, LARGE)); }
static void alloc_mapped(void) { hak_free(start_new_block(NULL, MAPPED)); }
static void collect(void) {
  free_and_idle();
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
}
SIGNAL_SCENARIO(free, start, free_and_idle, ask);
SIGNAL_SCENARIO(alloc, start, alloc_other_class, ask);
SIGNAL_SCENARIO(large, start, alloc_large, ask);
SIGNAL_SCENARIO(mapped, start, alloc_mapped, ask);
SIGNAL_SCENARIO(collect, start, collect, ask);
SIGNAL_SCENARIO(print, start, alloc_other_class, print);

/* --- heaps and threads that come and go ------------------------------------------ */

static void have_heap(void) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "parent";
  parent = hak_heap_create(&config);
  EXPLORE_CHECK(parent != NULL);
  kept[1] = start_new_block(parent, SIZE);
  config.name = "heap";
  config.parent = parent;
  heap = hak_heap_create(&config);
  EXPLORE_CHECK(heap != NULL);
  for (int i = 0; i < BLOCKS; i++) blocks[i] = start_new_block(heap, SIZE);
}
static void start_heaps(void) {
  start();
  start_caching();
  explore_as(0, have_heap);
}
static void destroy_and_create(void) {
  EXPLORE_CHECK(hak_heap_destroy(heap) == 0);
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
}
static void release_and_free(void) {
  EXPLORE_CHECK(hak_heap_release(heap) == 0);
  free_and_idle();
}
static void exit_and_attach(void) {
  hak_thread_exit();
  start_thread();
}
SIGNAL_SCENARIO(destroy, start_heaps, destroy_and_create, ask_of_any);
SIGNAL_SCENARIO(release, start_heaps, release_and_free, ask_of_any);
SIGNAL_SCENARIO(exit, start_heaps, exit_and_attach, ask);

/* All locks that there are. */
static void prepare_and_go_on(void) {
  hak_forking_prepare();
  hak_forking_parent();
}
SIGNAL_SCENARIO(fork, start_heaps, prepare_and_go_on, ask);
