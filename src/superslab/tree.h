/* tree.h - the SuperSlabs of a pool by address, with the longest free run of each
 * subtree.
 *
 * Depends on: superslab.   Used by: pool_prefault, pool_slots, shared_pool.
 *
 * A treap: by address for the search, by a hash of the address as priority, so it
 * stays shallow whatever the order of insertion. Its links and runs lie in the
 * SuperSlabs; everything is under the pool's lock.
 */
#ifndef HAK_SUPERSLAB_TREE_H
#define HAK_SUPERSLAB_TREE_H

#include "superslab/superslab.h"

HAK_HOT uint32_t hak_tree_run(const hak_superslab_t *node) {
  return node == NULL ? 0 : node->tree_run;
}

/* Both return the tree that results. */
hak_superslab_t *hak_tree_insert(hak_superslab_t *tree, hak_superslab_t *node);
hak_superslab_t *hak_tree_erase(hak_superslab_t *tree, hak_superslab_t *node);
/* Joins two trees; all of `low` lies below all of `high`. */
hak_superslab_t *hak_tree_merge(hak_superslab_t *low, hak_superslab_t *high);

/* Brings what a node says of its subtree up to date; what its children say is right. */
void hak_tree_update(hak_superslab_t *node);
/* Brings the runs up to date on the way to a node whose own run has changed. */
void hak_tree_refresh(hak_superslab_t *tree, hak_superslab_t *node);

/* The lowest SuperSlab with a free run of that length, or NULL. */
hak_superslab_t *hak_tree_lowest(hak_superslab_t *tree, unsigned run);
/* The lowest SuperSlab above an address, or NULL. */
hak_superslab_t *hak_tree_above(hak_superslab_t *tree, const char *address);

#endif
