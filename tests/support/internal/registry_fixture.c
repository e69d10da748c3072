/* registry_fixture.c - see registry_fixture.h */
#include "registry_fixture.h"

#include "pages/external_range.h"
#include "pages/meta.h"
#include "pages/registry.h"

int test_registry_setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  return hak_registry_start(&g_os.hooks) ? 0 : -1;
}

int test_registry_teardown(void **state) {
  (void)state;
  hak_external_ranges_stop();
  hak_registry_stop();
  CHECK_EQ(hak_load_relaxed(&hak_registry_reserved), 0);
  hak_meta_stop();
  test_os_close(&g_os);
  return 0;
}
