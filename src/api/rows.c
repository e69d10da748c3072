#include "api/rows.h"

#include "heap/heap_record.h"
#include "pages/mapping_ranges.h"
#include "pages/registry.h"
#include "pool/large.h"
#include "tiny/hole_map.h"
#include "tiny/size_class.h"

/* Bytes of a range that are committed and not resident; none where nobody knows. */
static uint64_t untouched(const hak_os_t *os, char *base, size_t bytes) {
  int64_t resident = bytes != 0 ? hak_os_resident(os, base, bytes) : -1;
  return resident < 0 || (uint64_t)resident > bytes ? 0 : bytes - (uint64_t)resident;
}

/* The same of slots, whose committed pages begin at their starts. Where they reach the
 * next slot's, both are one range. */
static uint64_t untouched_in(const hak_superslab_t *ss, uint32_t slots) {
  const hak_os_t *os = ss->extent.os;
  uint64_t sum = 0;
  while (slots != 0) {
    unsigned first = hak_lowest_bit(slots), count = 0;
    size_t bytes = 0;
    while ((slots >> first >> count & 1) != 0 && bytes == count * HAK_SLAB_SIZE) {
      bytes += hak_slab_pages(&ss->slabs[first + count]) * os->page_size;
      count++;
      if (first + count == HAK_SUPERSLAB_SLABS) break;
    }
    slots &= ~hak_mask32(first, count);
    sum += untouched(os, hak_superslab_slot(ss, first), bytes);
  }
  return sum;
}

static uint64_t committed_in(const hak_superslab_t *ss, uint32_t slots) {
  uint64_t pages = 0;
  for (; slots != 0; slots &= slots - 1) {
    pages += hak_slab_pages(&ss->slabs[hak_lowest_bit(slots)]);
  }
  return pages * ss->extent.os->page_size;
}

/* The same of a span of small blocks, behind those that are carved: the program has been
 * in these, or may have been. */
static uint64_t untouched_behind(const hak_superslab_t *ss, uint32_t slots,
                                 uint64_t carved) {
  const hak_os_t *os = ss->extent.os;
  uint64_t from = hak_align_up(carved, os->page_size), end = 0;
  unsigned first = hak_lowest_bit(slots);
  for (unsigned i = 0; i < hak_count_bits(slots) && end == i * HAK_SLAB_SIZE; i++) {
    end += hak_slab_pages(&ss->slabs[first + i]) * os->page_size;
  }
  if (end <= from) return 0;
  return untouched(os, hak_superslab_slot(ss, first) + from, end - from);
}

void hak_rows_add_superslab(hak_rows_t *rows, hak_superslab_t *ss) {
  uint32_t free = hak_superslab_free(ss), measured = free & hak_superslab_retained(ss);
  bool run = hak_load_relaxed(&ss->extent.kind) == HAK_EXTENT_RUN;
  bool head = hak_load_relaxed(&ss->extent.block) == (void *)ss->extent.base;
  uint64_t usable = run && head ? hak_load_relaxed(&ss->extent.size) : 0;
  if (hak_os_is_fixed(ss->extent.os)) {
    rows->foreign += usable;
    return;
  }
  uint64_t taken = committed_in(ss, ~free);
  rows->taken += taken;
  if (run) {
    rows->large += taken;
    rows->usable += usable;
    measured = HAK_ALL_SLOTS;
  }
  rows->untouched += untouched_in(ss, measured);
}

void hak_rows_add_span(hak_rows_t *rows, const hak_superslab_t *ss,
                       const hak_place_t *place, uint32_t carved) {
  hak_slab_t *slab = place->slab;
  bool large = place->cls == HAK_CLASS_LARGE;
  unsigned span = hak_slab_span(slab), slot = slab->slot;
  if (span == 0 || span > HAK_SUPERSLAB_SLABS - slot) return; /* it changes */
  uint64_t size = large ? hak_large_usable(place) : hak_class_size(place->cls);
  if (hak_os_is_fixed(ss->extent.os)) {
    rows->foreign += large ? size : carved * size;
    return;
  }
  uint32_t slots = hak_mask32(slot, span);
  uint64_t committed = committed_in(ss, slots);
  if (large) {
    rows->large += committed;
    rows->usable += size;
    rows->untouched += untouched_in(ss, slots);
    return;
  }
  uint64_t fits = hak_slab_capacity(slab) * size;
  rows->carved += carved * size;
  rows->holes += (uint64_t)hak_hole_map_count(slab) * ss->extent.os->page_size;
  if (committed > fits) rows->waste += committed - fits;
  rows->untouched += untouched_behind(ss, slots, carved * size);
}

static void add_mapping(const hak_mapping_range_t *range, void *ctx) {
  hak_rows_t *rows = ctx;
  rows->untouched += untouched(range->os, range->base, range->committed);
}

void hak_rows_add_mappings(hak_rows_t *rows) {
  hak_mapping_visit_ranges(add_mapping, rows);
}

static void add_table(void *table, size_t size, void *ctx) {
  hak_rows_t *rows = ctx;
  rows->records += untouched(hak_registry_os(), table, size);
}

void hak_rows_add_registry(hak_rows_t *rows) {
  hak_registry_visit_tables(add_table, rows);
}

HAK_SLOW void hak_rows_add_heaps(hak_rows_t *rows) {
  const hak_os_t *os = hak_registry_os();
  size_t size = hak_align_up(HAK_CENTRALS_BYTES, os->page_size);
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap == NULL || hak_load_relaxed(&heap->bare) != 0) continue;
    rows->records += untouched(os, (char *)hak_store_centrals(heap->store), size);
  }
}
