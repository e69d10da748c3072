/* mapping_ranges.h - which addresses the mappings have, for who asks what is resident.
 *
 * Depends on: mapping_lists.   Used by: api.
 */
#ifndef HAK_PAGES_MAPPING_RANGES_H
#define HAK_PAGES_MAPPING_RANGES_H

#include "pages/mapping_lists.h"

typedef struct hak_mapping_range {
  char *base;
  size_t committed; /* bytes from the start */
  const hak_os_t *os;
  void *heap;      /* the handle in its extent; NULL: it is kept for later */
  uint64_t usable; /* bytes of its block */
} hak_mapping_range_t;

typedef void(hak_mapping_range_fn)(const hak_mapping_range_t *range, void *ctx);

/* Calls `fn` for each mapping in use and each that is kept, by address; with no lock
 * held, so one that comes or goes meanwhile may be missed. Waits for no lock: ends early
 * if another thread has that of mappings for long. Costs a look at all mappings for every
 * few of them. */
void hak_mapping_visit_ranges(hak_mapping_range_fn *fn, void *ctx);

#endif
