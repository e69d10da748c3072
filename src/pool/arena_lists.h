/* arena_lists.h - the free chunks of an arena by size: a fitting one in a fixed
 * number of steps.
 *
 * Depends on: base, arena_map.   Used by: arena.
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
 * Access: [arena] all of it, under the arena's lock
 */
#ifndef HAK_POOL_ARENA_LISTS_H
#define HAK_POOL_ARENA_LISTS_H

#include "pool/arena_map.h"

enum {
  HAK_ARENA_COLUMNS = 16,
  HAK_ARENA_ROWS_MAX = 48
};

typedef struct hak_arena_lists {
  char *base; /* the first granule */
  const hak_arena_map_t *map;
  uint64_t secret;
  hak_atomic_ptr_t *corrupt; /* there a free chunk that was written to is noted */
  uint64_t rows;             /* bit r: row r has chunks */
  uint16_t columns[HAK_ARENA_ROWS_MAX]; /* likewise of each row */
  size_t heads[][HAK_ARENA_COLUMNS];    /* granule + 1 of the first; 0: none */
} hak_arena_lists_t;

/* Bytes for an arena of so many granules. */
size_t hak_arena_lists_size(size_t granules);

/* Enters all free chunks that the map has. */
void hak_arena_lists_fill(hak_arena_lists_t *lists);

void hak_arena_lists_insert(hak_arena_lists_t *lists, size_t at, size_t length);
/* Takes a free chunk out, made anew or not. */
void hak_arena_lists_remove(hak_arena_lists_t *lists, size_t at, size_t length);

/* A chunk with room for `length` granules at a multiple of `step` granules of the
 * address; `map->granules` if there is none. The block's place is in *block. */
size_t hak_arena_lists_find(hak_arena_lists_t *lists, size_t length, size_t step,
                            size_t *block);

/* Every free chunk of the map is on its list, and nothing else. Walks. */
bool hak_arena_lists_are_valid(const hak_arena_lists_t *lists);

#endif
