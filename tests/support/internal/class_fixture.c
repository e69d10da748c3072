/* class_fixture.c - see class_fixture.h */
#include "class_fixture.h"

#include <string.h>

#include "tiny/capacity.h"

hak_thread_t *g_me;
const hak_cache_t *g_cache;
uint32_t g_class;
hak_central_t *g_central;

uint32_t test_class_spans(void) {
  return hak_load_relaxed(hak_store_spans(hak_heap_get_default()->store, g_class));
}

int test_class_setup(void **state) {
  test_over_os(0);
  CHECK_EQ(hak_thread_init(), 0);
  g_me = hak_thread_self;
  g_cache = &g_me->cache;
  g_class = hak_class_of((size_t)(uintptr_t)*state);
  hak_capacity_begin(g_cache, g_class);
  g_central = &hak_heap_get_default()->store->centrals[g_class];
  return 0;
}

int test_class_teardown(void **state) {
  (void)state;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  test_os_close(&g_os);
  return 0;
}

void test_deferred_expect(int error, const void *block) {
  CHECK_EQ(g_me->deferred.error, error);
  CHECK(g_me->deferred.block == block);
  CHECK(g_me->deferred.heap == (error == 0 ? NULL : g_cache->store->pool.heap));
  CHECK_EQ(g_me->to_report, error != 0);
  memset(&g_me->deferred, 0, sizeof g_me->deferred);
  g_me->to_report = 0;
}
