/* external_range.h - memory that the caller brought: pieces of any base and size.
 *
 * Depends on: base, extent, registry.   Used by: superslab, external, heap.
 *
 * What the library reserves itself begins with a unit of 2 MiB and has it alone.
 * An external range need not: others, or memory that is no concern of ours, may lie in
 * the same units. So a unit names the lowest external range in it, external ranges are
 * linked by address, and a lookup compares bounds.
 *
 * Lookup: safe without a lock because records of external ranges are of this type until
 * shutdown, and the list is read between two looks at a count of changes, and again if
 * that count moved.
 *
 * Records of external ranges are in extent.h. What [lock: external ranges] marks is
 * written under the lock of this module, and read by lookups without it.
 */
#ifndef HAK_PAGES_EXTERNAL_RANGE_H
#define HAK_PAGES_EXTERNAL_RANGE_H

#include "base/lock.h"
#include "pages/extent.h"

/* Makes addresses in `size` bytes of memory lead to the external range. EINVAL if it
 * overlaps another one or memory of the library's, ENOMEM if the registry cannot cover
 * it; else 0. May call the OS: no lock held. Costs O(external ranges + size / 2 MiB). */
int hak_external_range_add(const hak_os_t *os, hak_external_range_t *range, void *memory,
                           size_t size);
/* Makes addresses in the external range lead nowhere. */
void hak_external_range_remove(hak_external_range_t *range);

/* The external range at an address, whose unit names its lowest one in `lowest`; or NULL.
 */
hak_external_range_t *hak_external_range_find(hak_external_range_link_t *lowest,
                                              uintptr_t address);

/* Forgets all external ranges, at shutdown: no unit names one any more. */
void hak_external_ranges_stop(void);
hak_lock_t *hak_external_ranges_lock(void);

#endif
