/* named.c - the allocating functions as they are for a place in the program, but for
 * hak_alloc_at and hak_heap_alloc_at, which are in site.c.
 *
 * Each does what the function without _at does. A block that is resized where it lies is
 * no new one.
 */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "base/report.h"

/* --- the default heap --------------------------------------------------------------- */

void *hak_calloc_at(size_t count, size_t size, hak_site_t *site) {
  size_t bytes;
  if (HAK_UNLIKELY(hak_mul_overflows(count, size, &bytes))) return hak_fail(ENOMEM);
  if (HAK_LIKELY(bytes <= HAK_TINY_MAX)) {
    void *block = hak_alloc_at(bytes, site);
    if (HAK_LIKELY(block != NULL)) memset(block, 0, bytes);
    return block;
  }
  return hak_api_alloc_at(NULL, bytes, 0, HAK_ZERO, site);
}

void *hak_realloc_at(void *ptr, size_t size, hak_site_t *site) {
  if (ptr == NULL) return hak_alloc_at(size, site);
  return hak_api_resize_at(ptr, size, 0, 0, site, "hak_realloc_at");
}

void *hak_reallocarray_at(void *ptr, size_t count, size_t size, hak_site_t *site) {
  size_t bytes;
  if (HAK_UNLIKELY(hak_mul_overflows(count, size, &bytes))) return hak_fail(ENOMEM);
  if (ptr == NULL) return hak_alloc_at(bytes, site);
  return hak_api_resize_at(ptr, bytes, 0, 0, site, "hak_reallocarray_at");
}

void *hak_aligned_alloc_at(size_t alignment, size_t size, hak_site_t *site) {
  if (HAK_UNLIKELY(!hak_api_alignment_is_valid(alignment))) return NULL;
  return hak_api_alloc_at(NULL, size, alignment, 0, site);
}

void *hak_aligned_realloc_at(void *ptr, size_t alignment, size_t size, hak_site_t *site) {
  if (HAK_UNLIKELY(!hak_api_alignment_is_valid(alignment))) return NULL;
  if (ptr == NULL) return hak_api_alloc_at(NULL, size, alignment, 0, site);
  return hak_api_resize_at(ptr, size, alignment, 0, site, "hak_aligned_realloc_at");
}

/* --- strings ------------------------------------------------------------------------ */

char *hak_strndup_at(const char *s, size_t n, hak_site_t *site) {
  size_t length = strnlen(s, n);
  char *copy = hak_alloc_at(length + 1, site);
  if (copy == NULL) return NULL;
  memcpy(copy, s, length);
  copy[length] = '\0';
  return copy;
}

char *hak_strdup_at(const char *s, hak_site_t *site) {
  return hak_strndup_at(s, PTRDIFF_MAX - 1, site);
}
char *hak_strndup(const char *s, size_t n) { return hak_strndup_at(s, n, NULL); }
char *hak_strdup(const char *s) { return hak_strdup_at(s, NULL); }

/* --- heaps -------------------------------------------------------------------------- */

static void *heap_alloc(hak_heap_t *handle, size_t size, size_t alignment, unsigned flags,
                        hak_site_t *site, const char *function) {
  hak_heap_t *heap = hak_api_heap_or_report(handle, function);
  return heap == NULL ? NULL : hak_api_alloc_at(heap, size, alignment, flags, site);
}

void *hak_heap_calloc_at(hak_heap_t *handle, size_t count, size_t size,
                         hak_site_t *site) {
  size_t bytes;
  if (HAK_UNLIKELY(hak_mul_overflows(count, size, &bytes))) return hak_fail(ENOMEM);
  return heap_alloc(handle, bytes, 0, HAK_ZERO, site, "hak_heap_calloc_at");
}

void *hak_heap_realloc_at(hak_heap_t *heap, void *ptr, size_t size, hak_site_t *site) {
  if (ptr == NULL) return hak_heap_alloc_at(heap, size, site);
  return hak_api_resize_at(ptr, size, 0, 0, site, "hak_heap_realloc_at");
}

void *hak_heap_aligned_alloc_at(hak_heap_t *handle, size_t alignment, size_t size,
                                hak_site_t *site) {
  if (HAK_UNLIKELY(!hak_api_alignment_is_valid(alignment))) return NULL;
  return heap_alloc(handle, size, alignment, 0, site, "hak_heap_aligned_alloc_at");
}
