/* outgrow.h - places that are kept apart and become more than was foreseen.
 *
 * Depends on: origin, shadow, wave_sample.   Used by: waves.
 *
 * What lies apart fills no holes of the default heap, so a plan lets little lie there
 * (waves.h). A place whose blocks stayed so far may change, and bring most of a wave.
 * Then it is led back in the middle of the wave, if of what was born in it
 *
 *     more lives apart than a share of the peak, a quarter more than the plan allows, and
 *     an eighth of it is resident in the default heap and does not live:
 *
 * so a mistake costs little more than that at the peak. Which place it is tells a walk
 * over all samples, as seldom as bytes grow by an eighth. Places of which least stays are
 * let be, as they fill these holes by themselves; and so are all in the waves after one
 * in which a place was led back, or places that take turns would never come apart.
 *
 * Access: all is [lock] of origin.h, whose holder calls these.
 */
#ifndef HAK_LEARN_OUTGROW_H
#define HAK_LEARN_OUTGROW_H

#include "learn/origin.h"
#include "learn/wave_sample.h"

/* A wave has ended; the next one is of blocks that are born after `clock`. `loosest`: the
 * group of which least stays, if it is apart, else 0. `peak`: bytes, of the last wave. */
void hak_outgrow_begin(uint64_t clock, uint32_t loosest, double peak);
/* A plan lets this share of the bytes at a peak lie apart. */
void hak_outgrow_allow(double share);

/* A sample began its life, and `live` bytes live now; or it ended it. A place that is to
 * be led back, or HAK_ORIGIN_NONE. O(1), or O(samples + places) at times. */
uint32_t hak_outgrow_born(const hak_wave_sample_t *sample, const hak_wave_now_t *now,
                          double live);
void hak_outgrow_died(const hak_wave_sample_t *sample);

/* At shutdown. */
void hak_outgrow_stop(void);

#endif
