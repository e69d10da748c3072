#include "base/check.h"

#include <stdio.h>

#include "base/sys.h"

_Noreturn void hak_assert_failed(const char *condition, const char *file, int line) {
  char text[512];
  int n = snprintf(text, sizeof text, "hakmem: assertion failed: %s (%s:%d)\n", condition,
                   file, line);
  if (n > 0) hak_sys_write(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
  hak_sys_abort();
}
