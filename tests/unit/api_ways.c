/* api_ways.c - allocations that do not go the common way: where the list of a bin leads
 * to no block, out of the middle of another request, and where the call says so. */
#include "child.h"
#include "threads.h"

#include <hakmem/introspect.h>

#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "heap/heap.h"
#include "heap/kind.h"
#include "learn/sample.h"
#include "os/os.h"
#include "tiny/bin.h"
#include "tiny/recall.h"

/* --- what is no block ----------------------------------------------------------------
 */

enum {
  MID = 5000,
  SINGLE = 100 << 10
};

static hak_site_t g_site = {.file = __FILE__, .line = 1, .name = "a place"};
static uint32_t g_class;

static void *by_alloc(size_t size) { return hak_alloc(size); }
static void *by_allocx(size_t size) { return hak_allocx(NULL, size, 16, 0, NULL); }
static void *by_small(size_t size) {
  (void)size;
  return hak_api_small(NULL, g_class, false);
}
static void *by_place(size_t size) { return hak_alloc_at(size, &g_site); }
typedef void *(way_fn)(size_t size);

/* The next calls of the thread come to no slow path of themselves. */
static void keep_pace(hak_thread_t *me) {
  hak_store_relaxed(&me->pace.pops, 30);
  hak_store_relaxed(&me->pace.flips, 30);
}

/* As misuse of freed blocks leaves it: on the list of those that were freed last, or of
 * those that are ready. */
static void put_on_list(hak_bin_t *bin, void *stray, bool ready) {
  hak_thread_t *me = hak_thread_self;
  if (ready) {
    hak_link_write(&me->key, stray, HAK_LINK_END);
    bin->ready = stray;
    hak_store_relaxed(&bin->ready_count, 1);
  } else {
    hak_list_push(&me->key, &bin->list, stray);
  }
}

static void check_way(way_fn *way, size_t size, void *stray, hak_error_t error,
                      bool ready) {
  hak_thread_t *me = hak_thread_self;
  g_class = size <= HAK_MID_MAX ? hak_class_of(size) : hak_class_of_large(size);
  hak_bin_t *bin = &me->bins[g_class];
  hak_thread_idle(); /* the bin is empty */
  CHECK(bin->list.head == HAK_LINK_END && bin->ready == HAK_LINK_END);
  put_on_list(bin, stray, ready);
  keep_pace(me);
  test_reports_begin();
  char *block = way(size);
  test_reports_end_at(error, stray);
  CHECK(block != NULL && block != stray && hak_usable_size(block) >= size);
  hak_free(block);
}

static void strays__are_reported_and_not_given_out_by_any_way(void **state) {
  (void)state;
  if (HAK_CHECKS == 0 || HAK_CHECKS >= 3) skip(); /* nothing is looked at; all is */
  static way_fn *const ways[] = {by_alloc, by_allocx, by_place, by_small};
  char *mid = hak_alloc(MID), *other = hak_alloc(2 * SINGLE);
  hak_free(hak_alloc_at(100, &g_site));
  hak_free(hak_alloc(SINGLE));
  CHECK(mid != NULL && other != NULL);
  for (size_t i = 0; i < TEST_COUNT(ways); i++) {
    for (int ready = 0; ready < 2; ready++) {
      if (ways[i] == by_small && !ready) continue; /* it looks at what is ready */
      check_way(ways[i], MID, mid + 8, HAK_ERROR_INTERIOR_POINTER, ready);
      check_way(ways[i], SINGLE, other, HAK_ERROR_DOUBLE_FREE, ready);
    }
  }
  hak_free(mid);
  hak_free(other);
  CHECK_EQ(hak_check(NULL), 0);
}

/* --- in the middle of another request ------------------------------------------------
 */

static const size_t g_sizes[] = {100, 3000, 50000};
static char *g_blocks[TEST_COUNT(g_sizes)];
static unsigned g_asked;

/* The heap that is out of memory gives none, though some lies free; the default one
 * does. */
static int on_pressure(hak_heap_t *heap, size_t needed, int kind, void *ctx) {
  (void)needed, (void)kind, (void)ctx;
  g_asked++;
  for (size_t i = 0; i < TEST_COUNT(g_sizes); i++) {
    hak_free(g_blocks[i]);
    g_blocks[i] = NULL;
    CHECK(hak_heap_alloc(heap, g_sizes[i]) == NULL);
    CHECK(hak_heap_calloc(heap, 1, g_sizes[i]) == NULL);
    CHECK(hak_heap_alloc_at(heap, g_sizes[i], &g_site) == NULL);
    CHECK(hak_allocx(heap, g_sizes[i], 0, 0, NULL) == NULL);
    CHECK(hak_allocx(heap, g_sizes[i], 0, HAK_NO_GROW, NULL) == NULL);
    CHECK(hak_allocx(heap, g_sizes[i], 0, HAK_NO_CACHE, NULL) == NULL);
    void *block = hak_alloc(g_sizes[i]);
    CHECK(block != NULL);
    hak_free(block);
  }
  return 0;
}

static void callback__gets_nothing_of_its_heap_that_is_free(void **state) {
  (void)state;
  static const uint32_t flags[] = {0, HAK_HEAP_SERIAL};
  for (size_t k = 0; k < TEST_COUNT(flags); k++) {
    hak_heap_t *heap = test_heap_make((hak_heap_config_t){
        .flags = flags[k], .hard_limit = 4 * MIB, .on_pressure = on_pressure});
    char *stay[TEST_COUNT(g_sizes)];
    for (size_t i = 0; i < TEST_COUNT(g_sizes); i++) {
      CHECK((stay[i] = hak_heap_alloc(heap, g_sizes[i])) != NULL);
      CHECK((g_blocks[i] = hak_heap_alloc(heap, g_sizes[i])) != NULL);
    }
    g_asked = 0;
    CHECK(hak_heap_alloc(heap, 8 * MIB) == NULL);
    CHECK_EQ(g_asked, 1);
    void *block = hak_heap_alloc(heap, g_sizes[0]); /* now it does */
    CHECK(block != NULL);
    CHECK_EQ(hak_check(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

/* Blocks that lie in bins are in the way of a limit that is as low as what is in use. */
static void cache_blocks(hak_heap_t *heap) {
  static void *blocks[500];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK((blocks[i] = hak_heap_alloc(heap, 2000)) != NULL);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
}

/* Takes a block of each of some classes until there is no memory for a slab. */
static unsigned take_some(hak_heap_t *heap) {
  static const size_t sizes[] = {16,  32,   48,   64,   80,   96,   112,  128, 160,
                                 192, 224,  256,  320,  384,  448,  512,  640, 768,
                                 896, 1024, 1280, 1536, 1792, 2560, 3072, 3584};
  unsigned count = 0;
  for (; count < TEST_COUNT(sizes); count++) {
    hak_budget_call_t call;
    hak_budget_call_begin(&call);
    void *block = heap == hak_heap_default() ? hak_alloc(sizes[count])
                                             : hak_heap_alloc(heap, sizes[count]);
    hak_budget_call_end(&call);
    if (block == NULL) break;
    CHECK(call.refused_by == NULL);
  }
  return count;
}

/* A hook of the program's may ask for memory in the middle of a request: what becomes of
 * that, where caches give way at last, is not taken for what became of the request. */
static int ask_in_hooks(void *ctx) {
  (void)ctx;
  static const uint32_t flags[] = {0, HAK_HEAP_SERIAL, 0};
  for (size_t k = 0; k < TEST_COUNT(flags); k++) {
    hak_heap_t *heap = k == 2 ? hak_heap_default() : test_heap(flags[k], NULL, NULL);
    cache_blocks(heap);
    hak_budget_t *budget = &hak_heap_record(heap)->store->pool.budget;
    CHECK_EQ(hak_heap_set_limits(heap, 0, hak_load_relaxed(&budget->charged)), 0);
    CHECK(take_some(heap) > 1);
  }
  return 0;
}

static void request__in_a_hook_leaves_the_outer_one_as_it_is(void **state) {
  (void)state;
  test_child_must_succeed(ask_in_hooks, NULL, 60);
}

static unsigned g_large;

static void count_large(hak_event_t event, const void *address, size_t size, void *ctx) {
  (void)size, (void)ctx;
  if (event == HAK_EVENT_LARGE_ALLOC || event == HAK_EVENT_REFILL) {
    CHECK(address != NULL);
    g_large++;
  }
}

static void events__tell_of_blocks_that_are_given(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = MIB});
  hak_set_event_hook(count_large, NULL);
  CHECK(hak_heap_alloc(heap, 8 * MIB) == NULL);
  CHECK_EQ(g_large, 0);
  CHECK(hak_heap_alloc(heap, 300 * KIB) != NULL);
  CHECK_EQ(g_large, 1);
  hak_set_event_hook(NULL, NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void ignore(hak_event_t event, const void *address, size_t size, void *ctx) {
  (void)event, (void)address, (void)size, (void)ctx;
}

static void *ask_for_hole(void *ctx) {
  (void)ctx;
  CHECK(hak_api_hole(hak_class_of(MID)) == NULL); /* it has no state */
  CHECK(hak_thread_self->kind != HAK_THREAD_ATTACHED);
  return NULL;
}

static void hole__is_given_where_nobody_is_to_hear_of_it(void **state) {
  (void)state;
  uint32_t cls = hak_class_of(MID);
  test_thread_run(ask_for_hole, NULL);
  hak_free(hak_alloc(MID));
  char *block = hak_alloc(MID);
  hak_free(block);
  keep_pace(hak_thread_self);
  hak_set_event_hook(ignore, NULL);
  CHECK(hak_api_hole(cls) == NULL);
  hak_set_event_hook(NULL, NULL);
  hak_budget_call_t call;
  hak_budget_call_begin(&call);
  CHECK(hak_api_hole(cls) == NULL);
  hak_budget_call_end(&call);
  CHECK(hak_api_hole(cls) == block); /* the one that was freed last */
  hak_free(block);
}

/* --- as the call says ------------------------------------------------------------------
 */

static void call__past_the_cache_takes_none_of_the_threads_own_blocks(void **state) {
  (void)state;
  void *blocks[20];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_alloc(500);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  hak_bin_t *bin = &hak_thread_self->bins[hak_class_of(500)];
  void *ready = bin->ready, *last = bin->list.head;
  void *past = hak_allocx(NULL, 500, 0, HAK_NO_CACHE, NULL);
  CHECK(past != NULL && past != ready && past != last);
  CHECK(bin->ready == ready && bin->list.head == last);
  hak_free(past);
}

static void calloc__of_fresh_pages_does_not_touch_them(void **state) {
  (void)state;
  if (HAK_CHECKS >= 3 || TEST_ASAN || TEST_TSAN || test_is_strict()) skip();
  size_t before = test_resident_bytes();
  uint64_t purges = hak_load_relaxed(&hak_os_counts.purge);
  char *block = hak_calloc(1, 64 * MIB);
  CHECK(block != NULL);
  CHECK(test_resident_bytes() < before + 16 * MIB);
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.purge), purges);
  CHECK(block[0] == 0 && block[64 * MIB - 1] == 0);
  hak_free(block);
}

static char g_memory[256 * KIB];

/* In each kind of heap. */
static void sizes__beyond_what_a_pointer_can_tell_are_refused(void **state) {
  (void)state;
  hak_heap_t *heaps[] = {NULL, test_heap(0, NULL, NULL),
                         test_heap(HAK_HEAP_SERIAL, NULL, NULL),
                         test_heap_in(g_memory, sizeof g_memory, 0, NULL)};
  static const size_t alignments[] = {0, 64, 4096, 1 << 20};
  const size_t sizes[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096, SIZE_MAX - 8,
                          SIZE_MAX};
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) {
    for (size_t k = 0; k < TEST_COUNT(sizes) * TEST_COUNT(alignments); k++) {
      size_t size = test_opaque(sizes[k % TEST_COUNT(sizes)]);
      size_t alignment = alignments[k / TEST_COUNT(sizes)];
      errno = 0;
      CHECK(hak_allocx(heaps[i], size, alignment, k % 2 == 0 ? HAK_ZERO : 0, NULL) ==
            NULL);
      CHECK_EQ(errno, ENOMEM);
    }
    CHECK_EQ(hak_check(heaps[i]), 0);
    if (heaps[i] != NULL) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
  }
}

/* --- heaps that do not begin, or end ---------------------------------------------------
 */

static void heap__is_not_made_of_fields_without_a_meaning(void **state) {
  (void)state;
  hak_heap_config_t config = {.struct_size = sizeof config, .reserved = 1};
  errno = 0;
  CHECK(hak_heap_create(&config) == NULL);
  CHECK_EQ(errno, EINVAL);
}

static void heap__that_may_not_end_keeps_its_samples(void **state) {
  (void)state;
  HAK_SITE(sampled);
  hak_heap_t *heap = test_heap(0, NULL, NULL), *below = test_heap(0, NULL, heap);
  test_set(HAK_OPTION_SAMPLE_BYTES, 1);
  hak_thread_self->way = (hak_sample_way_t){.left = 0}; /* the one before was longer */
  for (int i = 0; i < 10; i++) CHECK(hak_heap_alloc_at(heap, 100, &sampled) != NULL);
  uint64_t live = hak_origin_read(hak_origin_of(&sampled)).sums.live_samples;
  CHECK(live > 0);
  CHECK_EQ(hak_heap_destroy(heap), EBUSY);
  CHECK_EQ(hak_origin_read(hak_origin_of(&sampled)).sums.live_samples, live);
  CHECK_EQ(hak_heap_destroy(below), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_origin_read(hak_origin_of(&sampled)).sums.live_samples, 0);
  test_set(HAK_OPTION_SAMPLE_BYTES, 262144);
}

/* --- a block of a larger class ---------------------------------------------------------
 */

/* A heap with a limit that is full of blocks of these sizes; one of the larger ones is
 * freed. */
static hak_heap_t *make_full(size_t size, size_t smaller) {
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 17 * MIB});
  void *last = NULL, *block;
  while ((block = hak_heap_alloc(heap, size)) != NULL) last = block;
  while (hak_heap_alloc(heap, smaller) != NULL) {}
  CHECK(last != NULL);
  hak_free(last);
  return heap;
}

static void full_heap__gives_blocks_that_are_little_larger(void **state) {
  (void)state;
  if (HAK_CHECKS >= 3) skip(); /* what was freed waits */
  hak_heap_t *heap = make_full(7168, 2500);
  CHECK(hak_heap_alloc(heap, 2500) == NULL);
  CHECK(hak_heap_alloc(heap, 3500) != NULL);
  CHECK(hak_heap_alloc(heap, 3500) == NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  heap = make_full(2560, 2048); /* which are aligned less well */
  CHECK(hak_heap_aligned_alloc(heap, 2048, 2048) == NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(strays__are_reported_and_not_given_out_by_any_way),
          T(callback__gets_nothing_of_its_heap_that_is_free),
          T(request__in_a_hook_leaves_the_outer_one_as_it_is),
          T(events__tell_of_blocks_that_are_given),
          T(hole__is_given_where_nobody_is_to_hear_of_it),
          T(call__past_the_cache_takes_none_of_the_threads_own_blocks),
          T(calloc__of_fresh_pages_does_not_touch_them),
          T(sizes__beyond_what_a_pointer_can_tell_are_refused),
          T(heap__is_not_made_of_fields_without_a_meaning),
          T(heap__that_may_not_end_keeps_its_samples),
          T(full_heap__gives_blocks_that_are_little_larger))
