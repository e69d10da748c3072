/* lifecycle.c - start and end of the library and of threads; giving back. */
#include <errno.h>

#include "api/api.h"
#include "base/option.h"
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

size_t hak_collect(hak_heap_t *heap, size_t max_bytes, unsigned flags) {
  if (flags != 0) {
    errno = EINVAL;
    return 0;
  }
  if (!hak_api_heap_is_valid(heap)) return 0;
  hak_thread_t *me = hak_thread_enter_started();
  if (me == NULL) return 0;
  hak_pool_t *pool = &me->store->pool;
  hak_thread_flush_heap(me);
  hak_thread_leave(me, "hak_collect");
  size_t slabs = (size_t)hak_option(COLLECT_SLABS);
  return hak_retention_collect(pool, UINT64_MAX, max_bytes, &slabs);
}

void hak_fork_prepare(void) { hak_lifecycle_fork_prepare(); }
void hak_fork_parent(void) { hak_lifecycle_fork_parent(); }
void hak_fork_child(void) { hak_lifecycle_fork_child(); }
