/* large.h - blocks of whole OS pages, beyond the size classes.
 *
 * Depends on: base, os, superslab.   Used by: heap, api.
 *
 *   to 1 MiB              a span of slabs in the heap's SuperSlabs
 *   to LARGE_MAX_BYTES    a run of SuperSlabs
 *   beyond                a mapping of its own (superslab/mapping.h)
 *
 * Address space is taken in slabs or SuperSlabs, memory is committed in OS
 * pages. Freed ones keep their pages in the pool, the regions or the list of
 * kept mappings, so that large blocks that come and go cost no call to the OS.
 * Their registry entries stay 'nobody's': a free of one finds its place on the
 * slow path. Registering costs O(size / 64 KiB).
 */
#ifndef HAK_POOL_LARGE_H
#define HAK_POOL_LARGE_H

#include "superslab/mapping.h"
#include "superslab/shared_pool.h"

#define HAK_LARGE_SPAN_MAX HAK_MIB

/* A few freed spans that a thread keeps for its next large blocks, so that a pair
 * costs no lock. */
enum {
  HAK_LARGE_KEPT = 8
};
typedef struct hak_large_cache {
  hak_slab_t *spans[HAK_LARGE_KEPT]; /* NULL: none */
  char *starts[HAK_LARGE_KEPT];      /* of those */
  uint32_t next;                     /* the one to give up first */
  hak_atomic_u64_t bytes;            /* address space in all; read by statistics */
} hak_large_cache_t;

/* A kept span for a block of `size` bytes, whose usable size goes to *usable; or
 * NULL. */
void *hak_large_take_kept(hak_large_cache_t *cache, const hak_os_t *os, size_t size,
                          size_t *usable);
/* Keeps a freed span, in another's place if need be; false if it is too large to
 * be kept, or a run or mapping. */
bool hak_large_keep(hak_large_cache_t *cache, hak_pool_t *pool, const hak_place_t *place);
void hak_large_give_up_kept(hak_large_cache_t *cache, hak_pool_t *pool);

/* `alignment` is a power of two up to HAK_ALIGNMENT_MAX. *zeroed: the usable
 * bytes read as zero. NULL if memory is short. No lock held. */
void *hak_large_alloc(hak_pool_t *pool, size_t size, size_t alignment, bool no_grow,
                      bool *zeroed);

/* As above, in a mapping of its own whatever the size: such a block can grow by
 * moving its pages. */
void *hak_large_map(hak_pool_t *pool, size_t size, size_t alignment, bool no_grow,
                    bool *zeroed);

/* The usable size of a large block at `place`, 0 if none starts there. */
size_t hak_large_usable(const hak_place_t *place);

/* Frees the large block that starts at `place`. */
void hak_large_free(hak_pool_t *pool, const hak_place_t *place);

/* The usable size that `size` would get. */
size_t hak_large_good_size(const hak_os_t *os, size_t size);

/* Makes the block at least min_size and at most what want_size rounds to, where
 * it is; the new usable size or 0. */
size_t hak_large_resize(hak_pool_t *pool, const hak_place_t *place, size_t min_size,
                        size_t want_size);

/* Moves a block's pages to a place of the new size without copying them; the
 * new address, or NULL and nothing changed. */
void *hak_large_remap(const hak_place_t *place, size_t size);

#endif
