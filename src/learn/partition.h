/* partition.h - which places may share slabs, so that little stays behind after a wave.
 *
 * Depends on: base.   Used by: waves.
 *
 * Blocks of places that share slabs lie side by side. A page, or a slab where pages of
 * free blocks do not go back one by one, can be given back only when none of its blocks
 * is left, so a few that stay keep many pages. If of a group's bytes A at the peak of a
 * wave the share p is there still after it, and a page has k blocks or parts of them,
 * then
 *
 *     pinned = A * (1 - (1 - p)^k)
 *
 * bytes stay resident, as if which blocks stay were a matter of chance. Places are sorted
 * into buckets by their p; a group takes buckets side by side, and has a price of its own
 * for slabs that are used in part. The groups with the least sum are found by dynamic
 * programming.
 */
#ifndef HAK_LEARN_PARTITION_H
#define HAK_LEARN_PARTITION_H

#include <stdint.h>

#include "base/compiler.h"

#define HAK_GROUPS 4u /* at most */
#define HAK_BUCKETS 16u

/* Of places that are alike, at the peak of a wave. */
typedef struct hak_bucket {
  double bytes;  /* A */
  double stays;  /* bytes of them that are there after it */
  double blocks; /* how many they are */
} hak_bucket_t;

/* x to the power of n, rounded, which is not below 0. */
double hak_power(double x, double n);

/* The bucket of places of which this share stays. */
uint32_t hak_bucket_of(double share);

/* What a group of these costs, in bytes: what it pins, and its price. 0 for nothing.
 * `unit`: bytes that go back as one; HAK_SLAB_UNIT is the most. */
#define HAK_SLAB_UNIT ((uint32_t)65536)
double hak_group_cost(const hak_bucket_t *all, uint32_t unit);
void hak_bucket_add(hak_bucket_t *to, const hak_bucket_t *other);

/* Writes which cluster each of the HAK_BUCKETS belongs to, 0 being the one of which most
 * stays, and how many clusters there are, at most HAK_GROUPS. What they cost together.
 * O(HAK_GROUPS * HAK_BUCKETS^2). `price`: of each byte in a cluster other than the last
 * one, of which least stays; part of the cost. */
double hak_partition(const hak_bucket_t *buckets, uint32_t unit, double price,
                     uint8_t *cluster_of, uint32_t *clusters);

#endif
