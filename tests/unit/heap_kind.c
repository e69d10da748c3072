/* heap_kind.c - what differs by a heap's kind: what threads are told of spans that go
 * with a heap, and whose bins a callback may not use. */
#include "os_fixture.h"
#include "threads.h"

#include <pthread.h>

#include "heap/heap.h"
#include "heap/kind.h"
#include "heap/samples.h"
#include "heap/thread.h"

static pthread_barrier_t g_there, g_done;

/* Spans that a thread is told have gone. */
static uint32_t told(hak_thread_t *thread) { return hak_load_relaxed(&thread->ended); }

static void *stay(void *thread) {
  hak_free(hak_alloc(100));
  *(hak_thread_t **)thread = hak_thread_self;
  pthread_barrier_wait(&g_there);
  pthread_barrier_wait(&g_done);
  return NULL;
}

static hak_heap_t *make_with_spans(void) {
  hak_heap_t *heap = test_heap(0, "spans", NULL);
  for (int i = 0; i < 2000; i++) CHECK(hak_heap_alloc(heap, 1000) != NULL);
  return heap;
}

static void spans__that_end_with_a_heap_are_told_to_who_began_them(void **state) {
  (void)state;
  pthread_t thread;
  hak_thread_t *other = NULL;
  pthread_barrier_init(&g_there, NULL, 2);
  pthread_barrier_init(&g_done, NULL, 2);
  test_threads_begin(&thread, 1, stay, (void *)&other);
  pthread_barrier_wait(&g_there);
  hak_heap_t *heap = make_with_spans();
  hak_thread_t *me = hak_thread_self;
  CHECK(me != other && told(me) + told(other) == 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(told(other), 0);
  CHECK(told(me) > 10);
  pthread_barrier_wait(&g_done);
  test_threads_end(&thread, 1);
}

/* Nobody keeps such spans, or counts them. */
static void spans__of_single_blocks_are_told_to_nobody(void **state) {
  (void)state;
  hak_free(hak_alloc(100));
  hak_heap_t *heap = test_heap(0, "sampled", NULL);
  hak_heap_t *samples = hak_samples_heap(hak_heap_record(heap));
  CHECK(samples != NULL);
  for (int i = 0; i < 40; i++)
    CHECK(hak_samples_alloc(hak_thread_self, samples, 10000, 8, false) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(told(hak_thread_self), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Threads without a state have no bins, and the heap's own are another thread's. */
static void hide__is_of_threads_with_a_state(void **state) {
  (void)state;
  hak_heap_t *handle = test_heap(HAK_HEAP_SERIAL, "serial", NULL);
  hak_heap_t *heap = hak_heap_record(handle);
  hak_free(hak_heap_alloc(handle, 100));
  hak_thread_t *me = hak_thread_self;
  me->kind = HAK_THREAD_NONE;
  hak_kind_hide(me, heap, true);
  me->kind = HAK_THREAD_ATTACHED;
  CHECK(heap->serial_handle == handle);
  hak_kind_hide(me, heap, true);
  CHECK(heap->serial_handle == NULL);
  hak_kind_hide(me, heap, false);
  CHECK(heap->serial_handle == handle);
  CHECK_EQ(hak_heap_destroy(handle), 0);
}

TEST_MAIN_FRESH(TEST_OVER_OS(spans__that_end_with_a_heap_are_told_to_who_began_them, 0),
                TEST_OVER_OS(spans__of_single_blocks_are_told_to_nobody, 0),
                TEST_OVER_OS(hide__is_of_threads_with_a_state, 0))
