/* zeroes.c - calloc where other blocks were: at once, after free memory went back to the
 * system, and where another thread freed them. */
#include "experiments.h"

#include <stdlib.h>
#include <string.h>

enum {
  BLOCKS = 64
};

static block_t blocks[BLOCKS];

static void *free_all(void *nothing) {
  for (size_t i = 0; i < BLOCKS; i++) face_free(blocks[i].at);
  return nothing;
}

static void list(void) {
  say_case("zeroes/at_once");
  say_case("zeroes/purged");
  say_case("zeroes/elsewhere");
}

static void run(const char *which) {
  for (size_t size = 8; size <= 8 * MIB; size += size / 4 + 1) {
    size_t count = size > MIB ? 4 : BLOCKS;
    memset(blocks, 0, sizeof blocks);
    for (size_t i = 0; i < count; i++) {
      blocks[i].at = face_alloc(size);
      if (blocks[i].at == NULL) end(REFUSED, "no memory");
      memset(blocks[i].at, 0xff, size);
    }
    if (which[0] == 'e') {
      elsewhere(free_all, NULL);
    } else {
      free_all(NULL);
    }
    if (which[0] == 'p') face_collect();
    for (size_t i = 0; i < count; i++) {
      char *at = blocks[i].at = face_calloc(1, size);
      if (at == NULL) end(REFUSED, "no memory");
      if (at[0] != 0 || memcmp(at, at + 1, size - 1) != 0) {
        end(DAMAGE, "calloc of %zu bytes gave what is not zero", size);
      }
    }
    free_all(NULL);
  }
  end(FINE, "all zero");
}

const experiment_t exp_zeroes = {"zeroes", list, run};
