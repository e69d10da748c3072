#include "tiny/capacity.h"

#include "base/option.h"
#include "tiny/spill.h"

static uint32_t least_capacity(uint32_t cls) {
  uint32_t most = (uint32_t)hak_option(BIN_BLOCKS);
  uint32_t least = (uint32_t)hak_option(BIN_BLOCKS_MIN);
  uint32_t blocks = (uint32_t)hak_option(BIN_BYTES) / hak_class_size(cls);
  if (blocks > most) blocks = most;
  return blocks > least ? blocks : least;
}

void hak_capacity_reset(hak_thread_t *me, uint32_t cls) {
  hak_bin_t *bin = &me->bins[cls];
  hak_hold_t *hold = &me->holds[cls];
  uint32_t blocks = least_capacity(cls);
  if (bin->capacity > hold->capacity_least) {
    me->grown -= (uint64_t)(bin->capacity - hold->capacity_least) * hak_class_size(cls);
  }
  hold->capacity_least = blocks;
  hold->taken = 0;
  hold->seen = 0;
  bin->capacity = (uint16_t)blocks;
  hak_bin_set_room(bin, blocks);
}

uint32_t hak_capacity_grow(hak_thread_t *me, uint32_t cls) {
  hak_bin_t *bin = &me->bins[cls];
  hak_hold_t *hold = &me->holds[cls];
  uint32_t taken = hold->taken, most = (uint32_t)hak_option(BIN_GROWTH_BLOCKS);
  hold->taken = 0;
  if (taken == 0 || taken > most || bin->capacity >= most) return 0;
  uint32_t more = taken / 2 + 1, room = most - bin->capacity;
  if (more > room) more = room;
  uint64_t bytes = (uint64_t)more * hak_class_size(cls);
  if (me->grown + bytes > (uint64_t)hak_option(BIN_GROWTH_BYTES)) return 0;
  me->grown += bytes;
  bin->capacity = (uint16_t)(bin->capacity + more);
  return more;
}

/* Changes with every push, pop and refill, but for those that undo each other. */
static uint64_t now_seen(hak_bin_t *bin, uint32_t given) {
  return hak_mix64((uintptr_t)bin->ready) ^ (uintptr_t)bin->list.head ^
         (uint64_t)(uint32_t)hak_load_relaxed(&bin->list.room) ^ (uint64_t)given << 32;
}

HAK_SLOW void hak_capacity_look_slow(hak_thread_t *me) {
  uint32_t cls = me->looks / 16 % HAK_CLASSES;
  hak_bin_t *bin = &me->bins[cls];
  hak_hold_t *hold = &me->holds[cls];
  if (bin->capacity <= hold->capacity_least) return;
  uint64_t seen = now_seen(bin, hold->given);
  if (seen != hold->seen) {
    hold->seen = seen;
    return;
  }
  hak_spill_bin(me, cls);
  hak_capacity_reset(me, cls);
}
