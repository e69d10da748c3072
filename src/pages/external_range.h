/* external_range.h - memory that the caller brought: pieces of any base and size.
 *
 * Depends on: base, superslab.   Used by: registry, pool.
 *
 * What the library reserves itself begins with a unit of 2 MiB and has it alone.
 * An external range need not: others, or memory that is no concern of ours, may lie in
 * the same units. So units name the lowest external range in them, external ranges are
 * linked by address, and a lookup compares bounds.
 *
 * Lookup: without a lock. Records of external ranges are of this type until shutdown. The
 * list is read between two looks at a count of changes, and again if that moved.
 *
 * Access: [external ranges] under the lock of this module; read by lookups
 */
#ifndef HAK_PAGES_EXTERNAL_RANGE_H
#define HAK_PAGES_EXTERNAL_RANGE_H

#include "base/lock.h"
#include "pages/extent.h"

typedef struct hak_external_range {
  hak_extent_t extent; /* block = its first byte, size = bytes; [external ranges] */
  _Atomic(struct hak_external_range *) next; /* the one above it; [external ranges] */
} hak_external_range_t;

_Static_assert(offsetof(hak_external_range_t, extent) == 0, "places name extents");

typedef _Atomic(hak_external_range_t *) hak_external_range_link_t;

/* From here on addresses in it lead to the external range. EINVAL if it overlaps another
 * one or memory of the library's, ENOMEM if the registry cannot cover it; else 0. May
 * call the OS: no lock held. Costs O(external ranges + size / 2 MiB). */
int hak_external_range_add(const hak_os_t *os, hak_external_range_t *range, void *memory,
                           size_t size);
void hak_external_range_remove(hak_external_range_t *range);

/* The external range at an address, whose unit has this slot; or NULL. */
hak_external_range_t *hak_external_range_find(hak_external_range_link_t *slot,
                                              uintptr_t address);

/* At shutdown: no unit names one any more. */
void hak_external_ranges_stop(void);
hak_lock_t *hak_external_ranges_lock(void);

#endif
