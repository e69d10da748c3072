/* superslab_tree.c - a pool's SuperSlabs by address, against a list in order that is
 * searched from its beginning. Records only: nobody looks at the memory. */
#include "support.h"

#include "superslab/tree.h"

enum {
  NODES = 300
};

#define BASE ((uintptr_t)0x100000000000)

static hak_superslab_t g_nodes[NODES]; /* by address */
static bool g_in[NODES];
static hak_superslab_t *g_root;

static char *address_of(size_t i) { return (char *)(BASE + i * HAK_SUPERSLAB_SIZE); }

static void begin(void) {
  g_root = NULL;
  for (size_t i = 0; i < NODES; i++) {
    g_nodes[i].extent.base = address_of(i);
    g_nodes[i].run = g_nodes[i].tree_run = 0;
    g_nodes[i].left = g_nodes[i].right = NULL;
    g_in[i] = false;
  }
}

static void insert(size_t i, unsigned run) {
  g_nodes[i].run = run;
  g_root = hak_tree_insert(g_root, &g_nodes[i]);
  g_in[i] = true;
}

static void erase(size_t i) {
  g_root = hak_tree_erase(g_root, &g_nodes[i]);
  g_in[i] = false;
}

/* The lowest from `from` on with so long a run, or NULL. */
static hak_superslab_t *lowest(size_t from, unsigned run) {
  for (size_t i = from; i < NODES; i++) {
    if (g_in[i] && g_nodes[i].run >= run) return &g_nodes[i];
  }
  return NULL;
}

/* Nodes of a subtree, all between two addresses; what each says of its own is true. */
static size_t count(const hak_superslab_t *node, const char *low, const char *high,
                    unsigned depth, unsigned *deepest) {
  if (node == NULL) return 0;
  if (depth > *deepest) *deepest = depth;
  CHECK(node->extent.base >= low && node->extent.base < high);
  uint32_t most = node->run, left = hak_tree_run(node->left);
  uint32_t right = hak_tree_run(node->right);
  if (left > most) most = left;
  if (right > most) most = right;
  CHECK_EQ(node->tree_run, most);
  return 1 + count(node->left, low, node->extent.base, depth + 1, deepest) +
         count(node->right, node->extent.base + 1, high, depth + 1, deepest);
}

/* Returns how deep the tree is. */
static unsigned check_all(void) {
  unsigned deepest = 0;
  size_t in = 0;
  for (size_t i = 0; i < NODES; i++) in += g_in[i];
  CHECK_EQ(count(g_root, address_of(0), address_of(NODES), 1, &deepest), in);
  for (unsigned run = 1; run <= HAK_SUPERSLAB_SLABS; run++) {
    CHECK(hak_tree_lowest(g_root, run) == lowest(0, run));
  }
  return deepest;
}

static void lowest__is_the_first_by_address_whose_run_is_long_enough(void **state) {
  (void)state;
  begin();
  insert(7, 32);
  insert(2, 4);
  insert(5, 8);
  CHECK(hak_tree_lowest(g_root, 1) == &g_nodes[2]);
  CHECK(hak_tree_lowest(g_root, 4) == &g_nodes[2]);
  CHECK(hak_tree_lowest(g_root, 5) == &g_nodes[5]);
  CHECK(hak_tree_lowest(g_root, 9) == &g_nodes[7]);
  erase(7);
  CHECK(hak_tree_lowest(g_root, 9) == NULL);
  erase(2);
  erase(5);
  CHECK(g_root == NULL && hak_tree_lowest(g_root, 1) == NULL);
}

static void above__is_the_next_by_address_and_never_the_same(void **state) {
  (void)state;
  begin();
  CHECK(hak_tree_above(g_root, NULL) == NULL);
  insert(3, 0);
  insert(9, 0);
  CHECK(hak_tree_above(g_root, NULL) == &g_nodes[3]);
  CHECK(hak_tree_above(g_root, address_of(3) - 1) == &g_nodes[3]);
  CHECK(hak_tree_above(g_root, address_of(3)) == &g_nodes[9]);
  CHECK(hak_tree_above(g_root, address_of(9)) == NULL);
}

static void refresh__brings_a_changed_run_up_to_the_root(void **state) {
  (void)state;
  begin();
  for (size_t i = 0; i < NODES; i++) insert(i, 1);
  for (size_t i = 0; i < NODES; i += 7) {
    g_nodes[i].run = 20;
    hak_tree_refresh(g_root, &g_nodes[i]);
    CHECK(hak_tree_lowest(g_root, 20) == &g_nodes[i]);
    g_nodes[i].run = 0;
    hak_tree_refresh(g_root, &g_nodes[i]);
    CHECK(hak_tree_lowest(g_root, 2) == NULL);
  }
  check_all();
}

static void merge__of_two_trees_has_the_nodes_of_both(void **state) {
  (void)state;
  begin();
  for (size_t i = 0; i < NODES / 2; i++) insert(i, (unsigned)i % 32 + 1);
  hak_superslab_t *low = g_root;
  g_root = NULL;
  for (size_t i = NODES / 2; i < NODES; i++) insert(i, (unsigned)i % 32 + 1);
  g_root = hak_tree_merge(low, g_root);
  check_all();
  CHECK(hak_tree_merge(g_root, NULL) == g_root);
  CHECK(hak_tree_merge(NULL, g_root) == g_root);
}

static void tree__stays_shallow_when_all_come_in_order(void **state) {
  (void)state;
  begin();
  for (size_t i = 0; i < NODES; i++) insert(i, 1);
  CHECK(check_all() < 32); /* about 2 ln 300 are 11; a list would have 300 */
}

static void changes__in_any_order_agree_with_a_list(void **state) {
  (void)state;
  begin();
  test_rng_t rng = test_rng(test_seed(), 1);
  for (size_t n = 0; n < test_scale(6000); n++) {
    size_t i = (size_t)test_below(&rng, NODES);
    unsigned run = (unsigned)test_below(&rng, HAK_SUPERSLAB_SLABS + 1);
    if (!g_in[i]) {
      insert(i, run);
    } else if (test_below(&rng, 2) == 0) {
      erase(i);
    } else {
      g_nodes[i].run = run;
      hak_tree_refresh(g_root, &g_nodes[i]);
    }
    size_t at = (size_t)test_below(&rng, NODES);
    size_t next = at + 1;
    while (next < NODES && !g_in[next]) next++;
    CHECK(hak_tree_above(g_root, address_of(at)) ==
          (next < NODES ? &g_nodes[next] : NULL));
    if (n % 100 == 0) check_all();
  }
  check_all();
}

TEST_MAIN(T(lowest__is_the_first_by_address_whose_run_is_long_enough),
          T(above__is_the_next_by_address_and_never_the_same),
          T(refresh__brings_a_changed_run_up_to_the_root),
          T(merge__of_two_trees_has_the_nodes_of_both),
          T(tree__stays_shallow_when_all_come_in_order),
          T(changes__in_any_order_agree_with_a_list))
