/* tract.h - memory that the caller brought: pieces of any base and size.
 *
 * Depends on: base, superslab.   Used by: registry, pool.
 *
 * What the library reserves itself begins with a unit of 2 MiB and has it alone.
 * A tract need not: others, or memory that is no concern of ours, may lie in the
 * same units. So units name the lowest tract in them, tracts are linked by
 * address, and a lookup compares bounds.
 *
 * Lookup: without a lock. Records of tracts are of this type until shutdown. The
 * list is read between two looks at a count of changes, and again if that moved.
 *
 * Access: [tracts] under the lock of this module; read by lookups
 */
#ifndef HAK_SUPERSLAB_TRACT_H
#define HAK_SUPERSLAB_TRACT_H

#include "base/lock.h"
#include "superslab/superslab.h"

typedef struct hak_tract {
  hak_extent_t extent;              /* block = its first byte, size = bytes; [tracts] */
  _Atomic(struct hak_tract *) next; /* the one above it; [tracts] */
} hak_tract_t;

_Static_assert(offsetof(hak_tract_t, extent) == 0, "places name extents");

typedef _Atomic(hak_tract_t *) hak_tract_slot_t;

/* From here on addresses in it lead to the tract. EINVAL if it overlaps another one
 * or memory of the library's, ENOMEM if the registry cannot cover it; else 0. May
 * call the OS: no lock held. Costs O(tracts + size / 2 MiB). */
int hak_tract_add(const hak_os_t *os, hak_tract_t *tract, void *memory, size_t size);
void hak_tract_remove(hak_tract_t *tract);

/* The tract at an address, whose unit has this slot; or NULL. */
hak_tract_t *hak_tract_find(hak_tract_slot_t *slot, uintptr_t address);

/* At shutdown: no unit names one any more. */
void hak_tracts_forget(void);
hak_lock_t *hak_tracts_lock(void);

#endif
