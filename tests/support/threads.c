/* threads.c - see threads.h */
#include "threads.h"

void test_thread_run(test_thread_fn *function, void *ctx) {
  pthread_t thread;
  test_threads_begin(&thread, 1, function, ctx);
  test_threads_end(&thread, 1);
}

void test_threads_begin(pthread_t *threads, size_t count, test_thread_fn *function,
                        void *ctx) {
  for (size_t i = 0; i < count; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, function, ctx), 0);
  }
}

void test_threads_begin_numbered(pthread_t *threads, size_t count,
                                 test_thread_fn *function) {
  for (uintptr_t i = 0; i < count; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, function, (void *)i), 0);
  }
}

void test_threads_end(const pthread_t *threads, size_t count) {
  for (size_t i = 0; i < count; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
}
