#include "pages/clock.h"

#include "pages/registry.h"

static hak_atomic_u64_t clock_now;

void hak_clock_refresh(void) {
  uint64_t now = hak_os_now(hak_registry_os());
  /* It is coarse: mostly nothing changes, and all threads keep the line. */
  if (now != hak_load_relaxed(&clock_now)) hak_store_relaxed(&clock_now, now);
}
uint64_t hak_clock_cached(void) { return hak_load_relaxed(&clock_now); }
