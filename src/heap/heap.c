#include "heap/heap.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/option.h"
#include "pages/meta.h"
#include "pool/mid.h"
#include "superslab/region.h"

enum {
  CHUNK_HEAPS = 256,
  CHUNKS = HAK_HEAPS_MAX / CHUNK_HEAPS
};

/* Records lie close together, as many heaps in turn are looked at by all frees and
 * allocations; what is large of a heap lies elsewhere. */
typedef struct chunk {
  hak_heap_t heaps[CHUNK_HEAPS];
  hak_atomic_u32_t made[CHUNK_HEAPS];
} chunk_t;

/* Guards the list of records, what is marked [lock] here and [lock: heaps] elsewhere. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_HEAPS);
static _Atomic(chunk_t *) chunks[CHUNKS];
static hak_atomic_u32_t made; /* [lock] records, the default heap's included */
/* Records that wait, the longest first, so that a handle that is out of date has
 * the most time to be found. Those whose tags are used up wait apart. */
typedef struct waiting {
  hak_heap_t *first, *last;
  uint32_t count;
} waiting_t;
static waiting_t unused, worn; /* [lock] */
static _Atomic(hak_heap_t *) default_heap;
static hak_geometry_t geometry[HAK_SHARED_CLASSES]; /* [const] */

hak_lock_t *hak_heaps_lock(void) { return &lock; }

hak_heap_t *hak_heap_get_default(void) {
  /* Acquire: pairs with hak_heaps_start. */
  return hak_load_acquire(&default_heap);
}

uint32_t hak_heaps_made(void) { return hak_load_relaxed(&made); }

hak_heap_t *hak_heap_at(uint32_t index) {
  /* Acquire, both: pair with new_record. */
  chunk_t *chunk = hak_load_acquire(&chunks[index / CHUNK_HEAPS]);
  uint32_t i = index % CHUNK_HEAPS;
  return chunk != NULL && hak_load_acquire(&chunk->made[i]) ? &chunk->heaps[i] : NULL;
}

/* --- records ----------------------------------------------------------------- */

static chunk_t *chunk_of(const hak_os_t *os, uint32_t index) {
  _Atomic(chunk_t *) *slot = &chunks[index / CHUNK_HEAPS];
  chunk_t *chunk = hak_load_acquire(slot);
  if (chunk != NULL) return chunk;
  chunk_t *fresh = hak_meta_alloc(os, sizeof *fresh, HAK_CACHE_LINE);
  if (fresh == NULL) return NULL;
  /* Release: publishes the zeroes to hak_heap_at. */
  if (hak_cas_release(slot, &chunk, fresh)) return fresh;
  return hak_load_acquire(slot);
}

static hak_heap_t *new_record(const hak_os_t *os) {
  hak_store_t *store = hak_meta_alloc(os, sizeof *store, 2 * HAK_CACHE_LINE);
  if (store == NULL) return NULL;
  hak_lock_acquire(&lock);
  uint32_t index = hak_load_relaxed(&made);
  bool ok = index < HAK_HEAPS_MAX;
  if (ok) hak_store_relaxed(&made, index + 1);
  hak_lock_release(&lock);
  chunk_t *chunk = ok ? chunk_of(os, index) : NULL;
  if (chunk == NULL) return NULL; /* the index is lost; they are many */
  hak_heap_t *heap = &chunk->heaps[index % CHUNK_HEAPS];
  heap->index = index;
  heap->store = store;
  hak_pool_init(&store->pool, os, NULL);
  store->pool.starts_small = true;
  store->pool.colour = index;
  store->geometry = geometry;
  hak_store_relaxed(&heap->index_at, hak_index_at(HAK_INDEX_NONE));
  /* Release: publishes the record to hak_heap_at. */
  hak_store_release(&chunk->made[index % CHUNK_HEAPS], 1);
  return heap;
}

static void add_locked(waiting_t *waiting, hak_heap_t *heap) {
  hak_lock_assert_held(&lock);
  heap->next_unused = NULL;
  if (waiting->last != NULL) {
    waiting->last->next_unused = heap;
  } else {
    waiting->first = heap;
  }
  waiting->last = heap;
  waiting->count++;
}

static hak_heap_t *take_locked(waiting_t *waiting) {
  hak_lock_assert_held(&lock);
  hak_heap_t *heap = waiting->first;
  if (heap == NULL) return NULL;
  waiting->first = heap->next_unused;
  if (waiting->first == NULL) waiting->last = NULL;
  waiting->count--;
  return heap;
}

static hak_heap_t *worn_record(void) {
  hak_lock_acquire(&lock);
  hak_heap_t *heap = take_locked(&worn);
  if (heap != NULL) heap->tag = 0;
  hak_lock_release(&lock);
  return heap;
}

/* One with tags left; a new one rather than one of a few that are worn; NULL if memory
 * is short. */
static hak_heap_t *get_record(const hak_os_t *os) {
  hak_lock_acquire(&lock);
  hak_heap_t *heap = take_locked(&unused);
  bool fresh = worn.count < HAK_HEAPS_WORN;
  hak_lock_release(&lock);
  if (heap == NULL && fresh) heap = new_record(os);
  return heap != NULL ? heap : worn_record();
}

void hak_heap_put_record(hak_heap_t *heap) {
  hak_lock_acquire(&lock);
  hak_heap_t *parent = hak_heap_parent(heap);
  if (parent != NULL) {
    if (hak_load_relaxed(&heap->released)) {
      parent->orphans--;
    } else {
      parent->children--;
    }
  }
  hak_store_relaxed(&heap->released, 0);
  hak_store_relaxed(&heap->parent, NULL);
  add_locked(heap->tag < HAK_HANDLE_TAG_MAX ? &unused : &worn, heap);
  hak_lock_release(&lock);
}

/* --- heaps ----------------------------------------------------------------------- */

static hak_heap_t *not_enclosed(hak_heap_t *heap) {
  while (heap != NULL && hak_heap_is_enclosed(heap)) heap = hak_heap_parent(heap);
  return heap;
}

hak_heap_t *hak_heap_charged_above(hak_heap_t *heap) {
  return hak_heap_is_enclosed(heap) ? NULL : not_enclosed(hak_heap_parent(heap));
}

static hak_budget_t *budget_above(hak_heap_t *parent) {
  hak_heap_t *above = not_enclosed(parent);
  return above == NULL ? NULL : &above->store->pool.budget;
}

hak_heap_t *hak_heap_make(const hak_os_t *os, const hak_heap_plan_t *plan) {
  hak_heap_t *parent = plan->parent;
  hak_heap_t *heap = get_record(os);
  if (heap == NULL) return NULL;
  hak_store_relaxed(&heap->store->pool.budget.fixed,
                    (uint32_t)(sizeof *heap + sizeof *heap->store + plan->state_bytes));
  bool enclosed = plan->external != NULL || plan->external_region != NULL;
  hak_budget_begin(&heap->store->pool.budget, enclosed ? NULL : budget_above(parent));
  hak_lock_acquire(&lock);
  heap->tag++;
  hak_store_relaxed(&heap->parent, parent);
  if (parent != NULL) parent->children++;
  hak_lock_release(&lock);
  uintptr_t handle = hak_handle_make(heap, heap->tag);
  if (plan->kind == HAK_KIND_SERIAL) handle |= HAK_HANDLE_SERIAL;
  heap->store->pool.huge_pages = plan->huge_pages;
  hak_pool_pass_on(&heap->store->pool, plan->os == NULL ? os : plan->os, (void *)handle);
  if (plan->external_region != NULL)
    hak_external_region_serve(plan->external_region, &heap->store->pool.budget);
  memset(heap->name, 0, sizeof heap->name);
  if (plan->name != NULL) strncpy(heap->name, plan->name, HAK_HEAP_NAME_MAX);
  hak_store_relaxed(&heap->index_at, hak_index_at(HAK_INDEX_NONE));
  hak_store_relaxed(&heap->kind, plan->kind);
  hak_store_relaxed(&heap->external, plan->external);
  hak_store_relaxed(&heap->external_region, plan->external_region);
  if (plan->external != NULL) hak_external_mark(plan->external, (void *)handle);
  /* Release: publishes the record to whoever is given the handle. */
  hak_store_release(&heap->handle, (hak_heap_t *)handle);
  return heap;
}

bool hak_heaps_start(const hak_os_t *os) {
  unsigned most = (unsigned)hak_option(MID_SPAN_SLABS);
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    size_t size = hak_class_size(cls);
    unsigned next = size <= HAK_TINY_MAX ? 1 : hak_mid_span_busy(size, most);
    geometry[cls] = (hak_geometry_t){1, (uint8_t)next};
  }
  hak_heap_t *heap = new_record(os);
  if (heap == NULL) return false;
  hak_pool_pass_on(&heap->store->pool, os, heap);
  heap->store->pool.starts_small = false;
  strncpy(heap->name, "default", HAK_HEAP_NAME_MAX);
  hak_store_relaxed(&heap->index_at, hak_index_at(HAK_INDEX_DEFAULT));
  hak_store_relaxed(&heap->handle, heap);
  hak_store_release(&default_heap, heap);
  return true;
}

void hak_heaps_stop(void) {
  hak_store_relaxed(&default_heap, NULL);
  for (int i = 0; i < CHUNKS; i++) hak_store_relaxed(&chunks[i], NULL);
  hak_store_relaxed(&made, 0);
  unused = worn = (waiting_t){NULL, NULL, 0};
}

/* --- handles ------------------------------------------------------------------ */

hak_heap_t *hak_heap_owner(hak_heap_t *heap) {
  while (heap != NULL && hak_load_relaxed(&heap->released)) heap = hak_heap_parent(heap);
  if (heap == NULL) heap = hak_heap_get_default();
  return heap == NULL ? NULL : hak_heap_handle(heap);
}

static int retire(hak_heap_t *heap, hak_heap_t *handle, bool release) {
  if (heap == hak_heap_get_default()) return EINVAL;
  hak_lock_acquire(&lock);
  int error = hak_heap_handle(heap) != handle ? EINVAL : heap->children > 0 ? EBUSY : 0;
  if (error == 0) {
    if (release) {
      hak_store_relaxed(&heap->released, HAK_HEAP_ORPHAN);
      /* From now on it could end at any time, but the caller is not done with it. */
      (void)hak_heap_pin(heap);
      /* From here on those above say what is too much. */
      hak_budget_set_limits(&heap->store->pool.budget, 0, 0);
      hak_heap_t *parent = hak_heap_parent(heap);
      if (parent != NULL) {
        parent->children--;
        parent->orphans++;
      }
    }
    heap->serial_handle = NULL;
    hak_store_relaxed(&heap->handle, NULL);
  }
  hak_lock_release(&lock);
  return error;
}

int hak_heap_retire_handle(hak_heap_t *heap, hak_heap_t *handle) {
  return retire(heap, handle, false);
}

int hak_heap_release_handle(hak_heap_t *heap, hak_heap_t *handle) {
  return retire(heap, handle, true);
}

bool hak_heap_has_orphans(hak_heap_t *heap) {
  hak_lock_acquire(&lock);
  bool has = heap->orphans > 0;
  hak_lock_release(&lock);
  return has;
}

bool hak_heap_claim_orphan_of(hak_heap_t *heap, const hak_heap_t *parent) {
  hak_lock_acquire(&lock);
  bool ok = hak_load_relaxed(&heap->released) == HAK_HEAP_ORPHAN &&
            (parent == NULL || hak_heap_parent(heap) == parent);
  if (ok) hak_store_relaxed(&heap->released, HAK_HEAP_ENDING);
  hak_lock_release(&lock);
  return ok;
}

void hak_heap_unclaim_orphan(hak_heap_t *heap) {
  hak_lock_acquire(&lock);
  if (hak_load_relaxed(&heap->released) == HAK_HEAP_ENDING) {
    hak_store_relaxed(&heap->released, HAK_HEAP_ORPHAN);
  }
  hak_lock_release(&lock);
}

static bool waits_locked(const waiting_t *waiting, const hak_heap_t *heap) {
  hak_lock_assert_held(&lock);
  const hak_heap_t *each = waiting->first;
  while (each != NULL && each != heap) each = each->next_unused;
  return each != NULL;
}

static bool is_unused_locked(const hak_heap_t *heap) {
  hak_lock_assert_held(&lock);
  return waits_locked(&unused, heap) || waits_locked(&worn, heap);
}

bool hak_heap_is_ending(hak_heap_t *heap) {
  hak_lock_acquire(&lock);
  uint32_t released = hak_load_relaxed(&heap->released);
  bool ending = released == HAK_HEAP_ENDING ||
                (released == HAK_HEAP_KEPT && hak_heap_handle(heap) == NULL &&
                 !is_unused_locked(heap));
  hak_lock_release(&lock);
  return ending;
}

/* What one does to the heap's caches, the next one sees. */
bool hak_heap_try_lease(hak_heap_t *heap) { return hak_lease_try(&heap->lease); }
void hak_heap_lease(hak_heap_t *heap) { hak_lease_take(&heap->lease); }
void hak_heap_unlease(hak_heap_t *heap) { hak_lease_give(&heap->lease); }
