/* place.c - where a scenario forks, or a handler comes: at each place, one after the
 * other.
 *
 * A fork comes after each number of steps of the other threads. First they go on until
 * the first thread is to fork, and then only as far as it has to wait for them; once more
 * with all that it does before a fork done at the beginning, so that they come as far as
 * the locks of a fork let them. A handler comes before each access of the first thread.
 */
#include <stdio.h>
#include <string.h>

#include "engine.h"

void place_reset(void) {
  g->place = g->scenario->handler != NULL && g->mode == MODE_PLACES ? 1 : 0;
  g->late = false;
  g->most_accesses = 0;
}

void place_begin(void) {
  g->came = g->handling = false;
  g->others = g->accesses = 0;
}

/* The next place; false if there is none. */
bool place_next(void) {
  if (g->came) {
    g->place++;
    return true;
  }
  if (!g->scenario->forks || g->late) return false;
  g->late = true;
  g->place = 0;
  return true;
}

static unsigned first_of(uint8_t threads) { return (unsigned)__builtin_ctz(threads); }

/* The first thread goes on to its fork, and waits there for the place. */
unsigned place_choose(uint8_t enabled) {
  const thread_t *current = g->current;
  bool at_fork = g->thread[0].pending.location == EVERYWHERE;
  uint8_t others = enabled & (uint8_t)~1u;
  if (!g->scenario->forks) {
    return search_goes_on(enabled) ? current->number : first_of(enabled);
  }
  if (g->late && !at_fork && (enabled & 1) != 0) return 0;
  if (g->others < g->place && others != 0) {
    return search_goes_on(others) ? current->number : first_of(others);
  }
  if (g->others >= g->place) g->came = true;
  return first_of(enabled);
}

/* --- handlers --------------------------------------------------------------------------
 */

/* What a thread waits for. */
typedef struct wait {
  seen_t looked[sizeof g->current->looked / sizeof(seen_t)];
  seen_t awaited[sizeof g->current->awaited / sizeof(seen_t)];
  uint32_t looked_at, awaits, hurries;
  bool is_timed;
} wait_t;

static wait_t wait_of(const thread_t *me) {
  wait_t wait = {.looked_at = me->looked_at,
                 .awaits = me->awaits,
                 .hurries = me->hurries,
                 .is_timed = me->is_timed};
  memcpy(wait.looked, me->looked, sizeof wait.looked);
  memcpy(wait.awaited, me->awaited, sizeof wait.awaited);
  return wait;
}

static void wait_again(thread_t *me, const wait_t *wait) {
  memcpy(me->looked, wait->looked, sizeof wait->looked);
  memcpy(me->awaited, wait->awaited, sizeof wait->awaited);
  me->looked_at = wait->looked_at;
  me->awaits = wait->awaits;
  me->hurries = wait->hurries;
  me->is_timed = wait->is_timed;
}

static void handle(void) {
  thread_t *me = g->current;
  wait_t wait = wait_of(me);
  me->looked_at = me->awaits = me->hurries = 0;
  g->came = g->handling = true;
  replay_note_handler();
  if (g->prints) printf("  T%u  is interrupted\n", me->number);
  g->scenario->handler();
  if (g->prints) printf("  T%u  goes on\n", me->number);
  g->handling = false;
  wait_again(me, &wait);
}

void place_interrupt(void) {
  if (g->scenario->handler == NULL || g->handling || g->current != &g->thread[0]) return;
  if (++g->accesses == g->place) handle();
}
