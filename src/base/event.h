/* event.h - the hook that hears of slow-path events.
 *
 * Depends on: callee, public.   Used by: all folders from pages up.
 */
#ifndef HAK_BASE_EVENT_H
#define HAK_BASE_EVENT_H

#include "base/callee.h"
#include "base/public.h"

HAK_EXTERN hak_callee_t hak_event_sink;

void hak_event_emit_slow(hak_event_t event, const void *address, size_t size);

HAK_HOT bool hak_event_wanted(void) {
  return HAK_UNLIKELY(hak_load_relaxed(&hak_event_sink.fn) != NULL);
}
/* No lock held. */
HAK_HOT void hak_event_emit(hak_event_t event, const void *address, size_t size) {
  if (hak_event_wanted()) hak_event_emit_slow(event, address, size);
}

#endif
