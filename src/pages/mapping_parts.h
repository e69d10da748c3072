/* mapping_parts.h - records of mappings, and kept mappings that are cut and joined.
 *
 * Depends on: base, os, density, mapping_lists, meta, registry.   Used by: mapping,
 * mapping_move.
 *
 * A large kept mapping serves a small block by its first part, and the rest of it stays
 * kept: of one that was 100 MiB, 60 MiB are there for others while 40 are in use. Where
 * no kept mapping is large enough, those that lie side by side are joined. So blocks of
 * several sizes in turn cost no call to the OS, and no more memory than the largest. A
 * block that grows takes its pages from the kept mapping behind it, if there is one.
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

/* Takes the kept mapping that begins where this one, which is in use, ends, cut so that
 * both together have little more than `size` bytes; it passes then. NULL if there is none
 * that would do. No lock held. */
hak_mapping_t *hak_mapping_take_next(const hak_mapping_t *mapping, size_t size);
/* The one that was taken becomes a part of the mapping, all of whose range is committed,
 * has pages of the same kind, and which is charged for both; or is kept again. No lock
 * held. */
void hak_mapping_append(hak_mapping_t *mapping, hak_mapping_t *next);
void hak_mapping_untake(hak_mapping_t *next);
/* The part of a mapping in use behind its first `size` bytes, as far as it can be cut
 * off, is kept with its pages from `now` on, and nobody is charged for it. False if more
 * than a unit that is not needed stays with the block. No lock held. */
bool hak_mapping_cut_used(hak_mapping_t *mapping, size_t size, uint64_t now);

/* Joins kept mappings that lie side by side, until one has as many pages as `size` bytes
 * need. True if any were joined. Costs a look at each kept mapping. */
bool hak_mapping_join_locked(const hak_os_t *os, size_t size);

#endif
