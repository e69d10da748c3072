/* tree.h - all heaps as a tree, with what each of them has, for reports.
 *
 * Depends on: os, pages, blocks, out.
 * Used by: tree_fill, tree_json, tree_print, map_json.
 *
 * A tree is taken at one go and written after; other threads go on, and make and end
 * heaps. The heaps are those that were there during all of the first look: each has its
 * parent in the tree, and no heap is in it twice. Figures are read after that, so they
 * are of a later moment, and none of a heap that has ended by then.
 *
 * What lies in heaps without a handle (released ones, and samples) is the nearest heap's
 * above that has one, as the program knows it.
 */
#ifndef HAK_API_TREE_H
#define HAK_API_TREE_H

#include "api/blocks.h"
#include "api/out.h"

#define HAK_TREE_NONE UINT32_MAX

typedef struct hak_tree_heap {
  hak_heap_t *record, *handle, *parent_handle;
  char name[HAK_HEAP_NAME_MAX + 1];
  uint32_t parent, first, next; /* numbers in the tree: above, first below, next beside */
  uint32_t depth;
  bool left_out; /* its parent is not there: it came, or went, during the look */
  bool ended;    /* before its figures were read */
  bool is_enclosed;
  hak_heap_kind_t kind;
  uint64_t soft, hard, refused; /* 0: no limit */
  /* Of the heap with those below it, as hak_stats_get has them. */
  uint64_t used, peak, live_blocks, live_bytes;
  /* Of the heap alone. */
  uint64_t own_blocks, own_bytes, cached_bytes, free_bytes, large_blocks, large_bytes;
  uint64_t superslabs;
  hak_blocks_t blocks;
  /* Estimates from samples: live blocks that stand for all of a place's, and what was
   * asked for in them. 0 where no place is known. */
  double sampled[HAK_CLASSES], requested[HAK_CLASSES];
} hak_tree_heap_t;

typedef struct hak_tree {
  const hak_os_t *os;
  void *memory; /* NULL: the library is not running */
  size_t bytes;
  uint32_t made, most, count;
  uint32_t *numbers; /* by index of the record; HAK_TREE_NONE: not in the tree */
  uint32_t first;    /* of the heaps without a parent */
  hak_tree_heap_t *heaps;
} hak_tree_t;

/* Takes the heaps, whose figures are still to be filled in (tree_fill.h). 0, or ENOMEM if
 * memory for the tree is short: about 2.5 KiB for each heap, from the
 * process's hooks. The caller stays. No lock held. */
int hak_tree_take(hak_tree_t *tree);
/* Gives the memory back. */
void hak_tree_release(hak_tree_t *tree);

/* The heap of the tree that the program knows as the owner of what a heap has; or NULL.
 */
hak_tree_heap_t *hak_tree_find(const hak_tree_t *tree, hak_heap_t *heap);

/* Calls `visit` for each heap, parents first. */
void hak_tree_visit(const hak_tree_t *tree,
                    void (*visit)(const hak_tree_heap_t *heap, void *ctx), void *ctx);

/* In tree_json.c and map_json.c: the members "heaps", and "superslabs" and "mappings", of
 * an object of JSON. */
void hak_tree_json(const hak_tree_t *tree, const hak_out_t *out);
void hak_map_json(const hak_tree_t *tree, const hak_out_t *out);

#endif
