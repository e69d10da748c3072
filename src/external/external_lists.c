#include "external/external_lists.h"

typedef struct link {
  uint64_t next, prev; /* granule + 1 of the neighbour, or 0; xored with the secret */
} link_t;

_Static_assert(sizeof(link_t) <= HAK_GRANULE, "the smallest chunk holds its links");

enum {
  COLUMN_BITS = 4,
  /* So many chunks that may fit are looked at, where no list is sure to have one. */
  LOOKS_MAX = 64
};

typedef struct place {
  unsigned row, column;
} place_t;

static place_t place_of(size_t length) {
  if (length < HAK_EXTERNAL_COLUMNS) return (place_t){0, (unsigned)length};
  unsigned top = hak_highest_bit(length);
  return (place_t){top - COLUMN_BITS + 1,
                   (unsigned)(length >> (top - COLUMN_BITS)) % HAK_EXTERNAL_COLUMNS};
}

size_t hak_external_lists_size(size_t granules) {
  return sizeof(hak_external_lists_t) +
         (place_of(granules).row + 1) * sizeof(size_t[HAK_EXTERNAL_COLUMNS]);
}

static link_t *link_at(const hak_external_lists_t *lists, size_t at) {
  return (link_t *)(void *)(lists->base + (at << lists->map->shift));
}

static bool is_free_chunk(const hak_external_lists_t *lists, size_t at) {
  return at < lists->map->granules && hak_external_map_is_start(lists->map, at) &&
         !hak_external_map_is_used(lists->map, at);
}

/* Writes the neighbours apart from the head of a list; 0 is none. */
static void set_next(const hak_external_lists_t *lists, size_t at, size_t next) {
  link_at(lists, at)->next = next ^ lists->secret;
}
static void set_prev(const hak_external_lists_t *lists, size_t at, size_t prev) {
  link_at(lists, at)->prev = prev ^ ~lists->secret;
}
static size_t next_of(const hak_external_lists_t *lists, size_t at) {
  return link_at(lists, at)->next ^ lists->secret;
}
static size_t prev_of(const hak_external_lists_t *lists, size_t at) {
  return link_at(lists, at)->prev ^ ~lists->secret;
}

void hak_external_lists_insert(hak_external_lists_t *lists, size_t at, size_t length) {
  place_t p = place_of(length);
  size_t *head = &lists->heads[p.row][p.column];
  set_next(lists, at, *head);
  set_prev(lists, at, 0);
  if (*head != 0) set_prev(lists, *head - 1, at + 1);
  *head = at + 1;
  lists->rows |= (uint64_t)1 << p.row;
  lists->columns[p.row] |= (uint16_t)(1u << p.column);
}

HAK_SLOW void hak_external_lists_fill(hak_external_lists_t *lists) {
  const hak_external_map_t *map = lists->map;
  lists->rows = 0;
  for (unsigned row = 0; row <= place_of(map->granules).row; row++) {
    lists->columns[row] = 0;
    for (unsigned column = 0; column < HAK_EXTERNAL_COLUMNS; column++) {
      lists->heads[row][column] = 0;
    }
  }
  for (size_t at = 0; at < map->granules;) {
    size_t length = hak_external_map_length(map, at);
    if (!hak_external_map_is_used(map, at)) hak_external_lists_insert(lists, at, length);
    at += length;
  }
}

/* Reads the links of a free chunk; false if they are not those that its neighbours
 * have, and the one that was written to is noted. */
static bool read_links(hak_external_lists_t *lists, size_t at, size_t head,
                       link_t *link) {
  size_t next = next_of(lists, at), prev = prev_of(lists, at), bad = at;
  bool ok = prev == 0 ? head == at + 1 : is_free_chunk(lists, prev - 1);
  ok = ok && (next == 0 || is_free_chunk(lists, next - 1));
  if (ok && prev != 0 && next_of(lists, prev - 1) != at + 1) {
    bad = prev - 1;
    ok = false;
  }
  if (ok && next != 0 && prev_of(lists, next - 1) != at + 1) {
    bad = next - 1;
    ok = false;
  }
  *link = (link_t){next, prev};
  if (HAK_LIKELY(ok)) return true;
  hak_store_relaxed(lists->corrupt, lists->base + (bad << lists->map->shift));
  return false;
}

void hak_external_lists_remove(hak_external_lists_t *lists, size_t at, size_t length) {
  place_t p = place_of(length);
  size_t *head = &lists->heads[p.row][p.column];
  link_t link;
  while (HAK_UNLIKELY(!read_links(lists, at, *head, &link)))
    hak_external_lists_fill(lists);
  if (link.next != 0) set_prev(lists, link.next - 1, link.prev);
  if (link.prev != 0) {
    set_next(lists, link.prev - 1, link.next);
    return;
  }
  *head = link.next;
  if (link.next != 0) return;
  lists->columns[p.row] &= (uint16_t) ~(1u << p.column);
  if (lists->columns[p.row] == 0) lists->rows &= ~((uint64_t)1 << p.row);
}

/* --- search -------------------------------------------------------------------- */

/* Says where in the chunk a block of that length can lie; false: nowhere. */
static bool fits(const hak_external_lists_t *lists, size_t at, size_t length, size_t step,
                 size_t *block) {
  size_t have = hak_external_map_length(lists->map, at);
  size_t origin = (uintptr_t)lists->base >> lists->map->shift;
  *block = hak_align_up(origin + at, step) - origin;
  size_t lead = *block - at;
  return lead <= have && length <= have - lead;
}

/* The first list with chunks from this place on; false if there is none. */
static bool next_list(const hak_external_lists_t *lists, place_t *p) {
  if (p->row >= HAK_EXTERNAL_ROWS_MAX) return false;
  unsigned columns = lists->columns[p->row];
  columns = columns >> p->column << p->column;
  if (columns == 0) {
    uint64_t rows = lists->rows >> p->row >> 1;
    if (rows == 0) return false;
    p->row += hak_lowest_bit(rows) + 1;
    columns = lists->columns[p->row];
  }
  p->column = hak_lowest_bit(columns);
  return true;
}

/* The list whose chunks all have room for `length`. */
static place_t place_above(size_t length) {
  if (length < HAK_EXTERNAL_COLUMNS) return place_of(length);
  return place_of(length + ((size_t)1 << (hak_highest_bit(length) - COLUMN_BITS)) - 1);
}

/* Chunks that may fit, the smallest first, each by itself. */
static size_t look_closer(hak_external_lists_t *lists, size_t length, size_t step,
                          size_t *block) {
  place_t p = place_of(length);
  for (int looks = 0; next_list(lists, &p);) {
    size_t at = lists->heads[p.row][p.column];
    while (at != 0) {
      if (++looks > LOOKS_MAX) return lists->map->granules;
      if (!is_free_chunk(lists, at - 1)) break; /* written to: found when it is taken */
      if (fits(lists, at - 1, length, step, block)) return at - 1;
      at = next_of(lists, at - 1);
    }
    if (++p.column == HAK_EXTERNAL_COLUMNS) p = (place_t){p.row + 1, 0};
  }
  return lists->map->granules;
}

size_t hak_external_lists_find(hak_external_lists_t *lists, size_t length, size_t step,
                               size_t *block) {
  size_t none = lists->map->granules;
  size_t most = length + step - 1; /* wherever the chunk begins */
  if (length > none) return none;
  place_t p = place_above(most);
  if (next_list(lists, &p)) {
    size_t at = lists->heads[p.row][p.column] - 1;
    fits(lists, at, length, step, block);
    return at;
  }
  return look_closer(lists, length, step, block);
}

HAK_SLOW bool hak_external_lists_are_valid(const hak_external_lists_t *lists) {
  const hak_external_map_t *map = lists->map;
  size_t in_map = 0, listed = 0;
  for (size_t at = 0; at < map->granules; at += hak_external_map_length(map, at)) {
    in_map += !hak_external_map_is_used(map, at);
  }
  for (unsigned row = 0; row <= place_of(map->granules).row; row++) {
    bool row_bit = (lists->rows >> row & 1) != 0;
    if (row_bit != (lists->columns[row] != 0)) return false;
    for (unsigned column = 0; column < HAK_EXTERNAL_COLUMNS; column++) {
      size_t at = lists->heads[row][column], prev = 0;
      if ((lists->columns[row] >> column & 1) != (at != 0)) return false;
      for (; at != 0; prev = at, at = next_of(lists, at - 1)) {
        if (!is_free_chunk(lists, at - 1) || prev_of(lists, at - 1) != prev) return false;
        place_t p = place_of(hak_external_map_length(map, at - 1));
        if (p.row != row || p.column != column || ++listed > in_map) return false;
      }
    }
  }
  return listed == in_map;
}
