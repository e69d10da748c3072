/* hole_map.h - which pages of a span in use were given back, and which blocks lie there.
 *
 * Depends on: superslab, size_class.   Used by: tiny, api.
 *
 * A *hole* is an OS page that was given back while its span is in use: no block that is
 * out or on the slab's list lies in it, or partly in it. The blocks that do are free, and
 * *put away*: they are on no list and have no link, and only the bits of the holes tell
 * of them. Holes are made and ended by slab.h; a slab that somebody holds for serving has
 * none, so they are only on the partial list.
 *
 *     blocks put away == carved blocks that a hole's page overlaps
 *
 * Holes stay committed and charged: a block that was free can be had again without asking
 * anybody. So there are none where purged memory may not simply be touched.
 *
 * Access: like the list of the slab; statistics read the bits.
 */
#ifndef HAK_TINY_HOLE_MAP_H
#define HAK_TINY_HOLE_MAP_H

#include "superslab/superslab.h"
#include "tiny/size_class.h"

/* The size of a page, as a power of two, of a slab's memory. */
HAK_HOT unsigned hak_hole_page_shift(hak_slab_t *slab) {
  return hak_lowest_bit((uint32_t)hak_slab_superslab(slab)->extent.os->page_size);
}

/* Whether a page of the span, counted from its start, is a hole. */
HAK_HOT bool hak_hole_at(hak_slab_t *slab, unsigned shift, size_t page) {
  size_t per_slab_shift = HAK_SLAB_SHIFT - shift;
  hak_slab_t *of = slab + (page >> per_slab_shift);
  size_t bit = page & (((size_t)1 << per_slab_shift) - 1);
  return (hak_load_relaxed(&of->holes) >> bit & 1) != 0;
}

/* The span has holes. */
HAK_HOT bool hak_hole_map_any(hak_slab_t *slab) {
  uint32_t any = 0;
  for (unsigned i = 0; i < hak_slab_span(slab); i++) {
    any |= hak_load_relaxed(&slab[i].holes);
  }
  return any != 0;
}

/* Pages that are holes. */
HAK_HOT unsigned hak_hole_map_count(hak_slab_t *slab) {
  unsigned count = 0;
  for (unsigned i = 0; i < hak_slab_span(slab); i++) {
    count += hak_count_bits(hak_load_relaxed(&slab[i].holes));
  }
  return count;
}

/* The block at this offset from the span's start is put away. */
HAK_HOT bool hak_hole_has(hak_slab_t *slab, unsigned shift, size_t offset) {
  size_t last = (offset + hak_list_block_size(&slab->list) - 1) >> shift;
  for (size_t page = offset >> shift; page <= last; page++) {
    if (hak_hole_at(slab, shift, page)) return true;
  }
  return false;
}

/* The first byte of a block of the span lies in a hole. */
HAK_HOT bool hak_hole_has_start(hak_slab_t *slab, const void *block) {
  unsigned shift = hak_hole_page_shift(slab);
  return hak_hole_at(slab, shift,
                     (size_t)((const char *)block - hak_slab_start(slab)) >> shift);
}

/* Blocks that are put away. O(blocks). */
HAK_HOT uint32_t hak_hole_map_blocks(hak_slab_t *slab) {
  uint32_t count = 0;
  if (HAK_LIKELY(!hak_hole_map_any(slab))) return 0;
  unsigned shift = hak_hole_page_shift(slab);
  for (uint32_t i = 0; i < hak_load_relaxed(&slab->carved); i++) {
    if (hak_hole_has(slab, shift, (size_t)i * hak_list_block_size(&slab->list))) count++;
  }
  return count;
}

/* Ends all holes; the bytes that they had. */
HAK_HOT size_t hak_hole_map_clear(hak_slab_t *slab, unsigned span) {
  size_t pages = 0;
  for (unsigned i = 0; i < span; i++) pages += hak_slab_clear_holes(&slab[i]);
  if (HAK_LIKELY(pages == 0)) return 0;
  size_t bytes = pages << hak_hole_page_shift(slab);
  hak_sub_relaxed(&hak_hole_bytes, bytes);
  return bytes;
}

#endif
