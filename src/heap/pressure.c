#include "heap/pressure.h"

#include <errno.h>

#include "base/event.h"
#include "base/option.h"
#include "base/report.h"
#include "heap/collect.h"
#include "heap/give_up.h"
#include "heap/groups.h"
#include "heap/kind.h"
#include "heap/thread.h"
#include "heap/thread_cache.h"
#include "superslab/region_release.h"
#include "superslab/tails.h"
#include "tiny/hold.h"
#include "tiny/size_class.h"

static hak_budget_t *budget_of(hak_heap_t *heap) { return &heap->store->pool.budget; }

static hak_heap_t *heap_of(hak_budget_t *level) {
  return hak_heap_record(hak_pool_of_budget(level)->heap);
}

/* --- room without a question ------------------------------------------------ */

/* Slabs of the thread's go first if `me` is not NULL. What the heap is to keep goes for
 * its `own` requests alone. */
static void purge(hak_thread_t *me, hak_heap_t *heap, bool own) {
  if (!hak_os_may_give()) return;
  if (me != NULL) {
    hak_cache_t bare = hak_cache_bare(me, heap);
    hak_hold_shed(me, &bare);
  }
  size_t slabs = SIZE_MAX;
  hak_pool_purge(&heap->store->pool, UINT64_MAX, SIZE_MAX, &slabs);
  if (hak_tail_are_few(&heap->store->pool)) return;
  hak_tail_take_all(&heap->store->pool, hak_class_bytes, SIZE_MAX, true, own);
}

static void relieve_one(hak_thread_t *me, hak_heap_t *heap, bool own) {
  hak_kind_flush(me, heap);
  purge(me, heap, own);
}

/* The lease is kept for the purge, so that the heap stays. */
static void relieve_other(hak_thread_t *me, hak_heap_t *heap) {
  if (!hak_thread_lease(me, heap)) return;
  if (hak_heap_is_used(heap) && hak_kind_has_thread_caches(heap)) {
    hak_cache_drain(me, heap);
    purge(me, heap, false);
  } else if (hak_heap_is_used(heap)) {
    purge(NULL, heap, false); /* what it keeps itself is whoever's has the heap */
  }
  hak_heap_unlease(heap);
}

void hak_pressure_relieve(hak_thread_t *me, hak_heap_t *heap, hak_budget_t *level) {
  relieve_one(me, heap, true);
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
    if (other->store == me->store) {
      relieve_one(me, other, false);
    } else {
      relieve_other(me, other);
    }
  }
}

/* If a limit refused, all heaps that it covers are relieved; if the OS refused, the
 * thread gives up what it caches of any heap. */
static void give_up_caches(hak_thread_t *me, hak_heap_t *heap,
                           const hak_budget_call_t *call, bool no_grow) {
  if (hak_pool_is_enclosed(&heap->store->pool)) {
    hak_kind_flush(me, heap); /* nothing else could help */
    return;
  }
  if (call->refused_by != NULL && !no_grow) {
    hak_pressure_relieve(me, heap, call->refused_by);
    return;
  }
  hak_kind_flush(me, heap);
  hak_give_up_all(me);
  if (!hak_os_may_give()) return;
  size_t slabs = SIZE_MAX;
  hak_retention_collect(&heap->store->pool, UINT64_MAX, SIZE_MAX, &slabs);
  hak_regions_release_all();
}

/* Whatever no block is in, of whatever heap. It costs a look at all there is, so requests
 * for small blocks do it again only now and then after it was in vain: they have found
 * that none of their size is free. */
static bool give_up_everything(hak_thread_t *me, bool small) {
  enum {
    AGAIN = 64
  };
  static hak_atomic_u32_t vain;
  if (!hak_os_may_give()) return false;
  uint32_t times = hak_load_relaxed(&vain);
  if (small && times != 0 && times < AGAIN) {
    hak_store_relaxed(&vain, times + 1);
    return false;
  }
  bool given = hak_collect_memory(me, NULL, SIZE_MAX, true) != 0;
  hak_store_relaxed(&vain, given ? 0 : 1);
  return true;
}

/* Blocks that were free beside others which lie apart are the default heap's too. */
static void *take_from_groups(hak_thread_t *me, hak_heap_t *heap, hak_take_fn *take,
                              const void *request) {
  void *block = NULL;
  if (heap != hak_heap_get_default()) return NULL;
  for (uint32_t g = 1; g < HAK_GROUPS && block == NULL; g++) {
    hak_heap_t *group = hak_group_at(g);
    if (group != NULL) block = take(me, group, request);
  }
  return block;
}

/* After what the thread kept was given up. `small`: a class serves the request. */
static void *take_again(hak_thread_t *me, hak_heap_t *heap, hak_take_fn *take, bool small,
                        const void *request, const hak_budget_call_t *call) {
  void *block = take(me, heap, request);
  if (block == NULL) block = take_from_groups(me, heap, take, request);
  if (block != NULL || call->refused_by != NULL) return block;
  if (hak_pool_is_enclosed(&heap->store->pool)) return NULL;
  if (!give_up_everything(me, small)) return NULL;
  return take(me, heap, request);
}

/* What the heap was told to keep is in the way of its own request: no more of that goes
 * than the request needs. Slots go whole. */
static void *take_for_kept(hak_thread_t *me, hak_heap_t *heap, hak_take_fn *take,
                           const void *request, hak_budget_call_t *call) {
  hak_shared_pool_t *pool = &heap->store->pool;
  if (!hak_os_may_give()) return NULL;
  size_t records = (call->needed / HAK_SUPERSLAB_SIZE + 1) * sizeof(hak_superslab_t);
  size_t most = call->needed + records + HAK_SLAB_SIZE;
  uint64_t room = hak_budget_room(&pool->budget);
  size_t given = 1;
  /* Pages that came from other heaps may go without a charge. */
  while (room < most && given != 0) {
    given = hak_pool_purge_kept(pool, most - (size_t)room);
    room = hak_budget_room(&pool->budget);
  }
  if (room < call->needed) return NULL;
  call->refused_by = NULL;
  return take(me, heap, request);
}

void *hak_pressure_take(hak_heap_t *heap, hak_take_fn *take, hak_other_fn *other,
                        const void *request, bool no_grow, hak_budget_call_t *call) {
  hak_thread_t *me = hak_thread_enter();
  if (HAK_UNLIKELY(me == NULL)) return NULL;
  void *block = take(me, heap, request);
  if (HAK_UNLIKELY(block == NULL)) block = take_from_groups(me, heap, take, request);
  if (HAK_UNLIKELY(block == NULL)) {
    give_up_caches(me, heap, call, no_grow);
    call->refused_by = NULL;
    block = take_again(me, heap, take, other != NULL, request, call);
    if (block == NULL && other != NULL) block = other(me, heap, request, call->rounds);
    if (block == NULL && call->refused_by != NULL) {
      block = take_for_kept(me, heap, take, request, call);
    }
  }
  if (no_grow) call->refused_by = NULL;
  hak_thread_leave(me, HAK_IN_ALLOC);
  return block;
}

/* --- callbacks ---------------------------------------------------------------- */

/* Inside a callback of the level, allocations from these two take the slow path, which
 * forbids them. A serial heap is left alone if it lies above: another thread may have
 * it, unless the request is for one of its own blocks that is sampled. */
static void hide(hak_heap_t *heap, hak_heap_t *limited, bool hidden) {
  hak_kind_hide(hak_thread_self, heap, hidden);
  if (hak_kind_has_thread_caches(limited) ||
      (hak_heap_is_samples(heap) && hak_heap_above(heap) == limited)) {
    hak_kind_hide(hak_thread_self, limited, hidden);
  }
}

/* Runs the level's callback, if it has one, in the middle of a request to `heap`; true
 * if it says that something was freed. */
static bool ask(hak_heap_t *heap, hak_budget_t *level, size_t needed, int kind) {
  hak_heap_t *limited = heap_of(level), *handle = hak_heap_handle(limited);
  if (handle == NULL || level->on_pressure == NULL) return false;
  hak_budget_call_t call;
  hak_budget_call_begin(&call);
  call.inside = level;
  hide(heap, limited, true);
  int saved = errno;
  bool freed = level->on_pressure(handle, needed, kind, level->ctx) != 0;
  errno = saved;
  hide(heap, limited, false);
  hak_budget_call_end(&call);
  return freed;
}

/* The request failed, and a level refused it. */
static HAK_SLOW void *insist(hak_heap_t *heap, hak_budget_call_t *call, size_t needed,
                             hak_attempt_fn *attempt, const void *request) {
  if (call->outer != NULL && call->outer->inside == NULL) {
    call->outer->refused_by = call->refused_by; /* whose request this is part of */
    return NULL;
  }
  for (int i = 0; i < HAK_PRESSURE_ROUNDS && call->refused_by != NULL; i++) {
    if (!ask(heap, call->refused_by, needed, HAK_PRESSURE_HARD)) break;
    hak_budget_call_begin(call);
    call->needed = needed;
    call->rounds = (uint32_t)i + 1;
    void *block = attempt(heap, request, call);
    hak_budget_call_end(call);
    if (block != NULL) return block;
  }
  if (call->refused_by == NULL) return NULL;
  hak_add_relaxed(&call->refused_by->refused, 1);
  hak_event_emit(HAK_EVENT_BUDGET_REFUSED, NULL, needed);
  return NULL;
}

void *hak_pressure_request(hak_heap_t *heap, size_t needed, hak_attempt_fn *attempt,
                           const void *request) {
  if (hak_budget_is_forbidden(budget_of(heap))) return hak_fail(ENOMEM);
  int saved = errno; /* attempts within attempts set it, though another succeeds */
  hak_budget_call_t call;
  hak_budget_call_begin(&call);
  call.needed = needed;
  void *block = attempt(heap, request, &call);
  hak_budget_call_end(&call);
  if (HAK_UNLIKELY(block == NULL && call.refused_by != NULL)) {
    block = insist(heap, &call, needed, attempt, request);
  }
  hak_pressure_soft(heap);
  if (HAK_UNLIKELY(block == NULL)) return hak_fail(ENOMEM);
  errno = saved;
  return block;
}

/* --- soft limits -------------------------------------------------------------- */

/* Gives up what can be without a question; the charge after that. */
static uint64_t relieved(hak_heap_t *heap, hak_budget_t *level) {
  hak_thread_t *me = hak_thread_enter();
  if (me != NULL) {
    hak_pressure_relieve(me, heap, level);
    hak_thread_leave(me, HAK_IN_ALLOC);
  }
  return hak_load_relaxed(&level->charged);
}

/* Relieving may bring the charge below the limit again. Else the callback is told by how
 * many bytes the charge is over the limit, and what it freed goes; again while that does
 * not suffice, but not if it brings nothing several times in a row. */
static void soft(hak_heap_t *heap, hak_budget_t *level) {
  enum {
    VAIN_MAX = 8
  };
  uint64_t limit = hak_load_relaxed(&level->soft), charged = relieved(heap, level);
  for (int i = 0, vain = 0; i < HAK_PRESSURE_ROUNDS && vain < VAIN_MAX && charged > limit;
       i++) {
    if (!ask(heap, level, charged - limit, HAK_PRESSURE_SOFT)) break;
    uint64_t now = relieved(heap, level);
    vain = now < charged ? 0 : vain + 1;
    charged = now;
  }
  hak_budget_rearm(level);
}

/* Each level once: what crosses its limit anew meanwhile, by other threads or by the
 * callback, is left to the next request, or there might be no end. */
HAK_SLOW void hak_pressure_soft_slow(hak_heap_t *heap) {
  hak_budget_t *level = budget_of(heap);
  while ((level = hak_budget_take_alarm(level)) != NULL) {
    /* The callback of this level is running, and its request has been told enough. */
    if (!hak_budget_is_forbidden(level)) soft(heap, level);
    level = hak_budget_parent(level);
  }
}
