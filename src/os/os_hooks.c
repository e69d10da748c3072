/* os_hooks.c - every call to the operating system passes here and is counted. */
#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

hak_os_counts_t hak_os_counts;

bool hak_os_is_valid(const hak_os_t *os) {
  return os->struct_size >= sizeof(hak_os_t) && os->flags == 0 &&
         hak_is_power_of_two(os->page_size) && os->page_size >= 4 * HAK_KIB &&
         os->page_size <= 64 * HAK_KIB && os->reserve != NULL && os->release != NULL &&
         os->commit != NULL && os->purge != NULL && os->now_ns != NULL;
}

static bool counted(hak_atomic_u64_t *calls, bool ok) {
  hak_add_relaxed(calls, 1);
  if (!ok) hak_add_relaxed(&hak_os_counts.failures, 1);
  return ok;
}

void *hak_os_reserve(const hak_os_t *os, size_t size, size_t alignment) {
  void *ptr = os->reserve(os->ctx, size, alignment);
  if (ptr != NULL && !hak_is_aligned((uintptr_t)ptr, alignment)) {
    os->release(os->ctx, ptr, size);
    ptr = NULL;
  }
  return counted(&hak_os_counts.reserve, ptr != NULL) ? ptr : NULL;
}

/* A range that cannot be released is lost; there is nobody to tell but the
 * count of failures. */
void hak_os_release(const hak_os_t *os, void *ptr, size_t size) {
  counted(&hak_os_counts.release, os->release(os->ctx, ptr, size) == 0);
}

bool hak_os_commit(const hak_os_t *os, void *ptr, size_t size, bool *zeroed) {
  *zeroed = false;
  return counted(&hak_os_counts.commit, os->commit(os->ctx, ptr, size, zeroed) == 0);
}

bool hak_os_purge(const hak_os_t *os, void *ptr, size_t size) {
  bool ok = counted(&hak_os_counts.purge, os->purge(os->ctx, ptr, size) == 0);
  if (ok) hak_add_relaxed(&hak_os_counts.purged_bytes, size);
  return ok;
}

void *hak_os_remap(const hak_os_t *os, void *ptr, size_t old_size, size_t new_size) {
  if (os->remap == NULL) return NULL;
  void *moved = os->remap(os->ctx, ptr, old_size, new_size);
  return counted(&hak_os_counts.remap, moved != NULL) ? moved : NULL;
}

void hak_os_advise_huge(const hak_os_t *os, void *ptr, size_t size) {
  if (os->reserve != hak_os_default()->reserve) return;
  hak_add_relaxed(&hak_os_counts.advise, 1);
  hak_os_platform_advise_huge(ptr, size);
}

uint64_t hak_os_now(const hak_os_t *os) { return os->now_ns(os->ctx); }
