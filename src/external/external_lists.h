/* external_lists.h - the free chunks of an external heap by size: a fitting one in a
 * fixed number of steps.
 *
 * Depends on: external_map.   Used by: external_heap.
 *
 * Chunks of 1 to 15 granules have a list each; beyond, sixteen lists share each power
 * of two. A request is rounded up to the next list, so that whatever chunk is there
 * fits; which lists have some is in a few words of bits.
 *
 * Links lie in the free chunks, their first 16 bytes, and nowhere else in them. They
 * are xored with a secret and believed only if the map has a free chunk there that
 * links back: what is written to freed memory is found, and not followed. Then the
 * lists are made anew from the map, which lies apart.
 *
 * Access: see base/lock.h; the lock is the external heap's
 */
#ifndef HAK_EXTERNAL_EXTERNAL_LISTS_H
#define HAK_EXTERNAL_EXTERNAL_LISTS_H

#include "external/external_map.h"

enum {
  HAK_EXTERNAL_COLUMNS = 16,
  HAK_EXTERNAL_ROWS_MAX = 48
};

typedef struct hak_external_lists {
  char *base;                    /* [const] the first granule */
  const hak_external_map_t *map; /* [const] */
  uint64_t secret;               /* [const] */
  hak_atomic_ptr_t *corrupt; /* [const] where a free chunk that was written to is noted */
  uint64_t rows;             /* [lock: external heap] bit r: row r has chunks */
  uint16_t columns[HAK_EXTERNAL_ROWS_MAX]; /* [lock: external heap] of each row, bit c:
                                              column c has chunks */
  size_t heads[][HAK_EXTERNAL_COLUMNS]; /* [lock: external heap] granule + 1 of the first;
                                           0: none */
} hak_external_lists_t;

/* Bytes for an external heap of so many granules. */
size_t hak_external_lists_size(size_t granules);

/* Enters all free chunks that the map has. */
void hak_external_lists_fill(hak_external_lists_t *lists);

void hak_external_lists_insert(hak_external_lists_t *lists, size_t at, size_t length);
/* Takes a free chunk off its list. Where its links are not to be believed the lists are
 * made anew before. */
void hak_external_lists_remove(hak_external_lists_t *lists, size_t at, size_t length);

/* A chunk with room for `length` granules at a multiple of `step` granules of the
 * address; `map->granules` if there is none. The block's place is in *block. */
size_t hak_external_lists_find(hak_external_lists_t *lists, size_t length, size_t step,
                               size_t *block);

/* Every free chunk of the map is on its list, and nothing else. Walks. */
bool hak_external_lists_are_valid(const hak_external_lists_t *lists);

#endif
