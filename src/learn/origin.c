#include "learn/origin.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "os/image.h"

enum {
  CHUNK = 64, /* origins that are made room for at once */
  CHUNKS = HAK_ORIGINS / CHUNK
};

/* Guards which origins there are, what is known of them, and the table of samples. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_ORIGINS);
static _Atomic(hak_origin_t *) chunks[CHUNKS];        /* [any] set once, under the lock */
static hak_atomic_u32_t made = HAK_ORIGIN_OTHERS + 1; /* [lock] numbers */
static hak_origin_t others = {.text = "(other places)",
                              .name_at = sizeof "(other places)"};
/* [any] Odd, so that it is not what a new site has; counts starts. */
static hak_atomic_u32_t epoch = 1;

hak_atomic_u8_t hak_origin_groups[HAK_ORIGINS];

hak_lock_t *hak_origins_lock(void) { return &lock; }

static hak_atomic_u64_t *word(const hak_site_t *site, unsigned i) {
  return (hak_atomic_u64_t *)(uintptr_t)&site->reserved[i];
}

uint32_t hak_origin_of(const hak_site_t *site) {
  if (site == NULL) return HAK_ORIGIN_NONE;
  /* Acquire: pairs with hak_origin_make; the number is of this start. */
  if (hak_load_acquire(word(site, 1)) != hak_load_relaxed(&epoch)) return HAK_ORIGIN_NONE;
  return (uint32_t)hak_origin_word(site);
}

hak_origin_t *hak_origin_at(uint32_t number) {
  if (number == HAK_ORIGIN_OTHERS) return &others;
  /* Acquire: pairs with make_chunk; the zeroes are seen. */
  hak_origin_t *chunk = hak_load_acquire(&chunks[number / CHUNK]);
  return &chunk[number % CHUNK];
}

uint32_t hak_origins_made(void) {
  /* Acquire: pairs with add_locked; the record is seen. */
  return hak_load_acquire(&made);
}

/* --- making one --------------------------------------------------------------------- */

/* Sees to it that there is a record for the number, if there is such a number and memory.
 */
static void make_chunk(const hak_os_t *os, uint32_t next) {
  if (next >= HAK_ORIGINS || hak_load_relaxed(&chunks[next / CHUNK]) != NULL) return;
  /* NULL, and nothing changes, if memory is short. */
  hak_origin_t *chunk = hak_meta_alloc(os, CHUNK * sizeof *chunk, HAK_CACHE_LINE);
  hak_lock_acquire(&lock);
  /* Of two threads that come at once one has got memory in vain; it stays unused. */
  /* Release: publishes the zeroes to hak_origin_at. */
  if (hak_load_relaxed(&chunks[next / CHUNK]) == NULL) {
    hak_store_release(&chunks[next / CHUNK], chunk);
  }
  hak_lock_release(&lock);
}

/* Room for the next number, and for those of threads that come at the same time. */
static void make_room(const hak_os_t *os) {
  uint32_t next = hak_load_relaxed(&made);
  make_chunk(os, next);
  make_chunk(os, next + CHUNK / 2);
}

/* What a place is called that is known by a code address alone: of the call, which is in
 * front of where it returns to. */
static void name_address(const hak_site_t *site, char *name, size_t room) {
  uintptr_t call = hak_origin_address(site) - 1, offset;
  bool here = hak_image_find(call, &offset);
  hak_text_print(name, room, here ? "+0x%" PRIxPTR : "0x%" PRIxPTR, here ? offset : call);
}

/* The texts share their room: each may have half of it, and what the other one leaves.
 * They are cut between two characters. */
static HAK_SLOW void copy_texts(hak_origin_t *origin, const hak_site_t *site) {
  enum {
    ROOM = sizeof origin->text - 2 /* without the zeroes */
  };
  char address[2 + 2 * sizeof(uintptr_t) + 2];
  const char *file = site->file == NULL ? "" : site->file;
  const char *name = site->name == NULL ? "" : site->name;
  if (hak_origin_address(site) != 0) {
    name_address(site, address, sizeof address);
    name = address;
  }
  size_t length = strlen(file), wanted = strlen(name);
  size_t most = ROOM - (wanted < ROOM / 2 ? wanted : ROOM / 2);
  size_t from = hak_text_end(file, length, most);
  file += from;
  length -= from;
  memcpy(origin->text, file, length);
  origin->name_at = (uint32_t)length + 1;
  size_t left = ROOM - length;
  memcpy(origin->text + origin->name_at, name, hak_text_begin(name, wanted, left));
}

static bool is_of(const hak_origin_t *origin, const hak_site_t *site) {
  hak_origin_t other = {.line = 0};
  copy_texts(&other, site);
  return origin->line == site->line &&
         strcmp(hak_origin_file(origin), hak_origin_file(&other)) == 0 &&
         strcmp(hak_origin_name(origin), hak_origin_name(&other)) == 0;
}

/* The number of a site that was there before; O(origins), once for each site. */
static uint32_t find_locked(const hak_site_t *site) {
  hak_lock_assert_held(&lock);
  uint32_t count = hak_load_relaxed(&made);
  for (uint32_t i = HAK_ORIGIN_OTHERS + 1; i < count; i++) {
    if (hak_origin_at(i)->site == site && is_of(hak_origin_at(i), site)) return i;
  }
  return HAK_ORIGIN_NONE;
}

static uint32_t add_locked(const hak_site_t *site) {
  hak_lock_assert_held(&lock);
  uint32_t number = hak_load_relaxed(&made);
  if (number >= HAK_ORIGINS || hak_load_relaxed(&chunks[number / CHUNK]) == NULL) {
    return HAK_ORIGIN_OTHERS;
  }
  hak_origin_t *origin = hak_origin_at(number);
  origin->site = site;
  origin->line = site->line;
  copy_texts(origin, site);
  /* Release: publishes the record to hak_origins_made. */
  hak_store_release(&made, number + 1);
  return number;
}

uint32_t hak_origin_make(const hak_os_t *os, hak_site_t *site) {
  uint32_t number = hak_origin_of(site);
  if (number != HAK_ORIGIN_NONE || site == NULL) return number;
  make_room(os);
  hak_lock_acquire(&lock);
  number = find_locked(site); /* another thread may have been first */
  if (number == HAK_ORIGIN_NONE) number = add_locked(site);
  hak_store_relaxed(word(site, 0), number);
  /* Release: publishes the number to hak_origin_of. */
  hak_store_release(word(site, 1), hak_load_relaxed(&epoch));
  hak_lock_release(&lock);
  return number;
}

/* Sites keep their numbers, and are found to be of an earlier start. */
HAK_SLOW void hak_origins_stop(void) {
  for (uint32_t i = 0; i < HAK_ORIGINS; i++) hak_store_relaxed(&hak_origin_groups[i], 0);
  for (uint32_t i = 0; i < CHUNKS; i++) hak_store_relaxed(&chunks[i], NULL);
  hak_store_relaxed(&made, HAK_ORIGIN_OTHERS + 1);
  memset(&others.sums, 0, sizeof others.sums);
  memset(&others.wave, 0, sizeof others.wave);
  memset(others.lived, 0, sizeof others.lived);
  hak_add_relaxed(&epoch, 2);
}
