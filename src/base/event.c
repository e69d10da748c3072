#include "base/event.h"

#include <errno.h>

hak_callee_t hak_event_sink;

void hak_set_event_hook(hak_event_fn *fn, void *ctx) {
  hak_callee_set(&hak_event_sink, (hak_any_fn *)fn, ctx);
}

HAK_SLOW void hak_event_emit_slow(hak_event_t event, const void *address, size_t size) {
  void *ctx;
  hak_event_fn *fn = (hak_event_fn *)hak_callee_get(&hak_event_sink, &ctx);
  if (fn == NULL) return;
  int saved = errno;
  fn(event, address, size, ctx);
  errno = saved;
}
