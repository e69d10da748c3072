/* shadow.h - what stays resident if all places share slabs, and if they lie in groups.
 *
 * Depends on: base, partition.   Used by: sample, waves.
 *
 * partition.h says what one wave leaves behind. Here that is followed over several, and
 * by size, as blocks share slabs with their like only: what stays of a wave keeps its
 * pages as long as its blocks live; later waves fill the holes of these pages first, and
 * only what does not fit there gets pages of its own. It is followed twice: for one heap
 * of all places, and for the heaps of groups that places were led to when their blocks
 * were allocated, or would have been. The difference is what groups save, whether or not
 * they are there. Blocks of the group of which least stays take holes of the default heap
 * first: to say what is saved, both count as one heap.
 *
 * For each heap and size the last HAK_SHADOW_WAVES waves are known; what is older counts
 * as one. Of a wave j are kept, from its trough on:
 *
 *     F  bytes of pages that no older wave kept, of those resident at the peak
 *     O  bytes of pages that older waves kept
 *     k  its blocks in a page of F;  h  in one of O
 *     p  the share of its blocks that lives, as each of its places says of its own
 *
 * The waves up to j keep
 *
 *     T(j) = T(j-1) + F (1 - (1-p)^k) + (O - T(j-1)) (1 - (1-p)^h)
 *
 * bytes resident; as blocks are freed later, p falls as their samples say.
 *
 * Access: all is [lock] of origin.h, whose holder calls these.
 */
#ifndef HAK_LEARN_SHADOW_H
#define HAK_LEARN_SHADOW_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "learn/partition.h"

#define HAK_SHADOW_WAVES 6u
#define HAK_SHADOW_SIZES 48u /* four to a doubling, from 16 bytes on */

/* Zeroed memory of that size comes before all else: programs that sample nothing need
 * none. After the stop it is the giver's again. */
HAK_EXTERN const size_t hak_shadow_bytes;
void hak_shadow_start(void *zeroes);
void hak_shadow_stop(void);

uint32_t hak_shadow_size_of(double bytes);

/* Which wave a block is of, as an index into `left`, that was born when the clock of
 * samples stood there. */
uint32_t hak_shadow_wave_of(uint64_t clock);

/* A wave has ended, whose blocks were born until `clock`. `left`: bytes of each wave that
 * live, by group; the last wave that is known is the one that has ended. */
typedef struct hak_shadow_left {
  double bytes[HAK_SHADOW_WAVES][HAK_GROUPS];
} hak_shadow_left_t;
/* `fills`: the group whose blocks take holes of group 0 first, or 0. */
void hak_shadow_begin(uint32_t fills);
/* Of a place, in the wave: bytes that lived at its peak of blocks of one size; the share
 * that lives now. */
void hak_shadow_add(uint32_t group, uint32_t size, double bytes, double share);
void hak_shadow_end(const hak_shadow_left_t *left, uint64_t clock, uint32_t unit);

/* Bytes that were asked for, as far as they keep pages at the last trough: of one group,
 * and of all as if each had slabs of its own. For those who decide. */
double hak_shadow_resident(uint32_t group);
double hak_shadow_apart(void);

/* What groups save, in bytes that are resident, with what blocks are larger than was
 * asked for: who fills holes is taken to find them. And what is resident for each byte
 * that keeps it so: 0 if none does. */
double hak_shadow_saves(void);
double hak_shadow_together_rate(void);
double hak_shadow_rate(uint32_t group);

#endif
