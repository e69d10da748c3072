#include "heap/kind.h"

#include <errno.h>

#include "heap/own_os.h"
#include "heap/serial.h"
#include "heap/thread_cache.h"
#include "heap/threads.h"
#include "pages/mapping.h"
#include "tiny/depot.h"
#include "tiny/flush.h"
#include "tiny/lean.h"
#include "tiny/magazine.h"
#include "tiny/partial_list.h"
#include "tiny/refill.h"

/* --- the beginning ---------------------------------------------------------------- */

static int open_memory(const hak_os_t *os, const hak_heap_config_t *given,
                       hak_heap_plan_t *plan) {
  void *memory = given->memory;
  size_t size = given->memory_size;
  int error = 0;
  if (hak_external_region_units(memory, size) >= HAK_EXTERNAL_REGION_UNITS_MIN) {
    plan->external_region = hak_external_region_open(os, memory, size, &error);
    if (plan->external_region == NULL) return error;
    plan->os = &plan->external_region->hooks.os;
    return 0;
  }
  /* Nobody caches its blocks, so HAK_HEAP_SERIAL changes nothing. */
  plan->kind = HAK_KIND_EXTERNAL;
  plan->state_bytes = 0;
  plan->external = hak_external_open(os, memory, size, &error);
  return plan->external == NULL ? error : 0;
}

int hak_kind_open(const hak_os_t *os, const hak_heap_config_t *given,
                  hak_heap_plan_t *plan) {
  plan->is_watched = (given->flags & HAK_HEAP_WATCHED) != 0;
  bool serial = (given->flags & HAK_HEAP_SERIAL) != 0 && !plan->is_watched;
  plan->kind = serial ? HAK_KIND_SERIAL : HAK_KIND_POOLED;
  plan->state_bytes = serial ? sizeof(hak_serial_t) : 0;
  if (given->memory != NULL) return open_memory(os, given, plan);
  if (given->os == NULL) {
    if (!hak_malloced_is_on()) return 0;
    plan->kind = HAK_KIND_MALLOCED;
    plan->state_bytes = 0;
    return 0;
  }
  plan->os = hak_own_os_get(os, given->os);
  return plan->os == NULL ? ENOMEM : 0;
}

void hak_kind_close(const hak_heap_plan_t *plan) {
  if (plan->external != NULL) {
    hak_external_close(plan->external);
  } else if (plan->external_region != NULL) {
    hak_external_region_close(plan->external_region);
  } else if (plan->os != NULL) {
    hak_own_os_put(plan->os);
  }
}

/* Magazines for blocks of an external region that change threads. */
bool hak_kind_prepare(hak_heap_t *heap) {
  enum {
    MAGAZINES_PER_UNIT = 8,
    MAGAZINES_MAX = 256
  };
  const hak_external_region_t *region = hak_heap_external_region(heap);
  if (region == NULL) return true; /* little memory serves as it is */
  size_t count = region->slots / HAK_SUPERSLAB_SLABS * MAGAZINES_PER_UNIT;
  if (count > MAGAZINES_MAX) count = MAGAZINES_MAX;
  return hak_magazines_prepare(hak_registry_os(), (uint32_t)count);
}

/* --- the cache that a thread works on --------------------------------------------- */

const hak_cache_t *hak_kind_cache(hak_thread_t *me, hak_heap_t *heap) {
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
      return hak_heap_is_watched(heap) ? NULL : hak_cache_get(me, heap);
    case HAK_KIND_SERIAL:
      return hak_serial_cache(me, heap);
    case HAK_KIND_EXTERNAL:
    case HAK_KIND_MALLOCED:
      return NULL;
  }
  return NULL;
}

const hak_cache_t *hak_kind_cache_earned(hak_thread_t *me, hak_heap_t *heap) {
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
      return hak_cache_get_earned(me, heap);
    case HAK_KIND_SERIAL:
    case HAK_KIND_EXTERNAL:
    case HAK_KIND_MALLOCED:
      break;
  }
  return hak_kind_cache(me, heap);
}

void *hak_kind_take_one(hak_thread_t *me, hak_heap_t *heap, uint32_t cls) {
  const hak_cache_t *cache;
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
      cache = hak_kind_cache_made(me, heap);
      return hak_refill_one(me, heap->store, cls, cache == NULL ? 0 : cache->entry);
    case HAK_KIND_SERIAL:
    case HAK_KIND_EXTERNAL:
    case HAK_KIND_MALLOCED:
      return NULL;
  }
  return NULL;
}

const hak_cache_t *hak_kind_cache_made(hak_thread_t *me, hak_heap_t *heap) {
  hak_thread_cache_t *cache;
  hak_serial_t *serial;
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
      if (heap->store == me->store) return &me->cache;
      cache = hak_cache_find(me, heap);
      return cache == NULL ? NULL : &cache->cache;
    case HAK_KIND_SERIAL:
      serial = hak_heap_own_serial(heap);
      return serial == NULL ? NULL : &serial->cache;
    case HAK_KIND_EXTERNAL:
    case HAK_KIND_MALLOCED:
      return NULL;
  }
  return NULL;
}

void hak_kind_hide(hak_thread_t *me, hak_heap_t *heap, bool hidden) {
  if (me->kind != HAK_THREAD_ATTACHED) return;
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
      hak_cache_hide(me, heap, hidden);
      return;
    case HAK_KIND_SERIAL:
      hak_serial_hide(heap, hidden);
      return;
    case HAK_KIND_EXTERNAL:
    case HAK_KIND_MALLOCED:
      return; /* they have slow paths alone */
  }
}

/* --- giving up -------------------------------------------------------------------- */

void hak_kind_flush_leased(hak_thread_t *me, hak_heap_t *heap) {
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
      hak_cache_drain(me, heap);
      return;
    case HAK_KIND_SERIAL:
      hak_serial_flush(me, heap);
      return;
    case HAK_KIND_EXTERNAL:
    case HAK_KIND_MALLOCED:
      return;
  }
}

void hak_kind_flush(hak_thread_t *me, hak_heap_t *heap) {
  if (!hak_thread_lease(me, heap)) return;
  if (hak_heap_is_used(heap)) hak_kind_flush_leased(me, heap);
  hak_heap_unlease(heap);
}

/* The transfer cache goes home too, whether or not the thread has a cache. */
static void release_pooled(hak_thread_t *me, hak_heap_t *heap) {
  hak_kind_flush(me, heap);
  hak_thread_cache_t *cache = hak_cache_at(me, heap->index);
  if (cache != NULL) hak_cache_give_up(me, cache, true);
}

void hak_kind_release(hak_thread_t *me, hak_heap_t *heap) {
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
      release_pooled(me, heap);
      return;
    case HAK_KIND_SERIAL:
      hak_serial_end(me, heap);
      return;
    case HAK_KIND_EXTERNAL:
    case HAK_KIND_MALLOCED:
      return;
  }
}

typedef struct clearing {
  hak_thread_t *me;
  hak_heap_t *heap;
  bool end;
  uint64_t caches, spans; /* of the heap; spans by cache */
} clearing_t;

static void count_cache(hak_thread_t *thread, void *ctx) {
  clearing_t *c = ctx;
  c->caches += hak_cache_find(thread, c->heap) != NULL;
}

static void clear_thread(hak_thread_t *thread, void *ctx) {
  const clearing_t *c = ctx;
  if (c->spans != 0 && hak_cache_find(thread, c->heap) != NULL) {
    hak_lean_note_ended(thread, c->spans);
  }
  hak_cache_clear(c->me, thread, c->heap, c->end);
}

/* What threads count as their spans goes with the heap. Who has a cache of it began them;
 * where nobody has one, this thread is taken to have. */
static HAK_SLOW void forget_spans(clearing_t *clearing, bool cached) {
  hak_store_t *store = clearing->heap->store;
  uint64_t spans = 0;
  if (hak_load_relaxed(&store->pool.taken) == 0) return; /* no slab is in use */
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_store_has_spans(store, cls) || hak_store_is_single(store, cls)) continue;
    spans += hak_load_relaxed(hak_store_spans(store, cls));
  }
  if (spans == 0) return;
  if (cached) hak_threads_visit(count_cache, clearing);
  if (clearing->caches == 0) {
    hak_lean_note_ended(clearing->me, spans);
  } else {
    clearing->spans = hak_div_up(spans, clearing->caches);
  }
}

static void clear_central(hak_thread_t *me, hak_central_t *central) {
  for (int i = 0; i < HAK_TRANSFER_PLACES; i++) {
    if (hak_load_relaxed(&central->places[i]) == NULL) continue;
    /* Relaxed: nobody uses the heap any more, and who put it there late had the lease. */
    hak_magazine_t *magazine = hak_exchange_relaxed(&central->places[i], NULL);
    if (magazine != NULL) hak_magazine_put(me, magazine);
  }
  hak_depot_clear(me, central);
  hak_store_relaxed(&central->hint, 0);
  hak_store_relaxed(&central->shut, 0);
  hak_store_relaxed(&central->takes, 0);
  hak_lock_acquire(&central->lock);
  hak_partial_forget_locked(central);
  hak_lock_release(&central->lock);
}

/* Slabs go in one piece. Caches were cleared first, so nothing names a block when slabs
 * change hands. */
static HAK_SLOW void clear_slabs(hak_thread_t *me, hak_heap_t *heap, bool end) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_store_has_spans(heap->store, cls)) continue;
    clear_central(me, &heap->store->centrals[cls]);
    hak_store_relaxed(hak_store_missed(heap->store, cls), 0);
    hak_store_relaxed(hak_store_spans(heap->store, cls), 0);
  }
  hak_pool_gone_t gone = {0, 0};
  hak_shared_pool_t *pool = &heap->store->pool;
  /* Slabs that are kept would be of no use to large blocks. */
  hak_pool_clear(pool, !end && !hak_pool_is_enclosed(pool), &gone);
  if (hak_load_relaxed(&pool->mapped_blocks) != 0) {
    gone.large_blocks += hak_exchange_relaxed(&pool->mapped_blocks, 0);
    gone.large_bytes += hak_exchange_relaxed(&pool->mapped_bytes, 0);
    hak_mappings_give_all(pool->heap);
  }
  hak_thread_count_large(me, -(int64_t)gone.large_blocks, -(int64_t)gone.large_bytes);
  hak_external_region_t *region = hak_heap_external_region(heap);
  if (region != NULL) hak_external_region_clear(region);
}

static void clear_external(hak_heap_t *heap, bool end) {
  hak_external_heap_t *external = hak_heap_external(heap);
  /* The child of a fork finishes what a lost thread had begun: this may be done. */
  if (external == NULL) return;
  if (!end) {
    hak_external_clear(external);
    return;
  }
  /* The child of a fork that comes behind this finds that it serves no heap. */
  hak_external_leave_heap(external);
  hak_store_relaxed(&heap->external, NULL);
  hak_external_close(external);
}

void hak_kind_clear(hak_thread_t *me, hak_heap_t *heap, bool end) {
  clearing_t clearing = {me, heap, end, 0, 0};
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
      forget_spans(&clearing, true);
      hak_threads_visit(clear_thread, &clearing);
      clear_slabs(me, heap, end);
      return;
    case HAK_KIND_SERIAL:
      forget_spans(&clearing, false);
      hak_serial_clear(me, heap, end);
      clear_slabs(me, heap, end);
      return;
    case HAK_KIND_EXTERNAL:
      clear_external(heap, end);
      return;
    case HAK_KIND_MALLOCED:
      hak_malloced_clear(hak_heap_malloced(heap));
      return;
  }
}

/* --- where the memory came from ------------------------------------------------------
 */

typedef enum source {
  FROM_PROCESS,
  FROM_OWN_OS,
  FROM_REGION /* an external one */
} source_t;

static source_t source_of(const hak_os_t *os) {
  if (os == hak_registry_os()) return FROM_PROCESS;
  return hak_os_is_fixed(os) ? FROM_REGION : FROM_OWN_OS;
}

void hak_kind_end_os(hak_heap_t *heap) {
  const hak_os_t *os = heap->store->pool.os;
  source_t source = source_of(os);
  switch (source) {
    case FROM_PROCESS:
      return; /* its hooks go on */
    case FROM_OWN_OS:
      hak_own_os_mark_ending(os);
      break;
    case FROM_REGION:
      hak_store_relaxed(&heap->external_region, NULL);
      hak_external_region_serve(hak_external_region_of(os), NULL);
      break;
  }
  /* A fork may find the record before its next heap has hooks; these may be another's by
   * then. */
  hak_pool_pass_on(&heap->store->pool, hak_registry_os(), hak_heap_id(heap));
  if (source == FROM_OWN_OS) {
    hak_own_os_end(os);
  } else {
    hak_external_region_close(hak_external_region_of(os));
  }
}

bool hak_kind_may_end(hak_heap_t *heap) {
  if (hak_os_may_give()) return true;
  hak_lock_acquire(&heap->store->pool.lock);
  source_t source = source_of(heap->store->pool.os);
  hak_lock_release(&heap->store->pool.lock);
  switch (source) {
    case FROM_PROCESS:
    case FROM_REGION:
      return true;
    case FROM_OWN_OS:
      return false; /* nothing may be given back, and the hooks wait for all of it */
  }
  return false;
}

/* --- looks from outside ------------------------------------------------------------ */

static bool has_no_slabs_in_use(hak_heap_t *heap) {
  hak_shared_pool_t *pool = &heap->store->pool;
  hak_lock_acquire(&pool->lock);
  /* Slots in hand are free: who gives their pages back is waited for at the end. */
  bool empty = hak_load_relaxed(&pool->taken) == pool->in_hand && pool->runs == NULL;
  hak_lock_release(&pool->lock);
  /* Acquire: pairs with uncount_mapped. */
  return empty && hak_load_acquire(&pool->mapped_blocks) == 0;
}

/* A heap with slabs may have an annex. */
static hak_external_heap_t *external_of(hak_heap_t *heap) {
  return hak_kind_has_slabs(heap) ? hak_heap_annex(heap) : hak_heap_external(heap);
}

bool hak_kind_is_empty(hak_heap_t *heap) {
  hak_external_heap_t *external = external_of(heap);
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
    case HAK_KIND_SERIAL:
      return has_no_slabs_in_use(heap) &&
             (external == NULL || hak_external_is_empty(external));
    case HAK_KIND_EXTERNAL: /* without memory: not of this kind any more */
      return external != NULL && hak_external_is_empty(external);
    case HAK_KIND_MALLOCED:
      return hak_malloced_is_empty(hak_heap_malloced(heap));
  }
  return false;
}

static bool are_slabs_valid(hak_heap_t *heap) {
  if (!hak_pool_is_valid(&heap->store->pool)) return false;
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_store_has_spans(heap->store, cls)) continue;
    if (!hak_partial_is_valid(&heap->store->centrals[cls])) return false;
  }
  return true;
}

bool hak_kind_is_valid(hak_heap_t *heap) {
  hak_external_heap_t *external = external_of(heap);
  /* An external heap without memory is being ended. */
  if (external != NULL && !hak_external_is_valid(external)) return false;
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
    case HAK_KIND_SERIAL:
      return are_slabs_valid(heap);
    case HAK_KIND_EXTERNAL:
      return true;
    case HAK_KIND_MALLOCED:
      return hak_malloced_is_valid(hak_heap_malloced(heap));
  }
  return false;
}

hak_kind_figures_t hak_kind_figures(hak_heap_t *heap) {
  hak_kind_figures_t figures = {0, 0, 0};
  hak_external_heap_t *external = external_of(heap);
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
    case HAK_KIND_SERIAL:
    case HAK_KIND_EXTERNAL:
      if (external == NULL) break;
      figures.blocks = hak_external_live_blocks(external);
      figures.block_bytes = hak_external_live_bytes(external);
      figures.memory = hak_external_bytes(external);
      break;
    case HAK_KIND_MALLOCED:
      figures.blocks = hak_malloced_blocks(hak_heap_malloced(heap));
      figures.block_bytes = hak_malloced_bytes(hak_heap_malloced(heap));
      break;
  }
  return figures;
}

void hak_kind_visit(hak_heap_t *heap, bool (*visit)(char *block, size_t size, void *ctx),
                    void *ctx) {
  hak_external_heap_t *external = external_of(heap);
  switch (hak_heap_kind(heap)) {
    case HAK_KIND_POOLED:
    case HAK_KIND_SERIAL:
    case HAK_KIND_EXTERNAL: /* a released heap may be at its end, without memory */
      if (external != NULL) hak_external_visit(external, visit, ctx);
      return;
    case HAK_KIND_MALLOCED:
      hak_malloced_visit(hak_heap_malloced(heap), visit, ctx);
      return;
  }
}
