/* lookup_cache.h - which list takes the blocks of a slab, for bins that belong to a heap
 * and not to a thread.
 *
 * Depends on: base, superslab.   Used by: tiny, heap, api.
 *
 * Registry entries name a list by its distance from the freeing thread's state; they
 * cannot name a list of a heap which has bins of its own. For such a heap, a lookup cache
 * remembers which list each slab's blocks go to, because finding out from the registry
 * takes longer. It is a table by the lowest bits of the slab's number, which is its
 * address in slabs; slabs far apart take each other's places. Any 64-bit value may be
 * looked up: a place answers only if it holds the number of the very slab.
 *
 * Access:  see base/lock.h
 */
#ifndef HAK_TINY_LOOKUP_CACHE_H
#define HAK_TINY_LOOKUP_CACHE_H

#include "base/compiler.h"
#include "superslab/slab.h"

/* So many places are enough for 64 MiB in one piece. OS pages of them that are not used
 * take no memory. */
enum {
  HAK_LOOKUP_PLACES = 1024
};

typedef struct hak_lookup {
  struct {
    /* [owner: who has the heap] both */
    uintptr_t number; /* of a slab; a number that belongs to another place: none */
    hak_list_t *list; /* where freed blocks of the slab go */
  } places[HAK_LOOKUP_PLACES];
} hak_lookup_t;

/* The number of the slab that an address lies in. */
HAK_HOT uintptr_t hak_lookup_slab_number(const void *block) {
  return (uintptr_t)block >> HAK_SLAB_SHIFT;
}

/* True if the lookup cache does not know the block's slab; else *list is its list. */
HAK_HOT bool hak_lookup_misses(const hak_lookup_t *lookup, const void *block,
                               hak_list_t **list) {
  uintptr_t number = hak_lookup_slab_number(block);
  *list = lookup->places[number % HAK_LOOKUP_PLACES].list;
  return lookup->places[number % HAK_LOOKUP_PLACES].number != number;
}

/* Remembers the list for the block's slab. */
HAK_HOT void hak_lookup_learn(hak_lookup_t *lookup, const void *block, hak_list_t *list) {
  uintptr_t number = hak_lookup_slab_number(block);
  lookup->places[number % HAK_LOOKUP_PLACES].number = number;
  lookup->places[number % HAK_LOOKUP_PLACES].list = list;
}

/* Makes a place answer for no slab. */
HAK_HOT void hak_lookup_clear_place(hak_lookup_t *lookup, uintptr_t place) {
  lookup->places[place].number = place + 1;
}

/* Sets another list for those of `count` slabs, from an address on, that are known. */
HAK_HOT void hak_lookup_redirect(hak_lookup_t *lookup, const void *address, size_t count,
                                 hak_list_t *list) {
  uintptr_t number = hak_lookup_slab_number(address);
  for (; count > 0; count--, number++) {
    uintptr_t place = number % HAK_LOOKUP_PLACES;
    if (lookup->places[place].number == number) lookup->places[place].list = list;
  }
}

/* Forgets those of `count` slabs, from an address on, that are known. */
HAK_HOT void hak_lookup_forget(hak_lookup_t *lookup, const void *address, size_t count) {
  uintptr_t number = hak_lookup_slab_number(address);
  for (; count > 0; count--, number++) {
    uintptr_t place = number % HAK_LOOKUP_PLACES;
    if (lookup->places[place].number == number) hak_lookup_clear_place(lookup, place);
  }
}

/* Makes a lookup cache of zeroed memory. Only place 0 needs work: number 0 belongs there,
 * so zeroes would answer for slab 0. */
HAK_HOT void hak_lookup_begin(hak_lookup_t *lookup) { hak_lookup_clear_place(lookup, 0); }
/* Forgets everything, and writes only where there was something. */
HAK_HOT void hak_lookup_clear(hak_lookup_t *lookup) {
  for (uintptr_t i = 0; i < HAK_LOOKUP_PLACES; i++) {
    uintptr_t number = lookup->places[i].number;
    if (number != 0 && number % HAK_LOOKUP_PLACES == i) hak_lookup_clear_place(lookup, i);
  }
}

#endif
