/* sequence.c - any operations in any order, on heaps of every kind and by several
 * threads in turn, against a map of what must be true; see tests/support/shadow.h. */
#include "fuzz.h"
#include "shadow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const unsigned kinds[] = {
      SHADOW_HEAPS | SHADOW_THREADS | SHADOW_OPTIONS,
      SHADOW_HEAPS,
      SHADOW_THREADS | SHADOW_OPTIONS,
      SHADOW_HEAPS | SHADOW_OPTIONS,
  };
  static shadow_t shadow;
  hak_config_t config = {.struct_size = sizeof config, .flags = HAK_INIT_NO_ENV};
  if (size < 2) {
    return 0;
  }
  CHECK_EQ(hak_init(&config), 0);
  unsigned flags = kinds[data[0] % TEST_COUNT(kinds)];
  shadow_open_bytes(&shadow, data + 2, size - 2, flags | SHADOW_ALONE | SHADOW_THREAD,
                    400);
  shadow.max_size = (size_t)1 << (10 + data[1] % 14);
  shadow.max_bytes = 48 * MIB;
  shadow_run(&shadow, size);
  shadow_close(&shadow);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  for (int i = 0; i < HAK_OPTION_COUNT; i++) {
    hak_option_info_t info = HAK_OPTION_INFO_INIT;
    CHECK_EQ(hak_option_describe((hak_option_t)i, &info), 0);
    CHECK_EQ(hak_option_set((hak_option_t)i, info.default_value), 0);
  }
  CHECK_EQ(hak_shutdown(0), 0);
  return 0;
}
