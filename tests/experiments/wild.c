/* wild.c - values that cannot be blocks, given to each function that takes one. Fine
 * means that the function said no, or nothing. */
#include "experiments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t values[] = {
    1,
    0x1000,
    0x0000800000000000u, /* the first that no page can have */
    0x8000000000000000u,
    0xdeadbeefdeadbee0u,
    0xfffffffffffffff0u};
static const char *const functions[] = {"free", "realloc", "usable"};

static void list(void) {
  for (size_t f = 0; f < COUNT(functions); f++) {
    for (size_t v = 0; v < COUNT(values); v++) {
      say_case("wild/%s/%llx", functions[f], (unsigned long long)values[v]);
    }
  }
}

static void run(const char *which) {
  const char *slash = strchr(which, '/');
  if (slash == NULL) return;
  void *value = (void *)(uintptr_t)strtoull(slash + 1, NULL, 16);
  face_free(face_alloc(100));
  switch (which[0]) {
    case 'f':
      face_free(value);
      break;
    case 'r':
      if (face_realloc(value, 100) != NULL) end(WRONG, "a block was resized");
      break;
    default:
      if (face_usable(value) != 0) end(WRONG, "it has a size");
  }
  face_free(face_alloc(100));
  end(FINE, "nothing came of it");
}

const experiment_t exp_wild = {"wild", list, run};
