#include "superslab/tree.h"

typedef hak_superslab_t node_t;

/* HAK_WARM: gcc would expand what calls itself within itself, to ten times its size. */

static uint64_t priority(const node_t *node) {
  return hak_mix64((uintptr_t)node->extent.base);
}

void hak_tree_update(node_t *node) {
  uint32_t run = node->run;
  if (hak_tree_run(node->left) > run) run = hak_tree_run(node->left);
  if (hak_tree_run(node->right) > run) run = hak_tree_run(node->right);
  node->tree_run = run;
}

/* Parts `tree` by the address of `at`. */
static HAK_WARM void split(node_t *tree, const node_t *at, node_t **low, node_t **high) {
  if (tree == NULL) {
    *low = *high = NULL;
  } else if (tree->extent.base < at->extent.base) {
    split(tree->right, at, &tree->right, high);
    hak_tree_update(tree);
    *low = tree;
  } else {
    split(tree->left, at, low, &tree->left);
    hak_tree_update(tree);
    *high = tree;
  }
}

HAK_WARM node_t *hak_tree_merge(node_t *low, node_t *high) {
  if (low == NULL) return high;
  if (high == NULL) return low;
  if (priority(low) > priority(high)) {
    low->right = hak_tree_merge(low->right, high);
    hak_tree_update(low);
    return low;
  }
  high->left = hak_tree_merge(low, high->left);
  hak_tree_update(high);
  return high;
}

HAK_WARM node_t *hak_tree_insert(node_t *tree, node_t *node) {
  if (tree == NULL || priority(node) > priority(tree)) {
    split(tree, node, &node->left, &node->right);
    hak_tree_update(node);
    return node;
  }
  if (node->extent.base < tree->extent.base) {
    tree->left = hak_tree_insert(tree->left, node);
  } else {
    tree->right = hak_tree_insert(tree->right, node);
  }
  hak_tree_update(tree);
  return tree;
}

HAK_WARM node_t *hak_tree_erase(node_t *tree, node_t *node) {
  if (tree == node) return hak_tree_merge(node->left, node->right);
  if (node->extent.base < tree->extent.base) {
    tree->left = hak_tree_erase(tree->left, node);
  } else {
    tree->right = hak_tree_erase(tree->right, node);
  }
  hak_tree_update(tree);
  return tree;
}

HAK_WARM void hak_tree_refresh(node_t *tree, node_t *node) {
  if (tree != node) {
    hak_tree_refresh(node->extent.base < tree->extent.base ? tree->left : tree->right,
                     node);
  }
  hak_tree_update(tree);
}

node_t *hak_tree_lowest(node_t *tree, unsigned run) {
  if (hak_tree_run(tree) < run) return NULL;
  while (hak_tree_run(tree->left) >= run || tree->run < run) {
    tree = hak_tree_run(tree->left) >= run ? tree->left : tree->right;
  }
  return tree;
}

node_t *hak_tree_above(node_t *tree, const char *address) {
  node_t *found = NULL;
  while (tree != NULL) {
    bool above = tree->extent.base > address;
    if (above) found = tree;
    tree = above ? tree->left : tree->right;
  }
  return found;
}
