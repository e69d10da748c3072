/* mapping.h - blocks too large for SuperSlab runs: a mapping of its own each,
 * some kept for reuse.
 *
 * Depends on: base, os, cell, clock, density, idle, mapping_lists, mapping_parts,
 * registry.
 * Used by: mapping_move, superslab, pool, heap.
 *
 * Life: reserved and committed -> in use -> (kept -> in use)* -> released.
 * A kept mapping stays registered as unowned, with its pages; what differs
 * between mappings in use and kept ones is changed under the lock of mappings.
 *
 * A block that gets a kept mapping has an eighth more than it needs at most: larger ones
 * are cut, or give their last pages back. All mappings together have at most as much as
 * was in use at one time lately, or an eighth more than is in use.
 */
#ifndef HAK_PAGES_MAPPING_H
#define HAK_PAGES_MAPPING_H

#include "pages/idle.h"
#include "pages/mapping_lists.h"

/* Does not change while the mapping is in use and the lock is held. */
HAK_HOT hak_budget_t *hak_mapping_budget(const hak_mapping_t *mapping) {
  return mapping->budget;
}
/* Bytes that are charged for a mapping in use. */
HAK_HOT size_t hak_mapping_charge(const hak_mapping_t *mapping) {
  return hak_mapping_committed(mapping) + sizeof *mapping;
}

/* Makes a block of `size` bytes (a multiple of the page size) at a multiple of
 * `alignment`, charged to `budget` (NULL: to nobody); NULL if memory or the budget is
 * short, or if `no_grow` and the OS would have to be asked. *zeroed: it reads as zero.
 * No lock held. */
hak_mapping_t *hak_mapping_acquire(const hak_os_t *os, hak_budget_t *budget, void *heap,
                                   size_t size, size_t alignment, bool no_grow,
                                   bool *zeroed);

/* Asks for huge pages there, or for none. No lock held. */
void hak_mapping_advise(hak_mapping_t *mapping, bool huge);

/* Keeps the mapping for reuse or releases it. Its block is gone. */
void hak_mapping_give(hak_mapping_t *mapping, uint64_t now);

/* Gives all mappings that a heap has in use. NULL, in the child of a fork, stands for
 * those in use whose blocks are none any more, as a thread that is not there freed
 * them. Costs a look at each mapping of the process in use. */
void hak_mappings_give_all(const void *heap);

/* Commits and charges a mapping's first `size` bytes; false if that is refused. *zeroed:
 * they read as zero. No lock held. */
bool hak_mapping_commit_to(hak_mapping_t *mapping, size_t size, bool *zeroed);

/* Gives pages of kept mappings back that have been idle since `before` or longer, the
 * longest idle first and each from its end, up to max_bytes and *slabs looked at; a
 * mapping without pages is released. Returns the bytes. No lock held. */
size_t hak_mapping_purge(uint64_t before, size_t max_bytes, size_t *slabs);

/* Notes that `more` bytes are about to come into use, and gives pages of kept mappings
 * back where there would be too many then (hak_mapping_note_use_locked): new need
 * displaces what is idle. No lock held. */
void hak_mapping_make_room(size_t more);

/* Since when the kept mapping has been idle that was so for longest, by the cached clock;
 * UINT64_MAX if none is kept. No lock held. */
uint64_t hak_mapping_oldest(void);
/* Bytes that go together at the end of that mapping: a huge page, or a slab. Less may go
 * than these, but then the rest of its pages come back as small ones. No lock held. */
size_t hak_mapping_piece(void);

/* Calls `visit` for each mapping in use, under the lock. */
void hak_mapping_visit(bool (*visit)(hak_mapping_t *mapping, void *ctx), void *ctx);

/* Releases kept mappings over a heap's own hooks, and waits for threads that have such
 * a mapping passing. No lock held. */
void hak_mappings_end(const hak_os_t *os);

/* In a hardened build the first line of a kept mapping that was written to since its
 * block was freed, or NULL. Costs a look at each page of kept mappings that is resident.
 */
const void *hak_mappings_find_written(void);

/* In the child of a fork: mappings that threads which are not there had passing are
 * released; if this thread is `inside` a hook, they are given up instead, as are
 * mappings that such threads were moving. The bytes that are lost. */
uint64_t hak_mappings_recover(bool inside);

/* At shutdown: releases all mappings, those in use too. */
void hak_mappings_stop(void);
hak_lock_t *hak_mappings_lock(void);

#endif
