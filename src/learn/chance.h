/* chance.h - which bytes are sampled, and what a sampled block stands for.
 *
 * Depends on: base.   Used by: sample, tiny.
 *
 * Each byte that is asked for is picked with the same small chance, 1 in `mean`,
 * whatever was picked before; a block is sampled if one of its bytes is. So the distance
 * from one picked byte to the next has an exponential distribution, which has no memory:
 * the first distance may begin anywhere, and an end that nobody reached is simply left
 * out. A block of `size` bytes is sampled with the chance
 *
 *     p = 1 - exp(-size / mean),
 *
 * so it stands for 1 / p blocks and size / p bytes, and sums of these have no bias. The
 * variance of such a sum of bytes is about mean * bytes.
 *
 * Numbers come from a generator with a fixed beginning: the same calls are sampled in
 * each run of a program. Nothing here needs libm.
 */
#ifndef HAK_LEARN_CHANCE_H
#define HAK_LEARN_CHANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* A thread's way to its next sample, in its state. */
typedef struct hak_sample_way {
  int64_t left;    /* [owner: the thread] bytes; below 0: a sample may be due */
  int64_t rest;    /* [owner: the thread] bytes that come after these */
  uint64_t random; /* [owner: the thread] of chance.h; 0: it has not begun */
  uint64_t mean;   /* [owner: the thread] bytes; with which the distance was drawn */
} hak_sample_way_t;

/* Bytes up to the next picked one, at least 1. Steps the generator, whose state is not
 * 0. */
int64_t hak_chance_distance(uint64_t *random, uint64_t mean);

/* True with the chance p(size, longer) / p(size, mean), that of a block which was picked
 * with the mean to be picked with a longer one too. Steps the generator as above. */
bool hak_chance_again(uint64_t *random, size_t size, uint64_t mean, uint64_t longer);

/* The chance p above, of a size over 0. With a mean of 1 each block is sampled, so p is
 * 1. */
double hak_chance_of(size_t size, uint64_t mean);

#endif
