#include "pages/cell.h"

#include <string.h>

#include "base/bits.h"
#include "base/sys.h"
#include "base/wait.h"
#include "os/memory.h"
#include "os/reservation.h"
#include "pages/idle.h"
#include "pages/meta.h"
#include "pages/registry.h"

#define CELL_BYTES HAK_SUPERSLAB_SIZE
#define ALL_BYTES ((size_t)HAK_CELLS * CELL_BYTES)
/* Where the pages of a cell begin that may be touched. */
#define PAGES_AT (CELL_BYTES / 2)

enum {
  MARGIN = 64, /* bytes on either side that are looked at, if they lie in the pages */
  FILL = 0xa5
};

_Static_assert(PAGES_AT + HAK_CELL_SIZE_MOST < CELL_BYTES, "pages lie between others");

hak_atomic_u64_t hak_cells_base, hak_cells_bytes;

typedef struct queue {
  hak_cell_t *first, *last;
} queue_t;

static hak_cell_t *cells;     /* [lock] HAK_CELLS, or NULL */
static const hak_os_t *hooks; /* [lock] that they were reserved with */
static const void *maker;     /* [lock] the thread that makes them, or NULL */
static hak_cell_t *records;   /* [owner: the maker] for them, that an attempt left */
static uint32_t failures;     /* [lock] attempts to make them */
static uint32_t to_skip;      /* [lock] requests until the next attempt */
static queue_t queue;         /* [lock] those that are free or wait */
static uint32_t counts[HAK_CELL_STATES]; /* [lock] cells by state */
static uint64_t randomness;              /* [lock] not 0 */

static hak_lock_t *lock(void) { return &hak_mappings.lock; }

static char *start_of(const hak_cell_t *cell) {
  return (char *)(uintptr_t)hak_load_relaxed(&hak_cells_base) +
         (size_t)(cell - cells) * CELL_BYTES;
}

/* --- transitions ---------------------------------------------------------------------
 */

static void set_state_locked(hak_cell_t *cell, hak_cell_state_t state) {
  hak_lock_assert_held(lock());
  counts[cell->state]--;
  cell->state = state;
  counts[state]++;
}

/* A free or waiting cell comes behind all others. */
static void enqueue_locked(hak_cell_t *cell, hak_cell_state_t state) {
  hak_lock_assert_held(lock());
  set_state_locked(cell, state);
  cell->next = NULL;
  if (queue.last == NULL) {
    queue.first = cell;
  } else {
    queue.last->next = cell;
  }
  queue.last = cell;
}

static hak_cell_t *dequeue_locked(void) {
  hak_lock_assert_held(lock());
  if (counts[HAK_CELL_USED] + counts[HAK_CELL_PASSING] >= HAK_CELLS_USED_MOST)
    return NULL;
  hak_cell_t *cell = queue.first;
  if (cell == NULL) return NULL;
  queue.first = cell->next;
  if (queue.first == NULL) queue.last = NULL;
  set_state_locked(cell, HAK_CELL_PASSING);
  cell->mapping.who = hak_os_self();
  return cell;
}

static uint64_t random_locked(void) {
  hak_lock_assert_held(lock());
  randomness ^= randomness << 13;
  randomness ^= randomness >> 7;
  randomness ^= randomness << 17;
  return randomness;
}

/* --- the range -----------------------------------------------------------------------
 */

static void publish_locked(const hak_os_t *os, hak_cell_t *all, char *range) {
  hak_lock_assert_held(lock());
  cells = all;
  hooks = os;
  randomness = hak_sys_entropy() | 1;
  memset(counts, 0, sizeof counts);
  counts[HAK_CELL_FREE] = HAK_CELLS;
  hak_store_relaxed(&hak_cells_base, (uintptr_t)range);
  hak_store_relaxed(&hak_cells_bytes, ALL_BYTES);
  for (uint32_t i = 0; i < HAK_CELLS; i++) {
    hak_extent_t *extent = &all[i].mapping.extent;
    extent->base = range + i * CELL_BYTES;
    extent->os = os;
    hak_store_relaxed(&extent->kind, HAK_EXTENT_MAPPING);
    all[i].mapping.guarded = true;
    enqueue_locked(&all[i], HAK_CELL_FREE);
    hak_registry_set_extent((uintptr_t)extent->base, CELL_BYTES, extent);
  }
}

/* The range, guarded and known to the registry; NULL if the system refuses. */
static char *make_range(const hak_os_t *os) {
  char *range = hak_os_reserve(os, ALL_BYTES, CELL_BYTES);
  if (range == NULL) return NULL;
  if (hak_memory_guard(range, ALL_BYTES) &&
      hak_registry_cover(os, (uintptr_t)range, ALL_BYTES)) {
    return range;
  }
  hak_os_unreserve(os, range, ALL_BYTES);
  return NULL;
}

static bool begin_to_make_locked(void) {
  hak_lock_assert_held(lock());
  if (cells != NULL || maker != NULL || (to_skip > 0 && to_skip-- > 0)) return false;
  maker = hak_os_self();
  return true;
}

/* One thread makes the cells; others go without meanwhile. After each failure twice as
 * many requests go without before the next attempt. */
static void make(const hak_os_t *os) {
  enum {
    SHIFT_MOST = 20
  };
  if (records == NULL) {
    records = hak_meta_alloc(os, HAK_CELLS * sizeof *records, HAK_CACHE_LINE);
  }
  char *range = records == NULL ? NULL : make_range(os);
  hak_lock_acquire(lock());
  if (range != NULL) {
    publish_locked(os, records, range);
    records = NULL;
  } else {
    if (failures < SHIFT_MOST) failures++;
    to_skip = (uint32_t)1 << failures;
  }
  maker = NULL;
  hak_lock_release(lock());
}

/* A cell that passes; NULL if there is none to be had. */
static hak_cell_t *take(const hak_os_t *os) {
  hak_lock_acquire(lock());
  bool missing = begin_to_make_locked();
  hak_cell_t *cell = dequeue_locked();
  hak_lock_release(lock());
  if (HAK_LIKELY(!missing)) return cell;
  make(os);
  hak_lock_acquire(lock());
  cell = dequeue_locked();
  hak_lock_release(lock());
  return cell;
}

/* --- a block -------------------------------------------------------------------------
 */

/* What lies in the pages beside the block, up to MARGIN bytes before it and behind. */
typedef struct margins {
  char *before, *block, *end, *behind;
} margins_t;

static margins_t margins_of(const hak_cell_t *cell) {
  char *base = cell->mapping.extent.base;
  char *limit = base + hak_mapping_committed(&cell->mapping);
  char *block = (char *)(uintptr_t)cell->facts.block, *end = block + cell->facts.size;
  margins_t m = {base, block, end, limit};
  if (block - base > MARGIN) m.before = block - MARGIN;
  if (limit - end > MARGIN) m.behind = end + MARGIN;
  return m;
}

static void fill_margins(const hak_cell_t *cell) {
  margins_t m = margins_of(cell);
  memset(m.before, FILL, (size_t)(m.block - m.before));
  memset(m.end, FILL, (size_t)(m.behind - m.end));
}

static bool is_filled(const char *from, const char *to) {
  while (from < to && (unsigned char)*from == FILL) from++;
  return from == to;
}

/* The alignment that a block of this size has anyway; see hak_alloc. */
static size_t natural(size_t size) { return size > 8 ? 16 : 8; }

static char *place_block(const hak_cell_ask_t *ask, char *pages, size_t bytes,
                         bool left) {
  size_t least = natural(ask->size);
  size_t alignment = ask->alignment > least ? ask->alignment : least;
  return left ? pages : pages + hak_align_down(bytes - ask->size, alignment);
}

/* Opens the pages of a cell that passes. */
static bool open_pages(hak_cell_t *cell, size_t bytes) {
  char *pages = start_of(cell) + PAGES_AT;
  if (!hak_memory_open(pages, bytes)) return false;
  if (cell->dirty) memset(pages, 0, bytes);
  cell->mapping.extent.base = pages;
  return true;
}

static void use_locked(hak_cell_t *cell, const hak_cell_ask_t *ask, size_t bytes) {
  hak_lock_assert_held(lock());
  hak_mapping_t *mapping = &cell->mapping;
  mapping->budget = ask->budget;
  mapping->who = NULL;
  hak_store_relaxed(&mapping->committed, bytes);
  hak_add_relaxed(&hak_mappings_committed, bytes);
  char *block = place_block(ask, mapping->extent.base, bytes, random_locked() & 1 << 20);
  cell->facts = (hak_cell_facts_t){
      .block = block, .size = ask->size, .heap = ask->handle, .alloc = *ask->calls};
  set_state_locked(cell, HAK_CELL_USED);
  hak_mapping_use_locked(mapping, ask->heap_id, block, ask->usable);
}

/* Nothing of the cell may be touched any more. False: the system refuses. */
static bool close_pages(hak_cell_t *cell) {
  bool emptied;
  if (!hak_memory_close(start_of(cell) + PAGES_AT,
                        hak_align_up(HAK_CELL_SIZE_MOST, hooks->page_size), &emptied))
    return false;
  cell->dirty = !emptied;
  return true;
}

HAK_SLOW void *hak_cell_begin(const hak_cell_ask_t *ask) {
  size_t bytes = hak_align_up(ask->size, ask->os->page_size);
  if (ask->size > HAK_CELL_SIZE_MOST || ask->alignment > ask->os->page_size) return NULL;
  if (hak_os_is_barred()) return NULL;
  size_t charge = bytes + sizeof(hak_mapping_t);
  if (!hak_budget_charge(ask->budget, charge)) return NULL;
  hak_cell_t *cell = take(ask->os);
  bool ok = cell != NULL && open_pages(cell, bytes);
  hak_lock_acquire(lock());
  if (ok) {
    use_locked(cell, ask, bytes);
  } else if (cell != NULL) {
    enqueue_locked(cell, HAK_CELL_FREE);
  }
  hak_lock_release(lock());
  if (!ok) {
    hak_budget_uncharge(ask->budget, charge);
    return NULL;
  }
  fill_margins(cell);
  return (void *)(uintptr_t)cell->facts.block;
}

/* The block is claimed, so nobody begins to look at its pages. */
static void wait_for_looks(hak_cell_t *cell) {
  unsigned rounds = 0;
  for (;;) {
    hak_lock_acquire(lock());
    hak_store_relaxed(&cell->mapping.extent.block, NULL);
    bool none = cell->looks == 0;
    hak_lock_release(lock());
    if (HAK_LIKELY(none)) return;
    hak_wait_step(&rounds);
  }
}

/* The block is claimed first, so that a free of it that comes now is one too many. The
 * mapping stays in use until its pages are closed: the child of a fork finds it there. */
void hak_cell_end(hak_mapping_t *mapping) {
  hak_cell_t *cell = (hak_cell_t *)(void *)mapping;
  wait_for_looks(cell);
  bool closed = close_pages(cell);
  hak_lock_acquire(lock());
  size_t bytes = hak_mapping_committed(mapping);
  hak_mapping_unuse_locked(mapping);
  hak_budget_uncharge(mapping->budget, bytes + sizeof *mapping);
  mapping->budget = NULL;
  hak_sub_relaxed(&hak_mappings_committed, bytes);
  hak_store_relaxed(&mapping->committed, 0);
  if (!closed) cell->dirty = true;
  enqueue_locked(cell, closed ? HAK_CELL_WAITING : HAK_CELL_FREE);
  hak_lock_release(lock());
}

/* --- looks ---------------------------------------------------------------------------
 */

static hak_cell_t *cell_at(const void *address) {
  uintptr_t offset = (uintptr_t)address - (uintptr_t)hak_load_relaxed(&hak_cells_base);
  return &cells[offset / CELL_BYTES];
}

/* The thread that a crash stopped may have the lock, and other locks of any rank. One
 * that waits for a processor has it for some milliseconds. */
static bool try_lock(void) {
  enum {
    YIELDS = 100,
    SLEEPS = 200,
    SLEEP_NS = 1000000
  };
  for (int i = 0; i < YIELDS + SLEEPS; i++) {
    if (hak_word_try(&lock()->held)) return true;
    if (i < YIELDS) hak_sys_yield();
    if (i >= YIELDS) hak_sys_sleep(SLEEP_NS);
  }
  return false;
}

hak_cell_state_t hak_cell_look(const void *address, hak_cell_facts_t *facts) {
  if (!hak_cells_have(address) || !try_lock()) return HAK_CELL_FREE;
  hak_cell_state_t state = HAK_CELL_FREE;
  if (cells != NULL && hak_cells_have(address)) {
    const hak_cell_t *cell = cell_at(address);
    state = cell->state;
    if (state != HAK_CELL_FREE) *facts = cell->facts;
    if (state != HAK_CELL_FREE && facts->block == NULL) state = HAK_CELL_FREE;
  }
  hak_lock_release_unranked(lock());
  return state;
}

/* The cell whose block this is, or was, in this state; or NULL. */
static hak_cell_t *find_locked(const void *block, hak_cell_state_t state) {
  hak_lock_assert_held(lock());
  if (cells == NULL || !hak_cells_have(block)) return NULL;
  hak_cell_t *cell = cell_at(block);
  return cell->state == state && cell->facts.block == block ? cell : NULL;
}

void hak_cell_set_origin(const void *block, uint32_t origin) {
  hak_lock_acquire(lock());
  hak_cell_t *cell = find_locked(block, HAK_CELL_USED);
  if (cell != NULL) cell->facts.origin = origin;
  hak_lock_release(lock());
}

void hak_cell_set_free(const void *block, const hak_calls_t *calls) {
  hak_lock_acquire(lock());
  hak_cell_t *cell = find_locked(block, HAK_CELL_USED);
  if (cell != NULL && cell->facts.free.thread == 0) cell->facts.free = *calls;
  hak_lock_release(lock());
}

/* A thread that frees the block meanwhile, which one of the two must not, waits. */
hak_cell_margins_t hak_cell_margins(const void *block) {
  hak_lock_acquire(lock());
  hak_cell_t *cell = find_locked(block, HAK_CELL_USED);
  bool there = cell != NULL && hak_load_relaxed(&cell->mapping.extent.block) == block;
  margins_t m = {NULL, NULL, NULL, NULL};
  if (there) m = margins_of(cell);
  if (there) cell->looks++;
  hak_lock_release(lock());
  if (!there) return HAK_CELL_WHOLE;
  hak_cell_margins_t margins = HAK_CELL_WHOLE;
  if (!is_filled(m.before, m.block)) margins = HAK_CELL_UNDERFLOW;
  if (!is_filled(m.end, m.behind)) margins = HAK_CELL_OVERFLOW;
  hak_lock_acquire(lock());
  cell->looks--;
  hak_lock_release(lock());
  return margins;
}

/* --- all -----------------------------------------------------------------------------
 */

HAK_SLOW void hak_cells_recover(void) {
  hak_lock_acquire(lock());
  if (maker != hak_os_self()) maker = NULL;
  for (uint32_t i = 0; cells != NULL && i < HAK_CELLS; i++) {
    hak_cell_t *cell = &cells[i];
    cell->looks = 0;
    if (cell->state != HAK_CELL_PASSING || cell->mapping.who == hak_os_self()) continue;
    cell->mapping.who = NULL;
    cell->facts.block = NULL;
    hak_lock_release(lock());
    if (!close_pages(cell)) cell->dirty = true; /* nobody else is there */
    hak_lock_acquire(lock());
    enqueue_locked(cell, HAK_CELL_FREE);
  }
  hak_lock_release(lock());
}

void hak_cells_stop(void) {
  hak_lock_acquire(lock());
  char *range = (char *)(uintptr_t)hak_load_relaxed(&hak_cells_base);
  const hak_os_t *os = hooks;
  bool made = cells != NULL;
  cells = NULL;
  hooks = NULL;
  maker = NULL;
  records = NULL;
  failures = to_skip = 0;
  queue = (queue_t){NULL, NULL};
  hak_store_relaxed(&hak_cells_bytes, 0);
  hak_store_relaxed(&hak_cells_base, 0);
  hak_lock_release(lock());
  if (!made) return;
  hak_registry_set_extent((uintptr_t)range, ALL_BYTES, NULL);
  hak_os_release(os, range, ALL_BYTES);
}

static bool is_used_locked(const hak_cell_t *cell) {
  hak_lock_assert_held(lock());
  const hak_mapping_t *mapping = hak_mappings.used;
  while (mapping != NULL && mapping != &cell->mapping) mapping = mapping->next_used;
  return mapping != NULL;
}

HAK_SLOW bool hak_cells_are_valid(void) {
  uint32_t counted[HAK_CELL_STATES] = {0}, queued = 0;
  hak_lock_acquire(lock());
  bool ok = true;
  for (uint32_t i = 0; cells != NULL && i < HAK_CELLS; i++) {
    counted[cells[i].state]++;
    bool used = cells[i].state == HAK_CELL_USED;
    if (used != is_used_locked(&cells[i])) ok = false;
    if (used == (hak_mapping_committed(&cells[i].mapping) == 0)) ok = false;
  }
  for (const hak_cell_t *cell = queue.first; cell != NULL; cell = cell->next) queued++;
  if (cells != NULL) ok = ok && memcmp(counted, counts, sizeof counts) == 0;
  if (queued != counted[HAK_CELL_FREE] + counted[HAK_CELL_WAITING]) ok = false;
  hak_lock_release(lock());
  return ok;
}
