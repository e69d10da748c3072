#include "base/readers.h"

uint64_t hak_readers_enter(hak_readers_t *readers) {
  for (;;) {
    uint32_t turn = hak_load_relaxed(&readers->turn);
    /* Acquire: pairs with is_empty, which each turn began with; what was said before is
     * seen, and which turn it is. */
    hak_add_acquire(&readers->count[turn % 2], 1);
    if (hak_load_relaxed(&readers->turn) == turn) {
      return hak_sys_process() << 1 | turn % 2;
    }
    hak_sub_relaxed(&readers->count[turn % 2], 1);
  }
}

void hak_readers_leave(hak_readers_t *readers, uint64_t entered) {
  if (entered >> 1 != hak_sys_process()) return;
  /* Release: pairs with is_empty; the reader looks no more. */
  hak_sub_release(&readers->count[entered % 2], 1);
}

/* A change and no load, so that it comes before or after each entry. */
static bool is_empty(hak_atomic_u32_t *count) {
  /* Release: pairs with hak_readers_enter. */
  hak_or_release(count, 0);
  /* Acquire: pairs with hak_readers_leave. */
  return hak_load_acquire(count) == 0;
}

bool hak_readers_none(hak_readers_t *readers) {
  return is_empty(&readers->count[0]) && is_empty(&readers->count[1]);
}

/* Who came in the turn before this one is counted where the next one's will be. Who read
 * before that which turn it is, and is not counted yet, then sees that it is another. */
uint32_t hak_readers_turn(hak_readers_t *readers) {
  uint32_t turn = hak_load_relaxed(&readers->turn);
  for (int i = 0; i < HAK_READERS_TURNS; i++) {
    if (!is_empty(&readers->count[(turn + 1) % 2])) break;
    hak_store_relaxed(&readers->turn, ++turn);
  }
  return turn;
}

void hak_readers_reset(hak_readers_t *readers) {
  hak_store_relaxed(&readers->count[0], 0);
  hak_store_relaxed(&readers->count[1], 0);
}
