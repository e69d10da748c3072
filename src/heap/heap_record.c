#include "heap/heap_record.h"

#include "pages/idle.h"
#include "pages/meta.h"

enum {
  CHUNK_HEAPS = 256,
  CHUNKS = HAK_HEAPS_MAX / CHUNK_HEAPS
};

/* Records lie close together, as many heaps in turn are looked at by all frees and
 * allocations; what is large of a heap lies elsewhere. */
typedef struct chunk {
  hak_atomic_u16_t made[CHUNK_HEAPS]; /* first: on the page of the first few records */
  hak_heap_t heaps[CHUNK_HEAPS];
} chunk_t;

/* Guards the list of records, what is marked [lock] here and [lock: heaps] elsewhere. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_HEAPS);
static _Atomic(chunk_t *) chunks[CHUNKS];
static hak_atomic_u32_t made; /* [lock] records, the default heap's included */
/* Records that wait, the longest first, so that a handle that is out of date has the most
 * time to be found. Those whose pages went back, and those whose tags are used up, wait
 * apart. */
typedef struct waiting {
  hak_heap_t *first, *last;
  uint32_t count;
} waiting_t;
static waiting_t unused, bare, worn; /* [lock] */

hak_lock_t *hak_heaps_lock(void) { return &lock; }

uint32_t hak_heaps_made(void) { return hak_load_relaxed(&made); }

hak_heap_t *hak_heap_at(uint32_t index) {
  /* Acquire, both: pair with hak_heap_record_new. */
  chunk_t *chunk = hak_load_acquire(&chunks[index / CHUNK_HEAPS]);
  uint32_t i = index % CHUNK_HEAPS;
  return chunk != NULL && hak_load_acquire(&chunk->made[i]) ? &chunk->heaps[i] : NULL;
}

/* --- records ----------------------------------------------------------------- */

static chunk_t *chunk_of(const hak_os_t *os, uint32_t index) {
  _Atomic(chunk_t *) *at = &chunks[index / CHUNK_HEAPS];
  chunk_t *chunk = hak_load_acquire(at);
  if (chunk != NULL) return chunk;
  /* NULL, and nothing changes, if memory is short. */
  chunk_t *fresh = hak_meta_alloc(os, sizeof *fresh, HAK_CACHE_LINE);
  /* Release: publishes the zeroes to hak_heap_at. */
  if (hak_cas_release(at, &chunk, fresh)) return fresh;
  return hak_load_acquire(at);
}

/* Heaps that are gone leave their records for others: a program pays for the most that it
 * had at once. */
_Static_assert(sizeof(hak_store_t) <= 3 * 128,
               "the next size that fits is 128 bytes more");
_Static_assert(sizeof(hak_heap_t) <= 4 * HAK_CACHE_LINE, "the same, of 64");

hak_heap_t *hak_heap_record_new(const hak_os_t *os, const hak_geometry_t *geometry) {
  if (hak_load_relaxed(&made) >= HAK_HEAPS_MAX) return NULL; /* before memory is taken */
  hak_store_t *store = hak_meta_alloc(os, sizeof *store, 2 * HAK_CACHE_LINE);
  hak_centrals_t *centrals = hak_meta_alloc_pages(os, HAK_CENTRALS_BYTES);
  if (store == NULL || centrals == NULL) return NULL;
  hak_lock_acquire(&lock);
  uint32_t index = hak_load_relaxed(&made);
  bool ok = index < HAK_HEAPS_MAX;
  if (ok) hak_store_relaxed(&made, index + 1);
  hak_lock_release(&lock);
  chunk_t *chunk = ok ? chunk_of(os, index) : NULL;
  if (chunk == NULL) return NULL; /* the index is lost; they are many */
  hak_heap_t *heap = &chunk->heaps[index % CHUNK_HEAPS];
  heap->index = index;
  heap->store = store;
  hak_pool_init(&store->pool, os, NULL);
  store->pool.starts_small = true;
  store->pool.colour = index;
  store->geometry = geometry;
  store->centrals = centrals->classes;
  hak_store_relaxed(&heap->index_at, hak_index_at(HAK_INDEX_NONE));
  /* Release: publishes the record to hak_heap_at. */
  hak_store_release(&chunk->made[index % CHUNK_HEAPS], 1);
  return heap;
}

static void note(const waiting_t *waiting, int sign) {
  if (waiting == &unused) hak_idle_note_records(sign * (int64_t)HAK_CENTRALS_BYTES);
}

static HAK_SLOW void add_locked(waiting_t *waiting, hak_heap_t *heap) {
  hak_lock_assert_held(&lock);
  heap->next_unused = NULL;
  heap->waits = true;
  if (waiting->last != NULL) {
    waiting->last->next_unused = heap;
  } else {
    waiting->first = heap;
  }
  waiting->last = heap;
  waiting->count++;
  note(waiting, 1);
}

static HAK_SLOW hak_heap_t *take_locked(waiting_t *waiting) {
  hak_lock_assert_held(&lock);
  hak_heap_t *heap = waiting->first;
  if (heap == NULL) return NULL;
  waiting->first = heap->next_unused;
  if (waiting->first == NULL) waiting->last = NULL;
  heap->waits = false;
  waiting->count--;
  note(waiting, -1);
  return heap;
}

static hak_heap_t *worn_record(void) {
  hak_lock_acquire(&lock);
  hak_heap_t *heap = take_locked(&worn);
  if (heap != NULL) heap->tag = 0;
  hak_lock_release(&lock);
  return heap;
}

/* One with tags left; a new one rather than one of a few that are worn; NULL if memory
 * is short. */
hak_heap_t *hak_heap_record_get(const hak_os_t *os, const hak_geometry_t *geometry) {
  hak_lock_acquire(&lock);
  hak_heap_t *heap = take_locked(&unused);
  if (heap == NULL) heap = take_locked(&bare);
  bool fresh = worn.count < HAK_HEAPS_WORN;
  hak_lock_release(&lock);
  if (heap == NULL && fresh) heap = hak_heap_record_new(os, geometry);
  if (heap == NULL) heap = worn_record();
  if (heap != NULL && hak_load_relaxed(&heap->bare) != 0) {
    hak_meta_reuse(HAK_CENTRALS_BYTES);
    hak_store_relaxed(&heap->bare, 0);
  }
  return heap;
}

/* --- pages of records that wait ------------------------------------------------ */

/* Gives the pages of an unused record back, but for what tells handles apart. The bytes;
 * 0: they may not go now. Nobody else has the record. */
static size_t purge(const hak_os_t *os, hak_heap_t *heap) {
  if (!hak_meta_purge(os, hak_store_centrals(heap->store), HAK_CENTRALS_BYTES)) return 0;
  hak_store_relaxed(&heap->bare, 1);
  return HAK_CENTRALS_BYTES;
}

HAK_SLOW size_t hak_heap_records_purge(const hak_os_t *os, size_t max_bytes,
                                       size_t *looks,
                                       hak_heap_purge_caches_fn *purge_caches) {
  size_t given = 0;
  for (bool goes = true; goes && *looks > 0 && given < max_bytes;) {
    hak_lock_acquire(&lock);
    hak_heap_t *heap = take_locked(&unused);
    hak_lock_release(&lock);
    if (heap == NULL) break;
    size_t bytes = 0;
    given += purge_caches(heap->index, looks);
    if (*looks > 0) {
      --*looks;
      bytes = purge(os, heap);
    }
    goes = bytes != 0;
    given += bytes;
    hak_lock_acquire(&lock);
    add_locked(goes ? &bare : &unused, heap);
    hak_lock_release(&lock);
  }
  return given;
}

void hak_heap_record_put_locked(hak_heap_t *heap) {
  hak_lock_assert_held(&lock);
  add_locked(heap->tag < HAK_HANDLE_TAG_MAX ? &unused : &worn, heap);
}

bool hak_heap_record_is_unused_locked(const hak_heap_t *heap) {
  hak_lock_assert_held(&lock);
  return heap->waits;
}

void hak_heap_records_stop(void) {
  for (int i = 0; i < CHUNKS; i++) hak_store_relaxed(&chunks[i], NULL);
  hak_store_relaxed(&made, 0);
  unused = bare = worn = (waiting_t){NULL, NULL, 0};
}
