/* mapping_parts.h - records of mappings, and kept mappings that are cut and joined.
 *
 * Depends on: base, os, density, mapping_lists, meta, registry.   Used by: mapping,
 * mapping_move.
 *
 * A large kept mapping serves a small block by its first part, and the rest of it stays
 * kept: of one that was 100 MiB, 60 MiB are there for others while 40 are in use. Where
 * no kept mapping is large enough, those that lie side by side are joined. So blocks of
 * several sizes in turn cost no call to the OS, and no more memory than the largest.
 *
 * Only reservations of hooks that are divisible are cut (hak_os_is_divisible).
 */
#ifndef HAK_PAGES_MAPPING_PARTS_H
#define HAK_PAGES_MAPPING_PARTS_H

#include "pages/mapping_lists.h"

/* Asks for the pages of a new mapping whose block will have `size` bytes, all of one
 * kind, because a range with pages of two kinds may not be remapped. The tail of a block
 * reaches no further than the range, which leaves no room there for a huge page. No lock
 * held. */
void hak_mapping_choose_pages(hak_mapping_t *mapping, size_t size);
/* The pages behind the first `left` bytes are about to be given back: if there are huge
 * ones, the mapping asks for small ones, or khugepaged would fill the hole in the last
 * piece that stays. No lock held. */
void hak_mapping_before_part_goes(hak_mapping_t *mapping, size_t left);

/* A record for a mapping, or NULL if memory is short; and back. No lock held. */
hak_mapping_t *hak_mapping_new_record(void);
void hak_mapping_free_record(hak_mapping_t *mapping);

/* Cuts a mapping that was kept, and passes, behind the unit where its first `size` bytes
 * end. The rest is kept, as old as it was. Changes nothing where that cannot be, or is
 * not worth it. No lock held. */
void hak_mapping_cut(hak_mapping_t *mapping, size_t size);

/* Joins kept mappings that lie side by side, until one has as many pages as `size` bytes
 * need. True if any were joined. Costs a look at each kept mapping. */
bool hak_mapping_join_locked(const hak_os_t *os, size_t size);

#endif
