#include "os/turn.h"

static void note(hak_turn_t *turn) { hak_store_relaxed(&turn->holder, &hak_os_scope); }

bool hak_turn_take(hak_turn_t *turn) {
  if (hak_turn_is_mine(turn)) return false;
  hak_lease_take(&turn->lease);
  note(turn);
  return true;
}

bool hak_turn_try(hak_turn_t *turn) {
  if (!hak_lease_try(&turn->lease)) return false;
  note(turn);
  return true;
}

void hak_turn_give(hak_turn_t *turn, bool taken) {
  if (!taken) return;
  hak_store_relaxed(&turn->holder, NULL);
  hak_lease_give(&turn->lease);
}

void hak_turn_forget_others(hak_turn_t *turn) {
  if (hak_turn_is_mine(turn)) return;
  hak_store_relaxed(&turn->holder, NULL);
  hak_lease_reset(&turn->lease);
}
