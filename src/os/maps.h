/* maps.h - which files' code lies where in the process.
 *
 * Depends on: base.   Used by: api.
 */
#ifndef HAK_OS_MAPS_H
#define HAK_OS_MAPS_H

#include "base/compiler.h"
#include "base/public.h"

/* A range of addresses with code. */
typedef struct hak_code_map {
  uint64_t start, end;
  uint64_t offset;  /* in the file, of `start` */
  uint64_t base;    /* where the file's lowest part lies */
  const char *path; /* valid during the call; cut where it is very long */
} hak_code_map_t;
typedef void(hak_code_map_fn)(const hak_code_map_t *map, void *ctx);

/* Calls `fn` for each range that a file's code is mapped to, the lowest first. Nothing is
 * called where that is not known. Asks the system; keeps errno. */
void hak_code_maps(hak_code_map_fn *fn, void *ctx);

#endif
