/* large.h - blocks of whole OS pages, beyond the size classes, or to 1 MiB where it
 * matters that they are zero or can grow.
 *
 * Depends on: base, pages, superslab.   Used by: heap, api.
 *
 *   to 1 MiB              a span of slabs in the heap's SuperSlabs
 *   to LARGE_MAX_BYTES    a run of SuperSlabs
 *   beyond                a mapping of its own (pages/mapping.h)
 *
 * Not so in memory of the caller's, where all lie in the annex of an external region
 * (external/external_region.h).
 *
 * Address space is taken in slabs or SuperSlabs, memory is committed in OS
 * pages. Freed ones keep their pages in the pool, the regions or the list of
 * kept mappings, so that large blocks that come and go cost no call to the OS.
 * Their registry entries stay 'nobody's': a free of one finds its place on the
 * slow path. Registering costs O(size / 64 KiB).
 */
#ifndef HAK_POOL_LARGE_H
#define HAK_POOL_LARGE_H

#include "pages/cell.h"
#include "pages/mapping.h"
#include "superslab/locate.h"
#include "superslab/shared_pool.h"

#define HAK_LARGE_SPAN_MAX HAK_MIB

/* A block of at least `size` bytes at a multiple of `alignment`, a power of two up to
 * HAK_ALIGNMENT_MAX. *zeroed: the usable bytes read as zero. NULL if memory is short.
 * No lock held. */
void *hak_large_alloc(hak_shared_pool_t *pool, size_t size, size_t alignment,
                      bool no_grow, bool *zeroed);

/* The same for a block that has to move in order to grow: up to 1 MiB one that can go on
 * growing in place, if the pool has such a place. */
void *hak_large_alloc_growing(hak_shared_pool_t *pool, size_t size, size_t alignment,
                              bool no_grow, bool *zeroed);

/* Allocates as hak_large_alloc does, but in a mapping of its own whatever the size:
 * such a block can grow by moving its pages. */
void *hak_large_map(hak_shared_pool_t *pool, size_t size, size_t alignment, bool no_grow,
                    bool *zeroed);
/* A block of a heap's that is guarded (pages/cell.h): `ask` says how large and for whom;
 * the rest of it is filled in. NULL if none can be had, or a limit refuses. The system's
 * own hooks only. No lock held. */
void *hak_large_guarded(hak_shared_pool_t *pool, hak_cell_ask_t *ask);

/* The block has SuperSlabs of its own. */
bool hak_large_is_run(const hak_place_t *place);
/* Blocks that shrank by so many bytes grew again lately. */
bool hak_large_grows_again(size_t bytes);

/* The usable size of a large block at `place`, 0 if none starts there. */
size_t hak_large_usable(const hak_place_t *place);

/* In a hardened build: what is behind the end of the block in its last slab or mapping,
 * and all of one that has just begun, reads as zero if nobody wrote there who had no
 * right to. */
bool hak_large_is_clean(const hak_place_t *place);

/* Claims the block that starts at `place`: it is the caller's to free, and unowned from
 * here on. False, and nothing has changed, if another thread has claimed the block, or
 * it is gone. */
bool hak_large_claim(const hak_place_t *place);

/* Frees a block that was claimed. Clears it, in a hardened build. */
void hak_large_free(hak_shared_pool_t *pool, const hak_place_t *place);

/* Makes a large block that the caller has just got read as zero from the page on that
 * begins `from` bytes behind its start, by giving the pages back, so that only those are
 * there again which are touched. False if that cannot be, or clearing them costs less
 * (hak_density_way). No lock held. */
bool hak_large_renew(const hak_place_t *place, size_t from);

/* The usable size that `size` would get. */
size_t hak_large_good_size(const hak_os_t *os, size_t size);

/* Makes the block at least min_size and at most what want_size rounds to, where
 * it is; the new usable size or 0. */
size_t hak_large_resize(hak_shared_pool_t *pool, const hak_place_t *place,
                        size_t min_size, size_t want_size);

/* Moves a block's pages to a place of the new size without copying them; the
 * new address, or NULL and nothing changed, but if *lost: then there is no block any
 * more, as hooks moved its pages to where none may be (hak_mapping_resize). */
void *hak_large_remap(hak_shared_pool_t *pool, const hak_place_t *place, size_t size,
                      bool *lost);

#endif
