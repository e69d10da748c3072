/* heap_serial.c - the state of a serial heap: made late and passed on, its slabs held
 * by no thread's code, their entries nobody's. */
#include "support.h"

#include <string.h>

#include "base/check.h"
#include "child.h"
#include "heap/serial.h"
#include "heap/thread.h"
#include "superslab/locate.h"

static hak_heap_t *make(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_SERIAL};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL && hak_handle_is_serial(heap));
  return heap;
}

static hak_serial_t *state_of(hak_heap_t *handle) {
  return hak_heap_serial(hak_heap_record(handle));
}

static void state__comes_with_the_first_block_and_passes_on(void **state) {
  (void)state;
  hak_heap_t *first = make();
  CHECK(state_of(first) == NULL);
  CHECK(hak_heap_alloc(first, 10) != NULL);
  hak_serial_t *serial = state_of(first);
  CHECK(serial != NULL);
  CHECK_EQ(hak_heap_destroy(first), 0);
  CHECK(state_of(first) == NULL);
  hak_heap_t *second = make(), *shared = hak_heap_create(NULL);
  CHECK(!hak_handle_is_serial(shared));
  CHECK(hak_heap_alloc(shared, 10) != NULL && hak_heap_alloc(second, 10) != NULL);
  CHECK(state_of(shared) == NULL && state_of(second) == serial);
  CHECK_EQ(hak_heap_release(second), 0);
  CHECK(state_of(second) == NULL);
  CHECK_EQ(hak_heap_destroy(shared), 0);
}

static void slabs__have_entries_that_are_nobodys_and_a_code_of_no_thread(void **state) {
  (void)state;
  hak_heap_t *heap = make();
  hak_thread_t *me = hak_thread_self;
  bool held = false;
  for (size_t i = 0; i < 20000; i++) {
    void *block = hak_heap_alloc(heap, 1 + i % 3000);
    CHECK(block != NULL);
    CHECK_EQ(hak_registry_entry(me->registry, (uintptr_t)block), 0);
    uint64_t word = hak_load_relaxed(&hak_slab_of(block)->word);
    if (hak_word_state(word) == HAK_SLAB_HELD) {
      CHECK_EQ(hak_word_owner(word),
               hak_word_owner(hak_word_make(HAK_SLAB_HELD, HAK_CODE_SERIAL)));
      held = true;
    }
    if (i % 4 != 0) hak_heap_free(heap, block);
    CHECK_EQ(hak_registry_entry(me->registry, (uintptr_t)block), 0);
  }
  CHECK(held && hak_count_bits(HAK_CODE_SERIAL) != hak_count_bits(me->code));
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void frees__go_by_the_guide_and_leave_the_threads_lists_alone(void **state) {
  (void)state;
  hak_heap_t *heap = make();
  hak_thread_t *me = hak_thread_self;
  void *block = hak_heap_alloc(heap, 100);
  uint32_t cls = hak_class_of(100);
  hak_serial_t *serial = state_of(heap);
  hak_list_t *list = NULL;
  void *head = me->bins[cls].list.head;
  hak_heap_free(heap, block);
  CHECK(HAK_CHECKS >= 2 || !hak_lookup_misses(&serial->lookup, block, &list));
  CHECK(HAK_CHECKS >= 2 || list == &serial->bins[cls].list);
  CHECK(serial->bins[cls].list.head == block);
  block = hak_heap_alloc(heap, 100);
  hak_free(block);
  CHECK(serial->bins[cls].list.head == block);
  CHECK(me->bins[cls].list.head == head);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void bins__that_grew_give_back_what_was_granted(void **state) {
  (void)state;
  enum {
    BLOCKS = 200
  };
  void *blocks[BLOCKS];
  for (int end = 0; end < 4; end++) {
    hak_heap_t *heap = make();
    for (int round = 0; round < 100; round++) {
      for (int i = 0; i < BLOCKS; i++) blocks[i] = hak_heap_alloc(heap, 1000);
      for (int i = 0; i < BLOCKS; i++) hak_heap_free(heap, blocks[i]);
    }
    hak_serial_t *serial = state_of(heap);
    CHECK(serial->grown > 0);
    if (end == 0) CHECK_EQ(hak_heap_reset(heap), 0);
    if (end == 1) hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
    if (end == 2) CHECK_EQ(hak_heap_release(heap), 0);
    if (end != 2) CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK_EQ(serial->grown, 0);
  }
}

/* Only where asserts are full: the library without them must not look. */
static int use_it_twice(void *ctx) {
  hak_heap_t *heap = ctx;
  hak_store_relaxed(&state_of(heap)->inside, 1); /* as if another thread were at it */
  hak_heap_free(heap, hak_heap_alloc(heap, 10));
  return 0;
}

static void use__by_two_threads_at_once_fails_full_asserts(void **state) {
  (void)state;
  hak_heap_t *heap = make();
  CHECK(hak_heap_alloc(heap, 10) != NULL);
  if (HAK_ASSERTS >= 2) {
    test_child_must_abort(use_it_twice, heap, "assertion failed", "inside", NULL);
  } else {
    test_child_must_succeed(use_it_twice, heap, 20);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(state__comes_with_the_first_block_and_passes_on),
          T(slabs__have_entries_that_are_nobodys_and_a_code_of_no_thread),
          T(frees__go_by_the_guide_and_leave_the_threads_lists_alone),
          T(bins__that_grew_give_back_what_was_granted),
          T(use__by_two_threads_at_once_fails_full_asserts))
