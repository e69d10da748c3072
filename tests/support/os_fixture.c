/* os_fixture.c - see os_fixture.h */
#include "os_fixture.h"

test_os_t g_os;

void test_over_os(unsigned flags) {
  test_os_open(&g_os, flags);
  CHECK_EQ(test_os_init(&g_os), 0);
}

void test_over_os_end(void) {
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  test_os_close(&g_os);
}

int test_over_os_setup(void **state) {
  test_over_os((unsigned)(uintptr_t)*state);
  return 0;
}

int test_over_os_teardown(void **state) {
  (void)state;
  test_over_os_end();
  return 0;
}
