/* tree.c - the tree of a pool's SuperSlabs, against a table that is searched from its
 * beginning. Records only: nobody looks at the memory. */
#include "fuzz.h"

#include "superslab/tree.h"

enum {
  NODES = 256
};

#define BASE ((uintptr_t)0x100000000000)

static hak_superslab_t g_nodes[NODES]; /* by address */
static bool g_in[NODES];

static hak_superslab_t *lowest(size_t from, unsigned run) {
  for (size_t i = from; i < NODES; i++) {
    if (g_in[i] && g_nodes[i].run >= run) return &g_nodes[i];
  }
  return NULL;
}

/* How many nodes there are; each says the longest run below it. */
static size_t count(const hak_superslab_t *node, unsigned depth) {
  if (node == NULL) return 0;
  CHECK(depth < NODES);
  uint32_t most = node->run;
  most = hak_tree_run(node->left) > most ? hak_tree_run(node->left) : most;
  most = hak_tree_run(node->right) > most ? hak_tree_run(node->right) : most;
  CHECK_EQ(node->tree_run, most);
  CHECK(node->left == NULL || node->left->extent.base < node->extent.base);
  CHECK(node->right == NULL || node->right->extent.base > node->extent.base);
  return 1 + count(node->left, depth + 1) + count(node->right, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input_t input = {data, size};
  hak_superslab_t *root = NULL;
  size_t in = 0;
  for (size_t i = 0; i < NODES; i++) {
    g_nodes[i] = (hak_superslab_t){0};
    g_nodes[i].extent.base = (char *)(BASE + i * HAK_SUPERSLAB_SIZE);
    g_in[i] = false;
  }
  while (input.left > 0) {
    size_t i = (size_t)fuzz_below(&input, NODES);
    unsigned run = (unsigned)fuzz_below(&input, HAK_SUPERSLAB_SLABS + 1);
    if (!g_in[i]) {
      g_nodes[i].run = run;
      root = hak_tree_insert(root, &g_nodes[i]);
      g_in[i] = true;
      in++;
    } else if (run % 2 == 0) {
      root = hak_tree_erase(root, &g_nodes[i]);
      g_in[i] = false;
      in--;
    } else {
      g_nodes[i].run = run;
      hak_tree_refresh(root, &g_nodes[i]);
    }
    CHECK(run == 0 || hak_tree_lowest(root, run) == lowest(0, run));
    CHECK(hak_tree_above(root, g_nodes[i].extent.base) == lowest(i + 1, 0));
  }
  CHECK_EQ(count(root, 0), in);
  return 0;
}
