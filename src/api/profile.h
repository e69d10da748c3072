/* profile.h - what profiles are made of: places, or the stacks by which they were
 * reached.
 *
 * Depends on: base, os, learn, out, site_row.
 * Used by: profile_pprof, profile_text, profile_heaptrack.
 *
 * All figures are estimates already, so readers must not weigh them again: pprof is told
 * so by what it is given, and heap_v2 by a mean distance of one byte.
 *
 * Nothing here allocates; origins and stacks that come meanwhile may be missed.
 */
#ifndef HAK_API_PROFILE_H
#define HAK_API_PROFILE_H

#include "api/out.h"
#include "api/site_row.h"
#include "learn/stack.h"
#include "os/maps.h"

/* A place, or a part of it. */
typedef struct hak_profile_row {
  uint32_t number; /* of the place */
  hak_site_row_t place;
  uint32_t stack, depth; /* 0: what is known by the place alone */
  const void *const *frames;
  uint64_t blocks, bytes, live_blocks, live_bytes, samples, live_samples;
} hak_profile_row_t;
typedef void(hak_profile_row_fn)(const hak_profile_row_t *row, void *ctx);

/* Calls `fn` for each place of a number below `made` of which anything is known: once, or
 * with `stacks` for each of its stacks and then for what these do not have, if that is
 * anything. What is given of a place adds up to it. */
void hak_profile_each(uint32_t made, bool stacks, hak_profile_row_fn *fn, void *ctx);

/* Where the program's code lies. */
typedef struct hak_profile_maps {
  uint32_t count;
  struct {
    uint64_t start, end, base;
    char name[40]; /* of the file, without folders; cut */
  } maps[64];      /* of more, the first */
} hak_profile_maps_t;
void hak_profile_maps_add(hak_profile_maps_t *maps, const hak_code_map_t *map);
/* The number of the map that an address lies in; maps->count if there is none. */
uint32_t hak_profile_map_of(const hak_profile_maps_t *maps, const void *address);

#endif
