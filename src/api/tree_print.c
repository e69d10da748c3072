/* tree_print.c - all heaps, as text or JSON. */
#include <errno.h>
#include <inttypes.h>

#include "api/api.h"
#include "api/print.h"
#include "api/tree.h"
#include "api/tree_fill.h"
#include "base/text.h"
#include "pages/registry.h"

static void print_line(const hak_tree_heap_t *heap, void *ctx) {
  enum {
    DEEPEST = 40, /* levels that are shown by how far the name is moved in */
    STEP = 2
  };
  const hak_out_t *out = ctx;
  char name[4 * HAK_HEAP_NAME_MAX + 1], limit[24] = "-";
  uint32_t depth = heap->depth < DEEPEST ? heap->depth : DEEPEST;
  if (heap->hard != 0) hak_text_print(limit, sizeof limit, "%" PRIu64, heap->hard);
  hak_text_quote(name, sizeof name, heap->name[0] == '\0' ? "?" : heap->name);
  hak_out_text(out,
               "%14" PRIu64 " %14" PRIu64 " %14s %14" PRIu64 " %12" PRIu64 "  %*s%s\n",
               heap->used, heap->peak, limit, heap->live_bytes, heap->live_blocks,
               (int)(STEP * depth), "", name);
}

static void print_text(const hak_tree_t *tree, const hak_out_t *out) {
  hak_print_title(out, "heaps, each with those below it");
  hak_out_text(out, "%14s %14s %14s %14s %12s  %s\n", "used bytes", "at most", "limit",
               "live bytes", "blocks", "heap");
  hak_tree_visit(tree, print_line, (void *)out);
}

static void print_json(const hak_tree_t *tree, const hak_out_t *out) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  (void)hak_stats_get(NULL, &stats);
  hak_out_text(out, "{");
  hak_print_head(out, "hakmem heaps");
  hak_out_text(out, "\"superslab_bytes\":%zu,\"slab_bytes\":%zu,\n\"process\":{",
               HAK_SUPERSLAB_SIZE, HAK_SLAB_SIZE);
  hak_print_fields(out, &stats, true);
  hak_out_text(out, "},\n");
  hak_tree_json(tree, out);
  hak_out_text(out, ",\n");
  hak_map_json(tree, out);
  hak_out_text(out, "}\n");
}

HAK_SLOW int hak_heaps_print(int format, hak_write_fn *write, void *ctx) {
  if (format != HAK_FORMAT_TEXT && format != HAK_FORMAT_JSON) return EINVAL;
  hak_out_t out = hak_out_to(write, ctx);
  hak_tree_t tree = {.memory = NULL};
  hak_stay_t stay = hak_stay_slow();
  int error = stay == HAK_STAY_NONE ? 0 : hak_tree_take(&tree);
  if (tree.memory != NULL) hak_tree_fill(&tree);
  if (error == 0 && format == HAK_FORMAT_TEXT) print_text(&tree, &out);
  if (error == 0 && format == HAK_FORMAT_JSON) print_json(&tree, &out);
  hak_tree_release(&tree);
  hak_stay_end(stay);
  return error;
}
