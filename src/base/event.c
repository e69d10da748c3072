#include "base/event.h"

_Atomic(const hak_event_sink_t *) hak_event_sink;

/* A few records in turn, so that a sink's function and context stay together
 * for a thread that has just read the pointer. */
enum {
  SINKS = 16
};
static hak_event_sink_t sinks[SINKS];
static hak_atomic_u32_t sinks_set;

void hak_set_event_hook(hak_event_fn *fn, void *ctx) {
  hak_event_sink_t *sink = NULL;
  if (fn != NULL) {
    sink = &sinks[hak_add_relaxed(&sinks_set, 1) % SINKS];
    *sink = (hak_event_sink_t){fn, ctx};
  }
  /* Release: publishes the record to hak_event_emit_slow. */
  hak_store_release(&hak_event_sink, sink);
}

HAK_SLOW void hak_event_emit_slow(hak_event_t event, const void *address, size_t size) {
  /* Acquire: pairs with hak_set_event_hook. */
  const hak_event_sink_t *sink = hak_load_acquire(&hak_event_sink);
  if (sink != NULL) sink->fn(event, address, size, sink->ctx);
}
