/* rows.h - the rows of the resident set: what the committed bytes are made of.
 *
 * Depends on: pages, pool, superslab, tiny, heap.   Used by: api.
 *
 * Sums over SuperSlabs in memory of the system's, which is every memory but that of the
 * caller's. See docs/MEMORY.md for the equation.
 */
#ifndef HAK_API_ROWS_H
#define HAK_API_ROWS_H

#include "superslab/locate.h"
#include "superslab/superslab.h"

/* All in bytes. */
typedef struct hak_rows {
  uint64_t taken;     /* committed in slots that somebody has */
  uint64_t carved;    /* of those, in carved blocks of small classes */
  uint64_t waste;     /* of those, behind the last block that fits in a span */
  uint64_t large;     /* of those, in spans and runs that are large blocks */
  uint64_t usable;    /* of large blocks, by usable size */
  uint64_t foreign;   /* carved and large blocks in memory of the caller's */
  uint64_t untouched; /* committed and not resident, of what is large, retained or not
                         carved */
  uint64_t records;   /* the same of the registry, and of heaps' records */
  uint64_t holes;     /* pages of spans in use that were given back */
} hak_rows_t;

/* Adds a SuperSlab that was ever used, but for the blocks in its slabs. */
void hak_rows_add_superslab(hak_rows_t *rows, hak_superslab_t *ss);
/* Adds a span of one of its slabs, small blocks or a large one. */
void hak_rows_add_span(hak_rows_t *rows, const hak_superslab_t *ss,
                       const hak_place_t *place, uint32_t carved);

/* Adds what is committed and not resident in mappings, in the registry and in records of
 * heaps. */
void hak_rows_add_mappings(hak_rows_t *rows);
void hak_rows_add_registry(hak_rows_t *rows);
void hak_rows_add_heaps(hak_rows_t *rows);

#endif
