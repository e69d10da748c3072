#include "heap/heap.h"

#include <errno.h>
#include <string.h>

#include "base/option.h"
#include "base/text.h"
#include "pages/meta.h"
#include "pool/mid.h"

static _Atomic(hak_heap_t *) default_heap;
static hak_geometry_t geometry[HAK_SHARED_CLASSES]; /* [const] */

hak_heap_t *hak_heap_get_default(void) {
  /* Acquire: pairs with hak_heaps_start. */
  return hak_load_acquire(&default_heap);
}

/* --- heaps ----------------------------------------------------------------------- */

static hak_heap_t *not_enclosed(hak_heap_t *heap) {
  while (heap != NULL && hak_heap_is_enclosed(heap)) heap = hak_heap_above(heap);
  return heap;
}

hak_heap_t *hak_heap_charged_above(hak_heap_t *heap) {
  return hak_heap_is_enclosed(heap) ? NULL : not_enclosed(hak_heap_above(heap));
}

static hak_budget_t *budget_above(hak_heap_t *parent) {
  hak_heap_t *above = not_enclosed(parent);
  return above == NULL ? NULL : &above->store->pool.budget;
}

void hak_heap_rename(hak_heap_t *heap, const char *name) {
  uint32_t at = 1 - hak_load_relaxed(&heap->name_at);
  uint64_t words[HAK_HEAP_NAME_WORDS] = {0};
  if (name != NULL) {
    size_t length = strnlen(name, HAK_HEAP_NAME_MAX + HAK_TEXT_CHARACTER_MAX);
    memcpy(words, name, hak_text_begin(name, length, HAK_HEAP_NAME_MAX));
  }
  for (uint32_t i = 0; i < HAK_HEAP_NAME_WORDS; i++) {
    /* Release: pairs with hak_heap_copy_name, which sees that a former heap's handle is
     * gone if it sees a word of this one's name. */
    hak_store_release(&heap->names[at][i], words[i]);
  }
  /* Release: publishes the text to hak_heap_name_of. */
  hak_store_release(&heap->name_at, at);
}

void hak_heap_copy_name(hak_heap_t *heap, char out[HAK_HEAP_NAME_MAX + 1]) {
  uint64_t words[HAK_HEAP_NAME_WORDS];
  uint32_t at = hak_load_acquire(&heap->name_at);
  for (uint32_t i = 0; i < HAK_HEAP_NAME_WORDS; i++) {
    /* Acquire: pairs with hak_heap_rename. */
    words[i] = hak_load_acquire(&heap->names[at][i]);
  }
  memcpy(out, words, sizeof words);
  out[HAK_HEAP_NAME_MAX] = '\0';
}

/* From here on the heap is one without a handle. */
static void begin_below(hak_heap_t *heap, hak_heap_t *parent, hak_heap_release_t serves) {
  hak_lock_acquire(hak_heaps_lock());
  parent->children--;
  parent->orphans++;
  /* Release: publishes the record to hak_heap_is_used. */
  hak_store_release(&heap->released, serves);
  hak_lock_release(hak_heaps_lock());
}

/* What the heap's blocks of malloc's are noted in; false if memory is short. */
static bool make_malloced(const hak_os_t *os, hak_heap_t *heap) {
  if (hak_heap_malloced(heap) != NULL) return true;
  hak_malloced_t *malloced = hak_meta_alloc(os, sizeof *malloced, HAK_CACHE_LINE);
  hak_store_relaxed(&heap->malloced, malloced);
  return malloced != NULL;
}

static void begin_malloced(hak_heap_t *heap, void *handle) {
  hak_malloced_begin(hak_heap_malloced(heap), handle, &heap->store->pool.budget);
}

/* A record for a heap of this kind; NULL if memory is short. */
static hak_heap_t *get_record(const hak_os_t *os, hak_heap_kind_t kind) {
  hak_heap_t *heap = hak_heap_record_get(os, geometry);
  if (heap == NULL || kind != HAK_KIND_MALLOCED || make_malloced(os, heap)) return heap;
  hak_lock_acquire(hak_heaps_lock());
  hak_heap_record_put_locked(heap);
  hak_lock_release(hak_heaps_lock());
  return NULL;
}

hak_heap_t *hak_heap_make(const hak_os_t *os, const hak_heap_plan_t *plan) {
  hak_heap_t *parent = plan->parent;
  hak_heap_t *heap = get_record(os, plan->kind);
  if (heap == NULL) return NULL;
  hak_store_relaxed(&heap->store->pool.budget.fixed,
                    (uint32_t)(sizeof *heap + sizeof *heap->store + HAK_CENTRALS_BYTES +
                               plan->state_bytes));
  bool enclosed = plan->external != NULL || plan->external_region != NULL;
  hak_budget_begin(&heap->store->pool.budget, enclosed ? NULL : budget_above(parent));
  hak_lock_acquire(hak_heaps_lock());
  heap->tag++;
  /* Release: pairs with the look of api/tree.c, which sees that the heap of before is
   * gone if it sees this one's parent. */
  hak_store_release(&heap->parent, parent);
  if (parent != NULL) parent->children++;
  hak_lock_release(hak_heaps_lock());
  uintptr_t handle = hak_handle_make(heap, heap->tag);
  if (plan->kind == HAK_KIND_SERIAL) handle |= HAK_HANDLE_SERIAL;
  heap->store->pool.huge_pages = plan->huge_pages;
  hak_store_relaxed(&heap->store->begun, 0);
  heap->store->coarse = plan->external_region != NULL || plan->is_small;
  heap->store->shares = plan->serves == HAK_HEAP_GROUP;
  heap->store->pool.fits = plan->serves == HAK_HEAP_SAMPLES;
  hak_pool_pass_on(&heap->store->pool, plan->os == NULL ? os : plan->os, (void *)handle);
  if (plan->kind == HAK_KIND_MALLOCED) begin_malloced(heap, (void *)handle);
  hak_heap_rename(heap, plan->name);
  hak_store_relaxed(&heap->user, NULL);
  hak_store_relaxed(&heap->index_at, hak_index_at(HAK_INDEX_NONE));
  hak_store_relaxed(&heap->kind, plan->kind);
  hak_store_relaxed(&heap->watched, plan->is_watched);
  if (hak_load_relaxed(&heap->listener.fn) != NULL) { /* of an earlier heap */
    hak_callee_set(&heap->listener, NULL, NULL);
  }
  hak_store_relaxed(&heap->external, plan->external);
  hak_store_relaxed(&heap->external_region, plan->external_region);
  if (plan->external != NULL) hak_external_set_heap(plan->external, (void *)handle);
  if (plan->external_region != NULL) {
    hak_external_set_heap(plan->external_region->annex, (void *)handle);
    hak_external_region_serve(plan->external_region, &heap->store->pool.budget);
  }
  if (plan->serves != HAK_HEAP_KEPT) {
    begin_below(heap, parent, plan->serves);
  } else {
    /* Release: publishes the record to whoever is given the handle. */
    hak_store_release(&heap->handle, (hak_heap_t *)handle);
  }
  return heap;
}

HAK_SLOW bool hak_heaps_start(const hak_os_t *os) {
  unsigned most = (unsigned)hak_option(MID_SPAN_SLABS);
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    size_t size = hak_class_size(cls);
    unsigned next = size <= HAK_TINY_MAX ? 1 : hak_mid_span_busy(size, most);
    geometry[cls] = (hak_geometry_t){1, (uint8_t)next};
  }
  hak_heap_t *heap = hak_heap_record_new(os, geometry);
  if (heap == NULL) return false;
  hak_pool_pass_on(&heap->store->pool, os, heap);
  heap->store->pool.starts_small = false;
  if (hak_malloced_is_chosen()) {
    if (!make_malloced(os, heap)) return false;
    begin_malloced(heap, heap);
    hak_store_relaxed(&heap->kind, HAK_KIND_MALLOCED);
  }
  hak_heap_rename(heap, "default");
  hak_store_relaxed(&heap->index_at, hak_index_at(HAK_INDEX_DEFAULT));
  hak_store_relaxed(&heap->handle, heap);
  hak_store_release(&default_heap, heap);
  return true;
}

void hak_heaps_stop(void) {
  hak_store_relaxed(&default_heap, NULL);
  hak_heap_records_stop();
}

/* --- handles ------------------------------------------------------------------ */

hak_heap_t *hak_heap_owner(hak_heap_t *heap) {
  while (heap != NULL && hak_load_relaxed(&heap->released)) heap = hak_heap_above(heap);
  if (heap == NULL) heap = hak_heap_get_default();
  return heap == NULL ? NULL : hak_heap_handle(heap);
}

/* Why the handle may not go now, or 0. */
static int refuses_locked(hak_heap_t *heap, hak_heap_t *handle) {
  hak_lock_assert_held(hak_heaps_lock());
  if (heap == hak_heap_get_default() || hak_heap_handle(heap) != handle) return EINVAL;
  return heap->children > 0 ? EBUSY : 0;
}

bool hak_heap_may_retire(hak_heap_t *heap, hak_heap_t *handle) {
  hak_lock_acquire(hak_heaps_lock());
  int error = refuses_locked(heap, handle);
  hak_lock_release(hak_heaps_lock());
  return error == 0;
}

static int retire(hak_heap_t *heap, hak_heap_t *handle, bool release) {
  hak_lock_acquire(hak_heaps_lock());
  int error = refuses_locked(heap, handle);
  if (error == 0) {
    if (release) {
      hak_store_relaxed(&heap->released, HAK_HEAP_ORPHAN);
      /* From now on the heap could end at any time, but the caller is not done with it.
       */
      (void)hak_heap_pin(heap);
      /* From here on the limits of the heaps above are the only ones. */
      hak_budget_set_limits(&heap->store->pool.budget, 0, 0);
      hak_heap_t *parent = hak_heap_above(heap);
      if (parent != NULL) {
        parent->children--;
        parent->orphans++;
      }
    }
    heap->serial_handle = NULL;
    hak_store_relaxed(&heap->handle, NULL);
  }
  hak_lock_release(hak_heaps_lock());
  return error;
}

int hak_heap_retire_handle(hak_heap_t *heap, hak_heap_t *handle) {
  return retire(heap, handle, false);
}

int hak_heap_release_handle(hak_heap_t *heap, hak_heap_t *handle) {
  return retire(heap, handle, true);
}

/* Stands in `samples` of a heap while a thread makes its heap of samples. */
#define MAKING ((hak_heap_t *)1)

hak_heap_t *hak_heap_samples(hak_heap_t *heap) {
  /* Acquire: pairs with hak_heap_set_samples. */
  hak_heap_t *samples = hak_load_acquire(&heap->samples);
  return samples == MAKING ? NULL : samples;
}

bool hak_heap_begin_samples(hak_heap_t *heap) {
  hak_heap_t *none = NULL;
  return hak_cas_relaxed(&heap->samples, &none, MAKING);
}

void hak_heap_set_samples(hak_heap_t *heap, hak_heap_t *samples) {
  /* Release: publishes the record to hak_heap_samples. */
  hak_store_release(&heap->samples, samples);
}

void hak_heap_forget_maker(hak_heap_t *heap) {
  if (hak_load_relaxed(&heap->samples) == MAKING) hak_store_relaxed(&heap->samples, NULL);
}

hak_heap_t *hak_heap_release_samples(hak_heap_t *heap) {
  hak_lock_acquire(hak_heaps_lock());
  hak_heap_t *samples = hak_heap_samples(heap);
  hak_store_relaxed(&heap->samples, NULL);
  if (samples != NULL) {
    hak_store_relaxed(&samples->released, HAK_HEAP_ORPHAN);
    (void)hak_heap_pin(samples); /* as the heap is; see retire */
  }
  hak_lock_release(hak_heaps_lock());
  return samples;
}

bool hak_heap_has_orphans(hak_heap_t *heap) {
  hak_lock_acquire(hak_heaps_lock());
  bool has = heap->orphans > 0;
  hak_lock_release(hak_heaps_lock());
  return has;
}

bool hak_heap_claim_orphan_of(hak_heap_t *heap, const hak_heap_t *parent) {
  hak_lock_acquire(hak_heaps_lock());
  uint32_t released = hak_load_relaxed(&heap->released);
  bool below = parent != NULL && hak_heap_above(heap) == parent;
  bool ok = (released == HAK_HEAP_ORPHAN && (parent == NULL || below)) ||
            (released == HAK_HEAP_SAMPLES && below);
  if (ok) hak_store_relaxed(&heap->released, HAK_HEAP_ENDING);
  hak_lock_release(hak_heaps_lock());
  return ok;
}

void hak_heap_unclaim_orphan(hak_heap_t *heap) {
  hak_lock_acquire(hak_heaps_lock());
  if (hak_load_relaxed(&heap->released) == HAK_HEAP_ENDING) {
    hak_store_relaxed(&heap->released, HAK_HEAP_ORPHAN);
  }
  hak_lock_release(hak_heaps_lock());
}

bool hak_heap_is_ending(hak_heap_t *heap) {
  hak_lock_acquire(hak_heaps_lock());
  uint32_t released = hak_load_relaxed(&heap->released);
  bool ending = released == HAK_HEAP_ENDING ||
                (released == HAK_HEAP_KEPT && hak_heap_handle(heap) == NULL &&
                 !hak_heap_record_is_unused_locked(heap));
  hak_lock_release(hak_heaps_lock());
  return ending;
}

/* Who has the lease sees what the last one did to the heap's caches. */
bool hak_heap_try_lease(hak_heap_t *heap) { return hak_lease_try(&heap->lease); }
void hak_heap_lease(hak_heap_t *heap) { hak_lease_take(&heap->lease); }
void hak_heap_unlease(hak_heap_t *heap) { hak_lease_give(&heap->lease); }

void hak_heap_put_record(hak_heap_t *heap) {
  hak_lock_acquire(hak_heaps_lock());
  hak_heap_t *parent = hak_heap_above(heap);
  if (parent != NULL) {
    if (hak_load_relaxed(&heap->released)) {
      parent->orphans--;
    } else {
      parent->children--;
    }
    if (hak_load_relaxed(&parent->samples) == heap) {
      hak_store_relaxed(&parent->samples, NULL);
    }
  }
  hak_store_relaxed(&heap->released, 0);
  hak_store_relaxed(&heap->parent, NULL);
  hak_store_relaxed(&heap->kind, HAK_KIND_POOLED);
  hak_heap_record_put_locked(heap);
  hak_lock_release(hak_heaps_lock());
}
