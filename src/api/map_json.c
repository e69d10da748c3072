/* map_json.c - the address space as JSON: SuperSlabs with their slabs, and mappings.
 * docs/VIEW.md says what each member is. */
#include <inttypes.h>

#include "api/tree.h"
#include "heap/groups.h"
#include "pages/mapping_ranges.h"
#include "pool/large.h"
#include "superslab/region.h"

typedef struct writer {
  const hak_tree_t *tree;
  const hak_out_t *out;
  const char *between;
} writer_t;

/* What of a heap lies there: its group and whether it is where samples lie. */
static void write_part(const hak_out_t *out, hak_heap_t *heap) {
  uint32_t group = 0;
  for (uint32_t i = 1; i < HAK_GROUPS && heap != NULL; i++) {
    if (hak_group_at(i) == heap) group = i;
  }
  bool samples = heap != NULL && hak_heap_is_samples(heap);
  hak_out_text(out, ",\"group\":%" PRIu32 ",\"samples\":%s", group,
               samples ? "true" : "false");
}

static void write_owner(const writer_t *w, hak_heap_t *heap) {
  const hak_tree_heap_t *owner = hak_tree_find(w->tree, heap);
  if (owner == NULL) {
    hak_out_text(w->out, ",\"heap\":null");
  } else {
    hak_out_text(w->out, ",\"heap\":\"%p\"", (void *)owner->handle);
  }
}

/* --- SuperSlabs ----------------------------------------------------------------------
 */

static const char *use_of(uint32_t kind) {
  if (kind == HAK_EXTENT_SLABS) return "slabs";
  return kind == HAK_EXTENT_RUN || kind == HAK_EXTENT_EXTERNAL ? "large" : "free";
}

/* A letter for each slot: used, kept (free, with pages), purged, or new. */
static void slots_of(hak_superslab_t *ss, char letters[HAK_SUPERSLAB_SLABS + 1]) {
  uint32_t free = hak_superslab_free(ss), retained = hak_superslab_retained(ss);
  uint32_t purged = hak_load_relaxed(&ss->purged);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    bool is_free = (free >> i & 1) != 0;
    letters[i] = !is_free                   ? 'u'
                 : (retained >> i & 1) != 0 ? 'k'
                 : (purged >> i & 1) != 0   ? 'p'
                                            : 'n';
  }
  letters[HAK_SUPERSLAB_SLABS] = '\0';
}

static uint64_t retained_bytes(hak_superslab_t *ss) {
  uint64_t pages = 0;
  uint32_t retained = hak_superslab_free(ss) & hak_superslab_retained(ss);
  for (; retained != 0; retained &= retained - 1) {
    pages += hak_slab_pages(&ss->slabs[hak_lowest_bit(retained)]);
  }
  return pages * ss->extent.os->page_size;
}

/* A span of small blocks, or a large block. */
static bool write_span(const hak_out_t *out, hak_superslab_t *ss, unsigned slot,
                       const char *between) {
  hak_place_t place = hak_locate((uintptr_t)hak_superslab_slot(ss, slot));
  if (place.slab != &ss->slabs[slot]) return false;
  bool large = place.cls == HAK_CLASS_LARGE;
  if (!large && place.cls >= HAK_CLASSES) return false;
  uint64_t size = large ? hak_large_usable(&place) : hak_class_size(place.cls);
  uint32_t capacity = 1, used = 1;
  if (!large) {
    hak_blocks_t blocks;
    blocks.out[place.cls] = blocks.free[place.cls] = 0;
    hak_blocks_add_slab(&blocks, place.slab, place.cls, hak_slab_carved(place.slab));
    used = (uint32_t)blocks.out[place.cls];
    capacity = hak_slab_capacity(place.slab);
  }
  hak_out_text(out, "%s{\"slot\":%u,\"slabs\":%u,\"size\":%" PRIu64, between, slot,
               hak_slab_span(place.slab), size);
  hak_out_text(out, ",\"blocks\":%" PRIu32 ",\"capacity\":%" PRIu32 ",\"large\":%s}",
               used, capacity, large ? "true" : "false");
  return true;
}

static void write_spans(const hak_out_t *out, hak_superslab_t *ss) {
  const char *between = "";
  hak_out_text(out, ",\"spans\":[");
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    if (write_span(out, ss, i, between)) between = ",";
  }
  hak_out_text(out, "]");
}

static HAK_SLOW bool write_superslab(hak_superslab_t *ss, void *ctx) {
  writer_t *w = ctx;
  const hak_out_t *out = w->out;
  /* Acquire: pairs with the release in region.c, which publishes whose it is. */
  uint32_t kind = hak_load_acquire(&ss->extent.kind);
  hak_extent_t *extent = &ss->extent;
  /* A unit of an annex is its heap's, too. */
  if (kind == HAK_EXTENT_EXTERNAL) extent = hak_locate((uintptr_t)extent->base).extent;
  bool owned = kind != HAK_EXTENT_FREE && extent != NULL;
  hak_heap_t *heap = owned ? hak_heap_of_extent(extent) : NULL;
  uint64_t committed = hak_superslab_committed(ss);
  if (kind == HAK_EXTENT_FREE && committed == 0) return true;
  char letters[HAK_SUPERSLAB_SLABS + 1];
  slots_of(ss, letters);
  size_t page = hak_superslab_is_huge(ss) ? HAK_SUPERSLAB_SIZE : ss->extent.os->page_size;
  hak_out_text(out, "%s\n{\"address\":\"%p\",\"use\":\"%s\"", w->between,
               (void *)ss->extent.base, use_of(kind));
  w->between = ",";
  write_owner(w, heap);
  write_part(out, heap);
  hak_out_text(out,
               ",\"page_bytes\":%zu,\"committed_bytes\":%" PRIu64
               ",\"retained_bytes\":%" PRIu64 ",\"slots\":\"%s\"",
               page, committed, retained_bytes(ss), letters);
  if (kind == HAK_EXTENT_SLABS) {
    write_spans(out, ss);
  } else {
    hak_out_text(out, ",\"spans\":[]");
  }
  hak_out_text(out, "}");
  return true;
}

/* --- mappings ------------------------------------------------------------------------
 */

static void write_mapping(const hak_mapping_range_t *range, void *writer) {
  writer_t *w = writer;
  hak_out_text(w->out, "%s\n{\"address\":\"%p\"", w->between, (void *)range->base);
  w->between = ",";
  write_owner(w, range->heap == NULL ? NULL : hak_heap_record(range->heap));
  hak_out_text(w->out, ",\"usable_bytes\":%" PRIu64 ",\"committed_bytes\":%zu}",
               range->usable, range->committed);
}

void hak_map_json(const hak_tree_t *tree, const hak_out_t *out) {
  writer_t writer = {tree, out, ""};
  bool running = tree->memory != NULL;
  hak_out_text(out, "\"superslabs\":[");
  if (running) hak_region_visit(write_superslab, &writer);
  hak_out_text(out, "],\n\"mappings\":[");
  writer.between = "";
  if (running) hak_mapping_visit_ranges(write_mapping, &writer);
  hak_out_text(out, "]");
}
