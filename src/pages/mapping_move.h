/* mapping_move.h - blocks with a mapping of their own that change their size.
 *
 * Depends on: base, os, clock, density, mapping, mapping_parts, registry.   Used by:
 * pool.
 */
#ifndef HAK_PAGES_MAPPING_MOVE_H
#define HAK_PAGES_MAPPING_MOVE_H

#include "pages/mapping.h"

/* Makes the block larger or smaller, moving its pages if `may_move`; its new
 * start, or NULL and nothing changed. Where hooks move the pages to where no block may
 * be, do not take them back, and memory for a copy is short, it is NULL too, and `lost`:
 * all that may still be done is to give the mapping. No lock held. */
char *hak_mapping_resize(hak_mapping_t *mapping, size_t size, bool may_move);

#endif
