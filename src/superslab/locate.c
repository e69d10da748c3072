#include "superslab/locate.h"

#include "base/check.h"
#include "pages/external_range.h"

enum {
  BACK_SHIFT = HAK_NOTE_BACK_SHIFT,
  CLASS_MASK = HAK_NOTE_CLASS_MASK
};

void hak_locate_set_class(uintptr_t address, size_t slabs, uint32_t cls) {
  hak_assert(slabs <= HAK_SUPERSLAB_SLABS); /* how far back fits into 8 bits */
  bool none = cls == HAK_CLASS_NONE;
  hak_registry_set_notes(address, slabs, none ? 0 : cls + 1, none ? 0 : 1 << BACK_SHIFT);
}

/* True if an external range is there: units that are not the library's as a whole may
 * have some. */
static bool find_external(hak_leaf_t *leaf, uintptr_t address, hak_place_t *place) {
  hak_external_range_link_t *lowest = &leaf->range[hak_leaf_unit(address)];
  if (HAK_LIKELY(hak_load_relaxed(lowest) == NULL)) return false;
  hak_external_range_t *range = hak_external_range_find(lowest, address);
  /* Acquire: pairs with hak_external_set_heap. Before that, and after the end of the
   * range, nothing is there. */
  if (range == NULL || hak_load_acquire(&range->extent.heap) == NULL) return false;
  place->extent = &range->extent;
  place->start = hak_load_relaxed(&range->extent.block);
  place->cls = HAK_CLASS_EXTERNAL;
  return true;
}

/* The block's first SuperSlab is found from its place in the region and not by another
 * look at the registry: the block may be freed at this moment, and what lies there by
 * then is of another kind, or nothing. */
static void find_in_run(hak_superslab_t *ss, const char *unit, hak_place_t *place) {
  char *start = hak_load_relaxed(&ss->extent.block);
  if (start == NULL) return;
  size_t back = (size_t)(unit - start) >> HAK_SUPERSLAB_SHIFT;
  if (back > hak_superslab_index(ss)) return; /* read while the run changes */
  place->extent = &(ss - back)->extent;
  place->start = start;
  place->cls = HAK_CLASS_LARGE;
}

void hak_locate_into(uintptr_t address, hak_place_t *place) {
  place->extent = NULL;
  place->slab = NULL;
  place->start = NULL;
  place->cls = HAK_CLASS_NONE;
  hak_registry_t *registry = hak_registry_root();
  if (registry == NULL || address >> HAK_ADDRESS_BITS != 0) return;
  hak_leaf_t *leaf = hak_registry_leaf(registry, address >> HAK_LEAF_SHIFT);
  if (leaf == NULL) return;
  /* Acquire: pairs with hak_registry_set_extent. */
  hak_extent_t *extent = hak_load_acquire(&leaf->extent[hak_leaf_unit(address)]);
  if (extent == NULL) {
    (void)find_external(leaf, address, place);
    return;
  }
  uint32_t note = hak_load_relaxed(&leaf->note[hak_leaf_slab(address)]);
  /* The unit's start comes from the address and not from the extent, whose record may
   * change hands now. */
  char *unit = (char *)hak_align_down(address, HAK_SUPERSLAB_SIZE);
  place->extent = extent;
  switch (hak_load_relaxed(&extent->kind)) {
    case HAK_EXTENT_SLABS: {
      if (note == 0) return;
      hak_superslab_t *ss = hak_superslab_of_extent(extent);
      unsigned slot = (unsigned)(address >> HAK_SLAB_SHIFT) % HAK_SUPERSLAB_SLABS;
      unsigned back = note >> BACK_SHIFT;
      if (back > slot) return; /* a stale note, read while it changes */
      place->cls = (note & CLASS_MASK) - 1;
      place->slab = &ss->slabs[slot - back];
      /* Only the slab's record says whether a large span is in use or kept by a thread.
       */
      if (place->cls >= HAK_CLASS_EXTERNAL) {
        if (place->cls == HAK_CLASS_EXTERNAL) {
          place->slab = NULL;
          place->cls = HAK_CLASS_NONE;
          (void)find_external(leaf, address, place);
          return;
        }
        place->cls = hak_slab_class(place->slab);
      }
      place->start = unit + ((size_t)(slot - back) << HAK_SLAB_SHIFT);
      return;
    }
    case HAK_EXTENT_MAPPING:
      if (find_external(leaf, address, place)) return;
      place->start = hak_load_relaxed(&extent->block);
      if (place->start != NULL) place->cls = HAK_CLASS_LARGE;
      return;
    case HAK_EXTENT_RUN:
      find_in_run(hak_superslab_of_extent(extent), unit, place);
      return;
    case HAK_EXTENT_EXTERNAL:
      (void)find_external(leaf, address, place);
      return;
    default:
      return;
  }
}

HAK_SLOW uint32_t hak_locate_annexed(const hak_superslab_t *ss) {
  uint32_t count = 0;
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    hak_place_t place = hak_locate((uintptr_t)hak_superslab_slot(ss, i));
    if (place.cls != HAK_CLASS_EXTERNAL) continue;
    if ((hak_superslab_free(ss) >> i & 1) != 0) return UINT32_MAX;
    count++;
  }
  return count;
}

hak_slab_t *hak_slab_of(const void *block) {
  uintptr_t address = (uintptr_t)block;
  hak_leaf_t *leaf = hak_registry_leaf(hak_registry_root(), address >> HAK_LEAF_SHIFT);
  hak_assert(leaf != NULL);
  hak_extent_t *extent = hak_load_relaxed(&leaf->extent[hak_leaf_unit(address)]);
  unsigned back = hak_load_relaxed(&leaf->note[hak_leaf_slab(address)]) >> BACK_SHIFT;
  unsigned slot = (unsigned)(address >> HAK_SLAB_SHIFT) % HAK_SUPERSLAB_SLABS;
  return &hak_superslab_of_extent(extent)->slabs[slot - back];
}
