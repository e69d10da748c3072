/* threads.h - threads of a test, all of which begin and end well. */
#ifndef HAKMEM_TEST_THREADS_H
#define HAKMEM_TEST_THREADS_H

#include "support.h"

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *test_thread_fn(void *ctx);

/* Runs the function in a thread of its own, which has ended when this returns. */
void test_thread_run(test_thread_fn *function, void *ctx);

/* Begins so many threads, all with the same argument. */
void test_threads_begin(pthread_t *threads, size_t count, test_thread_fn *function,
                        void *ctx);
/* Begins so many threads, the argument of each of which is its own number from 0. */
void test_threads_begin_numbered(pthread_t *threads, size_t count,
                                 test_thread_fn *function);
/* Waits until all of them have ended. */
void test_threads_end(const pthread_t *threads, size_t count);

#ifdef __cplusplus
}
#endif

#endif /* HAKMEM_TEST_THREADS_H */
