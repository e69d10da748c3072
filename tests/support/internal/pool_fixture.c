/* pool_fixture.c - see pool_fixture.h */
#include "pool_fixture.h"

#include <string.h>

#include "heap/lifecycle.h"

hak_shared_pool_t g_pool;

void test_pool_begin(void) {
  memset(&g_pool, 0, sizeof g_pool);
  hak_pool_init(&g_pool, hak_lifecycle_os(), &g_pool);
}
