/* tree_fill.h - what the heaps of a tree have.
 *
 * Depends on: heap, learn, pool, superslab, tree.   Used by: tree_print.
 */
#ifndef HAK_API_TREE_FILL_H
#define HAK_API_TREE_FILL_H

#include "api/tree.h"

/* Reads the figures of all heaps of a tree whose links are made, in one pass over the
 * SuperSlabs, the threads and the heaps. Takes the lock of samples once for each sample,
 * no other one for long. */
void hak_tree_fill(hak_tree_t *tree);

#endif
