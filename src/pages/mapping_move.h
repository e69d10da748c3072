/* mapping_move.h - blocks with a mapping of their own that change their size.
 *
 * Depends on: base, os, registry, mapping.   Used by: mapping.
 */
#ifndef HAK_PAGES_MAPPING_MOVE_H
#define HAK_PAGES_MAPPING_MOVE_H

#include "pages/mapping.h"

/* Commits and charges a mapping's first `size` bytes; false if that is refused. *zeroed:
 * they read as zero. */
bool hak_mapping_commit_to(hak_mapping_t *mapping, size_t size, bool *zeroed);

/* A kept mapping would do for a block that outgrows its own. By so much larger than
 * that, that copying stays as cheap by byte as it is for any buffer that grows. */
bool hak_mapping_should_copy(const hak_mapping_t *mapping, size_t size);

#endif
