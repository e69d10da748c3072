#include "os/os.h"

#include <errno.h>

#include "base/bits.h"
#include "base/option.h"
#include "os/leak.h"
#include "os/memory.h"

/* Every call keeps errno: success leaves it alone, and failure is named by the caller. */

hak_os_counts_t hak_os_counts;

_Thread_local hak_os_scope_t hak_os_scope = HAK_OS_INLINE;

bool hak_os_may_give(void) {
  return hak_os_scope == HAK_OS_GIVING ||
         (hak_os_scope == HAK_OS_INLINE && hak_option(PURGE_MODE) != 0);
}

bool hak_os_is_valid(const hak_os_t *os) {
  return os->struct_size >= sizeof(hak_os_t) && os->flags == 0 &&
         hak_is_power_of_two(os->page_size) && os->page_size >= 4 * HAK_KIB &&
         os->page_size <= 64 * HAK_KIB && hak_is_power_of_two(os->granularity) &&
         os->granularity >= os->page_size && os->reserve != NULL && os->release != NULL &&
         os->commit != NULL && os->purge != NULL && os->now_ns != NULL;
}

bool hak_os_is_divisible(const hak_os_t *os) {
  const hak_os_t *system = hak_os_default();
  return os->reserve == system->reserve && os->release == system->release &&
         os->commit == system->commit && os->purge == system->purge &&
         os->remap == system->remap;
}

bool hak_os_keeps_zeroes(const hak_os_t *os) {
  const hak_os_t *system = hak_os_default();
  return system->purge == os->purge && system->commit == os->commit;
}

void hak_os_borrow(void *ptr, size_t size) { hak_leak_root(ptr, size); }
void hak_os_return(void *ptr, size_t size) { hak_leak_unroot(ptr, size); }

bool hak_os_count(hak_atomic_u64_t *calls, bool ok) {
  hak_add_relaxed(calls, 1);
  if (!ok) hak_add_relaxed(&hak_os_counts.failures, 1);
  return ok;
}

bool hak_os_commit(const hak_os_t *os, void *ptr, size_t size, bool *zeroed) {
  *zeroed = false;
  if (hak_os_is_barred()) return false;
  int saved = errno;
  bool ok = os->commit(os->ctx, ptr, size, zeroed) == 0;
  errno = saved;
  return hak_os_count(&hak_os_counts.commit, ok);
}

bool hak_os_commits_by_touch(const hak_os_t *os) {
  return os->commit == hak_os_default()->commit;
}

static _Thread_local const hak_os_t
    *purging; /* by this thread, inside the hook; or NULL */

bool hak_os_is_purging(const hak_os_t *os) { return purging == os; }

bool hak_os_purge_loose(const hak_os_t *os, void *ptr, size_t size, size_t bytes) {
  if (!hak_os_may_give()) return false;
  int saved = errno;
  const hak_os_t *before = purging; /* the hook of another may have come here */
  purging = os;
  bool ok = hak_os_count(&hak_os_counts.purge, os->purge(os->ctx, ptr, size) == 0);
  purging = before;
  errno = saved;
  if (ok) hak_add_relaxed(&hak_os_counts.purged_bytes, bytes);
  return ok;
}

bool hak_os_purge(const hak_os_t *os, void *ptr, size_t size) {
  return hak_os_purge_loose(os, ptr, size, size);
}

void *hak_os_remap(const hak_os_t *os, void *ptr, size_t old_size, size_t new_size) {
  if (os->remap == NULL || hak_os_is_barred()) return NULL;
  int saved = errno;
  void *moved = os->remap(os->ctx, ptr, old_size, new_size);
  errno = saved;
  if (moved != NULL) {
    hak_leak_unroot(ptr, old_size);
    hak_leak_root(moved, new_size);
  }
  return hak_os_count(&hak_os_counts.remap, moved != NULL) ? moved : NULL;
}

/* The platform knows pages of its own hooks only. */
static bool is_own(const hak_os_t *os) {
  return os->reserve == hak_os_default()->reserve;
}

/* Passes a hint for ranges of the system's own hooks on to the platform. */
static void advise(const hak_os_t *os, void (*platform)(void *ptr, size_t size),
                   void *ptr, size_t size) {
  if (!is_own(os) || !hak_os_may_give()) return;
  hak_add_relaxed(&hak_os_counts.advise, 1);
  int saved = errno;
  platform(ptr, size);
  errno = saved;
}

void hak_os_advise_huge(const hak_os_t *os, void *ptr, size_t size) {
  advise(os, hak_memory_advise_huge, ptr, size);
}

void hak_os_advise_small(const hak_os_t *os, void *ptr, size_t size) {
  advise(os, hak_memory_advise_small, ptr, size);
}

void hak_os_collapse(const hak_os_t *os, void *ptr, size_t size) {
  advise(os, hak_memory_collapse, ptr, size);
}

int64_t hak_os_resident(const hak_os_t *os, void *ptr, size_t size) {
  if (!is_own(os) || !hak_os_may_give()) return -1;
  int saved = errno;
  int64_t bytes = hak_memory_resident(ptr, size);
  errno = saved;
  /* The range may have gone since its address was learnt: that is no failure. */
  hak_add_relaxed(&hak_os_counts.look, 1);
  return bytes;
}

bool hak_os_is_huge_unasked(const hak_os_t *os) {
  if (!is_own(os)) return false;
  int saved = errno;
  bool huge = hak_memory_is_huge_unasked();
  errno = saved;
  return huge;
}

size_t hak_os_limit(const hak_os_t *os) {
  return is_own(os) ? hak_memory_limit() : SIZE_MAX;
}

HAK_SLOW size_t hak_os_total(const hak_os_t *os) {
  return is_own(os) ? hak_memory_total() : SIZE_MAX;
}

uint64_t hak_os_now(const hak_os_t *os) {
  /* The system's own clock, which every slow path may read, leaves errno alone. */
  if (HAK_LIKELY(os->now_ns == hak_memory_now_ns)) return hak_memory_now_ns(os->ctx);
  int saved = errno;
  uint64_t now = os->now_ns(os->ctx);
  errno = saved;
  return now & INT64_MAX; /* what is waited for can be added to it */
}
