/* region_release.h - regions that go back to the system.
 *
 * Depends on: base, os, pages, huge, region_growth, region_map.   Used by: region,
 * external, heap.
 *
 * What is left of a region is its record, which stays linked, and those of its
 * SuperSlabs, which keep their places in it. So whoever found one by an address just
 * before reads that nobody has that SuperSlab, or who has it now. Nobody can have a block
 * in a region all of whose SuperSlabs are free, and no entry of the registry leads to a
 * list there, so a free of an address in it finds nothing.
 */
#ifndef HAK_SUPERSLAB_REGION_RELEASE_H
#define HAK_SUPERSLAB_REGION_RELEASE_H

#include "superslab/region_map.h"

/* Releases one region over the process's hooks in which nothing has been used since
 * `before` and no page is left; false if there is none. As many free SuperSlabs stay as
 * the next region would have, so that what comes and goes does not make regions come and
 * go. It looks at each SuperSlab of a region, so a call releases one only. No lock held.
 */
bool hak_region_release(uint64_t before);

/* For where memory is short: all regions of which nothing is in use, along with pages
 * that are left. No lock held. */
void hak_regions_release_all(void);

/* Releases the regions over a heap's own hooks, all of whose SuperSlabs are free; waits
 * for threads that give pages of one back. No lock held. */
void hak_regions_end(const hak_os_t *os);

#endif
