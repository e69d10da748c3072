#include "clock.h"

static uint64_t g_now_ns = 1000000000000000;

uint64_t test_clock_ns(void *ctx) {
  (void)ctx;
  return g_now_ns;
}

void test_pass_ms(int64_t ms) { g_now_ns += (uint64_t)ms * 1000000; }
