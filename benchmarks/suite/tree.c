/* tree.c - binary trees, built, walked and freed.
 *
 * Measures the time of each phase, by node: the median of several trees, and
 * `build1`, the first one, for which memory must come from the system. The walk
 * shows how near to each other an allocator puts blocks that are used together.
 * Each node is written and read.
 */
#include <stdio.h>
#include <stdlib.h>

#include "suite/groups.h"

typedef struct node {
  struct node *left, *right;
} node_t;

typedef struct forest {
  uint64_t random;
  uint32_t low, high;
} forest_t;

static node_t *build(forest_t *forest, uint32_t depth) {
  node_t *node = bench_alloc(bench_range(&forest->random, forest->low, forest->high));
  node->left = depth > 0 ? build(forest, depth - 1) : NULL;
  node->right = depth > 0 ? build(forest, depth - 1) : NULL;
  return node;
}

static uint64_t walk(const node_t *node) {
  if (node == NULL) return 0;
  return 1 + walk(node->left) + walk(node->right);
}

static void destroy(node_t *node) {
  if (node == NULL) return;
  destroy(node->left);
  destroy(node->right);
  bench_free(node);
}

/* The variant is the depth. */
static void run_tree(const suite_workload_t *self) {
  enum {
    MOST = 10000,
    COLD = 2 /* trees that are not in the medians */
  };
  static double built[MOST], walked[MOST], freed[MOST];
  uint32_t rounds = suite_rounds(self->operations, COLD + 1);
  if (rounds > MOST) rounds = MOST;
  uint64_t nodes = (2ull << self->variant) - 1;
  forest_t forest = {bench_seed(0), self->low, self->high};
  for (uint32_t i = 0; i < rounds; i++) {
    double start = suite_now();
    node_t *root = build(&forest, self->variant);
    double end_of_build = suite_now();
    uint64_t count = walk(root);
    double end_of_walk = suite_now();
    destroy(root);
    freed[i] = suite_now() - end_of_walk;
    walked[i] = end_of_walk - end_of_build;
    built[i] = end_of_build - start;
    if (count != nodes) {
      fprintf(stderr, "the tree has %llu nodes\n", (unsigned long long)count);
      exit(1);
    }
  }
  suite_time("build1", built[0], (double)nodes);
  suite_time("build", suite_median(built + COLD, rounds - COLD), (double)nodes);
  suite_time("walk", suite_median(walked + COLD, rounds - COLD), (double)nodes);
  suite_time("free", suite_median(freed + COLD, rounds - COLD), (double)nodes);
}

static const suite_workload_t workloads[] = {
    {.name = "tree_11",
     .what = "trees of 4,095 nodes of 32 bytes",
     .run = run_tree,
     .operations = 4000,
     .low = 32,
     .high = 32,
     .variant = 11},
    {.name = "tree_16",
     .what = "trees of 131,071 nodes of 32 bytes",
     .run = run_tree,
     .operations = 150,
     .low = 32,
     .high = 32,
     .variant = 16},
    {.name = "tree_19",
     .what = "trees of a million nodes of 32 bytes",
     .run = run_tree,
     .operations = 20,
     .low = 32,
     .high = 32,
     .variant = 19},
    {.name = "tree_11_mixed",
     .what = "trees of 4,095 nodes of 16 to 128 bytes",
     .run = run_tree,
     .operations = 3000,
     .low = 16,
     .high = 128,
     .variant = 11},
    {.name = "tree_16_mixed",
     .what = "trees of 131,071 nodes of 16 to 128 bytes",
     .run = run_tree,
     .operations = 80,
     .low = 16,
     .high = 128,
     .variant = 16},
    {.name = "tree_19_mixed",
     .what = "trees of a million nodes of 16 to 128 bytes",
     .run = run_tree,
     .operations = 9,
     .low = 16,
     .high = 128,
     .variant = 19},
};

const suite_group_t suite_tree = SUITE_GROUP("tree", workloads);
