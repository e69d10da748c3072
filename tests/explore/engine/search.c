/* search.c - the order in which threads take their steps.
 *
 * Depth first: an execution is a list of choices; the next one has the last choice that
 * is not yet exhausted made otherwise. Of the orders of steps that do not depend on each
 * other one is enough: dynamic partial order reduction (Flanagan and Godefroid 2005) adds
 * a thread to a choice only where a race shows that the other order may differ, and sleep
 * sets keep what was explored from being explored again. With a bound of preemptions both
 * are off: they would leave out orders within the bound for others beyond it.
 *
 * By places, where a scenario forks or has a handler: see place.c.
 *
 * By random priorities (PCT, Burckhardt and others 2010): the thread with the highest
 * priority takes the next step, and at a few steps, drawn beforehand, it gets the lowest:
 * often near an access that was weakened.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

enum {
  PLAIN_OF_A_STEP = 16,   /* accesses that are no steps and take as long as one */
  DIRECT_OF_A_STEP = 1024 /* accesses of a thread that is alone, likewise */
};

/* --- random numbers ------------------------------------------------------------------
 */

static uint64_t random_next(void) {
  uint64_t x = g->random += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}
static uint32_t random_below(uint32_t bound) { return (uint32_t)(random_next() % bound); }

/* --- dependence ----------------------------------------------------------------------
 */

static bool depends(uint32_t location, bool writes, uint32_t other, bool other_writes) {
  if (location == EVERYWHERE || other == EVERYWHERE) return true;
  return location != NOWHERE && location == other && (writes || other_writes);
}

/* The choice `at` has to be made for this thread too, some time. */
static void add_backtrack(uint32_t at, unsigned thread) {
  node_t *node = &g->node[at];
  uint8_t bit = (uint8_t)(1u << thread);
  node->backtrack |= node->enabled & bit ? bit : node->enabled;
}

static bool reduces(void) { return g->mode == MODE_DEPTH && g->preemptions < 0; }

/* Those of all former steps that a step depends on which the others come before; by their
 * number from 1 on, and 0 for none. What comes before one of them, it has the clock of.
 */
typedef struct former {
  uint32_t number[THREADS + 2], count;
} former_t;

static former_t former_of(uint32_t number, bool writes) {
  former_t former = {.count = 0};
  if (number == NOWHERE) return former;
  former.number[former.count++] = g->last_everywhere;
  const location_t *location = &g->location[number == EVERYWHERE ? 0 : number];
  if (number != EVERYWHERE) former.number[former.count++] = location->last_write;
  for (unsigned i = 0; i < g->threads && writes; i++) {
    bool all = number == EVERYWHERE;
    former.number[former.count++] = all ? g->last_of[i] : location->last_read[i];
  }
  return former;
}

/* The last step that the thread's next one depends on, and that need not have come
 * before it: the other order may differ. */
static void look_back(const thread_t *me) {
  former_t former = former_of(me->pending.location, me->pending.writes);
  uint32_t last = 0;
  for (uint32_t i = 0; i < former.count; i++) {
    if (former.number[i] <= last) continue;
    const transition_t *t = &g->transition[former.number[i] - 1];
    if (t->thread == me->number || t->after.of[t->thread] <= me->after.of[t->thread]) {
      continue;
    }
    last = former.number[i];
  }
  if (last != 0) add_backtrack(g->transition[last - 1].node, me->number);
}

/* Others were about to do something that this step comes before. */
static void look_around(const transition_t *t) {
  for (unsigned i = 0; i < g->threads; i++) {
    const thread_t *other = &g->thread[i];
    if (i == t->thread || other->ended) continue;
    if (depends(t->location, t->writes, other->pending.location, other->pending.writes)) {
      add_backtrack(t->node, i);
    }
  }
}

static void raise_clock(clock_t_ *clock, const clock_t_ *other) {
  for (unsigned i = 0; i < THREADS; i++) {
    if (clock->of[i] < other->of[i]) clock->of[i] = other->of[i];
  }
}

static void note_last(const transition_t *t) {
  g->last_of[t->thread] = g->transitions;
  if (t->location == EVERYWHERE) {
    g->last_everywhere = g->transitions;
  } else if (t->location != NOWHERE) {
    location_t *location = &g->location[t->location];
    if (t->writes) {
      location->last_write = g->transitions;
    } else {
      location->last_read[t->thread] = g->transitions;
    }
  }
}

static void note_transition(thread_t *me, uint32_t node) {
  if (g->transitions == STEPS) failed("an execution without an end: %d steps", STEPS);
  transition_t *t = &g->transition[g->transitions];
  *t = (transition_t){
      {{0}}, node, me->pending.location, (uint8_t)me->number, me->pending.writes};
  if (reduces()) {
    me->after.of[me->number]++;
    former_t former = former_of(t->location, t->writes);
    for (uint32_t i = 0; i < former.count; i++) {
      if (former.number[i] == 0) continue;
      raise_clock(&me->after, &g->transition[former.number[i] - 1].after);
    }
    t->after = me->after;
    if (node + 1 >= g->fresh) look_around(t);
  }
  g->transitions++;
  note_last(t);
}

void search_order(thread_t *after) {
  if (reduces()) raise_clock(&after->after, &g->current->after);
}

/* --- choices -------------------------------------------------------------------------
 */

/* Threads that can go on; those that would go on because time passes, too. */
static uint8_t enabled_now(bool *all_ended) {
  uint8_t enabled = 0;
  *all_ended = true;
  for (unsigned i = 0; i < g->threads; i++) {
    const thread_t *thread = &g->thread[i];
    if (thread->ended) continue;
    *all_ended = false;
    if (model_is_enabled(thread) || model_may_hurry(thread))
      enabled |= (uint8_t)(1u << i);
  }
  return enabled;
}

/* Of these threads those for which no time need pass. */
static uint8_t ready_of(uint8_t enabled) {
  uint8_t ready = 0;
  for (unsigned i = 0; i < g->threads; i++) {
    if (model_is_enabled(&g->thread[i])) ready |= (uint8_t)(1u << i);
  }
  return ready & enabled;
}

static node_t *node_next(void) {
  if (g->depth == sizeof g->node / sizeof g->node[0]) failed("too many choices");
  return &g->node[g->depth];
}

bool search_goes_on(uint8_t enabled) {
  return !g->current->ended && (enabled >> g->current->number & 1) != 0;
}

static unsigned first_of(uint8_t threads) { return (unsigned)__builtin_ctz(threads); }

static unsigned by_priority(uint8_t enabled) {
  unsigned best = first_of(enabled);
  for (unsigned i = 0; i < g->threads; i++) {
    if ((enabled >> i & 1) != 0 && g->thread[i].priority > g->thread[best].priority) {
      best = i;
    }
  }
  for (uint32_t i = 0; i < g->changes; i++) {
    if (g->change[i] == g->steps) g->thread[best].priority = i; /* below all others' */
  }
  return best;
}

/* The threads that the search may choose from here. */
static uint8_t allowed_of(uint8_t enabled) {
  if (g->mode != MODE_DEPTH) return enabled;
  if (reduces()) return (uint8_t)(enabled & ~g->sleep);
  bool bound =
      g->depth > 0 && g->preempted >= g->preemptions && search_goes_on(ready_of(enabled));
  return bound ? (uint8_t)(1u << g->current->number) : enabled;
}

/* The threads that a choice that nobody has made yet is between: time seldom passes while
 * there is something to do. */
static uint8_t first_among(uint8_t allowed) {
  enum {
    SELDOM = 8
  };
  uint8_t ready = ready_of(allowed);
  if (ready == 0 || ready == allowed) return allowed;
  return g->mode == MODE_RANDOM && random_below(SELDOM) == 0 ? allowed : ready;
}

static void choose_thread(node_t *node, uint8_t enabled) {
  uint8_t allowed = allowed_of(enabled);
  if (allowed == 0) {
    g->ending = ENDING_REDUNDANT;
    fiber_leave();
  }
  uint8_t first = first_among(allowed);
  unsigned chosen = g->mode == MODE_RANDOM   ? by_priority(first)
                    : g->mode == MODE_PLACES ? place_choose(first)
                    : search_goes_on(first)  ? g->current->number
                                             : first_of(first);
  *node = (node_t){.is_thread = true,
                   .chosen = (uint8_t)chosen,
                   .enabled = enabled,
                   .sleep = g->sleep};
  node->backtrack = reduces() ? (uint8_t)(1u << chosen) : allowed;
  g->length = g->depth + 1;
}

static thread_t *pick(void) {
  bool all_ended;
  uint8_t enabled = enabled_now(&all_ended);
  if (all_ended) return NULL;
  if (enabled == 0) failed("no thread can go on");
  if (++g->steps > STEPS - 1) failed("an execution without an end: %u steps", g->steps);
  node_t *node = node_next();
  if (g->depth >= g->length) {
    choose_thread(node, enabled);
  } else if (!node->is_thread || node->enabled != enabled) {
    failed("the scenario is not the same each time");
  }
  if (node->chosen != 0) g->others++;
  bool goes_on = g->depth > 0 && search_goes_on(ready_of(enabled));
  if (goes_on && node->chosen != g->current->number) g->preempted++;
  g->depth++;
  return &g->thread[node->chosen];
}

/* Threads that slept, or were tried here before, need not run until something happens
 * that their next step depends on. */
static void wake_sleepers(const thread_t *chosen, const node_t *node) {
  g->sleep = 0;
  if (!reduces()) return;
  uint8_t asleep = (uint8_t)(node->sleep | node->done);
  for (unsigned i = 0; i < g->threads; i++) {
    const pending_t *p = &g->thread[i].pending, *q = &chosen->pending;
    if ((asleep >> i & 1) == 0 || i == chosen->number) continue;
    if (depends(p->location, p->writes, q->location, q->writes)) continue;
    g->sleep |= (uint8_t)(1u << i);
  }
}

static thread_t *not_begun(void) {
  for (unsigned i = 0; i < g->threads; i++) {
    if (!g->thread[i].begun) return &g->thread[i];
  }
  return NULL;
}

/* Goes to the thread that takes the next step; first all threads come to theirs. */
static void go_on(void) {
  thread_t *next;
  if (g->mode == MODE_REPLAY) {
    bool all_ended;
    if (enabled_now(&all_ended) == 0) {
      if (all_ended) fiber_leave();
      failed("no thread can go on");
    }
    next = &g->thread[replay_thread()];
  } else {
    next = not_begun();
    if (next == NULL) next = pick();
  }
  if (next == NULL) fiber_leave();
  next->begun = true;
  if (next != g->current) fiber_switch(next);
}

void search_step(pending_t pending) {
  thread_t *me = g->current;
  me->pending = pending;
  if (reduces() && g->depth + 1 >= g->fresh) look_back(me);
  go_on();
  /* Chosen. */
  replay_note_access();
  model_resume(me);
  if (g->mode == MODE_REPLAY) return;
  node_t *node = &g->node[g->depth - 1];
  note_transition(me, g->depth - 1);
  wake_sleepers(me, node);
}

bool search_fork_may_come(void) {
  return g->scenario->forks && !g->forked && g->current != &g->thread[0];
}

void search_access(uintptr_t address, pending_t pending) {
  place_interrupt();
  thread_t *me = g->current;
  bool is_step = sharing_is_step(address, pending.writes) && !g->forked &&
                 (pending.writes || me->hurries == 0);
  is_step |= pending.writes && search_fork_may_come();
  if (is_step || me->awaits != 0 || g->mode == MODE_REPLAY) {
    search_step(pending);
    return;
  }
  if (++g->plain > PLAIN) failed("an execution without an end");
  replay_note_access();
}

void search_end_thread(void) {
  g->current->ended = true;
  g->current->pending.location = NOWHERE;
  go_on();
  abort(); /* never chosen again */
}

static unsigned choose_old(unsigned count) {
  if (count > UINT8_MAX) count = UINT8_MAX;
  node_t *node = node_next();
  if (g->depth >= g->length) {
    unsigned chosen = 0;
    if (g->mode == MODE_RANDOM && random_below(2) == 0) chosen = random_below(count);
    *node = (node_t){.chosen = (uint8_t)chosen, .count = (uint8_t)count};
    g->length = g->depth + 1;
  } else if (node->is_thread || node->count != count) {
    failed("the scenario is not the same each time");
  }
  g->depth++;
  return node->chosen;
}

unsigned search_choose(unsigned count) {
  if (count == 1) return 0;
  if (g->mode == MODE_REPLAY) return replay_old() < count ? replay_old() : 0;
  if (g->mode == MODE_PLACES) return 0;
  if (g->stale_loads >= g->stale) return 0;
  unsigned chosen = choose_old(count);
  if (chosen != 0) {
    g->stale_loads++;
    replay_note_old(chosen);
  }
  return chosen;
}

/* --- executions ----------------------------------------------------------------------
 */

void search_reset(void) {
  sharing_adopt();
  g->length = g->fresh = 0;
  g->longest = 16;
  g->focus = 0;
  g->executions = g->redundant = g->all_steps = 0;
  g->random = g->seed;
  place_reset();
}

static void draw_priorities(void) {
  enum {
    CHANGES = 4,
    NEAR = 12 /* steps */
  };
  g->random = g->seed + g->executions * 0x9e3779b97f4a7c15u;
  for (unsigned i = 0; i < g->threads; i++) {
    g->thread[i].priority = 100 + random_below(1 << 20);
  }
  if (g->scenario->handler != NULL) g->place = 1 + random_below(g->most_accesses + 1);
  g->changes = random_below(CHANGES + 1);
  for (uint32_t i = 0; i < g->changes; i++) g->change[i] = 1 + random_below(g->longest);
  /* Where an order is missing it shows if another thread comes about there. */
  if (g->focus == 0 || random_below(2) == 0) return;
  uint32_t at = g->focus + random_below(2 * NEAR);
  g->change[0] = at > NEAR ? at - NEAR : 1;
  if (g->changes == 0) g->changes = 1;
}

void search_begin(void) {
  g->depth = g->steps = g->plain = g->transitions = 0;
  g->preempted = g->stale_loads = 0;
  g->sleep = 0;
  replay_begin();
  g->last_everywhere = 0;
  memset(g->last_of, 0, sizeof g->last_of);
  place_begin();
  if (g->mode == MODE_RANDOM) draw_priorities();
}

/* Makes the node's next choice; false if there is none. */
static bool advance(node_t *node) {
  if (!node->is_thread) return ++node->chosen < node->count;
  node->done |= (uint8_t)(1u << node->chosen);
  uint8_t left = (uint8_t)(node->backtrack & node->enabled & ~node->done & ~node->sleep);
  if (left == 0) return false;
  node->chosen = (uint8_t)first_of(left);
  return true;
}

static double count_of(uint8_t threads) { return (double)__builtin_popcount(threads); }

/* Each choice is taken to have as much behind it as the others of its node. Where orders
 * are reduced a node may come to have more choices than are known yet. */
double search_share(void) {
  double share = 0, part = 1;
  for (uint32_t i = 0; i < g->length; i++) {
    const node_t *node = &g->node[i];
    uint8_t all = (uint8_t)(node->backtrack & node->enabled & ~node->sleep);
    double count = node->is_thread ? count_of(all | node->done) : node->count;
    double done = node->is_thread ? count_of(node->done) : node->chosen;
    share += part * done / count;
    part /= count;
  }
  return share;
}

bool search_next(void) {
  g->executions++;
  g->all_steps +=
      1 + g->steps + g->plain / PLAIN_OF_A_STEP + g->direct / DIRECT_OF_A_STEP;
  if (g->ending == ENDING_REDUNDANT) g->redundant++;
  if (g->steps > g->longest) g->longest = g->steps;
  if (g->accesses > g->most_accesses) g->most_accesses = g->accesses;
  if (g->mode == MODE_REPLAY) return false;
  if (g->mode == MODE_RANDOM || g->mode == MODE_PLACES) {
    g->length = 0;
    return g->mode == MODE_RANDOM || place_next();
  }
  while (g->length > 0 && !advance(&g->node[g->length - 1])) g->length--;
  g->fresh = g->length;
  return g->length > 0;
}
