/* registry_fixture.h - the registry alone over strict hooks: the library does not run. */
#ifndef HAKMEM_TEST_REGISTRY_FIXTURE_H
#define HAKMEM_TEST_REGISTRY_FIXTURE_H

#include "os_fixture.h"

/* Opens g_os, and makes an empty registry over it. */
int test_registry_setup(void **state);
/* Forgets external ranges, gives the registry and the library's records back, and checks
 * that nothing else is left. */
int test_registry_teardown(void **state);

#endif /* HAKMEM_TEST_REGISTRY_FIXTURE_H */
