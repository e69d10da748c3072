#include "learn/lanes.h"

#include "base/option.h"

/* Bytes, at the peak so far: three times the least wave. */
#define LEAST ((double)(12 << 20))

static double in_lanes; /* [lock] bytes of the places that have one */
static bool begun;      /* [lock] the peak has come to LEAST */

/* On paper; and in fact, if the learner acts. */
static void lead(uint32_t origin, uint32_t group) {
  hak_origin_at(origin)->wave.led = (uint8_t)group;
  if (hak_option(LEARN) != 0) {
    hak_store_relaxed(&hak_origin_groups[origin], (uint8_t)group);
  }
}

/* A place that a run before led to that group is not there on trial. */
static bool has_lane(uint32_t origin) {
  const hak_wave_place_t *place = &hak_origin_at(origin)->wave;
  return place->led == HAK_LANE && place->seen <= 0;
}

/* What a run before has learned of a place is better than a guess. */
static bool only_grows(const hak_origin_t *origin) {
  const hak_origin_sums_t *sums = &origin->sums;
  return origin->wave.seen <= 0 && sums->samples > 0 &&
         sums->live_samples == sums->samples;
}

static void try_lane(uint32_t number, double peak) {
  const hak_origin_t *origin = hak_origin_at(number);
  if (number <= HAK_ORIGIN_OTHERS || !only_grows(origin)) return;
  double bytes = origin->sums.live_bytes;
  if (in_lanes + bytes > peak * HAK_APART_MOST) return;
  in_lanes += bytes;
  lead(number, HAK_LANE);
}

static void leave(uint32_t origin) {
  in_lanes -= hak_origin_at(origin)->sums.live_bytes;
  if (in_lanes < 0) in_lanes = 0; /* blocks were resized */
  lead(origin, 0);
}

HAK_SLOW void hak_lane_born(uint32_t origin, double bytes, double peak) {
  if (peak < LEAST) return;
  if (!begun) {
    begun = true;
    uint32_t made = hak_origins_made();
    for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) try_lane(i, peak);
  } else if (!has_lane(origin)) {
    try_lane(origin, peak);
  } else {
    in_lanes += bytes;
    /* A place that has outgrown what may be in lanes; a quarter more is no reason to move
     * to and fro. */
    if (in_lanes > HAK_APART_MOST * 5 / 4 * peak) leave(origin);
  }
}

HAK_SLOW void hak_lane_died(uint32_t origin, double bytes) {
  if (!has_lane(origin)) return;
  in_lanes -= bytes;
  leave(origin);
}

HAK_SLOW bool hak_lanes_end(void) {
  bool any = begun && in_lanes > 0;
  uint32_t made = hak_origins_made();
  for (uint32_t i = HAK_ORIGIN_OTHERS + 1; any && i < made; i++) {
    bool known = hak_origin_at(i)->wave.seen > 0;
    if (!known) hak_store_relaxed(&hak_origin_groups[i], 0);
  }
  hak_lanes_stop();
  return any;
}

void hak_lanes_stop(void) {
  in_lanes = 0;
  begun = false;
}
