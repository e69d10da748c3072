#include "heap/heap.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/option.h"
#include "heap/serial.h"
#include "os/os_release.h"
#include "pages/mapping.h"
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

/* --- hooks of a heap's own ------------------------------------------------------- */

/* A copy of hooks that one heap has for its life; nobody calls them after its end. Who
 * comes late with an address may still look at the page size: a copy serves later heaps
 * with the same one. */
typedef struct own_os {
  hak_os_t os;
  struct own_os *next; /* of all */
  bool taken;          /* [lock: heaps] */
  bool ending;         /* [lock: heaps] the heap has gone, ranges may still be there */
} own_os_t;

static own_os_t *own_hooks; /* [lock: heaps] */

static HAK_SLOW const hak_os_t *copy_of(const hak_os_t *os, const hak_os_t *hooks) {
  hak_lock_acquire(&lock);
  own_os_t *own = own_hooks;
  while (own != NULL && (own->taken || own->os.page_size != hooks->page_size)) {
    own = own->next;
  }
  if (own != NULL) {
    own->taken = true;
    own->os.granularity = hooks->granularity;
    own->os.ctx = hooks->ctx;
    own->os.reserve = hooks->reserve;
    own->os.release = hooks->release;
    own->os.commit = hooks->commit;
    own->os.purge = hooks->purge;
    own->os.remap = hooks->remap;
    own->os.now_ns = hooks->now_ns;
  }
  hak_lock_release(&lock);
  if (own != NULL) return &own->os;
  own = hak_meta_alloc(os, sizeof *own, HAK_CACHE_LINE);
  if (own == NULL) return NULL;
  memcpy(&own->os, hooks, sizeof own->os);
  own->taken = true;
  hak_lock_acquire(&lock);
  own->next = own_hooks;
  own_hooks = own;
  hak_lock_release(&lock);
  return &own->os;
}

static HAK_SLOW void set_copy(const hak_os_t *copy, bool taken, bool ending) {
  own_os_t *own = HAK_CONTAINER_OF(copy, own_os_t, os);
  hak_lock_acquire(&lock);
  own->taken = taken;
  own->ending = ending;
  hak_lock_release(&lock);
}

static void put_copy(const hak_os_t *copy) { set_copy(copy, false, false); }

/* No range of theirs is left, and nobody calls them any more. */
static HAK_SLOW void end_hooks(const hak_os_t *os) {
  hak_mappings_end(os);
  hak_regions_end(os);
  hak_os_end(os);
  put_copy(os);
}

void hak_heap_end_os(hak_heap_t *heap) {
  const hak_os_t *os = heap->store->pool.os;
  if (os == hak_registry_os()) return;
  bool fixed = hak_os_is_fixed(os);
  hak_store_relaxed(&heap->external_region, NULL);
  if (fixed) {
    hak_external_region_serve(hak_external_region_of(os), NULL);
  } else {
    set_copy(os, true, true);
  }
  /* A fork may find the record before its next heap has hooks; these may be another's by
   * then. */
  hak_pool_pass_on(&heap->store->pool, hak_registry_os(), hak_heap_id(heap));
  if (fixed) {
    hak_external_region_close(hak_external_region_of(os));
  } else {
    end_hooks(os);
  }
}

bool hak_heap_may_end(hak_heap_t *heap) {
  if (hak_os_may_give()) return true;
  hak_lock_acquire(&heap->store->pool.lock);
  const hak_os_t *os = heap->store->pool.os;
  bool own = os != hak_registry_os() && !hak_os_is_fixed(os);
  hak_lock_release(&heap->store->pool.lock);
  return !own;
}

void hak_heaps_finish_os(void) {
  for (own_os_t *own = own_hooks; own != NULL; own = own->next) {
    if (own->ending) end_hooks(&own->os);
  }
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

static const hak_os_t *hooks_of(const hak_os_t *os, const hak_heap_plan_t *plan) {
  if (plan->external_region != NULL) return &plan->external_region->hooks.os;
  return plan->os == NULL ? os : copy_of(os, plan->os);
}

hak_heap_t *hak_heap_make(const hak_os_t *os, const hak_heap_plan_t *plan) {
  hak_heap_t *parent = plan->parent;
  const hak_os_t *own = hooks_of(os, plan);
  if (own == NULL) return NULL;
  hak_heap_t *heap = get_record(os);
  if (heap == NULL) {
    if (plan->os != NULL) put_copy(own);
    return NULL;
  }
  size_t state = plan->kind == HAK_KIND_SERIAL ? sizeof(hak_serial_t) : 0;
  hak_store_relaxed(&heap->store->pool.budget.fixed,
                    (uint32_t)(sizeof *heap + sizeof *heap->store + state));
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
  hak_pool_pass_on(&heap->store->pool, own, (void *)handle);
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
  own_hooks = NULL;
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
