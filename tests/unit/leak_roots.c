/* leak_roots.c - under LeakSanitizer what only a block of ours points at is not
 * leaked: the process ends well. Without it the tests say no more than that the
 * blocks work. */
#include "support.h"

#include <stdlib.h>

#include <hakmem/hakmem.h>

static void ***g_small, ***g_large;

static void blocks__keep_what_only_they_point_at(void **state) {
  (void)state;
  g_small = hak_alloc(64);
  g_large = hak_alloc(5 << 20);
  *g_small = malloc(64);
  *g_large = malloc(64);
  **g_small = malloc(100); /* reached through two steps */
  **g_large = NULL;
  CHECK(*g_small != NULL && *g_large != NULL && **g_small != NULL);
}

TEST_MAIN(T(blocks__keep_what_only_they_point_at))
