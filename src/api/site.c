/* site.c - blocks for places in the program that have a record. */
#include "api/api.h"

void *hak_api_alloc_at(hak_heap_t *heap, size_t size, size_t alignment, unsigned flags,
                       hak_site_t *site) {
  void *block = hak_api_alloc(heap, size, alignment, flags);
  if (block != NULL) hak_site_hit(site);
  return block;
}

HAK_ENTRY void *hak_alloc_at(size_t size, hak_site_t *site) {
  void *block = hak_alloc(size);
  if (block != NULL) hak_site_hit(site);
  return block;
}

uint64_t hak_site_count(const hak_site_t *site) {
  return site == NULL ? 0 : hak_load_relaxed((hak_atomic_u64_t *)&site->reserved[0]);
}
