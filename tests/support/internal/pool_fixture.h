/* pool_fixture.h - a shared pool of the test's own, while the library runs over strict
 * hooks for its regions. */
#ifndef HAKMEM_TEST_POOL_FIXTURE_H
#define HAKMEM_TEST_POOL_FIXTURE_H

#include "os_fixture.h"
#include "superslab/shared_pool.h"

extern hak_shared_pool_t g_pool;

/* Empties g_pool, without looking at what is in it. The library must run. */
void test_pool_begin(void);

#endif /* HAKMEM_TEST_POOL_FIXTURE_H */
