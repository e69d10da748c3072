#include "demand.h"

#include <stdlib.h>

void demand_begin(demand_t *demand, uint64_t decay) {
  *demand = (demand_t){.unused = NULL, .decay = decay};
}

void demand_end(demand_t *demand) { free(demand->unused); }

static void fall(demand_t *demand, uint64_t now, uint64_t used) {
  if (demand->count == demand->capacity) {
    demand->capacity = demand->capacity * 2 + 64;
    demand->unused = realloc(demand->unused, demand->capacity * sizeof demand->unused[0]);
    if (demand->unused == NULL) abort();
  }
  demand->unused[demand->count++] = (demand_levels_t){used, demand->used, now};
}

static void rise(demand_t *demand, uint64_t now, uint64_t used) {
  while (demand->count > 0) {
    demand_levels_t *levels = &demand->unused[demand->count - 1];
    uint64_t to = levels->high < used ? levels->high : used;
    double time = (double)(now - levels->since) / (double)demand->decay;
    if (levels->low >= used) break;
    demand->gaps += (double)(to - levels->low) * (time < 1 ? time : 1);
    levels->low = to;
    if (levels->low == levels->high) demand->count--;
  }
  if (used > demand->peak) demand->peak = used;
}

void demand_at(demand_t *demand, uint64_t now, uint64_t used) {
  if (used < demand->used) {
    fall(demand, now, used);
  } else if (used > demand->used) {
    rise(demand, now, used);
  }
  demand->used = used;
}

double demand_least(const demand_t *demand) {
  return (double)demand->peak + demand->gaps;
}

uint64_t demand_old(const demand_t *demand, uint64_t before) {
  uint64_t low = UINT64_MAX;
  for (size_t i = 0; i < demand->count && demand->unused[i].since <= before; i++) {
    low = demand->unused[i].low;
  }
  return low;
}

uint64_t demand_since(const demand_t *demand, uint64_t top) {
  for (size_t i = demand->count; i-- > 0;) {
    if (top <= demand->unused[i].high) return demand->unused[i].since;
  }
  abort();
}
