/* tree_json.c - the heaps of a tree as JSON. docs/VIEW.md says what each member is. */
#include <inttypes.h>

#include "api/tree.h"

typedef struct writer {
  const hak_tree_t *tree;
  const hak_out_t *out;
  const char *between;
} writer_t;

static const char *kind_of(const hak_tree_heap_t *heap) {
  switch (heap->kind) {
    case HAK_KIND_SERIAL:
      return "serial";
    case HAK_KIND_EXTERNAL:
      return "external";
    case HAK_KIND_MALLOCED:
      return "malloced";
    case HAK_KIND_POOLED:
      break;
  }
  return "pooled";
}

static void write_class(const hak_out_t *out, const hak_tree_heap_t *heap, uint32_t cls,
                        const char *between) {
  const hak_blocks_t *blocks = &heap->blocks;
  hak_out_text(out,
               "%s{\"size\":%" PRIu32 ",\"live_blocks\":%" PRIu64
               ",\"cached_blocks\":%" PRIu64 ",\"free_blocks\":%" PRIu64,
               between, hak_class_size(cls), hak_blocks_live(blocks, cls),
               hak_blocks_cached(blocks, cls), blocks->free[cls]);
  if (heap->sampled[cls] > 0) {
    double usable = heap->sampled[cls] * hak_class_size(cls);
    hak_out_text(out,
                 ",\"sampled\":{\"blocks\":%" PRIu64 ",\"requested_bytes\":%" PRIu64
                 ",\"usable_bytes\":%" PRIu64 "}",
                 (uint64_t)(heap->sampled[cls] + 0.5),
                 (uint64_t)(heap->requested[cls] + 0.5), (uint64_t)(usable + 0.5));
  }
  hak_out_text(out, "}");
}

static void write_classes(const hak_out_t *out, const hak_tree_heap_t *heap) {
  const char *between = "";
  hak_out_text(out, ",\"classes\":[");
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    if (heap->blocks.out[cls] == 0 && heap->blocks.free[cls] == 0) continue;
    write_class(out, heap, cls, between);
    between = ",";
  }
  hak_out_text(out, "]");
}

static void write_identity(const writer_t *w, const hak_tree_heap_t *heap) {
  hak_out_text(w->out, "%s\n{\"id\":\"%p\",\"name\":", w->between, (void *)heap->handle);
  hak_out_json(w->out, heap->name);
  if (heap->parent == HAK_TREE_NONE) {
    hak_out_text(w->out, ",\"parent\":null");
  } else {
    hak_out_text(w->out, ",\"parent\":\"%p\"",
                 (void *)w->tree->heaps[heap->parent].handle);
  }
  hak_out_text(w->out,
               ",\"depth\":%" PRIu32 ",\"kind\":\"%s\",\"memory\":\"%s\",\"ended\":%s",
               heap->depth, kind_of(heap), heap->is_enclosed ? "caller" : "system",
               heap->ended ? "true" : "false");
}

static HAK_SLOW void write_heap(const hak_tree_heap_t *heap, void *ctx) {
  writer_t *w = ctx;
  const hak_out_t *out = w->out;
  write_identity(w, heap);
  w->between = ",";
  hak_out_text(out,
               ",\"soft_limit\":%" PRIu64 ",\"hard_limit\":%" PRIu64
               ",\"refused\":%" PRIu64 ",\"used_bytes\":%" PRIu64
               ",\"peak_bytes\":%" PRIu64 ",\"live_blocks\":%" PRIu64
               ",\"live_bytes\":%" PRIu64,
               heap->soft, heap->hard, heap->refused, heap->used, heap->peak,
               heap->live_blocks, heap->live_bytes);
  hak_out_text(out,
               ",\"own\":{\"live_blocks\":%" PRIu64 ",\"live_bytes\":%" PRIu64
               ",\"cached_bytes\":%" PRIu64 ",\"free_bytes\":%" PRIu64
               ",\"large_blocks\":%" PRIu64 ",\"large_bytes\":%" PRIu64
               ",\"superslabs\":%" PRIu64,
               heap->own_blocks, heap->own_bytes, heap->cached_bytes, heap->free_bytes,
               heap->large_blocks, heap->large_bytes, heap->superslabs);
  write_classes(out, heap);
  hak_out_text(out, "}}");
}

void hak_tree_json(const hak_tree_t *tree, const hak_out_t *out) {
  writer_t writer = {tree, out, ""};
  hak_out_text(out, "\"heaps\":[");
  hak_tree_visit(tree, write_heap, &writer);
  hak_out_text(out, "]");
}
