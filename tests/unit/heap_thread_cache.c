/* heap_thread_cache.c - thread caches where memory for records is short, and what is
 * drained of the default heap. */
#include "support.h"

#include "base/check.h"
#include "heap/thread.h"
#include "heap/thread_cache.h"
#include "heap/thread_state.h"
#include "pages/meta.h"
#include "tiny/size_class.h"

enum {
  SIZE = 48,
  COUNT = 300
};

static bool g_no_records, g_no_pages;
static int g_records;
void *__real_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);
void *__wrap_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);
void *__wrap_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment) {
  return g_no_records ? NULL : __real_hak_meta_alloc(os, size, alignment);
}
void *__real_hak_meta_alloc_pages(const hak_os_t *os, size_t size);
void *__wrap_hak_meta_alloc_pages(const hak_os_t *os, size_t size);
void *__wrap_hak_meta_alloc_pages(const hak_os_t *os, size_t size) {
  g_records++;
  return g_no_pages ? NULL : __real_hak_meta_alloc_pages(os, size);
}

static bool has_cache(hak_heap_t *heap) {
  return hak_cache_find(hak_thread_self, hak_heap_record(heap)) != NULL;
}

/* Takes what blocks need of a heap without a cache. */
static void take_one(hak_heap_t *heap) {
  char *block = hak_heap_alloc(heap, SIZE);
  CHECK(block != NULL && !has_cache(heap));
}

static void come_and_go(hak_heap_t *heap) {
  static char *blocks[COUNT];
  for (uintptr_t i = 0; i < COUNT; i++) {
    blocks[i] = hak_heap_alloc(heap, SIZE);
    CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == heap);
    test_fill(blocks[i], SIZE, i);
  }
  for (uintptr_t i = 0; i < COUNT; i++) {
    CHECK(test_verify(blocks[i], SIZE, i));
    hak_free(blocks[i]);
  }
}

/* The blocks go the shared way then, until there is memory. */
static void cache__for_which_memory_is_short_is_done_without(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  take_one(heap);
  g_no_records = g_no_pages = true;
  come_and_go(heap);
  CHECK(!has_cache(heap));
  g_no_records = false;
  come_and_go(heap);
  CHECK(!has_cache(heap));
  g_no_pages = false;
  come_and_go(heap);
  CHECK(has_cache(heap));
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* The record of a heap serves the next one, and so do the caches of it. */
static void cache__serves_the_next_heap_of_its_record(void **state) {
  (void)state;
  int before = 0;
  for (int i = 0; i < 50; i++) {
    hak_heap_t *heap = test_heap(0, NULL, NULL);
    come_and_go(heap);
    CHECK(has_cache(heap));
    if (i == 2) before = g_records;
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  CHECK_EQ(g_records, before);
}

static void default_heap__is_drained_of_what_the_thread_has(void **state) {
  (void)state;
  void *blocks[COUNT];
  for (int i = 0; i < COUNT; i++) CHECK((blocks[i] = hak_alloc(SIZE)) != NULL);
  for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
  hak_heap_t *heap = hak_heap_get_default();
  hak_thread_t *me = hak_thread_enter_started();
  hak_bin_t *bin = &me->bins[hak_class_of(SIZE)];
  CHECK(hak_bin_listed(bin) + hak_load_relaxed(&bin->ready_count) > 0);
  hak_heap_lease(heap);
  hak_cache_drain(me, heap);
  hak_heap_unlease(heap);
  hak_thread_leave(me, "test");
  CHECK_EQ(hak_bin_listed(bin) + hak_load_relaxed(&bin->ready_count), 0);
}

TEST_MAIN(T(cache__for_which_memory_is_short_is_done_without),
          T(cache__serves_the_next_heap_of_its_record),
          T(default_heap__is_drained_of_what_the_thread_has))
