#include "heap/groups.h"

#include "pages/registry.h"
#include "superslab/pool_prefault.h"

/* Stands in the place of a group's heap while a thread makes it. */
#define MAKING ((hak_heap_t *)1)

static _Atomic(hak_heap_t *) groups[HAK_GROUPS]; /* [any] or NULL; 0 is */

static HAK_SLOW hak_heap_t *make(uint32_t group, hak_heap_t *parent) {
  hak_heap_t *none = NULL;
  if (!hak_cas_relaxed(&groups[group], &none, MAKING)) return NULL;
  hak_shared_pool_t *pool = &parent->store->pool;
  hak_heap_plan_t plan = {
      .parent = parent, .huge_pages = pool->huge_pages, .serves = HAK_HEAP_GROUP};
  hak_heap_t *heap = hak_heap_make(hak_registry_os(), &plan);
  if (heap != NULL && hak_pool_keeps_some(pool)) hak_pool_keep_all(&heap->store->pool);
  /* Release: publishes the record to hak_group_heap. */
  hak_store_release(&groups[group], heap);
  return heap;
}

hak_heap_t *hak_group_heap(uint32_t group) {
  hak_heap_t *parent = hak_heap_get_default();
  if (HAK_UNLIKELY(hak_heap_kind(parent) == HAK_KIND_MALLOCED)) return NULL;
  if (HAK_UNLIKELY(hak_budget_is_limited(&parent->store->pool.budget))) return NULL;
  /* Acquire: pairs with make. */
  hak_heap_t *heap = hak_load_acquire(&groups[group]);
  if (HAK_UNLIKELY(heap == NULL)) return make(group, parent);
  return HAK_UNLIKELY(heap == MAKING) ? NULL : heap;
}

void hak_groups_stop(void) {
  for (uint32_t g = 0; g < HAK_GROUPS; g++) hak_store_relaxed(&groups[g], NULL);
}

void hak_groups_forget_maker(void) {
  for (uint32_t g = 0; g < HAK_GROUPS; g++) {
    if (hak_load_relaxed(&groups[g]) == MAKING) hak_store_relaxed(&groups[g], NULL);
  }
}
