/* sharing.c - which locations threads share. A step at a location that only one thread
 * touches, or that nobody writes, depends on no other thread's: it needs no choice of who
 * goes next. What is shared is learnt from executions; where a search has learnt of more,
 * it begins anew.
 */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

enum {
  BITS = 17,
  ENTRIES = 1 << BITS
};

typedef struct entry {
  uintptr_t address;
  uint8_t threads; /* that touched it, a bit each */
  bool written, is_step;
} entry_t;

static struct sharing {
  entry_t table[ENTRIES];
  uint32_t used;
  bool grew; /* something is shared that is no step yet */
} * sharing;

void sharing_start(void) {
  sharing = calloc(1, sizeof *sharing);
  if (sharing == NULL) abort();
}

void sharing_forget(void) { memset(sharing, 0, sizeof *sharing); }

static entry_t *entry_of(uintptr_t address) {
  size_t at = (address * 0x9e3779b97f4a7c15u) >> (64 - BITS);
  while (sharing->table[at].address != address && sharing->table[at].address != 0) {
    at = (at + 1) % ENTRIES;
  }
  entry_t *entry = &sharing->table[at];
  if (entry->address == 0) {
    if (sharing->used == ENTRIES / 4 * 3) failed("a scenario has too many locations");
    sharing->used++;
    entry->address = address;
  }
  return entry;
}

static bool is_shared(const entry_t *entry) {
  return entry->written && (entry->threads & (entry->threads - 1)) != 0;
}

bool sharing_is_step(uintptr_t address, bool writes) {
  entry_t *entry = entry_of(address);
  entry->threads |= (uint8_t)(1u << g->current->number);
  entry->written |= writes;
  if (!entry->is_step && is_shared(entry)) sharing->grew = true;
  return entry->is_step;
}

bool sharing_grew(void) { return sharing->grew; }

void sharing_adopt(void) {
  sharing->grew = false;
  for (size_t i = 0; i < ENTRIES; i++) {
    entry_t *entry = &sharing->table[i];
    if (entry->address != 0) entry->is_step = is_shared(entry);
  }
}
