/* locate.h - which slab, span or block an address lies in.
 *
 * Depends on: base, pages, superslab.   Used by: tiny, heap, api.
 */
#ifndef HAK_SUPERSLAB_LOCATE_H
#define HAK_SUPERSLAB_LOCATE_H

#include "pages/registry.h"
#include "superslab/superslab.h"

/* What an address lies in. */
typedef struct hak_place {
  hak_extent_t *extent; /* of a run's block the first one's; NULL: not ours */
  hak_slab_t
      *slab;    /* the span's first slab; NULL in runs, mappings and external ranges */
  char *start;  /* of the span, or of the run's or mapping's block, or external range */
  uint32_t cls; /* HAK_CLASS_NONE if the unit is in no slab and no block */
} hak_place_t;

/* Any 64-bit value. Field by field into the caller's record: a copy of the whole,
 * loaded in wider pieces than it was stored, would wait for the stores. */
void hak_locate_into(uintptr_t address, hak_place_t *place);
HAK_HOT hak_place_t hak_locate(uintptr_t address) {
  hak_place_t place;
  hak_locate_into(address, &place);
  return place;
}

/* The span's first slab, for a block known to be ours. */
hak_slab_t *hak_slab_of(const void *block);

#endif
