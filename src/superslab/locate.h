/* locate.h - which slab, span or block an address lies in.
 *
 * The registry's note of a slab is its class + 1, and in the upper byte how many slabs
 * the first one of its span lies back; 0 where it belongs to nothing. HAK_CLASS_EXTERNAL
 * is the class of a slot that an annex has (external/external_region.h).
 *
 * Depends on: base, pages, superslab.
 * Used by: pool_prefault, shared_pool, tiny, pool, api.
 */
#ifndef HAK_SUPERSLAB_LOCATE_H
#define HAK_SUPERSLAB_LOCATE_H

#include "pages/registry.h"
#include "superslab/superslab.h"

/* Tells the registry the class of `slabs` slabs side by side that belong together;
 * HAK_CLASS_NONE: they belong to nothing. */
void hak_locate_set_class(uintptr_t address, size_t slabs, uint32_t cls);

/* What an address lies in. */
typedef struct hak_place {
  hak_extent_t *extent; /* of a run's block the first one's; NULL: not ours */
  hak_slab_t
      *slab;    /* the span's first slab; NULL in runs, mappings and external ranges */
  char *start;  /* of the span, or of the run's or mapping's block, or external range */
  uint32_t cls; /* HAK_CLASS_NONE: no slab in use and no block is there */
} hak_place_t;

/* Finds what an address, which may be any 64-bit value, lies in. The result is stored
 * field by field into the caller's record: a copy of the whole, loaded in wider pieces
 * than it was stored, would wait for the stores. */
void hak_locate_into(uintptr_t address, hak_place_t *place);
HAK_HOT hak_place_t hak_locate(uintptr_t address) {
  hak_place_t place;
  hak_locate_into(address, &place);
  return place;
}

/* Fields of a note. */
enum {
  HAK_NOTE_BACK_SHIFT = 8,
  HAK_NOTE_CLASS_MASK = 0xff
};

/* The class of the slab that an address lies in, the registry's leaf, and how far into
 * its span the address lies, by the note alone. HAK_CLASS_NONE or another that is none of
 * the size classes' where hak_locate has to say what is there. The address is below the
 * registry's limit.
 */
HAK_HOT uint32_t hak_locate_class(hak_registry_t *registry, uintptr_t address,
                                  hak_leaf_t **leaf, size_t *offset) {
  *leaf = hak_registry_leaf(registry, address >> HAK_LEAF_SHIFT);
  if (HAK_UNLIKELY(*leaf == NULL)) return HAK_CLASS_NONE;
  uint32_t note = hak_load_relaxed(&(*leaf)->note[hak_leaf_slab(address)]);
  *offset =
      address % HAK_SLAB_SIZE + ((size_t)(note >> HAK_NOTE_BACK_SHIFT) << HAK_SLAB_SHIFT);
  return (note & HAK_NOTE_CLASS_MASK) - 1;
}

/* Slots of the SuperSlab that an annex has; UINT32_MAX if one of them is free. */
uint32_t hak_locate_annexed(const hak_superslab_t *ss);

/* The span's first slab, for a block known to be ours. */
hak_slab_t *hak_slab_of(const void *block);

#endif
