/* os_fixture.h - the library over strict hooks of the test's own, from its setup to its
 * teardown. For executables of TEST_MAIN_FRESH, as the library starts anew each time. */
#ifndef HAKMEM_TEST_OS_FIXTURE_H
#define HAKMEM_TEST_OS_FIXTURE_H

#include "strict_os.h"

/* The hooks that the library runs over. A test may change them and set their limit
 * between test_os_open() and test_os_init(). */
extern test_os_t g_os;

/* Opens g_os with flags of strict_os.h, and starts the library over it. */
void test_over_os(unsigned flags);
/* Ends the library, whatever the test has left in it, and checks that every range has
 * been given back. */
void test_over_os_end(void);

/* These two for cmocka. */
int test_over_os_setup(void **state);
int test_over_os_teardown(void **state);
/* A test over g_os with these flags, that begins and ends thus. */
#define TEST_OVER_OS(function, flags) \
  TEST_OVER_OS_ENDED(function, flags, test_over_os_teardown)
/* One that ends by a function of its own, which calls test_over_os_teardown. */
#define TEST_OVER_OS_ENDED(function, flags, teardown)                              \
  cmocka_unit_test_prestate_setup_teardown(function, test_over_os_setup, teardown, \
                                           (void *)(uintptr_t)(flags))

#endif /* HAKMEM_TEST_OS_FIXTURE_H */
