/* external_map.h - where the chunks of an external heap begin and end: two bits for every
 * granule, 16 bytes of little memory or 4 KiB of much, apart from the memory they
 * describe.
 *
 * Depends on: base.   Used by: external_lists.
 *
 * A chunk is a block in use or a free piece; chunks follow each other without gaps.
 * `starts` has a bit for each granule where one begins, `used` says at that granule
 * whether it is in use. The words of `used` that lie wholly inside a chunk and have
 * no start in them say nothing else, so the first and the last of them hold the
 * chunk's length: to find where a chunk ends, or begins, takes a look at two words
 * however long it is.
 *
 * Lookup: without a lock for whoever has a block in use. Its bits and words change
 * only when it does; others' bits in the same words are told apart.
 *
 * Invariant, checked by hak_external_map_is_valid(): lengths add up to all granules, and
 * the word in the middle of a chunk says what its neighbours' starts say.
 *
 * Access: see base/lock.h; the lock is the external heap's
 */
#ifndef HAK_EXTERNAL_EXTERNAL_MAP_H
#define HAK_EXTERNAL_EXTERNAL_MAP_H

#include "base/atomic.h"
#include "base/bits.h"

#define HAK_GRANULE_SHIFT 4 /* of little memory */
#define HAK_GRANULE ((size_t)1 << HAK_GRANULE_SHIFT)

typedef struct hak_external_map {
  hak_atomic_u64_t *starts, *used; /* [lock: external heap] the words; so many each as
                                      hak_external_map_words() says */
  size_t granules;                 /* [const] */
  unsigned shift;                  /* [const] a granule has 2^shift bytes */
} hak_external_map_t;

/* Words of each of the two, for so many granules and the end, which reads as one more
 * block in use. */
HAK_HOT size_t hak_external_map_words(size_t granules) { return granules / 64 + 1; }

/* One free chunk. All words are zero. */
void hak_external_map_init(hak_external_map_t *map);

HAK_HOT bool hak_external_map_is_start(const hak_external_map_t *map, size_t at) {
  return (hak_load_relaxed(&map->starts[at / 64]) >> (at % 64) & 1) != 0;
}
/* True if the chunk that starts at this granule is in use. */
HAK_HOT bool hak_external_map_is_used(const hak_external_map_t *map, size_t at) {
  return (hak_load_relaxed(&map->used[at / 64]) >> (at % 64) & 1) != 0;
}

/* Length in granules of the chunk that starts there. */
size_t hak_external_map_length(const hak_external_map_t *map, size_t at);
/* The granule where the chunk starts that ends at `at`, which is not 0. */
size_t hak_external_map_before(const hak_external_map_t *map, size_t at);
/* The granule where the chunk starts that has this granule. O(its length / 64). */
size_t hak_external_map_around(const hak_external_map_t *map, size_t at);

/* A chunk starts there, so long; what starts behind it is left alone. */
void hak_external_map_set(hak_external_map_t *map, size_t at, size_t length, bool used);
/* No chunk starts there any more: it became part of the one before. */
void hak_external_map_join(hak_external_map_t *map, size_t at);

bool hak_external_map_is_valid(const hak_external_map_t *map);

#endif
