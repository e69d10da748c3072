/* guide.h - which list takes the blocks of a 64 KiB unit, for bins that belong to a
 * heap and not to a thread.
 *
 * Depends on: base, slab.   Used by: hold, heap, api.
 *
 * Registry entries name a list by its distance from the freeing thread's state; they
 * cannot name that of a heap which has bins of its own. A guide remembers for such a
 * heap what the registry said at some length: a table by the unit's lowest bits, in
 * which units far apart take each other's places. Whatever 64-bit value is looked up,
 * a place serves it only if it holds the value's very unit.
 *
 * Access: by who has the heap.
 */
#ifndef HAK_TINY_GUIDE_H
#define HAK_TINY_GUIDE_H

#include "base/compiler.h"
#include "superslab/slab.h"

/* Enough for 64 MiB in one piece; places that are not used take no memory. */
enum {
  HAK_GUIDE_PLACES = 1024
};

typedef struct hak_guide {
  struct {
    uintptr_t unit;   /* an address >> HAK_SLAB_SHIFT; one of another place: none */
    hak_list_t *list; /* with blocks of the unit */
  } places[HAK_GUIDE_PLACES];
} hak_guide_t;

HAK_HOT uintptr_t hak_guide_unit(const void *block) {
  return (uintptr_t)block >> HAK_SLAB_SHIFT;
}

/* True if the guide does not know the block's unit; else the list. */
HAK_HOT bool hak_guide_misses(const hak_guide_t *guide, const void *block,
                              hak_list_t **list) {
  uintptr_t unit = hak_guide_unit(block);
  *list = guide->places[unit % HAK_GUIDE_PLACES].list;
  return guide->places[unit % HAK_GUIDE_PLACES].unit != unit;
}

HAK_HOT void hak_guide_learn(hak_guide_t *guide, const void *block, hak_list_t *list) {
  uintptr_t unit = hak_guide_unit(block);
  guide->places[unit % HAK_GUIDE_PLACES].unit = unit;
  guide->places[unit % HAK_GUIDE_PLACES].list = list;
}

HAK_HOT void hak_guide_clear_place(hak_guide_t *guide, uintptr_t place) {
  guide->places[place].unit = place + 1;
}

/* Of `count` units from an address on, those that are known have another list. */
HAK_HOT void hak_guide_turn(hak_guide_t *guide, const void *address, size_t count,
                            hak_list_t *list) {
  uintptr_t unit = hak_guide_unit(address);
  for (; count > 0; count--, unit++) {
    uintptr_t place = unit % HAK_GUIDE_PLACES;
    if (guide->places[place].unit == unit) guide->places[place].list = list;
  }
}

/* They have none any more. */
HAK_HOT void hak_guide_forget(hak_guide_t *guide, const void *address, size_t count) {
  uintptr_t unit = hak_guide_unit(address);
  for (; count > 0; count--, unit++) {
    uintptr_t place = unit % HAK_GUIDE_PLACES;
    if (guide->places[place].unit == unit) hak_guide_clear_place(guide, place);
  }
}

/* Zeroed memory is a guide but for one place: unit 0 is its own. */
HAK_HOT void hak_guide_begin(hak_guide_t *guide) { hak_guide_clear_place(guide, 0); }
/* Forgets everything, and writes only where there was something. */
HAK_HOT void hak_guide_clear(hak_guide_t *guide) {
  for (uintptr_t i = 0; i < HAK_GUIDE_PLACES; i++) {
    uintptr_t unit = guide->places[i].unit;
    if (unit != 0 && unit % HAK_GUIDE_PLACES == i) hak_guide_clear_place(guide, i);
  }
}

#endif
