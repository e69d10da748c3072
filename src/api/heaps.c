/* heaps.c - heaps by handle: their life. */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "base/report.h"
#include "heap/teardown.h"
#include "learn/sample.h"
#include "os/malloc.h"
#include "superslab/pool_prefault.h"
#include "superslab/retention.h"
#include "tiny/recall.h"

/* --- handles ----------------------------------------------------------------- */

HAK_WARM hak_heap_t *hak_api_heap(hak_heap_t *handle) {
  hak_stay_t stay = handle == NULL ? hak_lifecycle_stay() : hak_stay();
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return NULL;
  hak_heap_t *heap = handle == NULL ? hak_heap_get_default() : hak_heap_record(handle);
  if (handle != NULL && hak_heap_handle(heap) != handle) heap = NULL;
  hak_stay_end(stay);
  return heap;
}

HAK_SLOW hak_heap_t *hak_api_heap_or_report(hak_heap_t *handle, const char *function) {
  hak_heap_t *heap = hak_api_heap(handle);
  if (heap != NULL) return heap;
  if (handle == NULL) return hak_fail(ENOMEM);
  hak_report(HAK_ERROR_STALE_HEAP, NULL, handle, function,
             "the heap was destroyed or released");
  return hak_fail(EINVAL);
}

hak_heap_t *hak_api_owner(hak_extent_t *extent) {
  hak_heap_t *heap = hak_heap_of_extent(extent);
  if (heap == NULL) return NULL;
  return hak_heap_is_anothers(heap) ? hak_heap_owner(heap) : hak_heap_handle(heap);
}

hak_heap_t *hak_heap_default(void) { return hak_api_heap(NULL); }

const char *hak_heap_name(hak_heap_t *handle) {
  hak_heap_t *heap = hak_api_heap(handle);
  return heap == NULL ? NULL : hak_heap_name_of(heap);
}

int hak_heap_set_name(hak_heap_t *handle, const char *name) {
  hak_heap_t *heap = hak_api_heap(handle);
  if (heap == NULL) return handle == NULL ? ENOMEM : EINVAL;
  hak_heap_rename(heap, name);
  return 0;
}

/* A live heap's parent is live too. */
hak_heap_t *hak_heap_parent(hak_heap_t *handle) {
  hak_heap_t *heap = hak_api_heap(handle);
  hak_heap_t *above = heap == NULL ? NULL : hak_heap_above(heap);
  return above == NULL ? NULL : hak_heap_handle(above);
}

int hak_heap_set_user(hak_heap_t *handle, void *user) {
  hak_heap_t *heap = hak_api_heap(handle);
  if (heap == NULL) return handle == NULL ? ENOMEM : EINVAL;
  hak_malloc_release(&heap->user);
  /* Release: publishes what the program put there to hak_heap_user. */
  hak_store_release(&heap->user, user);
  return 0;
}

void *hak_heap_user(hak_heap_t *handle) {
  hak_heap_t *heap = hak_api_heap(handle);
  if (heap == NULL) return NULL;
  /* Acquire: pairs with hak_heap_set_user. */
  void *user = hak_load_acquire(&heap->user);
  hak_malloc_acquire(&heap->user);
  return user;
}

/* --- life --------------------------------------------------------------------- */

/* The sizes that the record had in earlier versions are known by its last field. */
enum {
  CONFIG_LEAST = offsetof(hak_heap_config_t, parent) + sizeof(hak_heap_t *)
};

/* Fields that have a place in the record before they have a meaning. */
static bool asks_for_more(const hak_heap_config_t *c) { return c->reserved != 0; }

static const char in_create[] = "hak_heap_create";

/* The records of so many SuperSlabs are written at once, and the system ends whoever
 * touches more than there is. */
static bool has_records_for(size_t bytes) {
  size_t units = bytes / HAK_SUPERSLAB_SIZE;
  return units <= hak_os_total(hak_os_default()) / sizeof(hak_superslab_t);
}

/* In a slow path of a thread, for the child of a fork to see. Who calls it stays, so that
 * there is a state, here and below. */
static bool reserve(hak_shared_pool_t *pool, size_t bytes) {
  if (bytes == 0) return true;
  if (!has_records_for(bytes)) return false;
  hak_thread_t *me = hak_thread_enter();
  bool ok = hak_pool_reserve(pool, bytes);
  hak_thread_leave(me, in_create);
  return ok;
}

/* A heap in memory of the caller's asks nobody for memory later. The thread that makes a
 * heap need not use it: if it counted as a user, the release of the heap would wait until
 * it ends or goes idle. A serial heap's cache is its own. */
static bool make_cache(hak_heap_t *heap) {
  if (!hak_kind_has_slabs(heap) || hak_heap_is_watched(heap)) return true;
  hak_thread_t *me = hak_thread_enter();
  bool ok = hak_kind_cache(me, heap) != NULL;
  if (hak_kind_has_thread_caches(heap)) hak_give_up_and_leave(me, heap);
  hak_thread_leave(me, in_create);
  return ok;
}

/* What a new heap is to have from the start. */
static bool make_ready(hak_heap_t *heap, const hak_heap_config_t *given) {
  hak_shared_pool_t *pool = &heap->store->pool;
  if (hak_heap_is_enclosed(heap)) return hak_kind_prepare(heap) && make_cache(heap);
  if ((given->flags & HAK_HEAP_NO_PURGE) != 0) hak_pool_keep_all(pool);
  if (!hak_kind_has_slabs(heap)) {
    return given->reserve <= PTRDIFF_MAX && given->prefault <= PTRDIFF_MAX;
  }
  if (!reserve(pool, given->reserve)) return false;
  return given->prefault == 0 || hak_api_prefault(heap, given->prefault) == 0;
}

/* Memory of the caller's is the limit itself: no heap is charged for it, and nothing
 * could give way. */
static bool is_memory_valid(const hak_heap_config_t *c) {
  if (c->memory == NULL) return c->memory_size == 0;
  return c->soft_limit == 0 && c->hard_limit == 0 && c->on_pressure == NULL;
}

/* Of pages that the heap asks for; none are if it has memory. */
static bool are_pages_valid(const hak_heap_config_t *c) {
  if (c->huge_pages < HAK_HUGE_DEFAULT || c->huge_pages > HAK_HUGE_ALWAYS) return false;
  if (c->memory != NULL) return c->os == NULL && c->huge_pages == HAK_HUGE_DEFAULT;
  return c->os == NULL || hak_os_is_valid(c->os);
}

/* A soft limit that the hard one forbids to cross. */
static bool limits_are_bad(size_t soft, size_t hard) { return hard != 0 && soft > hard; }

static const uint32_t FLAGS_KNOWN =
    HAK_HEAP_SERIAL | HAK_HEAP_REPORT_LEAKS | HAK_HEAP_NO_PURGE | HAK_HEAP_WATCHED;

/* A heap that has no more, in bytes, does with fewer classes. */
#define SMALL_HEAP (16 * HAK_MIB)

/* Of a config that is valid. */
static hak_heap_t *create(const hak_heap_config_t *given) {
  hak_heap_t *parent = NULL;
  if (given->parent != NULL) {
    parent = hak_api_heap(given->parent);
    if (parent == NULL) return hak_fail(EINVAL);
  }
  hak_heap_plan_t plan = {.name = given->name, .parent = parent};
  plan.huge_pages = given->huge_pages;
  plan.is_small = given->hard_limit != 0 && given->hard_limit <= SMALL_HEAP;
  int error = hak_kind_open(hak_lifecycle_os(), given, &plan);
  if (error != 0) return hak_fail(error);
  hak_heap_t *heap = hak_heap_make(hak_lifecycle_os(), &plan);
  if (heap == NULL) {
    hak_kind_close(&plan);
    return hak_fail(ENOMEM);
  }
  hak_store_relaxed(&heap->tells_leaks, (given->flags & HAK_HEAP_REPORT_LEAKS) != 0);
  hak_budget_t *budget = &heap->store->pool.budget;
  budget->on_pressure = given->on_pressure;
  budget->ctx = given->ctx;
  hak_budget_set_limits(budget, given->soft_limit, given->hard_limit);
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  bool ok = make_ready(heap, given);
  if (!ok) hak_heap_destroy(hak_heap_handle(heap));
  hak_os_leave(before);
  return ok ? hak_heap_handle(heap) : hak_fail(ENOMEM);
}

hak_heap_t *hak_heap_create(const hak_heap_config_t *config) {
  hak_heap_config_t given = {.struct_size = sizeof given};
  if (config != NULL) {
    if (config->struct_size < CONFIG_LEAST) return hak_fail(EINVAL);
    size_t known =
        config->struct_size < sizeof given ? config->struct_size : sizeof given;
    memcpy(&given, config, known);
  }
  if ((given.flags & ~FLAGS_KNOWN) != 0 || asks_for_more(&given) ||
      !is_memory_valid(&given) || !are_pages_valid(&given) ||
      limits_are_bad(given.soft_limit, given.hard_limit)) {
    return hak_fail(EINVAL);
  }
  hak_stay_t stay = hak_lifecycle_stay_slow();
  hak_heap_t *heap = stay == HAK_STAY_NONE ? hak_fail(ENOMEM) : create(&given);
  hak_stay_end(stay);
  return heap;
}

int hak_heap_set_limits(hak_heap_t *handle, size_t soft, size_t hard) {
  if (limits_are_bad(soft, hard)) return EINVAL;
  hak_heap_t *heap = hak_api_heap(handle);
  if (heap == NULL) return handle == NULL ? ENOMEM : EINVAL;
  hak_stay_t stay = hak_stay();
  int error = stay == HAK_STAY_NONE || hak_heap_is_enclosed(heap) ? EINVAL : 0;
  if (error == 0) hak_budget_set_limits(&heap->store->pool.budget, soft, hard);
  hak_stay_end(stay);
  return error;
}

static const char in_destroy[] = "hak_heap_destroy";

typedef int(end_fn)(hak_thread_t *me, hak_heap_t *handle);

static HAK_WARM int end(end_fn *fn, hak_heap_t *handle, const char *function) {
  hak_heap_t *heap = handle == NULL ? NULL : hak_api_heap(handle);
  if (heap == NULL) return EINVAL;
  if (hak_os_is_purging(heap->store->pool.os)) return EBUSY;
  hak_thread_t *me = hak_thread_enter();
  if (me == NULL) return ENOMEM;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  hak_heap_t *samples = hak_heap_samples(heap);
  const void *samples_id = samples == NULL ? NULL : hak_heap_id(samples);
  hak_farewell_t farewell = hak_api_farewell(heap);
  bool asks = !hak_heap_is_enclosed(heap);
  int error = fn(me, handle);
  /* Blocks of others may lie there by now; they are told apart by their heap. */
  if (error == 0 && samples_id != NULL) hak_samples_forget(samples_id);
  /* What a heap has after a reset is for its next use. A heap in memory of the caller's
   * asks the system for nothing, nor for others. */
  if (asks && fn != hak_teardown_reset) hak_retention_trim(&me->store->pool);
  hak_recall(me, &me->cache, HAK_CLASSES);
  hak_os_leave(before);
  hak_thread_leave(me, function);
  /* The blocks of a heap that is released live on, as the parent's. */
  if (error == 0 && fn != hak_teardown_release) hak_api_tell_all_gone(&farewell);
  return error;
}

/* Returned as it is, an error would make `end` a jump, and stacks that debuggers and
 * sanitizers show would not have the function that the program called. */
static int as_of_call(int error) {
  HAK_OPAQUE(error);
  return error;
}

int hak_heap_destroy(hak_heap_t *handle) {
  hak_heap_t *heap = handle == NULL ? NULL : hak_api_heap(handle);
  /* Before the end, so that the heap's name and blocks can be looked at. */
  if (heap != NULL && hak_load_relaxed(&heap->tells_leaks) != 0 &&
      !hak_os_is_purging(heap->store->pool.os) && hak_heap_may_retire(heap, handle)) {
    hak_api_report_leaks(heap, in_destroy);
  }
  return as_of_call(end(hak_teardown_destroy, handle, in_destroy));
}
int hak_heap_release(hak_heap_t *heap) {
  return as_of_call(end(hak_teardown_release, heap, "hak_heap_release"));
}
int hak_heap_reset(hak_heap_t *heap) {
  return as_of_call(end(hak_teardown_reset, heap, "hak_heap_reset"));
}
