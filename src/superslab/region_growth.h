/* region_growth.h - address space for SuperSlabs: where regions come from.
 *
 * Depends on: base, os, pages, huge, region_map.   Used by: region, external, heap, api.
 */
#ifndef HAK_SUPERSLAB_REGION_GROWTH_H
#define HAK_SUPERSLAB_REGION_GROWTH_H

#include "pages/registry.h"
#include "superslab/region_map.h"

/* The process's own hooks: regions come and go with what is used. */
HAK_HOT bool hak_region_is_common(const hak_os_t *os) { return os == hak_registry_os(); }

/* Waits for the turn to grow, which the caller has from here on and gives back. NULL
 * where there is none to wait for: this thread has it already, or it is about hooks of
 * another heap. No lock held. */
hak_turn_t *hak_region_turn(const hak_os_t *os);

/* Bytes of the next region over the process's hooks, if no limit is in force: what is
 * reserved and not used stays in proportion to what is used. */
size_t hak_region_next_size_locked(void);

/* Adds a region with room for the run; true if it may be there now. Called and returns
 * with the regions' lock held, which it drops for the OS. */
bool hak_region_grow_locked(const hak_os_t *os, uint32_t count, size_t alignment);

/* Reserves the first region ahead of its first use, if it can. */
void hak_region_prepare(const hak_os_t *os);

/* Makes a region over memory that is there: `count` SuperSlabs from `base` on, with all
 * their records. It is the only one with these hooks. False if memory for records is
 * short. No lock held. */
bool hak_region_lay(const hak_os_t *os, char *base, uint32_t count);

#endif
