/* base_event.c - the hook hears of each event with what it is about; without a hook
 * nobody is called. */
#include "support.h"

#include "base/event.h"

typedef struct heard {
  unsigned count;
  hak_event_t event;
  const void *address;
  size_t size;
} heard_t;

static void hear(hak_event_t event, const void *address, size_t size, void *ctx) {
  heard_t *heard = ctx;
  *heard = (heard_t){heard->count + 1, event, address, size};
}

static void hook__hears_of_events_from_when_it_is_set_until_it_is_not(void **state) {
  (void)state;
  heard_t first = {0}, second = {0};
  CHECK(!hak_event_wanted());
  hak_event_emit(HAK_EVENT_PURGE, &first, 1);
  hak_set_event_hook(hear, &first);
  CHECK(hak_event_wanted());
  hak_event_emit(HAK_EVENT_PURGE, &second, 77);
  CHECK_EQ(first.count, 1);
  CHECK_EQ(first.event, HAK_EVENT_PURGE);
  CHECK(first.address == &second);
  CHECK_EQ(first.size, 77);
  hak_set_event_hook(hear, &second);
  hak_event_emit(HAK_EVENT_PURGE, NULL, SIZE_MAX);
  CHECK_EQ(first.count, 1);
  CHECK_EQ(second.count, 1);
  CHECK_EQ(second.size, SIZE_MAX);
  hak_set_event_hook(NULL, NULL);
  CHECK(!hak_event_wanted());
  hak_event_emit_slow(HAK_EVENT_PURGE, NULL, 1);
  CHECK_EQ(first.count + second.count, 2);
}

TEST_MAIN_FRESH(T(hook__hears_of_events_from_when_it_is_set_until_it_is_not))
