/* lanes.h - places that are kept apart before the first wave is over.
 *
 * Depends on: base, origin.   Used by: waves.
 *
 * What stays of the first wave lies scattered among what goes, and pins it for as long as
 * it lives: nothing is known yet. Until then a place is led to group HAK_LANE on trial,
 * its lane, if as far as its samples say
 *
 *     none of its blocks was freed, and
 *     what is in lanes is an eighth of what lives at the peak, at most:
 *
 * so that what may lie in vain apart, with holes that others cannot use, is little. Load
 * of less than LEAST has none, as slabs that are used in part are not little beside it.
 * With the first of its samples that goes before the peak is over, a place is led back.
 * One of which a run before has learned something has no lane, whichever group it is in.
 * What the first wave says decides about all others (waves.h).
 *
 * Access: all is [lock] of origin.h, whose holder calls these.
 */
#ifndef HAK_LEARN_LANES_H
#define HAK_LEARN_LANES_H

#include "learn/origin.h"

#define HAK_LANE 1u /* the group */

/* Of the bytes at peaks, may lie apart: holes that they leave in the default heap are of
 * no use to others, and theirs are not to the heap. */
#define HAK_APART_MOST 0.125

/* A sample of the place began its life, or ended it; `peak` are the bytes that lived at
 * the peak so far. O(1), but for one call: O(places). */
void hak_lane_born(uint32_t origin, double bytes, double peak);
void hak_lane_died(uint32_t origin, double bytes);
/* The first wave is over: whether there are lanes. On paper places keep them until the
 * wave has said what becomes of them; in fact all are led back. O(places). */
bool hak_lanes_end(void);
/* At shutdown. */
void hak_lanes_stop(void);

#endif
