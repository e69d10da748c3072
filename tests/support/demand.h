/* demand.h - a demand for memory over time, and the least that it can cost.
 *
 * To have a byte resident that nobody uses costs 1 for each decay; so does to touch a
 * byte that is not resident. What is in use costs nothing, as everybody pays the same for
 * it. Memory is seen as levels: level x is in use while more than x bytes are. Each level
 * is a question of its own, to rent or to buy: whoever knows the future keeps it over a
 * time without use that is shorter than a decay, and gives it back at once if it is
 * longer.
 *
 *     least = (the most that was in use) + sum over times without use that ended,
 *             of min(time / decay, 1) x bytes
 *
 * A level that is never used again costs nothing more.
 */
#ifndef HAKMEM_TEST_DEMAND_H
#define HAKMEM_TEST_DEMAND_H

#include <stddef.h>
#include <stdint.h>

/* Levels that went out of use at one time. */
typedef struct demand_levels {
  uint64_t low, high; /* bytes */
  uint64_t since;     /* ns */
} demand_levels_t;

typedef struct demand {
  demand_levels_t *unused; /* the lowest levels, which went out of use last, are last */
  size_t count, capacity;
  uint64_t used, peak; /* bytes */
  uint64_t decay;      /* ns */
  double gaps;         /* the sum above */
} demand_t;

void demand_begin(demand_t *demand, uint64_t decay);
void demand_end(demand_t *demand);
/* So many bytes are in use from `now` on; `now` never falls. Amortised O(1). */
void demand_at(demand_t *demand, uint64_t now, uint64_t used);
/* What it has cost at least so far. */
double demand_least(const demand_t *demand);
/* The lowest level that is out of use since `before` or longer; UINT64_MAX: none is. */
uint64_t demand_old(const demand_t *demand, uint64_t before);
/* Since when the highest level under `top`, which must not be in use, is out of use. */
uint64_t demand_since(const demand_t *demand, uint64_t top);

#endif
