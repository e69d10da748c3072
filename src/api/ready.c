/* ready.c - memory made ready before it is needed, so that no later call asks the
 * operating system or meets a page that is not there. */
#include <errno.h>

#include "api/api.h"
#include "base/option.h"
#include "heap/groups.h"
#include "pages/idle.h"
#include "superslab/huge.h"
#include "superslab/pool_prefault.h"
#include "tiny/capacity.h"
#include "tiny/magazine.h"
#include "tiny/prewarm.h"

/* The heap's record; NULL with errno set. */
static hak_heap_t *find(hak_heap_t *handle, hak_stay_t stay) {
  hak_heap_t *heap = stay == HAK_STAY_NONE ? NULL : hak_api_heap(handle);
  if (heap == NULL) errno = handle == NULL ? ENOMEM : EINVAL;
  return heap;
}

/* Who calls what follows stays, so that each thread has a state: its own, or the shared
 * one. */

/* What a class's first allocation on this thread would touch or have made. Compilers
 * make a mere load of an addition of 0, and a load has no page made. */
static HAK_SLOW bool touch_records(hak_heap_t *heap) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    hak_central_t *central = &heap->store->centrals[cls];
    hak_atomic_u32_t *spans_at = hak_store_spans(heap->store, cls);
    uint32_t spans = hak_load_relaxed(spans_at);
    int32_t hint = hak_load_relaxed(&central->hint);
    (void)hak_cas_relaxed(spans_at, &spans, spans);
    (void)hak_cas_relaxed(&central->hint, &hint, hint);
  }
  if (hak_heap_is_watched(heap)) return true;
  hak_thread_t *me = hak_thread_enter();
  const hak_cache_t *cache = hak_kind_cache(me, heap);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_capacity_begin(&me->cache, cls);
    if (cache != NULL) hak_capacity_begin(cache, cls);
  }
  /* Looks at classes empty their bins now and then, and some of the blocks have other
   * holders. */
  (void)hak_magazines_prepare(hak_registry_os(), 8);
  hak_thread_leave(me, "hak_heap_prefault");
  return cache != NULL;
}

/* Of the heap, and of those whose blocks are the heap's to the program. */
static HAK_SLOW void keep_none(hak_heap_t *heap) {
  hak_pool_keep_none(&heap->store->pool);
  for (uint32_t i = 0; i < HAK_HEAP_PARTS; i++) {
    hak_heap_t *part = hak_heap_part(heap, i);
    if (part != NULL) hak_pool_keep_none(&part->store->pool);
  }
}

/* In a slow path of a thread, for the child of a fork to see. */
static bool prefault(hak_heap_t *heap, size_t bytes) {
  hak_thread_t *me = hak_thread_enter();
  hak_regions_advise();
  bool ok = true;
  if (bytes == 0) {
    keep_none(heap);
  } else {
    ok = hak_pool_prefault(&heap->store->pool, bytes);
  }
  hak_thread_leave(me, "hak_heap_prefault");
  return ok;
}

/* The system lets more be touched than there is, and ends whoever does. */
static bool is_too_much(const hak_heap_t *heap, size_t bytes) {
  return bytes > PTRDIFF_MAX || bytes > hak_os_total(heap->store->pool.os);
}

HAK_SLOW int hak_api_prefault(hak_heap_t *heap, size_t bytes) {
  if (is_too_much(heap, bytes)) return ENOMEM;
  /* It has what the caller gave, or what malloc gives. */
  if (hak_heap_is_enclosed(heap) || !hak_kind_has_slabs(heap)) return 0;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  bool ok = prefault(heap, bytes) && (bytes == 0 || touch_records(heap));
  hak_os_leave(before);
  return ok ? 0 : ENOMEM;
}

int hak_heap_prefault(hak_heap_t *handle, size_t bytes) {
  int saved = errno;
  hak_stay_t stay = hak_lifecycle_stay();
  hak_heap_t *heap = find(handle, stay);
  int error = heap == NULL ? errno : hak_api_prefault(heap, bytes);
  hak_stay_end(stay);
  errno = saved;
  return error;
}

/* --- blocks of one size --------------------------------------------------------- */

static size_t prewarm_small(hak_heap_t *heap, uint32_t cls, size_t count) {
  hak_thread_t *me = hak_thread_enter();
  size_t ready = 0;
  const hak_cache_t *cache = hak_kind_cache(me, heap);
  hak_serial_t *serial = hak_heap_own_serial(heap);
  if (serial != NULL) hak_serial_begin(serial);
  if (cache != NULL) ready = hak_prewarm_class(me, cache, cls, count);
  if (serial != NULL) hak_serial_leave(serial);
  hak_thread_leave(me, "hak_heap_prewarm");
  return ready;
}

/* Takes blocks, makes their pages resident, and frees them all: each names the one before
 * it. Returns how many they were; *places says where they lay, whatever their order. */
static HAK_SLOW size_t come_and_go(hak_heap_t *handle, size_t size, size_t count,
                                   uint64_t *places) {
  void **last = NULL;
  size_t ready = 0, bytes = 0;
  *places = 0;
  for (; ready < count; ready++) {
    void **block = hak_heap_alloc(handle, size);
    if (block == NULL) break;
    bytes += hak_usable_size(block);
    *places += hak_mix64((uintptr_t)block);
    hak_prewarm_touch(block, hak_usable_size(block));
    *block = last;
    last = block;
  }
  hak_idle_allow(bytes); /* it does not go before the decay */
  while (last != NULL) {
    void **block = last;
    last = *block;
    hak_free(block);
  }
  return ready;
}

/* Calls of the process that bring or take pages. */
static uint64_t os_calls(void) {
  return hak_load_relaxed(&hak_os_counts.reserve) +
         hak_load_relaxed(&hak_os_counts.commit) + hak_load_relaxed(&hak_os_counts.purge);
}

/* Blocks that lie ready among what is free. What the thread gives up as they are freed,
 * such as a slab that it held, may be a better place than some had: they come and go
 * until twice in a row they come to places where they were, one of two that they take
 * in turn perhaps, and no page came or went meanwhile. */
static HAK_SLOW size_t prewarm_large(hak_heap_t *handle, size_t size, size_t count) {
  enum {
    TIMES = 8,
    QUIET = 2
  };
  size_t ready = 0;
  uint64_t before = 0, earlier = 0, places; /* 0: none yet */
  /* Guarded blocks are no larger than they are asked to be. */
  if (size < sizeof(void *)) size = sizeof(void *);
  for (int i = 0, quiet = 0; i < TIMES && quiet < QUIET; i++) {
    uint64_t calls = os_calls();
    ready = come_and_go(handle, size, count, &places);
    bool known = places == before || places == earlier;
    quiet = known && os_calls() == calls ? quiet + 1 : 0;
    earlier = before;
    before = places;
  }
  return ready;
}

/* A mapping that the next free would release at once cannot be had ready. */
static bool is_kept(size_t size) {
  return size <= (size_t)hak_option(LARGE_MAX_BYTES) ||
         size <= (size_t)hak_option(HUGE_RETAIN_BYTES) || hak_option(PURGE_MODE) == 0;
}

static size_t prewarm(hak_heap_t *handle, size_t size, size_t count, hak_stay_t stay) {
  hak_heap_t *heap = find(handle, stay);
  if (heap == NULL || count == 0) return 0;
  if (size == 0) size = 1;
  size_t bytes;
  if (hak_mul_overflows(size, count, &bytes) || is_too_much(heap, bytes)) {
    errno = ENOMEM;
    return 0;
  }
  if (hak_heap_kind(heap) == HAK_KIND_MALLOCED) return count;
  int saved = errno;
  size_t ready = 0;
  if (hak_kind_has_slabs(heap)) (void)touch_records(heap);
  if (size <= HAK_MID_MAX && hak_kind_has_slabs(heap) && !hak_heap_is_watched(heap)) {
    ready = prewarm_small(heap, hak_store_class(heap->store, size), count);
    /* Of a heap with a limit the thread may keep less than that, and what goes into slabs
     * that nobody holds comes back with others of theirs. */
    if (ready == count && hak_budget_is_limited(&heap->store->pool.budget)) {
      ready = prewarm_large(handle, size, count);
    }
  } else if (hak_heap_is_enclosed(heap) || is_kept(size)) {
    ready = prewarm_large(handle, size, count);
  }
  errno = ready < count ? ENOMEM : saved;
  return ready;
}

size_t hak_heap_prewarm(hak_heap_t *handle, size_t size, size_t count) {
  hak_stay_t stay = hak_lifecycle_stay();
  size_t ready = prewarm(handle, size, count, stay);
  hak_stay_end(stay);
  return ready;
}
