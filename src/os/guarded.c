#include "os/guarded.h"

#include "os/memory.h"

bool hak_guard(const hak_os_t *os, void *ptr, size_t size) {
  if (size == 0 || os->reserve != hak_os_default()->reserve) return true;
  return hak_memory_guard(ptr, size);
}

void *hak_guarded_reserve(const hak_os_t *os, size_t size, size_t alignment) {
  size_t all = size + 2 * HAK_GUARD_BYTES;
  if (all < size) return NULL;
  if (HAK_GUARD_BYTES != 0) alignment = HAK_GUARD_BYTES;
  char *start = hak_os_reserve(os, all, alignment);
  if (start == NULL) return NULL;
  char *range = start + HAK_GUARD_BYTES;
  if (hak_guard(os, start, HAK_GUARD_BYTES) &&
      hak_guard(os, range + size, HAK_GUARD_BYTES)) {
    return range;
  }
  hak_os_unreserve(os, start, all);
  return NULL;
}

void hak_guarded_unreserve(const hak_os_t *os, void *ptr, size_t size) {
  hak_os_unreserve(os, (char *)ptr - HAK_GUARD_BYTES, size + 2 * HAK_GUARD_BYTES);
}

void hak_guarded_release(const hak_os_t *os, void *ptr, size_t size) {
  hak_os_release(os, (char *)ptr - HAK_GUARD_BYTES, size + 2 * HAK_GUARD_BYTES);
}
