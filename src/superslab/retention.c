#include "superslab/retention.h"

#include "base/option.h"
#include "pages/mapping.h"
#include "superslab/region.h"

enum {
  NS_PER_MS = 1000000,
  LOOKS_PER_DECAY = 8,
  SLABS_AT_ONCE = 32 /* whoever looks is about to allocate or free, and no more */
};

static hak_atomic_u64_t last_look;

size_t hak_retention_collect(hak_shared_pool_t *pool, uint64_t before, size_t max_bytes,
                             size_t *slabs) {
  size_t given = hak_region_purge(before, max_bytes, slabs);
  if (given < max_bytes) given += hak_mapping_purge(before, max_bytes - given, slabs);
  if (given < max_bytes) given += hak_pool_purge(pool, before, max_bytes - given, slabs);
  return given;
}

void hak_retention_trim_slow(hak_shared_pool_t *pool) {
  uint64_t retained = hak_retained_bytes();
  uint64_t cap = (uint64_t)hak_option(RETAIN_BYTES);
  /* A call that works in memory of the caller's does nothing else. */
  if (retained <= cap || !hak_os_may_give() || hak_pool_is_enclosed(pool)) return;
  hak_clock_refresh();
  uint64_t now = hak_clock_cached(), looked = hak_load_relaxed(&last_look);
  uint64_t decay = (uint64_t)hak_option(PURGE_DECAY_MS) * NS_PER_MS;
  bool too_much = retained > (uint64_t)hak_option(RETAIN_BYTES_MAX);
  if (!too_much && now - looked < decay / LOOKS_PER_DECAY) return;
  /* One thread looks; a second one that loses the race has nothing to do. */
  if (!hak_cas_relaxed(&last_look, &looked, now)) return;
  size_t slabs = too_much ? SIZE_MAX : SLABS_AT_ONCE;
  if (too_much) cap = (uint64_t)hak_option(RETAIN_BYTES_MAX);
  size_t given = hak_retention_collect(pool, too_much || now < decay ? now : now - decay,
                                       retained - cap, &slabs);
  /* There may be more: the next look comes with the clock's next step. */
  if (given > 0) hak_store_relaxed(&last_look, now - decay / LOOKS_PER_DECAY + NS_PER_MS);
}
