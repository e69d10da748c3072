/* heap_samples.c - heaps of samples: when there is none, and blocks where memory is
 * short. */
#include "os_fixture.h"

#include "heap/heap.h"
#include "heap/samples.h"
#include "heap/thread_state.h"
#include "superslab/locate.h"

static bool g_many;
uint32_t __real_hak_heaps_made(void);
uint32_t __wrap_hak_heaps_made(void);
uint32_t __wrap_hak_heaps_made(void) {
  return g_many ? HAK_HEAPS_MAX / 2 + 1 : __real_hak_heaps_made();
}

/* Records are left for the heaps that the program makes. */
static void samples__have_no_heap_where_half_of_all_heaps_were_made(void **state) {
  (void)state;
  hak_free(hak_alloc(1));
  hak_heap_t *heap = hak_heap_get_default();
  g_many = true;
  CHECK(hak_samples_heap(heap) == NULL);
  g_many = false;
  hak_heap_t *samples = hak_samples_heap(heap);
  CHECK(samples != NULL && hak_heap_is_samples(samples));
  g_many = true;
  CHECK(hak_samples_heap(heap) == samples);
  g_many = false;
}

static void samples__have_no_second_heap_while_a_thread_makes_one(void **state) {
  (void)state;
  hak_free(hak_alloc(1));
  hak_heap_t *heap = hak_heap_get_default();
  CHECK(hak_heap_begin_samples(heap));
  uint32_t made = hak_heaps_made();
  CHECK(hak_samples_heap(heap) == NULL);
  CHECK_EQ(hak_heaps_made(), made);
  hak_heap_set_samples(heap, NULL); /* memory for it was short */
  CHECK(hak_samples_heap(heap) != NULL);
}

static void samples__that_are_refused_do_not_count(void **state) {
  (void)state;
  static const size_t sizes[] = {100, 60000, 300000, 3 * MIB, 40 * MIB};
  hak_free(hak_alloc(1));
  hak_heap_t *samples = hak_samples_heap(hak_heap_get_default());
  CHECK(samples != NULL);
  uint64_t blocks = test_live_blocks();
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (int zero = 0; zero < 2; zero++) {
      while (hak_samples_alloc(hak_thread_self, samples, sizes[i], 8, zero != 0) != NULL)
        blocks++;
      CHECK_EQ(test_live_blocks(), blocks);
    }
  }
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_check(NULL), 0);
}

static void samples__stay_their_heaps_as_another_heap_below_ends(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, NULL, NULL), *below = test_heap(0, NULL, heap);
  hak_heap_t *samples = hak_samples_heap(hak_heap_record(heap));
  CHECK(samples != NULL);
  CHECK_EQ(hak_heap_destroy(below), 0);
  CHECK(hak_heap_samples(hak_heap_record(heap)) == samples);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Their memory is of use to others. */
static void samples__with_spans_of_their_own_are_not_kept(void **state) {
  (void)state;
  hak_free(hak_alloc(1));
  hak_heap_t *samples = hak_samples_heap(hak_heap_get_default());
  for (size_t size = 60000; size < 4 * MIB; size += 100000) {
    void *block = hak_samples_alloc(hak_thread_self, samples, size, 8, false);
    CHECK(block != NULL);
    uint32_t cls = hak_locate((uintptr_t)block).cls;
    CHECK(hak_class_is_single(cls)); /* or large */
    CHECK(!hak_samples_keep(hak_thread_self, samples, cls, block, false));
    hak_free(block);
  }
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN_FRESH(TEST_OVER_OS(samples__have_no_heap_where_half_of_all_heaps_were_made, 0),
                TEST_OVER_OS(samples__have_no_second_heap_while_a_thread_makes_one, 0),
                TEST_OVER_OS(samples__that_are_refused_do_not_count, 0),
                TEST_OVER_OS(samples__stay_their_heaps_as_another_heap_below_ends, 0),
                TEST_OVER_OS(samples__with_spans_of_their_own_are_not_kept, 0))
