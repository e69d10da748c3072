/* mappings.c - 4 GiB of blocks of all sizes that come and go: how many mappings the
 * process has at most, of the 65,530 that the kernel allows. */
#include "experiments.h"

#include <stdlib.h>

enum {
  SLOTS = 4096
};

static block_t slots[SLOTS];

static size_t size_for(uint64_t random) {
  size_t kind = random % 100, more = (size_t)(random >> 16);
  if (kind < 2) return MIB + more % (7 * MIB);
  if (kind < 15) return 32 * KIB + more % (224 * KIB);
  if (kind < 50) return KIB + more % (31 * KIB);
  return 16 + more % KIB;
}

static void list(void) { say_case("mappings"); }

static void run(const char *which) {
  (void)which;
  uint64_t state = 1;
  size_t left = (size_t)(exp_is_brief ? 512 : 4096) * MIB, most = 0, before = mappings();
  for (size_t step = 0; left > 0; step++) {
    uint64_t random = random_next(&state);
    /* Large blocks in few places, so that some 200 MiB live at once. */
    size_t size = size_for(random), place = random_next(&state) % SLOTS;
    if (size > 32 * KIB) place %= SLOTS / 8;
    if (size >= MIB) place %= 16;
    face_free(slots[place].at);
    slots[place] = (block_t){face_alloc(size), size, step};
    if (slots[place].at == NULL) end(REFUSED, "no memory");
    block_fill(slots[place]);
    left -= size < left ? size : left;
    if (step % 2000 == 0) {
      size_t now = mappings();
      most = now > most ? now : most;
    }
  }
  end_with((double)(most - (before < most ? before : most)), "mappings");
}

const experiment_t exp_mappings = {"mappings", list, run};
