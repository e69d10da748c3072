#include "heap/groups.h"

#include "pages/registry.h"
#include "superslab/pool_prefault.h"

_Atomic(hak_heap_t *) hak_groups[HAK_GROUPS];

static HAK_SLOW hak_heap_t *make(uint32_t group, hak_heap_t *parent) {
  hak_heap_t *none = NULL;
  if (!hak_cas_relaxed(&hak_groups[group], &none, HAK_GROUP_MAKING)) return NULL;
  hak_shared_pool_t *pool = &parent->store->pool;
  hak_heap_plan_t plan = {
      .parent = parent, .huge_pages = pool->huge_pages, .serves = HAK_HEAP_GROUP};
  hak_heap_t *heap = hak_heap_make(hak_registry_os(), &plan);
  if (heap != NULL) hak_pool_keep_as(&heap->store->pool, pool);
  /* Release: publishes the record to hak_group_made. */
  hak_store_release(&hak_groups[group], heap);
  return heap;
}

hak_heap_t *hak_group_heap(uint32_t group) {
  hak_heap_t *heap = hak_group_made(group);
  if (HAK_LIKELY(heap != NULL)) return heap;
  if (hak_load_relaxed(&hak_groups[group]) != NULL) return NULL;
  hak_heap_t *parent = hak_heap_get_default();
  if (hak_heap_kind(parent) == HAK_KIND_MALLOCED) return NULL;
  return hak_groups_take(parent) ? make(group, parent) : NULL;
}

HAK_SLOW hak_heap_t *hak_heap_part(hak_heap_t *heap, uint32_t part) {
  if (part == 0) return hak_heap_samples(heap); /* the default heap is group 0 itself */
  return heap == hak_heap_get_default() ? hak_group_at(part) : NULL;
}

void hak_groups_stop(void) {
  for (uint32_t g = 0; g < HAK_GROUPS; g++) hak_store_relaxed(&hak_groups[g], NULL);
}

void hak_groups_forget_maker(void) {
  for (uint32_t g = 0; g < HAK_GROUPS; g++) {
    if (hak_load_relaxed(&hak_groups[g]) == HAK_GROUP_MAKING)
      hak_store_relaxed(&hak_groups[g], NULL);
  }
}
