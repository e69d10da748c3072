#include "api/tree_fill.h"

#include "heap/kind.h"
#include "heap/serial.h"
#include "heap/thread_cache.h"
#include "heap/threads.h"
#include "learn/sample.h"
#include "pool/large.h"
#include "superslab/region.h"

/* --- slabs ---------------------------------------------------------------------------
 */

static void add_large(hak_tree_heap_t *heap, uint64_t size) {
  heap->large_blocks++;
  heap->large_bytes += size;
}

static void add_slot(hak_tree_heap_t *heap, hak_superslab_t *ss, unsigned slot) {
  hak_place_t place = hak_locate((uintptr_t)hak_superslab_slot(ss, slot));
  if (place.slab != &ss->slabs[slot]) return;
  if (place.cls < HAK_CLASSES) {
    hak_blocks_add_slab(&heap->blocks, place.slab, place.cls,
                        hak_slab_carved(place.slab));
  } else if (place.cls == HAK_CLASS_LARGE) {
    add_large(heap, hak_large_usable(&place));
  }
}

static bool add_superslab(hak_superslab_t *ss, void *ctx) {
  /* Acquire: pairs with the release in region.c, which publishes whose it is. */
  uint32_t kind = hak_load_acquire(&ss->extent.kind);
  if (kind != HAK_EXTENT_SLABS && kind != HAK_EXTENT_RUN) return true;
  hak_tree_heap_t *heap = hak_tree_find(ctx, hak_heap_of_extent(&ss->extent));
  if (heap == NULL) return true;
  heap->superslabs++;
  if (kind == HAK_EXTENT_RUN) {
    bool first = hak_load_relaxed(&ss->extent.block) == (void *)ss->extent.base;
    if (first) add_large(heap, hak_load_relaxed(&ss->extent.size));
    return true;
  }
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) add_slot(heap, ss, i);
  return true;
}

/* --- caches --------------------------------------------------------------------------
 */

typedef struct looker {
  hak_tree_t *tree;
  hak_thread_t *thread;
} looker_t;

static void add_cache(hak_thread_cache_t *cache, void *ctx) {
  looker_t *looker = ctx;
  /* Acquire: pairs with hak_cache_make. */
  if (hak_load_acquire(&cache->heap_id) == NULL) return;
  hak_tree_heap_t *heap = hak_tree_find(looker->tree, cache->heap);
  if (heap == NULL) return;
  /* The caller's own does not change, unless somebody tears the heap down now. */
  bool leased = looker->thread == hak_thread_self && hak_heap_try_lease(cache->heap);
  bool walk = leased && hak_load_relaxed(&cache->heap_id) != NULL;
  hak_blocks_add_bins(&heap->blocks, &looker->thread->key,
                      hak_cache_bins(looker->thread, cache), cache->holds, walk);
  if (leased) hak_heap_unlease(cache->heap);
}

static void add_thread(hak_thread_t *thread, void *ctx) {
  hak_tree_t *tree = ctx;
  if (!hak_load_relaxed(&thread->attached)) return;
  hak_tree_heap_t *heap = hak_tree_find(tree, hak_heap_get_default());
  if (heap != NULL) {
    hak_blocks_add_bins(&heap->blocks, &thread->key, thread->bins, thread->holds,
                        thread == hak_thread_self);
    hak_blocks_add_quarantine(&heap->blocks, thread);
  }
  looker_t looker = {tree, thread};
  hak_caches_visit(thread, add_cache, &looker);
}

/* --- heaps ---------------------------------------------------------------------------
 */

static uint64_t limit(uint64_t bytes) { return bytes == HAK_BUDGET_NONE ? 0 : bytes; }

/* What a record is charged counts for the heaps above it as far as these are not charged
 * it themselves: memory of the caller's is charged to nobody else. */
static void add_charge(hak_tree_t *tree, hak_tree_heap_t *heap, hak_heap_t *record) {
  uint64_t charged = hak_load_relaxed(&record->store->pool.budget.charged);
  bool passes_on = hak_heap_charged_above(record) != NULL;
  /* What a heap without a handle passes on may be in `heap`'s charge already. */
  bool is_own = !hak_heap_is_anothers(record) || !passes_on;
  for (; is_own || !passes_on || heap->is_enclosed; heap = &tree->heaps[heap->parent]) {
    heap->used += charged;
    is_own = false;
    if (heap->parent == HAK_TREE_NONE) return;
  }
}

static void add_brought(hak_tree_t *tree, hak_tree_heap_t *heap, uint64_t bytes) {
  for (; bytes != 0; heap = &tree->heaps[heap->parent]) {
    heap->used += bytes;
    if (heap->parent == HAK_TREE_NONE) return;
  }
}

/* A record that is used, and counts for `heap`. */
static void add_record(hak_tree_t *tree, hak_tree_heap_t *heap, hak_heap_t *record) {
  hak_kind_figures_t figures = hak_kind_figures(record);
  bool large = hak_kind_has_slabs(record);
  *(large ? &heap->large_blocks : &heap->own_blocks) += figures.blocks;
  *(large ? &heap->large_bytes : &heap->own_bytes) += figures.block_bytes;
  add_brought(tree, heap, figures.memory);
  if (hak_heap_kind(record) == HAK_KIND_EXTERNAL) return;
  hak_blocks_add_transfer(&heap->blocks, record);
  hak_serial_t *serial = hak_heap_serial(record);
  if (serial != NULL) {
    hak_blocks_add_bins(&heap->blocks, &serial->key, serial->bins, serial->holds, false);
  }
  hak_shared_pool_t *pool = &record->store->pool;
  heap->large_blocks += hak_load_relaxed(&pool->mapped_blocks);
  heap->large_bytes += hak_load_relaxed(&pool->mapped_bytes);
  add_charge(tree, heap, record);
}

/* What is known of the heap itself, whose handle is looked at after. */
static void describe(hak_tree_heap_t *heap) {
  hak_heap_t *record = heap->record;
  hak_budget_t *budget = &record->store->pool.budget;
  heap->kind = hak_heap_kind(record);
  heap->is_enclosed = hak_heap_is_enclosed(record);
  heap->soft = limit(hak_load_relaxed(&budget->soft));
  /* An external region that is short of slots has a hard limit that no program set. */
  heap->hard = heap->is_enclosed ? 0 : limit(hak_load_relaxed(&budget->hard));
  heap->refused = hak_load_relaxed(&budget->refused);
  heap->peak = hak_load_relaxed(&budget->peak);
}

static void add_records(hak_tree_t *tree) {
  for (uint32_t i = 0; i < tree->count; i++) describe(&tree->heaps[i]);
  for (uint32_t i = 0; i < tree->made; i++) {
    hak_heap_t *record = hak_heap_at(i);
    if (record == NULL || !hak_heap_is_used(record)) continue;
    hak_tree_heap_t *heap = hak_tree_find(tree, record);
    if (heap != NULL) add_record(tree, heap, record);
  }
  for (uint32_t i = 0; i < tree->count; i++) {
    hak_tree_heap_t *heap = &tree->heaps[i];
    heap->ended = hak_heap_handle(heap->record) != heap->handle;
  }
}

/* --- samples -------------------------------------------------------------------------
 */

static bool add_sample(const hak_sample_t *sample, void *ctx) {
  hak_place_t place = hak_locate((uintptr_t)sample->block);
  if (place.cls >= HAK_CLASSES || sample->heap_id == NULL) return true;
  hak_tree_heap_t *heap = hak_tree_find(ctx, hak_heap_record(sample->heap_id));
  if (heap == NULL) return true;
  double blocks = hak_sample_stands_for(sample);
  heap->sampled[place.cls] += blocks;
  heap->requested[place.cls] += blocks * (double)sample->size;
  return true;
}

/* --- sums ----------------------------------------------------------------------------
 */

static void sum_up(hak_tree_heap_t *heap) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    uint64_t size = hak_class_size(cls), live = hak_blocks_live(&heap->blocks, cls);
    heap->own_blocks += live;
    heap->own_bytes += live * size;
    if (hak_class_is_single(cls)) {
      heap->large_blocks += live;
      heap->large_bytes += live * size;
    }
    heap->cached_bytes += hak_blocks_cached(&heap->blocks, cls) * size;
    heap->free_bytes += heap->blocks.free[cls] * size;
  }
}

HAK_SLOW void hak_tree_fill(hak_tree_t *tree) {
  hak_region_visit(add_superslab, tree);
  hak_threads_visit(add_thread, tree);
  add_records(tree);
  hak_samples_visit(add_sample, tree);
  for (uint32_t i = 0; i < tree->count; i++) {
    hak_tree_heap_t *heap = &tree->heaps[i];
    /* Large blocks of no class, before those of single classes come to them. */
    heap->own_blocks += heap->large_blocks;
    heap->own_bytes += heap->large_bytes;
    sum_up(heap);
    if (heap->peak < heap->used) heap->peak = heap->used;
  }
  for (uint32_t i = 0; i < tree->count; i++) {
    const hak_tree_heap_t *heap = &tree->heaps[i];
    for (uint32_t at = i; !heap->left_out && at != HAK_TREE_NONE;) {
      hak_tree_heap_t *above = &tree->heaps[at];
      above->live_blocks += heap->own_blocks;
      above->live_bytes += heap->own_bytes;
      at = above->parent;
    }
  }
}
