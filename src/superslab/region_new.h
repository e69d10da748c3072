/* region_new.h - address space for SuperSlabs: where regions come from.
 *
 * Depends on: base, os, meta, registry, region_map.   Used by: region.
 */
#ifndef HAK_SUPERSLAB_REGION_NEW_H
#define HAK_SUPERSLAB_REGION_NEW_H

#include "superslab/region.h"

/* The process's own hooks: regions stay until shutdown and grow with what is used. */
HAK_HOT bool hak_region_is_common(const hak_os_t *os) { return os == hak_registry_os(); }

/* The turn to grow, which the caller has from here on and gives back, or NULL: this
 * thread is in one already, or what others do is no concern of these hooks. No lock held.
 */
hak_turn_t *hak_region_turn(const hak_os_t *os);

/* Adds a region with room for the run; true if it may be there now. Called and returns
 * with the regions' lock held, which it drops for the OS. */
bool hak_region_grow_locked(const hak_os_t *os, uint32_t count, size_t alignment,
                            bool small);

#endif
