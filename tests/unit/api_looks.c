/* api_looks.c - reports, visits and statistics in states that are rare: memory for them
 * or for records of heaps is refused, heaps come while they look, freed blocks were
 * written to, and somebody else has a heap's lease. */
#include "json.h"
#include "os_fixture.h"
#include "text.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap.h"
#include "heap/heap_record.h"
#include "heap/thread_state.h"
#include "pages/meta.h"
#include "superslab/locate.h"
#include "tiny/size_class.h"

/* A report. */
static test_text_t g_text;

static void print(int format) {
  test_text_clear(&g_text);
  CHECK_EQ(hak_heaps_print(format, test_text_add, &g_text), 0);
  if (format == HAK_FORMAT_JSON) test_text_expect_json(&g_text);
}

/* The report's row of a heap, or NULL. */
static const char *row_of(hak_heap_t *heap) {
  char id[40];
  snprintf(id, sizeof id, "{\"id\":\"%p\"", (void *)heap);
  return strstr(g_text.bytes, id);
}

static uint64_t number(const char *row, const char *member) {
  uint64_t value;
  CHECK_MSG(row != NULL && json_number(row, member, &value), "no %s", member);
  return value;
}

static bool count_block(const hak_block_t *block, void *ctx) {
  (void)block;
  ++*(size_t *)ctx;
  return true;
}

static size_t visited(hak_heap_t *heap) {
  size_t count = 0;
  CHECK_EQ(hak_heap_visit(heap, count_block, &count, 0), 0);
  return count;
}

static bool count_heap(hak_heap_t *heap, void *ctx) {
  CHECK(heap != NULL);
  ++*(size_t *)ctx;
  return true;
}

/* ---- records of heaps ---------------------------------------------------------------
 */

/* Makes heaps until the memory for the next records is refused, after their number was
 * counted. */
static hak_heap_t *lose_a_record(void) {
  hak_heap_t *last = NULL;
  while (hak_heaps_made() % 256 != 0) last = test_heap(0, "one of many", NULL);
  uint32_t made = hak_heaps_made();
  for (int i = 0; i < 200 && hak_heaps_made() == made; i++) {
    /* Some of what is committed has room for a heap, and not for 256 of them. */
    CHECK(hak_meta_alloc(hak_registry_os(), 4 * KIB, 64) != NULL);
    CHECK(hak_meta_alloc_pages(hak_registry_os(), 4 * KIB) != NULL);
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
    hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
    CHECK(hak_heap_create(&config) == NULL);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  }
  CHECK_EQ(hak_heaps_made(), made + 1);
  CHECK(hak_heap_at(made) == NULL);
  return last;
}

static void record__that_was_refused_is_left_out_of_every_look(void **state) {
  (void)state;
  hak_heap_t *last = lose_a_record(), *next = test_heap(0, "next", NULL);
  CHECK(hak_heap_alloc(last, 100) != NULL && hak_heap_alloc(next, 200) != NULL);
  print(HAK_FORMAT_JSON);
  CHECK_EQ(number(row_of(last), "live_blocks"), 1);
  CHECK_EQ(number(row_of(next), "live_blocks"), 1);
  CHECK_EQ(test_heap_stats(next).live_blocks, 1);
  CHECK_EQ(test_stats().live_blocks, 2);
  CHECK_EQ(visited(last), 1);
  size_t heaps = 0;
  CHECK_EQ(hak_visit_heaps(count_heap, &heaps), 0);
  CHECK_EQ(heaps, hak_heaps_made() - 1);
  CHECK_EQ(hak_check(NULL), 0);
}

/* ---- memory for looks ---------------------------------------------------------------
 */

/* Whatever is refused, the look says so, writes nothing and keeps nothing. */
static void look__that_is_refused_memory_says_so(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "heap", NULL);
  CHECK(hak_heap_alloc(heap, 100) != NULL && hak_heap_alloc(heap, 50 * MIB) != NULL);
  size_t ranges = g_os.ranges;
  for (int format = HAK_FORMAT_TEXT; format <= HAK_FORMAT_JSON; format++) {
    static const unsigned kinds[] = {1u << TEST_OS_RESERVE, 1u << TEST_OS_COMMIT};
    for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
      size_t count = 0;
      test_text_clear(&g_text);
      test_os_fail(&g_os, TEST_FAIL_FROM_NTH, kinds[i], 1);
      CHECK_EQ(hak_heaps_print(format, test_text_add, &g_text), ENOMEM);
      CHECK_EQ(hak_heap_visit(heap, count_block, &count, 0), ENOMEM);
      test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
      CHECK_EQ(g_text.length, 0);
      CHECK_EQ(count, 0);
      CHECK_EQ(g_os.ranges, ranges);
    }
  }
  CHECK_EQ(visited(heap), 2);
}

/* ---- heaps that come while others are looked at -------------------------------------
 */

static hak_os_t g_hooks; /* g_os's own */
static pthread_barrier_t g_reserve;
static bool g_wait; /* the next reservation waits until heaps have come */
static hak_heap_t *g_parent, *g_child, *g_gone;

static void *reserve_late(void *ctx, size_t size, size_t alignment) {
  if (g_wait) {
    g_wait = false;
    pthread_barrier_wait(&g_reserve);
    pthread_barrier_wait(&g_reserve);
  }
  return g_hooks.reserve(ctx, size, alignment);
}

static void *make_heaps(void *arg) {
  (void)arg;
  pthread_barrier_wait(&g_reserve);
  g_parent = test_heap(0, "late parent", NULL);
  CHECK_EQ(hak_heap_destroy(g_gone), 0);
  g_child = test_heap(0, "late child", g_parent);
  pthread_barrier_wait(&g_reserve);
  return NULL;
}

/* The record of a heap that ended serves one whose parent's record is newer than the
 * look. */
static void heap__whose_parent_came_too_late_is_left_out(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  g_hooks = g_os.hooks;
  g_os.hooks.reserve = reserve_late;
  CHECK_EQ(test_os_init(&g_os), 0);
  CHECK_EQ(pthread_barrier_init(&g_reserve, NULL, 2), 0);
  hak_heap_t *stays = test_heap(0, "stays", NULL);
  g_gone = test_heap(0, "gone", NULL);
  uint32_t index = hak_heap_record(g_gone)->index;
  CHECK(hak_heap_alloc(stays, 100) != NULL);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, make_heaps, NULL), 0);
  g_wait = true;
  print(HAK_FORMAT_JSON);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(hak_heap_record(g_child)->index, index);
  CHECK(hak_heap_record(g_parent)->index > index);
  CHECK(row_of(stays) != NULL && row_of(g_parent) == NULL && row_of(g_child) == NULL);
  print(HAK_FORMAT_JSON);
  CHECK(row_of(stays) != NULL && row_of(g_parent) != NULL && row_of(g_child) != NULL);
  pthread_barrier_destroy(&g_reserve);
  test_over_os_end();
}

/* ---- a lease of somebody else's -----------------------------------------------------
 */

static void lease__of_somebody_else_is_left_alone(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "leased", NULL);
  for (int i = 0; i < 10; i++) hak_free(hak_heap_alloc(heap, 100));
  CHECK(hak_heap_alloc(heap, 100) != NULL);
  hak_heap_t *record = hak_heap_record(heap);
  hak_heap_lease(record);
  print(HAK_FORMAT_JSON);
  (void)test_heap_stats(heap); /* what others cache is then not walked */
  bool taken = hak_heap_try_lease(record);
  CHECK(!taken);
  hak_heap_unlease(record);
}

/* ---- freed blocks that were written to ----------------------------------------------
 */

static int by_address(const void *a, const void *b) {
  const char *x = *(char *const *)a, *y = *(char *const *)b;
  return x < y ? -1 : x > y;
}

enum {
  NEIGHBOURS = 10,
  SIZE = 1000
};

/* Which of some blocks a visit shows. */
typedef struct shown {
  char *blocks[NEIGHBOURS];
  unsigned times[NEIGHBOURS];
} shown_t;

static bool show(const hak_block_t *block, void *ctx) {
  shown_t *shown = ctx;
  for (size_t i = 0; i < NEIGHBOURS; i++) {
    shown->times[i] += block->address == shown->blocks[i];
  }
  return true;
}

/* Frees one of some blocks in a slab, whose link then is as if it led to `next`: all
 * others are shown, and nothing else is read. */
static void check_link_to(size_t size,
                          const void *(*next)(char *start, char *const *blocks)) {
  shown_t shown = {{NULL}, {0}};
  char **blocks = shown.blocks;
  hak_heap_t *heap = test_heap(0, "damaged", NULL);
  for (size_t i = 0; i < NEIGHBOURS; i++) blocks[i] = hak_heap_alloc(heap, size);
  qsort(blocks, NEIGHBOURS, sizeof blocks[0], by_address);
  hak_free(blocks[3]);
  CHECK_EQ(visited(heap), NEIGHBOURS - 1); /* its bin goes home */
  char *start = hak_locate((uintptr_t)blocks[3]).start;
  const void *right = hak_link_read(&hak_thread_self->key, blocks[3]);
  hak_link_write(&hak_thread_self->key, blocks[3], next(start, blocks));
  CHECK_EQ(hak_heap_visit(heap, show, &shown, 0), 0);
  for (size_t i = 0; i < NEIGHBOURS; i++) CHECK_EQ(shown.times[i], i != 3);
  hak_link_write(&hak_thread_self->key, blocks[3], right);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Where what the program wrote looks like the last link of a list. */
static const void *into_a_block(char *start, char *const *blocks) {
  (void)start;
  hak_link_write(&hak_thread_self->key, blocks[5] + 16, HAK_LINK_END);
  return blocks[5] + 16;
}
/* Where nothing is, though the number of a block that began there would be the fifth's in
 * 32 bits. */
static const void *far_below_a_block(char *start, char *const *blocks) {
  size_t size = hak_class_size(hak_locate((uintptr_t)start).cls);
  return blocks[5] - (size << 32);
}
static const void *behind_the_blocks(char *start, char *const *blocks) {
  (void)blocks;
  hak_place_t place = hak_locate((uintptr_t)start);
  return start + (hak_slab_capacity(place.slab) - 1) * hak_class_size(place.cls);
}

static void visit__is_not_led_astray_by_links_that_were_written_over(void **state) {
  (void)state;
  check_link_to(SIZE, into_a_block);
  check_link_to(SIZE, far_below_a_block);
  check_link_to(SIZE, behind_the_blocks);
  check_link_to(5000, behind_the_blocks);
}

static char *g_cached;

static void *cache_some(void *heap) {
  char *blocks[10];
  for (int again = 0; again < 100; again++) {
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
      blocks[i] = hak_heap_alloc(heap, SIZE);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  }
  g_cached = blocks[TEST_COUNT(blocks) - 1];
  pthread_barrier_wait(&g_reserve);
  pthread_barrier_wait(&g_reserve); /* the visit */
  return NULL;
}

/* A list of another thread's ends where it was written over. */
static void visit__reads_no_cached_block_that_was_written_over(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "cached", NULL);
  char *live = hak_heap_alloc(heap, SIZE);
  pthread_t thread;
  CHECK_EQ(pthread_barrier_init(&g_reserve, NULL, 2), 0);
  CHECK_EQ(pthread_create(&thread, NULL, cache_some, heap), 0);
  pthread_barrier_wait(&g_reserve);
  uint64_t word;
  memcpy(&word, g_cached, sizeof word);
  memset(g_cached, 0xff, sizeof word);
  shown_t shown = {{live}, {0}};
  CHECK_EQ(hak_heap_visit(heap, show, &shown, 0), 0);
  memcpy(g_cached, &word, sizeof word);
  CHECK_EQ(shown.times[0], 1);
  pthread_barrier_wait(&g_reserve);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  pthread_barrier_destroy(&g_reserve);
  CHECK_EQ(visited(heap), 1);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- addresses -----------------------------------------------------------------------
 */

static bool stop_at_heap(hak_heap_t *heap, void *ctx) {
  (void)heap;
  ++*(size_t *)ctx;
  return false;
}

static void visit_heaps__ends_when_told(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "one more", NULL);
  size_t heaps = 0;
  CHECK_EQ(hak_visit_heaps(stop_at_heap, &heaps), 0);
  CHECK_EQ(heaps, 1);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void ptr_info__finds_nothing_where_no_block_was_cut(void **state) {
  (void)state;
  static _Alignas(4096) char memory[512 * KIB];
  hak_heap_t *heap = test_heap(0, "new", NULL);
  hak_heap_t *little = test_heap_in(memory, sizeof memory, 0, NULL);
  char *block = hak_heap_alloc(heap, 3000), *inside = hak_heap_alloc(little, 3000);
  CHECK(block != NULL && inside != NULL);
  hak_place_t place = hak_locate((uintptr_t)block);
  hak_block_t info = {.struct_size = sizeof info};
  CHECK_EQ(hak_ptr_info(block + 1000, &info), 0);
  CHECK_EQ(
      hak_ptr_info(place.start + hak_slab_span(place.slab) * HAK_SLAB_SIZE - 1, &info),
      ENOENT);
  CHECK_EQ(hak_ptr_info(inside + 1000, &info), 0);
  CHECK(info.address == inside);
  CHECK_EQ(hak_ptr_info(memory, &info), ENOENT);
  CHECK_EQ(hak_ptr_info(memory + sizeof memory - 1, &info), ENOENT);
  CHECK_EQ(hak_heap_destroy(little), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- hints ---------------------------------------------------------------------------
 */

enum {
  MANY = 20000,
  APART = 500
};
static void *g_blocks[MANY];

/* Leaves some blocks in slabs that are free but for these. */
static void leave_few(hak_heap_t *heap) {
  for (size_t i = 0; i < MANY; i++) g_blocks[i] = hak_heap_alloc(heap, 256);
  for (size_t i = 0; i < MANY; i++) {
    if (i % APART != 0) hak_free(g_blocks[i]);
  }
  (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
}

static size_t hints(void) {
  size_t count = 0;
  for (size_t i = 0; i < MANY; i += APART) count += (size_t)hak_move_hint(g_blocks[i]);
  return count;
}

static void move_hint__is_for_heaps_that_threads_cache(void **state) {
  (void)state;
  hak_heap_t *serial = test_heap(HAK_HEAP_SERIAL, "serial", NULL);
  hak_heap_t *parent = test_heap(0, "parent", NULL), *heap = test_heap(0, "h", parent);
  leave_few(serial);
  CHECK_EQ(hints(), 0);
  leave_few(heap);
  hak_heap_t *record = hak_heap_record(heap);
  hak_heap_lease(record);
  CHECK_EQ(hints(), 0);
  bool taken = hak_heap_try_lease(record);
  CHECK(!taken);
  hak_heap_unlease(record);
  CHECK_EQ(hak_heap_release(heap), 0);
  CHECK_EQ(hints(), 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(parent), 0);
  heap = test_heap(0, "other", NULL);
  leave_few(heap);
  CHECK(hints() > MANY / APART / 2);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(serial), 0);
}

/* ---- the map -------------------------------------------------------------------------
 */

/* The row of the SuperSlab at an address, or NULL. */
static const char *superslab_row(const void *block) {
  char address[40];
  snprintf(address, sizeof address, "{\"address\":\"%p\"",
           (void *)((uintptr_t)block & ~(uintptr_t)(2 * MIB - 1)));
  return strstr(g_text.bytes, address);
}

static bool says(const char *row, const char *part) {
  const char *found = row == NULL ? NULL : strstr(row, part), *end = strchr(row, '\n');
  return found != NULL && (end == NULL || found < end);
}

static void map__has_large_spans_and_memory_that_is_kept(void **state) {
  (void)state;
  static _Alignas(2 << 20) char memory[16 << 20];
  test_keep_unused(true);
  hak_heap_t *heap = test_heap(0, "mapped", NULL);
  hak_heap_t *region = test_heap_in(memory, sizeof memory, 0, NULL);
  char *large = hak_heap_calloc(heap, 1, 150 * KIB), *run = hak_heap_alloc(heap, 8 * MIB);
  char *inside = hak_heap_alloc(region, 100), *small = hak_heap_alloc(heap, 100);
  CHECK(large != NULL && run != NULL && inside != NULL);
  memset(run, 1, 8 * MIB);
  print(HAK_FORMAT_JSON);
  char part[80];
  snprintf(part, sizeof part,
           "\"slabs\":3,\"size\":%zu,\"blocks\":1,\"capacity\":1,\"large\":true}",
           hak_usable_size(large));
  CHECK(says(superslab_row(large), part));
  CHECK_EQ(number(strstr(row_of(heap), "\"own\""), "large_blocks"), 2);
  CHECK(small != NULL && says(superslab_row(small), "\"large\":false}"));
  CHECK(says(superslab_row(inside), "\"use\":\"slabs\""));
  CHECK(says(superslab_row(run), "\"use\":\"large\""));
  hak_free(run);
  print(HAK_FORMAT_JSON);
  const char *row = superslab_row(run);
  CHECK(says(row, "\"use\":\"free\"") && number(row, "committed_bytes") > 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  print(HAK_FORMAT_JSON);
  row = superslab_row(run);
  CHECK(row == NULL || !says(row, "\"use\":\"free\""));
  test_keep_unused(false);
  CHECK_EQ(hak_heap_destroy(region), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Large samples are in no class. */
static void json__leaves_large_samples_out_of_classes(void **state) {
  (void)state;
  HAK_SITE(here);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  hak_heap_t *heap = test_heap(0, "places", NULL), *next = test_heap(0, "next", NULL);
  static const size_t sizes[] = {1100, 3 * MIB, 40 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    CHECK(hak_heap_calloc_at(heap, 1, sizes[i], &here) != NULL);
  }
  print(HAK_FORMAT_JSON);
  const char *sampled = strstr(row_of(heap), "\"sampled\"");
  CHECK(sampled != NULL);
  CHECK_EQ(number(sampled, "requested_bytes"), 1100);
  CHECK(strstr(sampled + 1, "\"sampled\"") == NULL);
  CHECK_EQ(number(row_of(heap), "live_blocks"), TEST_COUNT(sizes));
  CHECK_EQ(number(row_of(next), "live_blocks"), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(next), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 262144), 0);
}

#define OVER_OS(function) TEST_OVER_OS(function, 0)

TEST_MAIN_FRESH(OVER_OS(record__that_was_refused_is_left_out_of_every_look),
                OVER_OS(look__that_is_refused_memory_says_so),
                T(heap__whose_parent_came_too_late_is_left_out),
                OVER_OS(lease__of_somebody_else_is_left_alone),
                OVER_OS(visit__is_not_led_astray_by_links_that_were_written_over),
                OVER_OS(visit__reads_no_cached_block_that_was_written_over),
                OVER_OS(visit_heaps__ends_when_told),
                OVER_OS(ptr_info__finds_nothing_where_no_block_was_cut),
                OVER_OS(move_hint__is_for_heaps_that_threads_cache),
                OVER_OS(map__has_large_spans_and_memory_that_is_kept),
                OVER_OS(json__leaves_large_samples_out_of_classes))
