#include "external/external_map.h"

enum {
  BITS = 64
};

static uint64_t starts_in(const hak_external_map_t *map, size_t word) {
  return hak_load_relaxed(&map->starts[word]);
}

/* Relaxed: one writer at a time, under the external heap's lock. */
static void put(hak_atomic_u64_t *words, size_t at, bool value) {
  uint64_t word = hak_load_relaxed(&words[at / BITS]), bit = (uint64_t)1 << (at % BITS);
  hak_store_relaxed(&words[at / BITS], value ? word | bit : word & ~bit);
}

size_t hak_external_map_length(const hak_external_map_t *map, size_t at) {
  size_t word = at / BITS;
  uint64_t above = starts_in(map, word) >> (at % BITS) >> 1;
  if (above != 0) return hak_lowest_bit(above) + 1;
  uint64_t next = starts_in(map, word + 1);
  if (next != 0) return (word + 1) * BITS + hak_lowest_bit(next) - at;
  return hak_load_relaxed(&map->used[word + 1]);
}

size_t hak_external_map_before(const hak_external_map_t *map, size_t at) {
  size_t word = (at - 1) / BITS;
  uint64_t below = starts_in(map, word) << (BITS - 1 - (at - 1) % BITS);
  if (below != 0) return at - (BITS - hak_highest_bit(below));
  if (at % BITS != 0) {
    /* The chunk's part of this word is not a whole word; the word before may be one. */
    word--;
    uint64_t before = starts_in(map, word);
    if (before != 0) return word * BITS + hak_highest_bit(before);
  }
  return at - hak_load_relaxed(&map->used[word]);
}

size_t hak_external_map_around(const hak_external_map_t *map, size_t at) {
  size_t word = at / BITS;
  uint64_t below = starts_in(map, word) << (BITS - 1 - at % BITS);
  if (below != 0) return at + 1 - (BITS - hak_highest_bit(below));
  do {
    /* Without the lock the map may be read while it is made anew. */
    if (word == 0) return 0;
    below = starts_in(map, --word);
  } while (below == 0);
  return word * BITS + hak_highest_bit(below);
}

void hak_external_map_set(hak_external_map_t *map, size_t at, size_t length, bool used) {
  put(map->starts, at, true);
  put(map->used, at, used);
  size_t first = at / BITS + 1, end = (at + length) / BITS;
  if (first >= end) return;
  hak_store_relaxed(&map->used[first], length);
  hak_store_relaxed(&map->used[end - 1], length);
}

void hak_external_map_join(hak_external_map_t *map, size_t at) {
  put(map->starts, at, false);
}

void hak_external_map_init(hak_external_map_t *map) {
  hak_external_map_set(map, map->granules, 0, true);
  hak_external_map_set(map, 0, map->granules, false);
}

HAK_SLOW bool hak_external_map_is_valid(const hak_external_map_t *map) {
  size_t at = 0;
  bool was_free = false;
  while (at < map->granules) {
    if (!hak_external_map_is_start(map, at)) return false;
    size_t length = hak_external_map_length(map, at);
    if (length == 0 || length > map->granules - at) return false;
    bool is_free = !hak_external_map_is_used(map, at);
    if (is_free && was_free) return false; /* neighbours would be one */
    was_free = is_free;
    if (hak_external_map_before(map, at + length) != at) return false;
    at += length;
  }
  return at == map->granules && hak_external_map_is_start(map, at) &&
         hak_external_map_is_used(map, at);
}
