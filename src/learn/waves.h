/* waves.h - which places leave blocks behind when load goes, and which are kept apart.
 *
 * Depends on: base, os, pages, origin, partition, shadow, lanes, wave_sample, outgrow.
 * Used by: sample, heap, api.
 *
 * The live bytes L of the places are known from samples, with a standard deviation of
 * sqrt(N * L), N being the mean distance of samples. A wave is a rise of L to a peak P
 * and a fall to a trough T that stands out from that:
 *
 *     T <= P / 2   and   P - T >= max(4 MiB, 5 * sqrt(N * P)).
 *
 * At the trough each place is asked which share of its samples that were born since the
 * last trough and live at the peak is there still. What the last waves say of it counts
 * half as much each, once it is more than a little; where one says clearly something else
 * than those before it, they are forgotten. partition.h says which places should share
 * slabs. They are led to groups that do, if as they lie now more than 2 MiB and a
 * twentieth of P stays behind that would not (a quarter of this where groups save as much
 * already), and if they differ by more than chance (chi squared of their shares); and all
 * are led back to group 0 once groups have saved less than that in two waves running.
 *
 * Group 0 is the heap itself; what the others are, the folder heap knows. It is where
 * most bytes are, so that what goes apart is little, and leaves few of the heap's holes
 * unused. Places of which least stays fill these first, wherever they are led to. Blocks
 * stay where they are; those that come after a place is led to a group lie there.
 *
 * Where the learner only watches, it leads places all the same, but on paper: shadow.h
 * says what that would have saved, as it says what is saved where they are led in fact.
 * What stays resident is told to the places in proportion to their bytes that keep it
 * there, as all share slabs and as they are led; the difference is what a place saves.
 *
 * Before the first wave is over places may be kept apart on trial: see lanes.h.
 *
 * Only samples count that lie in one heap, and are small enough to share slabs.
 *
 * Access: all is [lock] of origin.h, whose holder calls these, but for what is said.
 */
#ifndef HAK_LEARN_WAVES_H
#define HAK_LEARN_WAVES_H

#include "learn/origin.h"
#include "learn/partition.h"
#include "learn/wave_sample.h"

/* Bytes; larger blocks have slabs, or more, to themselves. */
#define HAK_WAVE_BLOCK_MOST ((size_t)57344)

/* A sample began its life, or ended it. At the end of a wave: O(samples + places). */
void hak_wave_born_locked(const hak_wave_sample_t *sample, const hak_wave_now_t *now);
/* Others came or went, of which waves are not to know. */
void hak_wave_passes_locked(const hak_wave_now_t *now);
void hak_wave_died_locked(const hak_wave_sample_t *sample, const hak_wave_now_t *now);

/* Samples of which heap count, by what sample.h has in `heap_id`; NULL at first. Any
 * thread; no lock held. */
void hak_waves_watch(const void *heap_id);
const void *hak_waves_watched(void);

/* The group of the places of which least stays, if those are apart; else 0. Its blocks do
 * no harm in holes of the default heap. Any thread; no lock needed. */
uint32_t hak_waves_loosest(void);

/* What the last wave said of all places. */
typedef struct hak_waves {
  uint64_t count;        /* waves so far */
  uint64_t moves;        /* of places between groups */
  uint64_t peak, trough; /* bytes */
  /* Bytes that stay resident after it, by the model of partition.h: if all places shared
   * slabs; in the groups that they are led to; in the best ones. */
  uint64_t together, apart, best;
  /* Bytes that are resident less after it than if all places shared slabs, with what
   * stays of the waves before it: by shadow.h; or would be, if the learner acted. It is
   * the sum of the places' `saved`. */
  int64_t saved;
} hak_waves_t;
/* Takes the lock. */
hak_waves_t hak_waves_read(void);

/* The share of a place's bytes of a peak that is there after it, 0 to 1; or less than 0:
 * it is not known. */
double hak_wave_share(const hak_wave_place_t *place);

/* At shutdown. */
void hak_waves_stop(void);

#endif
