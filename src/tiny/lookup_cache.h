/* lookup_cache.h - which list takes the blocks of a 64 KiB unit, for bins that belong to
 * a heap and not to a thread.
 *
 * Depends on: base, superslab.   Used by: tiny, heap, api.
 *
 * Registry entries name a list by its distance from the freeing thread's state; they
 * cannot name that of a heap which has bins of its own. A lookup cache remembers for such
 * a heap what the registry said at some length: a table by the unit's lowest bits, in
 * which units far apart take each other's places. Whatever 64-bit value is looked up,
 * a place serves it only if it holds the value's very unit.
 *
 * Access: by who has the heap.
 */
#ifndef HAK_TINY_LOOKUP_CACHE_H
#define HAK_TINY_LOOKUP_CACHE_H

#include "base/compiler.h"
#include "superslab/slab.h"

/* Enough for 64 MiB in one piece; places that are not used take no memory. */
enum {
  HAK_LOOKUP_PLACES = 1024
};

typedef struct hak_lookup {
  struct {
    uintptr_t unit;   /* an address >> HAK_SLAB_SHIFT; one of another place: none */
    hak_list_t *list; /* with blocks of the unit */
  } places[HAK_LOOKUP_PLACES];
} hak_lookup_t;

HAK_HOT uintptr_t hak_lookup_unit(const void *block) {
  return (uintptr_t)block >> HAK_SLAB_SHIFT;
}

/* True if the lookup cache does not know the block's unit; else the list. */
HAK_HOT bool hak_lookup_misses(const hak_lookup_t *lookup, const void *block,
                               hak_list_t **list) {
  uintptr_t unit = hak_lookup_unit(block);
  *list = lookup->places[unit % HAK_LOOKUP_PLACES].list;
  return lookup->places[unit % HAK_LOOKUP_PLACES].unit != unit;
}

HAK_HOT void hak_lookup_learn(hak_lookup_t *lookup, const void *block, hak_list_t *list) {
  uintptr_t unit = hak_lookup_unit(block);
  lookup->places[unit % HAK_LOOKUP_PLACES].unit = unit;
  lookup->places[unit % HAK_LOOKUP_PLACES].list = list;
}

HAK_HOT void hak_lookup_clear_place(hak_lookup_t *lookup, uintptr_t place) {
  lookup->places[place].unit = place + 1;
}

/* Of `count` units from an address on, those that are known have another list. */
HAK_HOT void hak_lookup_redirect(hak_lookup_t *lookup, const void *address, size_t count,
                                 hak_list_t *list) {
  uintptr_t unit = hak_lookup_unit(address);
  for (; count > 0; count--, unit++) {
    uintptr_t place = unit % HAK_LOOKUP_PLACES;
    if (lookup->places[place].unit == unit) lookup->places[place].list = list;
  }
}

/* They have none any more. */
HAK_HOT void hak_lookup_forget(hak_lookup_t *lookup, const void *address, size_t count) {
  uintptr_t unit = hak_lookup_unit(address);
  for (; count > 0; count--, unit++) {
    uintptr_t place = unit % HAK_LOOKUP_PLACES;
    if (lookup->places[place].unit == unit) hak_lookup_clear_place(lookup, place);
  }
}

/* Zeroed memory is a lookup cache but for one place: unit 0 is its own. */
HAK_HOT void hak_lookup_begin(hak_lookup_t *lookup) { hak_lookup_clear_place(lookup, 0); }
/* Forgets everything, and writes only where there was something. */
HAK_HOT void hak_lookup_clear(hak_lookup_t *lookup) {
  for (uintptr_t i = 0; i < HAK_LOOKUP_PLACES; i++) {
    uintptr_t unit = lookup->places[i].unit;
    if (unit != 0 && unit % HAK_LOOKUP_PLACES == i) hak_lookup_clear_place(lookup, i);
  }
}

#endif
