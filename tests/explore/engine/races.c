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
  SLOTS = 1 << BITS,
  GRANULES = SLOTS / 4 * 3, /* of 8 bytes, that an execution may touch */
  NEIGHBOURS = 4,           /* granules whose slots are side by side */
  KINDS = 5,
  LARGE_RANGE = 1024, /* bytes; smaller ones are written one by one */
  RANGES = 256        /* written or reserved as a whole, in an execution */
};

/* Something of each byte of a granule. */
typedef uint16_t lanes_t __attribute__((vector_size(16)));

/* Granules lie in the order in which an execution first touches them: what it works with
 * is close together. */
typedef struct granule {
  lanes_t last[KINDS][THREADS]; /* a thread's clock at its last access */
  uint16_t location[8];         /* by the byte that it begins at, from 1 on */
  uintptr_t key;
  uint8_t threads[KINDS]; /* whose accesses are in `last`, a bit each */
  bool has_location;
} granule_t;

typedef struct slot {
  uintptr_t key;
  uint32_t execution, granule;
} slot_t;

/* What a thread has written, or reserved, as a whole. */
typedef struct range {
  uintptr_t from, to;
  uint32_t thread, clock;
  bool reserved;
} range_t;

typedef struct races {
  granule_t granule[GRANULES];
  slot_t table[SLOTS];
  granule_t *recent; /* the last one that was asked for; or NULL */
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
  r->recent = NULL;
  g->locations = 0;
}

static void note_access(granule_t *granule, lanes_t bytes, access_t access,
                        unsigned thread, lanes_t clock) {
  lanes_t *last = &granule->last[access][thread];
  if ((granule->threads[access] >> thread & 1) == 0) *last = (lanes_t){0};
  granule->threads[access] |= (uint8_t)(1u << thread);
  *last = (*last & ~bytes) | (clock & bytes);
}

static lanes_t lanes_of(uint32_t value) { return (lanes_t){0} + (uint16_t)value; }

/* A granule that nobody has touched alone was perhaps written as part of a range. */
static void granule_begin(granule_t *granule, uintptr_t key) {
  granule->key = key;
  granule->has_location = false;
  memset(granule->location, 0, sizeof granule->location);
  memset(granule->threads, 0, sizeof granule->threads);
  for (uint32_t i = 0; i < r->ranges; i++) {
    const range_t *range = &r->range[i];
    if (key * 8 < range->from || key * 8 >= range->to) continue;
    note_access(granule, ~(lanes_t){0}, range->reserved ? RESERVED : PLAIN_WRITE,
                range->thread, lanes_of(range->clock));
  }
}

static granule_t *granule_find(uintptr_t key) {
  uint64_t hash = (key / NEIGHBOURS * 0x9e3779b97f4a7c15u) >> (64 - BITS);
  for (size_t at = (hash & ~(uint64_t)(NEIGHBOURS - 1)) + key % NEIGHBOURS;;
       at = (at + 1) % SLOTS) {
    slot_t *slot = &r->table[at];
    if (slot->execution == r->execution) {
      if (slot->key == key) return &r->granule[slot->granule];
      continue;
    }
    if (r->used == GRANULES) failed("an execution touches too much memory");
    *slot = (slot_t){key, r->execution, r->used};
    granule_begin(&r->granule[r->used], key);
    return &r->granule[r->used++];
  }
}

static granule_t *granule_of(uintptr_t address) {
  uintptr_t key = address >> 3;
  if (r->recent == NULL || r->recent->key != key) r->recent = granule_find(key);
  return r->recent;
}

uint32_t race_location(uintptr_t address, uint32_t size) {
  granule_t *granule = granule_of(address);
  uint16_t *at = &granule->location[address & 7];
  if (*at != 0) return *at - 1u;
  if (g->locations == LOCATIONS) failed("an execution has too many locations");
  uint32_t number = g->locations++;
  *at = (uint16_t)(number + 1);
  granule->has_location = true;
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

static bool is_any(lanes_t lanes) {
  uint64_t halves[2];
  memcpy(halves, &lanes, sizeof halves);
  return (halves[0] | halves[1]) != 0;
}

/* Accesses of others that the current thread's may not meet, to each byte: those that it
 * does not know of. */
static lanes_t late_of(const granule_t *granule, unsigned kind, unsigned other) {
  return (lanes_t)(granule->last[kind][other] > lanes_of(g->current->clock.of[other]));
}

static uint8_t others_of(const granule_t *granule, unsigned kind) {
  return granule->threads[kind] & (uint8_t) ~(1u << g->current->number);
}

/* The first of the bytes that has any, with the first of these. */
_Noreturn static void fail_of(const granule_t *granule, unsigned byte, access_t access) {
  for (;; byte++) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
      if ((against[access] >> kind & 1) == 0) continue;
      for (unsigned other = 0; other < g->threads; other++) {
        if ((others_of(granule, kind) >> other & 1) == 0) continue;
        if (late_of(granule, kind, other)[byte] == 0) continue;
        failed("race: %s of thread %u at %#lx, after a%s %s of thread %u", names[access],
               g->current->number, (unsigned long)(granule->key * 8 + byte),
               kind == ATOMIC_READ || kind == ATOMIC_WRITE ? "n" : "", names[kind],
               other);
      }
    }
  }
}

static void check_bytes(granule_t *granule, unsigned first, unsigned count,
                        access_t access) {
  static const lanes_t number = {0, 1, 2, 3, 4, 5, 6, 7};
  const thread_t *me = g->current;
  lanes_t now = lanes_of(me->clock.of[me->number]);
  lanes_t bytes =
      (lanes_t)((number >= lanes_of(first)) & (number < lanes_of(first + count)));
  bool is_noted = (granule->threads[access] >> me->number & 1) != 0;
  /* Whoever came between has met that access, as nobody knows of it yet. */
  if (is_noted && !is_any((granule->last[access][me->number] ^ now) & bytes)) return;
  for (unsigned kind = 0; kind < KINDS; kind++) {
    if ((against[access] >> kind & 1) == 0) continue;
    for (uint8_t left = others_of(granule, kind); left != 0;
         left &= (uint8_t)(left - 1)) {
      unsigned other = (unsigned)__builtin_ctz(left);
      if (is_any(late_of(granule, kind, other) & bytes)) fail_of(granule, first, access);
    }
  }
  note_access(granule, bytes, access, me->number, now);
}

static void overwrite(const granule_t *granule, unsigned first, unsigned count) {
  for (unsigned byte = first; granule->has_location && byte < first + count; byte++) {
    if (granule->location[byte] != 0) model_overwrite(granule->location[byte] - 1u);
  }
}

void race_check(uintptr_t address, size_t size, access_t access) {
  for (size_t done = 0; done < size;) {
    granule_t *granule = granule_of(address + done);
    unsigned first = (address + done) & 7;
    unsigned count = size - done < 8 - first ? (unsigned)(size - done) : 8 - first;
    check_bytes(granule, first, count, access);
    if (access == PLAIN_WRITE) overwrite(granule, first, count);
    done += count;
  }
}

static void note_plain(const void *at, size_t size, access_t access) {
  if (++g->plain > PLAIN) failed("an execution without an end");
  race_check((uintptr_t)at, size, access);
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
    uintptr_t address = r->granule[i].key * 8;
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
