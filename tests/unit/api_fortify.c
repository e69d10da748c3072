/* api_fortify.c - blocks whose usable bytes are all written, in a program whose accesses
 * the compiler checks (_FORTIFY_SOURCE). Each block is written to where the call that
 * gave it is seen; a write beyond what the compiler takes for its end aborts. */
#undef HAK_NO_ATTRIBUTES
#include "support.h"

#include <string.h>

#include <hakmem/je.h>

static void alloc_usable__gives_a_block_that_may_be_filled(void **state) {
  (void)state;
  size_t usable;
  char *block = hak_alloc_usable(100, &usable);
  CHECK(block != NULL && usable >= 100);
  memset(block, 1, usable);
  hak_free(block);
  block = hak_alloc_usable(100000, &usable);
  CHECK(block != NULL && usable >= 100000);
  memset(block, 1, usable);
  CHECK_EQ(block[usable - 1], 1);
  hak_free(block);
}

static void no_move__gives_the_block_that_has_grown(void **state) {
  (void)state;
  char *block = hak_alloc(3 * MIB);
  CHECK(block != NULL);
  char *grown = hak_reallocx(NULL, block, 4 * MIB, 0, HAK_NO_MOVE, NULL);
  if (grown != NULL) memset(grown, 1, 4 * MIB);
  hak_free(grown != NULL ? grown : block);
}

static void mallocx__gives_blocks_that_may_be_filled(void **state) {
  (void)state;
  char *block = mallocx(100, 0);
  CHECK(block != NULL);
  memset(block, 1, sallocx(block, 0));
  block = rallocx(block, 1000, 0);
  CHECK(block != NULL);
  memset(block, 1, sallocx(block, 0));
  block = rallocx(block, 3 * MIB, 0);
  CHECK(block != NULL);
  size_t now = xallocx(block, 4 * MIB, 0, MALLOCX_ZERO);
  memset(block, 1, now);
  dallocx(block, 0);
}

TEST_MAIN(T(alloc_usable__gives_a_block_that_may_be_filled),
          T(no_move__gives_the_block_that_has_grown),
          T(mallocx__gives_blocks_that_may_be_filled))
