#include "api/tree.h"

#include <errno.h>
#include <string.h>

#include "os/reservation.h"
#include "pages/registry.h"

/* --- memory --------------------------------------------------------------------------
 */

static uint32_t count_heaps(uint32_t made) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < made; i++) {
    hak_heap_t *heap = hak_heap_at(i);
    count += heap != NULL && hak_heap_handle(heap) != NULL;
  }
  return count;
}

static bool tree_make(hak_tree_t *tree) {
  enum {
    MORE = 64 /* heaps that may come before the look */
  };
  tree->made = hak_heaps_made();
  tree->most = count_heaps(tree->made) + MORE;
  size_t numbers = hak_align_up(tree->made * sizeof *tree->numbers, HAK_CACHE_LINE);
  size_t bytes = hak_align_up(numbers + tree->most * sizeof *tree->heaps, HAK_SLAB_SIZE);
  tree->os = hak_registry_os();
  char *memory = hak_os_reserve(tree->os, bytes, HAK_SLAB_SIZE);
  if (memory == NULL) return false;
  bool zeroed;
  if (!hak_os_commit(tree->os, memory, bytes, &zeroed)) {
    hak_os_unreserve(tree->os, memory, bytes);
    return false;
  }
  tree->memory = memory;
  tree->bytes = bytes;
  tree->numbers = (uint32_t *)(void *)memory;
  tree->heaps = (hak_tree_heap_t *)(void *)(memory + numbers);
  memset(tree->numbers, 0xff, tree->made * sizeof *tree->numbers);
  return true;
}

/* --- the look ------------------------------------------------------------------------
 */

/* False: the heap ended, or its record changed heaps, while it was looked at. */
static bool look(hak_heap_t *record, hak_tree_heap_t *out) {
  /* Acquire: pairs with hak_heap_make; its fields are seen. */
  hak_heap_t *handle = hak_load_acquire(&record->handle);
  if (handle == NULL) return false;
  memset(out, 0, sizeof *out);
  out->record = record;
  out->handle = handle;
  /* Acquire: pairs with hak_heap_make, so that with the parent of a later heap it is seen
   * that this one is gone. A live heap's parent is live. */
  hak_heap_t *above = hak_load_acquire(&record->parent);
  out->parent_handle = above == NULL ? NULL : hak_heap_handle(above);
  hak_heap_copy_name(record, out->name);
  return (above == NULL) == (out->parent_handle == NULL) &&
         hak_heap_handle(record) == handle;
}

static void look_at_all(hak_tree_t *tree) {
  for (uint32_t i = 0; i < tree->made && tree->count < tree->most; i++) {
    hak_heap_t *record = hak_heap_at(i);
    if (record == NULL || !look(record, &tree->heaps[tree->count])) continue;
    tree->numbers[i] = tree->count++;
  }
}

/* The number of a heap that is in the tree. */
static uint32_t number_of(const hak_tree_t *tree, hak_heap_t *handle) {
  uint32_t index = handle == NULL ? UINT32_MAX : hak_heap_record(handle)->index;
  uint32_t number = index < tree->made ? tree->numbers[index] : HAK_TREE_NONE;
  if (number == HAK_TREE_NONE) return HAK_TREE_NONE;
  const hak_tree_heap_t *heap = &tree->heaps[number];
  return heap->handle == handle && !heap->left_out ? number : HAK_TREE_NONE;
}

/* A heap whose parent is not there is left out, and then those below it. */
static void leave_out(hak_tree_t *tree) {
  bool again;
  do {
    again = false;
    for (uint32_t i = 0; i < tree->count; i++) {
      hak_tree_heap_t *heap = &tree->heaps[i];
      if (heap->left_out) continue;
      heap->parent = number_of(tree, heap->parent_handle);
      if (heap->parent == HAK_TREE_NONE && heap->parent_handle != NULL) {
        heap->left_out = again = true;
      }
    }
  } while (again);
}

/* Heaps side by side are in the order of their records. */
static void link_all(hak_tree_t *tree) {
  tree->first = HAK_TREE_NONE;
  for (uint32_t i = 0; i < tree->count; i++) tree->heaps[i].first = HAK_TREE_NONE;
  /* From the end, so that each comes before those that are beside it already. */
  for (uint32_t i = tree->count; i-- > 0;) {
    hak_tree_heap_t *heap = &tree->heaps[i];
    if (heap->left_out) continue;
    bool top = heap->parent == HAK_TREE_NONE;
    uint32_t *first = top ? &tree->first : &tree->heaps[heap->parent].first;
    heap->next = *first;
    *first = i;
  }
}

/* The heap after one: the first below it, else beside it or beside one above. */
static uint32_t after(const hak_tree_t *tree, uint32_t at) {
  uint32_t next = tree->heaps[at].first;
  while (next == HAK_TREE_NONE && at != HAK_TREE_NONE) {
    next = tree->heaps[at].next;
    at = tree->heaps[at].parent;
  }
  return next;
}

static void count_depths(hak_tree_t *tree) {
  for (uint32_t at = tree->first; at != HAK_TREE_NONE; at = after(tree, at)) {
    hak_tree_heap_t *heap = &tree->heaps[at];
    heap->depth = heap->parent == HAK_TREE_NONE ? 0 : tree->heaps[heap->parent].depth + 1;
  }
}

HAK_SLOW int hak_tree_take(hak_tree_t *tree) {
  memset(tree, 0, sizeof *tree);
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  bool ok = tree_make(tree);
  hak_os_leave(before);
  if (!ok) return ENOMEM;
  look_at_all(tree);
  leave_out(tree);
  link_all(tree);
  count_depths(tree);
  return 0;
}

void hak_tree_release(hak_tree_t *tree) {
  if (tree->memory == NULL) return;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  hak_os_unreserve(tree->os, tree->memory, tree->bytes);
  hak_os_leave(before);
  tree->memory = NULL;
}

hak_tree_heap_t *hak_tree_find(const hak_tree_t *tree, hak_heap_t *heap) {
  if (heap == NULL) return NULL;
  hak_heap_t *handle =
      hak_heap_is_anothers(heap) ? hak_heap_owner(heap) : hak_heap_handle(heap);
  uint32_t number = number_of(tree, handle);
  return number == HAK_TREE_NONE ? NULL : &tree->heaps[number];
}

void hak_tree_visit(const hak_tree_t *tree,
                    void (*visit)(const hak_tree_heap_t *heap, void *ctx), void *ctx) {
  if (tree->memory == NULL) return;
  for (uint32_t at = tree->first; at != HAK_TREE_NONE; at = after(tree, at)) {
    visit(&tree->heaps[at], ctx);
  }
}
