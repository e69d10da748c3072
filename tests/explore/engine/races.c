/* races.c - the accesses of the compiled code that are not atomic. The compiler's
 * instrumentation for ThreadSanitizer calls the functions below; the runtime that they
 * usually belong to is not linked. Two accesses of which one writes, one is not atomic,
 * and neither happened before the other are a race.
 */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

enum {
  BITS = 17,
  GRANULES = 1 << BITS, /* of 8 bytes, that an execution may touch: most of the table */
  KINDS = 5,
  LARGE_RANGE = 1024, /* bytes; smaller ones are written one by one */
  RANGES = 256        /* written or reserved as a whole, in an execution */
};

typedef struct granule {
  uintptr_t key;
  uint32_t execution;
  uint16_t location[8]; /* by the byte that it begins at, from 1 on */
  uint16_t last[KINDS][THREADS][8];
} granule_t;

/* What a thread has written, or reserved, as a whole. */
typedef struct range {
  uintptr_t from, to;
  uint32_t thread, clock;
  bool reserved;
} range_t;

typedef struct races {
  granule_t table[GRANULES];
  granule_t *touched[GRANULES];
  uint32_t execution, used;
  range_t range[RANGES];
  uint32_t ranges;
} races_t;

static races_t *r;

void races_start(void) {
  r = calloc(1, sizeof *r);
  if (r == NULL) abort();
}

void races_begin(void) {
  r->execution++;
  r->used = r->ranges = 0;
  g->locations = 0;
}

/* A granule that nobody has touched alone was perhaps written as part of a range. */
static void granule_begin(granule_t *granule, uintptr_t key) {
  memset(granule, 0, sizeof *granule);
  granule->key = key;
  granule->execution = r->execution;
  for (uint32_t i = 0; i < r->ranges; i++) {
    const range_t *range = &r->range[i];
    if (key * 8 < range->from || key * 8 >= range->to) continue;
    uint16_t *last =
        granule->last[range->reserved ? RESERVED : PLAIN_WRITE][range->thread];
    for (int byte = 0; byte < 8; byte++) last[byte] = (uint16_t)range->clock;
  }
}

static granule_t *granule_of(uintptr_t address) {
  uintptr_t key = address >> 3;
  size_t at = (key * 0x9e3779b97f4a7c15u) >> (64 - BITS);
  for (;; at = (at + 1) % GRANULES) {
    granule_t *granule = &r->table[at];
    if (granule->execution == r->execution) {
      if (granule->key == key) return granule;
      continue;
    }
    if (r->used == GRANULES / 4 * 3) failed("an execution touches too much memory");
    r->touched[r->used++] = granule;
    granule_begin(granule, key);
    return granule;
  }
}

uint32_t race_location(uintptr_t address, uint32_t size) {
  granule_t *granule = granule_of(address);
  uint16_t *at = &granule->location[address & 7];
  if (*at != 0) return *at - 1u;
  if (g->locations == LOCATIONS) failed("an execution has too many locations");
  uint32_t number = g->locations++;
  *at = (uint16_t)(number + 1);
  location_t *location = &g->location[number];
  location->address = address;
  location->size = size;
  location->count = 0;
  location->last_write = 0;
  memset(location->last_read, 0, sizeof location->last_read);
  for (unsigned i = 0; i < g->threads; i++) g->thread[i].view[number] = 0;
  if (location->room == 0) {
    location->room = 16;
    location->stores = malloc(location->room * sizeof(store_t));
    if (location->stores == NULL) abort();
  }
  uint64_t value = 0;
  memcpy(&value, (void *)address, size);
  location->stores[location->count++] = (store_t){value, NULL, THREADS, false};
  return number;
}

static const char *const names[KINDS] = {"read", "write", "atomic read", "atomic write",
                                         "reservation"};

/* Kinds that one of each kind may not meet. What a thread has reserved reads as zero, so
 * that atomic reads by others need no order; other accesses do. */
static const uint8_t against[KINDS] = {
    1 << PLAIN_WRITE | 1 << ATOMIC_WRITE | 1 << RESERVED,
    1 << PLAIN_READ | 1 << PLAIN_WRITE | 1 << ATOMIC_READ | 1 << ATOMIC_WRITE |
        1 << RESERVED,
    1 << PLAIN_WRITE,
    1 << PLAIN_READ | 1 << PLAIN_WRITE,
    0,
};

static void check_byte(granule_t *granule, unsigned byte, access_t access) {
  const thread_t *me = g->current;
  for (unsigned kind = 0; kind < KINDS; kind++) {
    if ((against[access] >> kind & 1) == 0) continue;
    for (unsigned other = 0; other < g->threads; other++) {
      if (granule->last[kind][other][byte] <= me->clock.of[other]) continue;
      if (other == me->number) continue;
      failed("race: %s of thread %u at %#lx, after a%s %s of thread %u", names[access],
             me->number, (unsigned long)(granule->key * 8 + byte),
             kind == ATOMIC_READ || kind == ATOMIC_WRITE ? "n" : "", names[kind], other);
    }
  }
  granule->last[access][me->number][byte] = (uint16_t)me->clock.of[me->number];
}

void race_check(uintptr_t address, size_t size, access_t access) {
  for (size_t i = 0; i < size; i++) {
    granule_t *granule = granule_of(address + i);
    for (; i < size; i++) {
      check_byte(granule, (address + i) & 7, access);
      if (((address + i) & 7) == 7) break;
    }
  }
}

static void note_plain(const void *at, size_t size, access_t access) {
  uintptr_t address = (uintptr_t)at;
  if (++g->plain > PLAIN) failed("an execution without an end");
  race_check(address, size, access);
  if (access != PLAIN_WRITE) return;
  for (size_t i = 0; i < size; i++) {
    uint16_t location = granule_of(address + i)->location[(address + i) & 7];
    if (location != 0) model_overwrite(location - 1u);
  }
}

static void plain(const void *at, size_t size, access_t access) {
  if (!g->running || fiber_owns((uintptr_t)at)) return;
  place_interrupt();
  if (model_is_alone()) return;
  if (access == PLAIN_WRITE && search_fork_may_come()) {
    search_step((pending_t){NOWHERE, false});
  }
  note_plain(at, size, access);
}

/* --- ranges --------------------------------------------------------------------------
 */

static void note_range(const void *at, size_t size, bool reserved) {
  if (r->ranges == RANGES) failed("an execution writes too many ranges");
  const thread_t *me = g->current;
  r->range[r->ranges++] = (range_t){(uintptr_t)at, (uintptr_t)at + size, me->number,
                                    me->clock.of[me->number], reserved};
}

void race_reserve(const void *at, size_t size) {
  if (g->running && !model_is_alone()) note_range(at, size, true);
}

/* False if nobody has touched the range since it was reserved in this execution. */
static bool write_range(const void *at, size_t size) {
  uintptr_t from = ((uintptr_t)at + 7) & ~(uintptr_t)7, to = (uintptr_t)at + size;
  if (size < LARGE_RANGE) {
    plain(at, size, PLAIN_WRITE);
    return true;
  }
  bool touched = !world_is_new(at);
  to &= ~(uintptr_t)7;
  plain(at, from - (uintptr_t)at, PLAIN_WRITE);
  plain((void *)to, (uintptr_t)at + size - to, PLAIN_WRITE);
  for (uint32_t i = 0; i < r->used; i++) {
    uintptr_t address = r->touched[i]->key * 8;
    if (address < from || address >= to) continue;
    note_plain((void *)address, 8, PLAIN_WRITE);
    touched = true;
  }
  note_range((void *)from, to - from, false);
  return touched;
}

void *explore_memset(void *at, int value, size_t size) {
  bool touched = true;
  if (g->running && !fiber_owns((uintptr_t)at)) {
    place_interrupt();
    if (!model_is_alone()) touched = write_range(at, size);
  }
  return touched || value != 0 ? memset(at, value, size) : at;
}

/* --- what the compiler calls ---------------------------------------------------------
 */

void __tsan_init(void);
void __tsan_init(void) {}
void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller) { (void)caller; }
void __tsan_func_exit(void);
void __tsan_func_exit(void) {}

#define PLAIN_OF(size)                                                          \
  void __tsan_read##size(void *at);                                             \
  void __tsan_read##size(void *at) { plain(at, size, PLAIN_READ); }             \
  void __tsan_write##size(void *at);                                            \
  void __tsan_write##size(void *at) { plain(at, size, PLAIN_WRITE); }           \
  void __tsan_unaligned_read##size(void *at);                                   \
  void __tsan_unaligned_read##size(void *at) { plain(at, size, PLAIN_READ); }   \
  void __tsan_unaligned_write##size(void *at);                                  \
  void __tsan_unaligned_write##size(void *at) { plain(at, size, PLAIN_WRITE); } \
  void __tsan_volatile_read##size(void *at);                                    \
  void __tsan_volatile_read##size(void *at) { plain(at, size, PLAIN_READ); }    \
  void __tsan_volatile_write##size(void *at);                                   \
  void __tsan_volatile_write##size(void *at) { plain(at, size, PLAIN_WRITE); }
PLAIN_OF(1)
PLAIN_OF(2)
PLAIN_OF(4)
PLAIN_OF(8)
PLAIN_OF(16)

void __tsan_read_range(void *at, long size);
void __tsan_read_range(void *at, long size) { plain(at, (size_t)size, PLAIN_READ); }
void __tsan_write_range(void *at, long size);
void __tsan_write_range(void *at, long size) { plain(at, (size_t)size, PLAIN_WRITE); }
