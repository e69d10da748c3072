#include "pages/meta.h"

#include "base/bits.h"
#include "base/check.h"
#include "os/guarded.h"
#include "os/turn.h"

/* Head of a range that records are cut from. It lies at the range's start; but where
 * records have pages of their own, it would have one too, and is a record among the
 * others. */
typedef struct chunk {
  struct chunk *next; /* [lock] */
  const hak_os_t *os; /* [const] */
  char *start;        /* [const] of the range */
  size_t size;        /* [const] bytes, of the range */
  size_t committed;   /* [lock] bytes */
  size_t used;        /* [lock] bytes that are cut */
} chunk_t;

enum {
  CHUNK_SIZE = 256 * 1024,
  CHUNK_ALIGNMENT = 64 * 1024,
  PAGE = 4 * 1024,
  COMMIT_SIZE = 32 * 1024 /* so many bytes more of a chunk have memory at a time */
};

hak_atomic_u64_t hak_meta_committed, hak_meta_reserved, hak_meta_uncut;
static hak_atomic_u64_t purged; /* bytes of records without pages */
/* Guards the list of chunks and how much of each is used. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_META);
/* [lock] By whether records have pages of their own: few others would fit between those.
 * The first one of each is being cut. */
static chunk_t *chunks[2];

hak_lock_t *hak_meta_lock(void) { return &lock; }

static bool has_pages(size_t alignment) { return alignment >= PAGE; }
static chunk_t **chunks_of(size_t alignment) { return &chunks[has_pages(alignment)]; }

/* So much of the chunk is about to be used and committed. Pages behind what is used were
 * never written to, where fresh memory reads as zero. */
static HAK_SLOW void count_uncut_locked(const chunk_t *chunk, size_t used,
                                        size_t committed) {
  hak_lock_assert_held(&lock);
  if (!hak_os_keeps_zeroes(chunk->os)) return;
  size_t before = hak_align_up(chunk->used, PAGE), now = hak_align_up(used, PAGE);
  size_t was = chunk->committed > before ? chunk->committed - before : 0;
  size_t is = committed > now ? committed - now : 0;
  hak_store_relaxed(&hak_meta_uncut, hak_load_relaxed(&hak_meta_uncut) + is - was);
}

static HAK_SLOW void *cut_locked(const hak_os_t *os, size_t size, size_t alignment) {
  hak_lock_assert_held(&lock);
  chunk_t *chunk = *chunks_of(alignment);
  if (chunk == NULL || chunk->os != os) return NULL;
  size_t at = hak_align_up(chunk->used, alignment);
  if (at > chunk->committed || size > chunk->committed - at) return NULL;
  count_uncut_locked(chunk, at + size, chunk->committed);
  chunk->used = at + size;
  return chunk->start + at;
}

static HAK_SLOW void *cut(const hak_os_t *os, size_t size, size_t alignment) {
  hak_lock_acquire(&lock);
  void *record = cut_locked(os, size, alignment);
  hak_lock_release(&lock);
  return record;
}

static size_t step(const hak_os_t *os) {
  return os->page_size > COMMIT_SIZE ? os->page_size : COMMIT_SIZE;
}

/* Commits `bytes` more, zeroed; false if memory is short. */
static bool commit(const hak_os_t *os, char *from, size_t bytes) {
  bool zeroed;
  if (!hak_os_commit(os, from, bytes, &zeroed)) return false;
  if (!zeroed) __builtin_memset(from, 0, bytes);
  hak_add_relaxed(&hak_meta_committed, bytes);
  return true;
}

/* Commits more of the chunk that is being cut, if it has room for the record. The caller
 * has the turn, so nobody else does that. */
static HAK_SLOW void *extend(const hak_os_t *os, size_t size, size_t alignment) {
  hak_lock_acquire(&lock);
  chunk_t *chunk = *chunks_of(alignment);
  size_t end = chunk == NULL ? 0 : hak_align_up(chunk->used, alignment) + size;
  hak_lock_release(&lock);
  if (chunk == NULL || chunk->os != os || end > chunk->size) return NULL;
  size_t want = hak_align_up(end, step(os));
  if (want > chunk->size) want = chunk->size;
  size_t have = chunk->committed; /* less than `end`: nothing could be cut */
  hak_assert(want > have);
  if (!commit(os, chunk->start + have, want - have)) return NULL;
  hak_lock_acquire(&lock);
  count_uncut_locked(chunk, chunk->used, want);
  chunk->committed = want;
  void *record = cut_locked(os, size, alignment);
  hak_lock_release(&lock);
  return record;
}

static void *get(const hak_os_t *os, size_t size, size_t alignment, bool turn);

static HAK_SLOW void *grow(const hak_os_t *os, size_t size, size_t alignment, bool turn) {
  bool apart = has_pages(alignment);
  size_t head = apart ? 0 : sizeof(chunk_t);
  size_t least = apart ? size : head + alignment + size;
  size_t want = hak_align_up(least, CHUNK_ALIGNMENT);
  if (want < CHUNK_SIZE) want = CHUNK_SIZE;
  char *start = hak_guarded_reserve(os, want, CHUNK_ALIGNMENT);
  if (start == NULL) return NULL;
  size_t first = hak_align_up(least, step(os));
  if (!commit(os, start, first)) {
    hak_guarded_unreserve(os, start, want);
    return NULL;
  }
  chunk_t *chunk = apart ? get(os, sizeof *chunk, sizeof(void *), turn) : (void *)start;
  if (chunk == NULL) {
    hak_sub_relaxed(&hak_meta_committed, first);
    hak_guarded_release(os, start, want);
    return NULL;
  }
  hak_add_relaxed(&hak_meta_reserved, want);
  *chunk = (chunk_t){.os = os, .start = start, .size = want};
  hak_lock_acquire(&lock);
  count_uncut_locked(chunk, head, first);
  chunk->used = head;
  chunk->committed = first;
  chunk->next = *chunks_of(alignment);
  *chunks_of(alignment) = chunk;
  void *record = cut_locked(os, size, alignment);
  hak_lock_release(&lock);
  return record;
}

/* From the range that is being cut, or from another one; the caller has the turn if it
 * says so. */
static HAK_SLOW void *get(const hak_os_t *os, size_t size, size_t alignment, bool turn) {
  void *record = cut(os, size, alignment);
  if (record == NULL && turn) record = extend(os, size, alignment);
  return record != NULL ? record : grow(os, size, alignment, turn);
}

/* Many threads may find the chunk used up at once: one of them gets the next. */
static hak_turn_t growing;

void *hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment) {
  void *record = cut(os, size, alignment);
  if (record != NULL || hak_os_is_barred()) return record;
  bool taken = hak_turn_take(&growing);
  /* A hook that came here again is inside of extend or grow. */
  record = get(os, size, alignment, taken);
  hak_turn_give(&growing, taken);
  return record;
}

void *hak_meta_alloc_pages(const hak_os_t *os, size_t size) {
  return hak_meta_alloc(os, hak_align_up(size, PAGE), PAGE);
}

bool hak_meta_may_go(const hak_os_t *os) {
  return os->page_size <= PAGE && hak_os_keeps_zeroes(os);
}

bool hak_meta_purge(const hak_os_t *os, void *record, size_t size) {
  if (!hak_meta_may_go(os)) return false;
  size_t bytes = hak_align_up(size, PAGE);
  if (!hak_os_purge(os, record, bytes)) return false;
  hak_sub_relaxed(&hak_meta_committed, bytes);
  hak_add_relaxed(&purged, bytes);
  return true;
}

void hak_meta_reuse(size_t size) {
  hak_add_relaxed(&hak_meta_committed, hak_align_up(size, PAGE));
  hak_sub_relaxed(&purged, hak_align_up(size, PAGE));
}

void hak_meta_forget_others(void) { hak_turn_forget_others(&growing); }

static void stop(chunk_t **first) {
  while (*first != NULL) {
    chunk_t *chunk = *first;
    *first = chunk->next;
    hak_sub_relaxed(&hak_meta_committed, chunk->committed);
    hak_sub_relaxed(&hak_meta_reserved, chunk->size);
    hak_guarded_release(chunk->os, chunk->start, chunk->size);
  }
}

void hak_meta_stop(void) {
  hak_store_relaxed(&hak_meta_uncut, 0);
  hak_add_relaxed(&hak_meta_committed, hak_exchange_relaxed(&purged, 0));
  stop(&chunks[1]); /* whose heads are records of the others */
  stop(&chunks[0]);
}
