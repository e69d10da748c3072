#include "learn/outgrow.h"

#include "learn/shadow.h"

enum {
  REST = 8 /* waves */
};
#define MORE 1.25     /* times what the plan allows */
#define HOLES 0.125   /* of the peak */
#define FURTHER 1.125 /* times as many bytes, before it is looked again */

static uint64_t begin;   /* [lock] the clock of samples at the last trough */
static uint32_t loosest; /* [lock] the group of which least stays, or 0 */
static double last_peak; /* [lock] bytes, of the wave before */
static double share;     /* [lock] that the plan allows; 0: there is none, as
                            all is known from a run before */
static double bytes;     /* [lock] of the wave, that live apart */
static double look_at;   /* [lock] so many, and it is looked whose they are */

static uint32_t rest; /* [lock] waves in which all are let be */
static bool led_back; /* [lock] a place, in this wave */

HAK_SLOW void hak_outgrow_begin(uint64_t clock, uint32_t loosest_group, double peak) {
  begin = clock;
  loosest = loosest_group;
  last_peak = peak;
  bytes = look_at = 0;
  if (led_back) {
    rest = REST;
  } else if (rest > 0) {
    rest--;
  }
  led_back = false;
}
void hak_outgrow_allow(double most) { share = most; }
HAK_SLOW void hak_outgrow_stop(void) {
  begin = 0;
  loosest = 0;
  share = last_peak = bytes = look_at = 0;
  rest = 0;
  led_back = false;
}

static bool is_apart(uint32_t group) { return group != 0 && group != loosest; }
static bool counts(const hak_wave_sample_t *sample) {
  return is_apart(sample->led) && sample->clock > begin;
}

static double together; /* [lock] during a look: bytes that live in the default heap */

static HAK_SLOW void count(const hak_wave_sample_t *sample) {
  if (sample->led == 0) together += sample->bytes;
  if (counts(sample)) hak_origin_at(sample->origin)->wave.here += sample->bytes;
}

/* Of the places that are led apart now, and have so many bytes there, the largest. */
static uint32_t largest_over(double most) {
  uint32_t made = hak_origins_made(), found = HAK_ORIGIN_NONE;
  double all = 0, largest = 0;
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    const hak_wave_place_t *place = &hak_origin_at(i)->wave;
    if (!is_apart(place->led)) continue;
    all += place->here;
    if (place->here <= largest) continue;
    largest = place->here;
    found = i;
  }
  return all > most ? found : HAK_ORIGIN_NONE;
}

static HAK_SLOW uint32_t look(const hak_wave_now_t *now, double peak) {
  look_at = bytes * FURTHER;
  together = 0;
  uint32_t made = hak_origins_made();
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) hak_origin_at(i)->wave.here = 0;
  now->each(count);
  if (hak_shadow_resident(0) - together <= HOLES * peak) return HAK_ORIGIN_NONE;
  uint32_t found = largest_over(share * MORE * peak);
  led_back = led_back || found != HAK_ORIGIN_NONE;
  return found;
}

HAK_SLOW uint32_t hak_outgrow_born(const hak_wave_sample_t *sample,
                                   const hak_wave_now_t *now, double live) {
  if (share <= 0 || rest > 0 || !counts(sample)) return HAK_ORIGIN_NONE;
  bytes += sample->bytes;
  double peak = live > last_peak ? live : last_peak;
  bool much = bytes > share * MORE * peak && bytes > look_at;
  return much ? look(now, peak) : HAK_ORIGIN_NONE;
}

HAK_SLOW void hak_outgrow_died(const hak_wave_sample_t *sample) {
  if (share > 0 && rest == 0 && counts(sample)) bytes -= sample->bytes;
}
