/* lifecycle.c - start and end of the library and of threads; giving back. */
#include <errno.h>
#include <limits.h>

#include "api/api.h"
#include "base/option.h"
#include "heap/collect.h"
#include "heap/fork.h"
#include "heap/hole_sweep.h"
#include "heap/records.h"
#include "heap/show.h"
#include "superslab/huge.h"

#define NS_PER_MS ((uint64_t)1000000)

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
  hak_show_stats();
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  int error = hak_lifecycle_shutdown((flags & HAK_SHUTDOWN_FORCE) != 0);
  hak_os_leave(before);
  return error;
}

int hak_thread_init(void) { return hak_thread_attach() ? 0 : ENOMEM; }

/* What is due goes too if the thread only goes idle: it may be the last to call. */
static void flush_own(const char *function) {
  if (hak_thread_self->kind != HAK_THREAD_ATTACHED) return;
  hak_thread_t *me = hak_thread_enter();
  hak_give_up_all(me);
  if (hak_os_may_give()) {
    size_t slabs = SIZE_MAX;
    (void)hak_retention_give_due(SIZE_MAX, &slabs);
    (void)hak_hole_sweep_due(me, SIZE_MAX, &slabs);
    while (hak_records_give(SIZE_MAX, &slabs, false) != 0) {}
  }
  hak_thread_leave(me, function);
}

void hak_thread_exit(void) {
  flush_own("hak_thread_exit");
  hak_thread_detach();
}

void hak_thread_idle(void) { flush_own("hak_thread_idle"); }

static size_t collect(hak_heap_t *handle, size_t max_bytes, unsigned flags) {
  hak_heap_t *heap = NULL;
  if ((flags & ~HAK_COLLECT_ALL) != 0 ||
      (handle != NULL && (heap = hak_api_heap(handle)) == NULL)) {
    errno = EINVAL;
    return 0;
  }
  hak_thread_t *me = hak_thread_enter_started();
  if (me == NULL) return 0;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  hak_regions_advise();
  bool all = (flags & HAK_COLLECT_ALL) != 0;
  size_t given = hak_collect_memory(me, heap, max_bytes, all);
  hak_os_leave(before);
  hak_thread_leave(me, "hak_collect");
  return given;
}

size_t hak_collect(hak_heap_t *handle, size_t max_bytes, unsigned flags) {
  hak_stay_t stay = hak_stay();
  size_t given = collect(handle, max_bytes, flags);
  hak_stay_end(stay);
  return given;
}

int hak_purge_due(void) {
  hak_stay_t stay = hak_stay();
  uint64_t ns = UINT64_MAX;
  if (stay != HAK_STAY_NONE) {
    ns = hak_retention_due_in(); /* reads the clock, which the others go by */
    uint64_t holes = hak_hole_sweep_due_in();
    if (holes < ns) ns = holes;
    uint64_t bins = hak_collect_bins_due_in();
    if (bins < ns) ns = bins;
    uint64_t records = hak_records_due_in();
    if (records < ns) ns = records;
  }
  hak_stay_end(stay);
  if (ns == UINT64_MAX) return -1;
  uint64_t ms = ns / NS_PER_MS + (ns % NS_PER_MS != 0);
  return ms < INT_MAX ? (int)ms : INT_MAX;
}

void hak_fork_prepare(void) { hak_forking_prepare(); }
void hak_fork_parent(void) { hak_forking_parent(); }
void hak_fork_child(void) { hak_forking_child(); }
