#include "heap/records.h"

#include "heap/heap_record.h"
#include "heap/serial.h"
#include "heap/threads.h"
#include "pages/clock.h"
#include "pages/idle.h"
#include "pages/meta.h"
#include "pages/registry.h"

/* ns; [any] policy. Those that have waited since then are counted. */
static hak_atomic_u64_t since;

HAK_SLOW uint64_t hak_records_due_in(void) {
  bool few = hak_idle_beyond(&hak_idle_records) == 0;
  if (few || !hak_meta_may_go(hak_registry_os())) return UINT64_MAX;
  uint64_t passed = hak_clock_cached() - hak_load_relaxed(&since);
  uint64_t decay = hak_idle_decay();
  return passed < decay ? decay - passed : 0;
}

static size_t purge(size_t max_bytes, size_t *looks) {
  const hak_os_t *os = hak_registry_os();
  size_t given = hak_heap_records_purge(os, max_bytes, looks, hak_threads_purge_caches);
  if (given < max_bytes) given += hak_serials_purge(os, max_bytes - given, looks);
  if (given < max_bytes) given += hak_threads_purge(max_bytes - given, looks);
  return given;
}

HAK_SLOW size_t hak_records_give(size_t max_bytes, size_t *looks, bool all) {
  if ((!all && hak_records_due_in() != 0) || !hak_threads_try_memory()) return 0;
  uint64_t waited = hak_load_relaxed(&hak_idle_records_least);
  uint64_t due = hak_idle_beyond(&hak_idle_records_least);
  uint64_t before = hak_load_relaxed(&hak_idle_records);
  size_t given = purge(all || max_bytes < due ? max_bytes : due, looks);
  /* Less than was given, with what threads had cached of the heaps. */
  uint64_t gone = before - hak_load_relaxed(&hak_idle_records);
  if (gone < due && given != 0) {
    hak_store_relaxed(&hak_idle_records_least, waited - gone);
  } else { /* nothing is left that is due, or can go now */
    hak_store_relaxed(&hak_idle_records_least, hak_load_relaxed(&hak_idle_records));
    hak_store_relaxed(&since, hak_clock_cached());
  }
  hak_threads_end_memory();
  return given;
}
