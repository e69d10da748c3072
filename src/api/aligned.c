/* aligned.c - allocation with wishes: an alignment, zeroes, no growth, a site. */
#include <errno.h>

#include "api/api.h"
#include "base/report.h"

#define FLAGS_ALLOC (HAK_ZERO | HAK_NO_GROW | HAK_NO_CACHE)
#define FLAGS_REALLOC (FLAGS_ALLOC | HAK_NO_MOVE)

bool hak_api_alignment_is_valid(size_t alignment) {
  if (alignment == 0 ||
      (hak_is_power_of_two(alignment) && alignment <= HAK_ALIGNMENT_MAX)) {
    return true;
  }
  errno = EINVAL;
  return false;
}

void *hak_aligned_alloc(size_t alignment, size_t size) {
  if (HAK_UNLIKELY(!hak_api_alignment_is_valid(alignment))) return NULL;
  return hak_api_alloc(NULL, size, alignment, 0);
}

/* HAK_NO_GROW: the OS is out of reach for the length of the call. */
static hak_os_scope_t bar(unsigned flags) {
  bool barred = (flags & HAK_NO_GROW) != 0 || hak_os_scope == HAK_OS_BARRED;
  return hak_os_enter(barred ? HAK_OS_BARRED : hak_os_scope);
}

void *hak_allocx(hak_heap_t *heap, size_t size, size_t alignment, unsigned flags,
                 hak_site_t *site) {
  if (HAK_UNLIKELY((flags & ~FLAGS_ALLOC) != 0)) return hak_fail(EINVAL);
  if (HAK_UNLIKELY(!hak_api_alignment_is_valid(alignment))) return NULL;
  hak_heap_t *record = NULL;
  if (heap != NULL && (record = hak_api_heap_or_report(heap, "hak_allocx")) == NULL) {
    return NULL;
  }
  hak_os_scope_t before = bar(flags);
  void *block = hak_api_alloc_at(record, size, alignment, flags, site);
  hak_os_leave(before);
  return block;
}

void *hak_aligned_realloc(void *ptr, size_t alignment, size_t size) {
  if (HAK_UNLIKELY(!hak_api_alignment_is_valid(alignment))) return NULL;
  if (ptr == NULL) return hak_api_alloc(NULL, size, alignment, 0);
  return hak_api_resize_at(ptr, size, alignment, 0, NULL, "hak_aligned_realloc");
}

void *hak_reallocx(hak_heap_t *heap, void *ptr, size_t size, size_t alignment,
                   unsigned flags, hak_site_t *site) {
  if (HAK_UNLIKELY((flags & ~FLAGS_REALLOC) != 0)) return hak_fail(EINVAL);
  if (HAK_UNLIKELY(!hak_api_alignment_is_valid(alignment))) return NULL;
  hak_heap_t *record = NULL;
  if (heap != NULL && (record = hak_api_heap_or_report(heap, "hak_reallocx")) == NULL) {
    return NULL;
  }
  hak_os_scope_t before = bar(flags);
  void *block =
      ptr == NULL ? hak_api_alloc_at(record, size, alignment, flags & FLAGS_ALLOC, site)
                  : hak_api_resize_at(ptr, size, alignment, flags, site, "hak_reallocx");
  hak_os_leave(before);
  return block;
}
