/* class_fixture.h - one size class of the default heap, and this thread with a thread
 * cache of that heap, while the library runs over strict hooks. */
#ifndef HAKMEM_TEST_CLASS_FIXTURE_H
#define HAKMEM_TEST_CLASS_FIXTURE_H

#include "heap/thread.h"
#include "os_fixture.h"

/* The thread of the test, and its cache of the default heap. */
extern hak_thread_t *g_me;
extern const hak_cache_t *g_cache;

/* The class of the blocks, and what all threads share of it. */
extern uint32_t g_class;
extern hak_central_t *g_central;
/* Spans of the class that are in use. */
uint32_t test_class_spans(void);

/* For cmocka. The first starts the library over g_os, and attaches this thread; g_class
 * and g_central are those of blocks of as many bytes as the state says. */
int test_class_setup(void **state);
/* Checks that nothing is live and that all is well, and ends the library. The test has
 * freed its blocks; other threads have ended. */
int test_class_teardown(void **state);
/* Checks that this thread has noted such misuse of a block of the default heap, to be
 * reported later, and forgets it; 0, NULL: that it has noted none. */
void test_deferred_expect(int error, const void *block);
/* A test of blocks of `size` bytes that begins and ends thus. */
#define TEST_OF_CLASS(function, size) \
  TEST_OF_CLASS_ENDED(function, size, test_class_teardown)
/* One that ends by a function of its own, which calls test_class_teardown. */
#define TEST_OF_CLASS_ENDED(function, size, teardown)                            \
  cmocka_unit_test_prestate_setup_teardown(function, test_class_setup, teardown, \
                                           (void *)(uintptr_t)(size))

#endif /* HAKMEM_TEST_CLASS_FIXTURE_H */
