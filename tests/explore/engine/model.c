/* model.c - what a load may return.
 *
 * Each atomic location has the stores of the execution, in the order in which they were
 * made. A thread's view says of each location which of them is the oldest that it may
 * still read: what it read or wrote last, or what happened before. A release leaves a
 * message with its store, which has the thread's view; an acquire that reads the store
 * gets it. A read-modify-write reads the newest store, and passes on the message that was
 * there (a release sequence). docs/internals/EXPLORER.md says what this leaves out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

enum {
  POOL = 64 << 20 /* bytes of messages, of one execution */
};

static struct pool {
  size_t used;
  char bytes[POOL];
} * pool;

void model_start(void) {
  pool = malloc(sizeof *pool);
  if (pool == NULL) abort();
}

void model_begin(void) {
  pool->used = 0;
  g->hastes = 0;
  g->direct = 0;
  g->forked = false;
}

/* --- messages ------------------------------------------------------------------------
 */

static message_t *message_new(uint32_t locations) {
  size_t size = (sizeof(message_t) + locations * sizeof(uint32_t) + 15) & ~(size_t)15;
  if (pool->used + size > POOL) failed("no room for messages");
  message_t *message = (message_t *)(void *)(pool->bytes + pool->used);
  pool->used += size;
  message->locations = locations;
  return message;
}

static void join_clock(clock_t_ *clock, const clock_t_ *other) {
  for (unsigned i = 0; i < THREADS; i++) {
    if (clock->of[i] < other->of[i]) clock->of[i] = other->of[i];
  }
}

/* Then the view has all of the message's, too: what a thread had seen by a release is
 * part of every message whose clock has that release. */
static bool has(const clock_t_ *clock, const message_t *message) {
  bool all = true;
  for (unsigned i = 0; i < THREADS; i++) all &= clock->of[i] >= message->clock.of[i];
  return all;
}

static void acquire(thread_t *me, const message_t *message) {
  if (message == NULL || has(&me->clock, message)) return;
  join_clock(&me->clock, &message->clock);
  for (uint32_t i = 0; i < message->locations; i++) {
    if (me->view[i] < message->seen[i]) me->view[i] = message->seen[i];
  }
}

/* What the thread publishes by a release that replaces a store with this message. */
static const message_t *release(thread_t *me, const message_t *before) {
  message_t *message = message_new(g->locations);
  message->clock = me->clock;
  memcpy(message->seen, me->view, g->locations * sizeof(uint32_t));
  if (before != NULL && !has(&me->clock, before)) {
    join_clock(&message->clock, &before->clock);
    for (uint32_t i = 0; i < before->locations; i++) {
      if (message->seen[i] < before->seen[i]) message->seen[i] = before->seen[i];
    }
  }
  me->clock.of[me->number]++;
  return message;
}

/* --- stores --------------------------------------------------------------------------
 */

static uint64_t memory_read(const location_t *location) {
  uint64_t value = 0;
  memcpy(&value, (void *)location->address, location->size);
  return value;
}

static void add_store(location_t *location, store_t store) {
  if (location->count == location->room) {
    location->room = location->room == 0 ? 16 : 2 * location->room;
    location->stores = realloc(location->stores, location->room * sizeof(store_t));
    if (location->stores == NULL) abort();
  }
  location->stores[location->count++] = store;
}

static store_t *newest(location_t *location) {
  store_t *store = &location->stores[location->count - 1];
  if (store->unknown) {
    store->value = memory_read(location);
    store->unknown = false;
  }
  return store;
}

static void write_store(thread_t *me, uint32_t number, uint64_t value,
                        explore_order_t order, const message_t *before) {
  location_t *location = &g->location[number];
  newest(location);
  me->hurries = 0;
  me->view[number] = location->count;
  const message_t *message = order & EXPLORE_RELEASE ? release(me, before) : before;
  add_store(location, (store_t){value, message, me->number, false});
  memcpy((void *)location->address, &value, location->size);
}

void model_overwrite(uint32_t number) {
  location_t *location = &g->location[number];
  thread_t *me = g->current;
  store_t *last = &location->stores[location->count - 1];
  if (!last->unknown || last->thread != me->number) {
    newest(location); /* before memory changes */
    add_store(location, (store_t){0, NULL, me->number, true});
  }
  me->view[number] = location->count - 1;
}

/* --- waits in loops ------------------------------------------------------------------
 */

/* A thread that waits in a loop goes on when a location that it has looked at since the
 * last wait has a newer store by another than it saw there first: before, it would only
 * do the same again. */

static void note_look(thread_t *me, uint32_t number, uint32_t store) {
  enum {
    MOST = sizeof me->looked / sizeof me->looked[0]
  };
  uint32_t i = 0;
  while (i < me->looked_at && me->looked[i].location != number) i++;
  seen_t seen = {number, store};
  if (i < me->looked_at) {
    seen = me->looked[i]; /* the oldest look counts */
  } else if (i < MOST) {
    me->looked_at++;
  } else {
    i = 0; /* a loop looks at fewer; what was before it is of no interest */
  }
  for (; i + 1 < me->looked_at; i++) me->looked[i] = me->looked[i + 1];
  me->looked[i] = seen;
}

static void await(thread_t *me, bool is_timed) {
  memcpy(me->awaited, me->looked, sizeof me->looked);
  me->awaits = me->looked_at;
  me->looked_at = 0;
  me->is_timed = is_timed;
}

void explore_wait_for_change(void) {
  if (g->running && !model_is_alone()) await(g->current, false);
}

/* Where time has passed all waits are over at once until the thread writes something. */
void explore_pause(void) {
  if (!g->running) return;
  if (g->handling) return; /* it waits for nobody, or takes steps without an end */
  if (g->forked && !g->scenario->child_waits) {
    failed("the child of a fork waits for a thread that is not there");
  }
  if (model_is_alone()) {
    g->direct += PLAIN / 1000; /* waits that are not for ever are short */
    return;
  }
  thread_t *me = g->current;
  if (me->hurries == 0) {
    await(me, true);
  } else {
    me->hurries--;
  }
}

/* Another thread has written there since. What this one wrote itself is no news, as where
 * it takes a lock each time to look. */
static bool has_changed(const thread_t *thread, const seen_t *seen) {
  const location_t *location = &g->location[seen->location];
  for (uint32_t i = seen->store + 1; i < location->count; i++) {
    if (location->stores[i].thread != thread->number) return true;
  }
  return false;
}

bool model_is_enabled(const thread_t *thread) {
  if (thread->asleep) return false;
  for (uint32_t i = 0; i < thread->awaits; i++) {
    if (has_changed(thread, &thread->awaited[i])) return true;
  }
  return thread->awaits == 0;
}

static bool waits_in_vain(const thread_t *thread) {
  return !thread->asleep && thread->is_timed && !model_is_enabled(thread);
}

bool model_may_hurry(const thread_t *thread) {
  return waits_in_vain(thread) && g->hastes < g->scenario->hasty;
}

/* Time passes for all who wait for something in a loop. That one of them has looked many
 * times, and has seen the same each time, is one step. */
static void pass_time(void) {
  enum {
    HURRIES = 100 /* more than any loop of the library waits in vain */
  };
  g->hastes++;
  for (unsigned i = 0; i < g->threads; i++) {
    thread_t *thread = &g->thread[i];
    if (!waits_in_vain(thread)) continue;
    thread->hurries = HURRIES;
    thread->awaits = 0;
  }
}

/* What it waited for has changed, and it sees that: a store becomes visible in time. Or
 * it has waited for so long that it waits no more. */
void model_resume(thread_t *thread) {
  if (!model_is_enabled(thread)) pass_time();
  for (uint32_t i = 0; i < thread->awaits; i++) {
    const seen_t *seen = &thread->awaited[i];
    uint32_t last = g->location[seen->location].count - 1;
    uint32_t next = seen->store < last ? seen->store + 1 : last;
    if (thread->view[seen->location] < next) thread->view[seen->location] = next;
  }
  thread->awaits = 0;
}

/* --- accesses ------------------------------------------------------------------------
 */

static uint32_t begin_access(const explore_site_t *site, const volatile void *at,
                             unsigned size, bool writes) {
  uint32_t number = race_location((uintptr_t)at, size);
  if (site != NULL) g->reached[site->number] = 1;
  if (site != NULL && site->number == g->weakened && g->weakened != 0 &&
      (g->focus == 0 || g->steps < g->focus)) {
    g->focus = g->steps + 1;
  }
  search_access((uintptr_t)at, (pending_t){number, writes});
  race_check((uintptr_t)at, size, writes ? ATOMIC_WRITE : ATOMIC_READ);
  return number;
}

static void print_access(const explore_site_t *site, uint32_t number, const char *what,
                         uint64_t value) {
  if (!g->prints) return;
  char text[256];
  site_print(site, text, sizeof text);
  printf("  T%u  %-12s L%-3u %#-18llx %s\n", g->current->number, what, number,
         (unsigned long long)value, text);
  fflush(stdout);
}

/* One thread is all there is, for which all that was stored is there: the child of a
 * fork, or a thread with its handler. */
bool model_is_alone(void) {
  return g->forked || (g->threads == 1 && g->scenario->handler != NULL);
}

/* Accesses go to memory as it is: of a setup or a check, and where one thread is alone.
 */
static bool is_direct(const explore_site_t *site, const volatile void *at, unsigned size,
                      const char *what, uint64_t value) {
  if (!g->running) return true;
  if (!model_is_alone()) return false;
  place_interrupt();
  if (site != NULL) g->reached[site->number] = 1;
  if (++g->direct > PLAIN) failed("a thread alone does not end");
  if (g->prints) print_access(site, race_location((uintptr_t)at, size), what, value);
  return true;
}

static uint64_t direct_load(const volatile void *at, unsigned size) {
  uint64_t value = 0;
  memcpy(&value, (const void *)(uintptr_t)at, size);
  return value;
}

uint64_t explore_load(const explore_site_t *site, const volatile void *at,
                      unsigned size) {
  uint64_t now = direct_load(at, size);
  if (is_direct(site, at, size, "reads", now)) return now;
  uint32_t number = begin_access(site, at, size, false);
  thread_t *me = g->current;
  location_t *location = &g->location[number];
  newest(location);
  uint32_t last = location->count - 1;
  uint32_t old = last - me->view[number];
  uint32_t choice = me->hurries != 0 ? old : search_choose(old + 1);
  const store_t *store = &location->stores[last - choice];
  me->view[number] = last - choice;
  note_look(me, number, last - choice);
  if (site_order(site) & EXPLORE_ACQUIRE) acquire(me, store->message);
  print_access(site, number, choice == 0 ? "reads" : "reads old", store->value);
  return store->value;
}

void explore_store(const explore_site_t *site, volatile void *at, unsigned size,
                   uint64_t value) {
  if (is_direct(site, at, size, "writes", value)) {
    memcpy((void *)(uintptr_t)at, &value, size);
    return;
  }
  uint32_t number = begin_access(site, at, size, true);
  write_store(g->current, number, value, site_order(site), NULL);
  print_access(site, number, "writes", value);
}

static uint64_t modified(explore_op_t op, uint64_t was, uint64_t value) {
  switch (op) {
    case EXPLORE_ADD:
      return was + value;
    case EXPLORE_SUB:
      return was - value;
    case EXPLORE_OR:
      return was | value;
    case EXPLORE_AND:
      return was & value;
    default:
      return value;
  }
}

static uint64_t cut(uint64_t value, unsigned size) {
  return size == 8 ? value : value & (((uint64_t)1 << 8 * size) - 1);
}

/* Reads the newest store, as a read-modify-write does. */
static store_t read_newest(thread_t *me, uint32_t number, explore_order_t order) {
  location_t *location = &g->location[number];
  store_t store = *newest(location);
  me->view[number] = location->count - 1;
  if (order & EXPLORE_ACQUIRE) acquire(me, store.message);
  return store;
}

uint64_t explore_modify(const explore_site_t *site, volatile void *at, unsigned size,
                        uint64_t value) {
  if (is_direct(site, at, size, "modifies", value)) {
    uint64_t was = direct_load(at, size);
    uint64_t now = modified(site->op, was, value);
    memcpy((void *)(uintptr_t)at, &now, size);
    return was;
  }
  uint32_t number = begin_access(site, at, size, true);
  explore_order_t order = site_order(site);
  store_t was = read_newest(g->current, number, order);
  uint64_t now = cut(modified(site->op, was.value, value), size);
  write_store(g->current, number, now, order, was.message);
  note_look(g->current, number, g->location[number].count - 1);
  print_access(site, number, "modifies", now);
  return was.value;
}

/* The store that the compare-and-swap reads: the newest, or an older one that differs
 * from what is expected. */
static uint32_t cas_choose(thread_t *me, uint32_t number, uint64_t expected, bool weak,
                           bool *fails) {
  location_t *location = &g->location[number];
  uint32_t last = location->count - 1, options[256], count = 0;
  bool equal = newest(location)->value == expected;
  *fails = !equal;
  options[count++] = last;
  for (uint32_t i = last; i-- > me->view[number] && count < 255;) {
    if (location->stores[i].value != expected) options[count++] = i;
  }
  if (weak && equal) options[count++] = last; /* for no reason */
  unsigned choice = search_choose(count);
  if (choice != 0) *fails = true;
  return options[choice];
}

bool explore_cas(const explore_site_t *site, volatile void *at, unsigned size,
                 uint64_t *expected, uint64_t value) {
  if (is_direct(site, at, size, "swaps in", value)) {
    uint64_t was = direct_load(at, size);
    bool same = was == *expected;
    if (same) memcpy((void *)(uintptr_t)at, &value, size);
    *expected = was;
    return same;
  }
  uint32_t number = begin_access(site, at, size, true);
  thread_t *me = g->current;
  me->hurries = 0;
  bool fails;
  uint32_t store = cas_choose(me, number, *expected, site->op == EXPLORE_WEAK, &fails);
  if (fails) { /* relaxed */
    me->view[number] = store;
    *expected = g->location[number].stores[store].value;
    note_look(me, number, store);
    print_access(site, number, "fails, reads", *expected);
    return false;
  }
  explore_order_t order = site_order(site);
  store_t was = read_newest(me, number, order);
  write_store(me, number, value, order, was.message);
  note_look(me, number, g->location[number].count - 1);
  print_access(site, number, "swaps in", value);
  return true;
}

/* --- sleep ---------------------------------------------------------------------------
 */

/* The kernel compares the word as it is, and orders nothing. */
bool model_wait(void *word, uint32_t value) {
  if (model_is_alone()) {
    if (direct_load(word, sizeof value) == value) failed("no thread can go on");
    return true;
  }
  uint32_t number = race_location((uintptr_t)word, sizeof value);
  search_step((pending_t){number, true});
  if ((uint32_t)newest(&g->location[number])->value != value) return true;
  thread_t *me = g->current;
  me->asleep = true;
  me->word = (uintptr_t)word;
  if (g->prints) printf("  T%u  sleeps       L%u\n", me->number, number);
  search_step((pending_t){NOWHERE, false});
  return true;
}

void model_wake(void *word) {
  if (model_is_alone()) return; /* who slept is not there */
  uint32_t number = race_location((uintptr_t)word, sizeof(uint32_t));
  search_step((pending_t){number, true});
  for (unsigned i = 0; i < g->threads; i++) {
    thread_t *thread = &g->thread[i];
    if (!thread->asleep || thread->word != (uintptr_t)word) continue;
    thread->asleep = false;
    search_order(thread);
    if (g->prints) printf("  T%u  wakes        T%u\n", g->current->number, i);
    return;
  }
}

/* --- forks -------------------------------------------------------------------------
 */

/* The child's memory is what all threads had written by then. */
void explore_fork(void) {
  if (!g->running) abort();
  search_step((pending_t){EVERYWHERE, true});
  thread_t *me = g->current;
  for (unsigned i = 0; i < g->threads; i++) {
    if (&g->thread[i] != me) g->thread[i].ended = true;
  }
  g->forked = true;
  if (g->prints) printf("  T%u  forks\n", me->number);
}
