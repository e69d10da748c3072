#include "heap/pressure.h"

#include <errno.h>

#include "base/option.h"
#include "base/report.h"

static hak_budget_t *budget_of(hak_heap_t *heap) { return &heap->store->pool.budget; }

static hak_heap_t *heap_of(hak_budget_t *level) {
  return hak_heap_record(hak_pool_of_budget(level)->heap);
}

static void purge(hak_heap_t *heap) {
  size_t slabs = SIZE_MAX;
  if (hak_option(PURGE_MODE) == 0) return;
  hak_pool_purge(&heap->store->pool, UINT64_MAX, SIZE_MAX, &slabs);
}

/* Under the lease, so that the heap stays. */
static void relieve_other(hak_thread_t *me, hak_heap_t *heap) {
  if (heap->store == me->store) {
    hak_thread_flush_heap(me, heap);
    purge(heap);
    return;
  }
  hak_heap_lease(heap);
  if (hak_heap_is_used(heap)) {
    hak_cache_drain(me, heap);
    purge(heap);
  }
  hak_heap_unlease(heap);
}

void hak_pressure_relieve(hak_thread_t *me, hak_heap_t *heap, hak_budget_t *level) {
  hak_thread_flush_heap(me, heap);
  purge(heap);
  if (level == budget_of(heap) &&
      hak_load_relaxed(&level->charged) == hak_load_relaxed(&level->own)) {
    return;
  }
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *other = hak_heap_at(i);
    if (other == NULL || other == heap || hak_load_relaxed(&budget_of(other)->own) == 0 ||
        !hak_budget_is_below(budget_of(other), level)) {
      continue;
    }
    relieve_other(me, other);
  }
}

bool hak_pressure_call(hak_heap_t *heap, hak_budget_t *level, size_t needed, int kind) {
  hak_heap_t *handle = hak_heap_handle(heap_of(level));
  if (handle == NULL || level->on_pressure == NULL) return false;
  hak_budget_call_t call;
  hak_budget_call_begin(&call);
  call.inside = level;
  hak_cache_hide(hak_thread_self, heap, true);
  if (!heap_of(level)->is_serial) hak_cache_hide(hak_thread_self, heap_of(level), true);
  int saved = errno;
  bool freed = level->on_pressure(handle, needed, kind, level->ctx) != 0;
  errno = saved;
  if (!heap_of(level)->is_serial) hak_cache_hide(hak_thread_self, heap_of(level), false);
  hak_cache_hide(hak_thread_self, heap, false);
  hak_budget_call_end(&call);
  return freed;
}

/* Part of it may have gone by itself; who is told is told what is too much. */
static void soft(hak_heap_t *heap, hak_budget_t *level) {
  hak_thread_t *me = hak_thread_enter();
  if (me == NULL) return;
  hak_pressure_relieve(me, heap, level);
  hak_thread_leave(me, HAK_IN_ALLOC);
  uint64_t charged = hak_load_relaxed(&level->charged);
  uint64_t limit = hak_load_relaxed(&level->soft);
  if (charged > limit) hak_pressure_call(heap, level, charged - limit, HAK_PRESSURE_SOFT);
}

HAK_SLOW void hak_pressure_soft_slow(hak_heap_t *heap) {
  hak_budget_t *level;
  while ((level = hak_budget_take_alarm(budget_of(heap))) != NULL) {
    /* Who allocates elsewhere from inside a callback has been told enough. */
    if (!hak_budget_is_forbidden(level)) soft(heap, level);
  }
}
