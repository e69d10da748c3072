/* lifecycle.c - start and end of the library and of threads; giving back. */
#include <errno.h>

#include "api/api.h"
#include "base/option.h"
#include "heap/fork.h"
#include "superslab/retention.h"

uint32_t hak_version(void) { return HAK_VERSION; }

int hak_init(const hak_config_t *config) {
  const hak_os_t *os = NULL;
  uint32_t flags = 0;
  if (config != NULL) {
    if (config->struct_size < sizeof *config) return EINVAL;
    flags = config->flags;
    os = config->os;
    if ((flags & ~(HAK_INIT_NO_ENV | HAK_INIT_NO_FORK)) != 0) return EINVAL;
    if (os != NULL && !hak_os_is_valid(os)) return EINVAL;
  }
  return hak_lifecycle_init(os, flags);
}

int hak_shutdown(unsigned flags) {
  if ((flags & ~HAK_SHUTDOWN_FORCE) != 0) return EINVAL;
  return hak_lifecycle_shutdown((flags & HAK_SHUTDOWN_FORCE) != 0);
}

int hak_thread_init(void) { return hak_thread_attach() ? 0 : ENOMEM; }

static void flush_own(const char *function) {
  if (hak_thread_self->kind != HAK_THREAD_ATTACHED) return;
  hak_thread_t *me = hak_thread_enter();
  hak_thread_flush(me);
  hak_thread_leave(me, function);
}

void hak_thread_exit(void) {
  flush_own("hak_thread_exit");
  hak_thread_detach();
}

void hak_thread_idle(void) { flush_own("hak_thread_idle"); }

/* One heap's caches and pool. Under its lease, so that it stays. What a serial heap
 * keeps is only touched where the caller named it, and so has it. */
static size_t collect_heap(hak_thread_t *me, hak_heap_t *heap, bool named,
                           size_t max_bytes, size_t *slabs) {
  size_t given = 0;
  hak_heap_lease(heap);
  if (hak_heap_is_used(heap)) {
    if (!heap->is_serial) {
      hak_front_drain(me, heap);
    } else if (named) {
      hak_serial_flush(me, heap);
    }
    given = hak_pool_purge(&heap->store->pool, UINT64_MAX, max_bytes, slabs);
  }
  hak_heap_unlease(heap);
  if (hak_heap_is_orphan(heap)) hak_front_flush(me, heap);
  return given;
}

static size_t collect(hak_thread_t *me, hak_heap_t *heap, size_t max_bytes) {
  size_t slabs = (size_t)hak_option(COLLECT_SLABS), given = 0;
  hak_heap_t *first = hak_heap_get_default();
  uint32_t from = heap != NULL ? heap->index : 0;
  uint32_t end = heap != NULL ? from + 1 : hak_heaps_made();
  if (heap == NULL || heap == first) hak_thread_flush_heap(me, first);
  for (uint32_t i = from; i < end && given < max_bytes && slabs > 0; i++) {
    hak_heap_t *each = hak_heap_at(i);
    if (each == NULL || each == first) continue;
    given += collect_heap(me, each, heap != NULL, max_bytes - given, &slabs);
  }
  if (given >= max_bytes) return given;
  return given + hak_retention_collect(&first->store->pool, UINT64_MAX, max_bytes - given,
                                       &slabs);
}

size_t hak_collect(hak_heap_t *handle, size_t max_bytes, unsigned flags) {
  hak_heap_t *heap = NULL;
  if (flags != 0 || (handle != NULL && (heap = hak_api_heap(handle)) == NULL)) {
    errno = EINVAL;
    return 0;
  }
  hak_thread_t *me = hak_thread_enter_started();
  if (me == NULL) return 0;
  size_t given = collect(me, heap, max_bytes);
  hak_thread_leave(me, "hak_collect");
  return given;
}

void hak_fork_prepare(void) { hak_forking_prepare(); }
void hak_fork_parent(void) { hak_forking_parent(); }
void hak_fork_child(void) { hak_forking_child(); }
