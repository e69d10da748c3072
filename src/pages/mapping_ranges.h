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

/* The mappings in use and the kept ones whose first byte is at `from` or above: the
 * lowest `most`, in order, and how many these are. Waits for no lock: 0 if another thread
 * has that of mappings for long. Costs a look at each mapping. */
size_t hak_mapping_ranges(uintptr_t from, hak_mapping_range_t *ranges, size_t most);

#endif
