#include "os/reservation.h"

#include <errno.h>

#include "base/check.h"
#include "base/lock.h"
#include "base/wait.h"
#include "os/leak.h"
#include "os/memory.h"

/* [lock], except that the thread that has the note in hand reads and writes `called`, and
 * reads what the call of the hook needs, without it. */
struct hak_os_note {
  hak_os_note_t *next, *prev;
  const void *who;       /* of a note in hand: the thread, see hak_os_self */
  const hak_os_t *hooks; /* whose range it is; never followed, as they may end */
  int (*release)(void *ctx, void *ptr, size_t size);
  void *ctx;
  void *ptr;
  size_t size;
  bool called;  /* of a note in hand: the hook is called, the range may have gone */
  bool bare;    /* its pages have gone and none is guarded: it may serve again */
  bool refused; /* counted in hak_os_unreleased_bytes */
};

typedef struct notes {
  hak_os_note_t *first, *last;
} notes_t;

enum {
  FIRST_NOTES = 64,
  CHUNK_SIZE = 64 * 1024,
  RETRIES = 64,  /* along with a release */
  LAST_TRIES = 8 /* of a range whose hooks end */
};

/* A range of more notes. No note is held for that range itself. */
typedef struct chunk {
  struct chunk *next;
  struct chunk *later; /* the next one of whose notes none was used */
  const hak_os_t *os;
  hak_os_note_t notes[];
} chunk_t;

enum {
  CHUNK_NOTES = (CHUNK_SIZE - sizeof(chunk_t)) / sizeof(hak_os_note_t)
};

hak_atomic_u64_t hak_os_unreleased_bytes, hak_os_notes_bytes;

/* Guards all notes and what is marked [lock] here. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_UNRELEASED);
static hak_os_note_t first_notes[FIRST_NOTES];
static chunk_t *chunks;             /* [lock] */
static notes_t refused, in_hand;    /* [lock] */
static hak_os_note_t *unused;       /* [lock] by `next` */
static hak_os_note_t *uncut;        /* [lock] the first note that was never used */
static uint32_t uncut_count;        /* [lock] how many never used notes lie there */
static chunk_t *whole;              /* [lock] chunks that are cut after those */
static uint64_t ranges, notes_made; /* [lock] */
static hak_atomic_u32_t refused_count;
static const hak_os_t *notes_os; /* [const] while the library runs */

struct hak_lock *hak_os_unreleased_lock(void) {
  return &lock;
}

/* --- lists ------------------------------------------------------------------------- */

static HAK_SLOW void add_locked(notes_t *list, hak_os_note_t *note) {
  hak_lock_assert_held(&lock);
  note->next = NULL;
  note->prev = list->last;
  if (list->last != NULL) {
    list->last->next = note;
  } else {
    list->first = note;
  }
  list->last = note;
  if (list == &refused) hak_count_own(&refused_count, 1);
}

static HAK_SLOW void remove_locked(notes_t *list, hak_os_note_t *note) {
  hak_lock_assert_held(&lock);
  if (note->next != NULL) {
    note->next->prev = note->prev;
  } else {
    list->last = note->prev;
  }
  if (note->prev != NULL) {
    note->prev->next = note->next;
  } else {
    list->first = note->next;
  }
  if (list == &refused) hak_count_own(&refused_count, UINT32_MAX);
}

static hak_os_note_t *get_locked(void) {
  hak_lock_assert_held(&lock);
  hak_os_note_t *note = unused;
  if (note != NULL) {
    unused = note->next;
    return note;
  }
  if (uncut_count == 0 && whole != NULL) {
    uncut = whole->notes;
    uncut_count = CHUNK_NOTES;
    whole = whole->later;
  }
  if (uncut_count > 0) {
    note = uncut++;
    uncut_count--;
  }
  return note;
}

static void put_locked(hak_os_note_t *note) {
  hak_lock_assert_held(&lock);
  note->next = unused;
  unused = note;
  if (ranges > 0) ranges--;
}

static void take_in_hand_locked(hak_os_note_t *note) {
  hak_lock_assert_held(&lock);
  note->who = hak_os_self();
  note->called = false;
  add_locked(&in_hand, note);
}

static HAK_SLOW void refuse_locked(hak_os_note_t *note) {
  hak_lock_assert_held(&lock);
  note->called = false;
  if (!note->refused) hak_add_relaxed(&hak_os_unreleased_bytes, note->size);
  note->refused = true;
  add_locked(&refused, note);
}

/* The range has gone, so its note serves another one. */
static HAK_SLOW void gone_locked(hak_os_note_t *note) {
  hak_lock_assert_held(&lock);
  if (note->refused) hak_sub_relaxed(&hak_os_unreleased_bytes, note->size);
  put_locked(note);
}

/* The range has not gone, and nobody will try again. */
static HAK_SLOW void give_up_locked(hak_os_note_t *note) {
  hak_lock_assert_held(&lock);
  if (!note->refused) hak_add_relaxed(&hak_os_unreleased_bytes, note->size);
  put_locked(note);
}

/* --- memory for notes -------------------------------------------------------------- */

static HAK_SLOW bool call(int (*release)(void *ctx, void *ptr, size_t size), void *ctx,
                          void *ptr, size_t size) {
  int saved = errno;
  bool ok = release(ctx, ptr, size) == 0;
  errno = saved;
  return hak_os_count(&hak_os_counts.release, ok);
}

static HAK_SLOW void release_chunk(const hak_os_t *os, void *chunk) {
  for (int i = 0; i < LAST_TRIES; i++) {
    if (call(os->release, os->ctx, chunk, CHUNK_SIZE)) return;
  }
  hak_add_relaxed(&hak_os_unreleased_bytes, CHUNK_SIZE);
}

static HAK_SLOW chunk_t *chunk_new(void) {
  const hak_os_t *os = notes_os;
  if (os == NULL) return NULL;
  int saved = errno;
  bool zeroed;
  chunk_t *chunk = os->reserve(os->ctx, CHUNK_SIZE, CHUNK_SIZE);
  errno = saved;
  if (!hak_os_count(&hak_os_counts.reserve, chunk != NULL)) return NULL;
  bool aligned = hak_is_aligned((uintptr_t)chunk, HAK_CACHE_LINE);
  if (!aligned || !hak_os_commit(os, chunk, CHUNK_SIZE, &zeroed)) {
    release_chunk(os, chunk);
    return NULL;
  }
  chunk->os = os;
  return chunk;
}

static void add_chunk_locked(chunk_t *chunk) {
  hak_lock_assert_held(&lock);
  chunk->next = chunks;
  chunks = chunk;
  chunk->later = whole;
  whole = chunk;
  notes_made += CHUNK_NOTES;
  hak_add_relaxed(&hak_os_notes_bytes, CHUNK_SIZE);
}

/* Counts `want` ranges, or as many as there are notes for; *left: notes that there were
 * before. */
static uint32_t count_ranges(uint32_t want, uint64_t *left) {
  hak_lock_acquire(&lock);
  if (notes_made == 0) {
    uncut = first_notes;
    uncut_count = FIRST_NOTES;
    notes_made = FIRST_NOTES;
  }
  *left = notes_made - ranges;
  if (want > *left) want = (uint32_t)*left;
  ranges += want;
  hak_lock_release(&lock);
  return want;
}

/* Makes more notes. Threads that need some at the same moment each bring a chunk; one
 * serves them all. */
static HAK_SLOW bool make_notes(uint64_t left) {
  chunk_t *chunk = chunk_new();
  if (chunk == NULL) return false;
  hak_lock_acquire(&lock);
  bool wanted = notes_made - ranges <= left;
  if (wanted) add_chunk_locked(chunk);
  hak_lock_release(&lock);
  if (!wanted) release_chunk(chunk->os, chunk);
  return true;
}

/* Holds `want` notes, or at least one; 0 if memory is short. The thread that takes the
 * LOW-th last note makes more: others that come meanwhile find what is left. */
static HAK_SLOW uint32_t hold_notes(uint32_t want) {
  enum {
    LOW = FIRST_NOTES / 2
  };
  uint64_t left;
  uint32_t held;
  while ((held = count_ranges(want, &left)) == 0) {
    if (!make_notes(0)) return 0;
  }
  if (left >= LOW && left - held < LOW) make_notes(LOW - 1);
  return held;
}

static bool hold_note(void) { return hold_notes(1) != 0; }

static HAK_SLOW void drop_notes(uint32_t count) {
  hak_lock_acquire(&lock);
  ranges -= ranges < count ? ranges : count;
  hak_lock_release(&lock);
}

/* --- reservations ------------------------------------------------------------------ */

/* The smallest of a few refused ranges that are large enough, aligned, and bare. */
static hak_os_note_t *fitting_locked(const hak_os_t *os, size_t size, size_t alignment) {
  hak_lock_assert_held(&lock);
  enum {
    LOOKS = 256
  };
  hak_os_note_t *best = NULL, *note = refused.first;
  for (int i = 0; i < LOOKS && note != NULL; i++, note = note->next) {
    if (!note->bare || note->size < size || note->release != os->release ||
        note->ctx != os->ctx || !hak_is_aligned((uintptr_t)note->ptr, alignment)) {
      continue;
    }
    if (best == NULL || note->size < best->size) best = note;
  }
  return best;
}

/* A refused range serves again, for whose use a note is held; the rest of it is refused
 * as before. Only the system's ranges are bare, and any part of those may be released. */
static HAK_SLOW void *take_refused(const hak_os_t *os, size_t size, size_t alignment) {
  hak_lock_acquire(&lock);
  hak_os_note_t *note = fitting_locked(os, size, alignment);
  char *ptr = note == NULL ? NULL : note->ptr;
  if (note != NULL) {
    hak_sub_relaxed(&hak_os_unreleased_bytes, size);
    note->ptr = ptr + size;
    note->size -= size;
  }
  if (note != NULL && note->size == 0) {
    remove_locked(&refused, note);
    put_locked(note);
  }
  hak_lock_release(&lock);
  if (ptr != NULL) hak_leak_root(ptr, size);
  return ptr;
}

void *hak_os_reserve(const hak_os_t *os, size_t size, size_t alignment) {
  if (hak_os_is_barred() || !hold_note()) return NULL;
  if (HAK_UNLIKELY(hak_load_relaxed(&refused_count) != 0)) {
    void *again = take_refused(os, size, alignment);
    if (again != NULL) return again;
  }
  int saved = errno;
  void *ptr = os->reserve(os->ctx, size, alignment);
  errno = saved;
  hak_os_count(&hak_os_counts.reserve,
               ptr != NULL && hak_is_aligned((uintptr_t)ptr, alignment));
  if (ptr == NULL) {
    drop_notes(1);
    return NULL;
  }
  hak_leak_root(ptr, size);
  if (hak_is_aligned((uintptr_t)ptr, alignment)) return ptr;
  hak_os_unreserve(os, ptr, size);
  return NULL;
}

bool hak_os_divide_begin(void) { return !hak_os_is_barred() && hold_note(); }

void hak_os_divide_end(void *ptr, size_t size, size_t first) {
  hak_leak_unroot(ptr, size);
  hak_leak_root(ptr, first);
  hak_leak_root((char *)ptr + first, size - first);
}

void hak_os_join(void *ptr, size_t first, size_t size) {
  hak_leak_unroot(ptr, first);
  hak_leak_unroot((char *)ptr + first, size - first);
  hak_leak_root(ptr, size);
  drop_notes(1);
}

void *hak_os_reserve_row(const hak_os_t *os, size_t size, size_t alignment,
                         uint32_t *count) {
  uint32_t want = hak_os_is_divisible(os) && !hak_os_is_barred() ? *count : 1;
  uint32_t more = want > 1 ? hold_notes(want) : 0;
  if (more > 0) {
    drop_notes(1); /* reserve holds it */
    more--;
  }
  char *row = hak_os_reserve(os, (more + 1) * size, alignment);
  if (row == NULL && more > 0) {
    drop_notes(more);
    more = 0;
    row = hak_os_reserve(os, size, alignment);
  }
  *count = more + 1; /* of no row there are no more */
  for (char *first = row; more > 0; more--, first += size) {
    hak_os_divide_end(first, (more + 1) * size, size);
  }
  return row;
}

/* --- releases ---------------------------------------------------------------------- */

HAK_SLOW hak_os_note_t *hak_os_release_begin(const hak_os_t *os, void *ptr, size_t size) {
  if (hak_os_is_fixed(os)) return NULL;
  hak_lock_acquire(&lock);
  /* Under the lock, so that a fork finds both: no root, and the note. */
  hak_leak_unroot(ptr, size);
  hak_os_note_t *note = get_locked();
  hak_assert(note != NULL);
  if (HAK_LIKELY(note != NULL)) {
    note->hooks = os;
    note->release = os->release;
    note->ctx = os->ctx;
    note->ptr = ptr;
    note->size = size;
    note->refused = note->bare = false;
    take_in_hand_locked(note);
  }
  hak_lock_release(&lock);
  return note;
}

/* A range that stays for now loses its pages, if it has some. Of the system's ranges
 * alone it is known that pages may be purged which were never committed. Parts of it may
 * have been guarded: it serves again as one that may be touched, or not at all. */
static HAK_SLOW void strip(hak_os_note_t *note) {
  const hak_os_t *systems = hak_os_default();
  if (note->bare || note->release != systems->release || !hak_os_may_give()) return;
  int saved = errno;
  bool ok = systems->purge(note->ctx, note->ptr, note->size) == 0;
  note->bare =
      hak_os_count(&hak_os_counts.purge, ok) && hak_memory_open(note->ptr, note->size);
  errno = saved;
}

/* Calls the hook for a note in hand. The child of a fork that comes before `called` is
 * set knows that the range is still there. */
static HAK_SLOW bool try(hak_os_note_t *note) {
  note->called = true;
  hak_compiler_fence();
  bool ok = call(note->release, note->ctx, note->ptr, note->size);
  hak_compiler_fence();
  if (!ok) {
    note->called = false;
    strip(note);
  }
  return ok;
}

static HAK_SLOW void settle(hak_os_note_t *note, bool ok) {
  hak_lock_acquire(&lock);
  remove_locked(&in_hand, note);
  if (ok) {
    gone_locked(note);
  } else {
    refuse_locked(note);
  }
  hak_lock_release(&lock);
}

HAK_SLOW void hak_os_retry_releases(bool all) {
  uint32_t tries = hak_load_relaxed(&refused_count);
  if (tries == 0 || !hak_os_may_give()) return;
  if (!all && tries > RETRIES) tries = RETRIES;
  for (; tries > 0; tries--) {
    hak_lock_acquire(&lock);
    hak_os_note_t *note = refused.first;
    if (note != NULL) {
      remove_locked(&refused, note);
      take_in_hand_locked(note);
    }
    hak_lock_release(&lock);
    if (note == NULL) return;
    bool ok = try(note);
    settle(note, ok);
    if (!ok && !all)
      return; /* this note is the last one now, and another is tried first */
  }
}

HAK_SLOW void hak_os_release_end(hak_os_note_t *note) {
  if (note == NULL) return;
  hak_os_retry_releases(false);
  settle(note, hak_os_may_give() && try(note));
}

void hak_os_release(const hak_os_t *os, void *ptr, size_t size) {
  hak_os_release_end(hak_os_release_begin(os, ptr, size));
}

HAK_SLOW void hak_os_unreserve_end(hak_os_note_t *note) {
  if (note != NULL) settle(note, hak_os_scope != HAK_OS_BARRED && try(note));
}

void hak_os_unreserve(const hak_os_t *os, void *ptr, size_t size) {
  hak_os_unreserve_end(hak_os_release_begin(os, ptr, size));
}

/* --- the end of hooks -------------------------------------------------------------- */

static hak_os_note_t *first_of(const notes_t *list, const hak_os_t *hooks) {
  hak_os_note_t *note = list->first;
  while (note != NULL && note->hooks != hooks) note = note->next;
  return note;
}

/* Drops the lock while the hook runs, and takes it again. */
static void try_last_locked(hak_os_note_t *note) {
  hak_lock_assert_held(&lock);
  remove_locked(&refused, note);
  take_in_hand_locked(note);
  hak_lock_release(&lock);
  bool ok = false;
  for (int i = 0; i < LAST_TRIES && !ok; i++) ok = try(note);
  hak_lock_acquire(&lock);
  remove_locked(&in_hand, note);
  if (ok) {
    gone_locked(note);
  } else {
    give_up_locked(note);
  }
}

HAK_SLOW void hak_os_end(const hak_os_t *os) {
  unsigned rounds = 0;
  hak_lock_acquire(&lock);
  for (;;) {
    hak_os_note_t *note = first_of(&refused, os);
    if (note != NULL) {
      try_last_locked(note);
    } else if (first_of(&in_hand, os) != NULL) {
      hak_lock_release(&lock);
      hak_wait_step(&rounds);
      hak_lock_acquire(&lock);
    } else {
      break;
    }
  }
  hak_lock_release(&lock);
}

/* Hooks `os` may be offered a range that the hooks of the last run refused: they are the
 * same, or the range is the system's. */
static bool is_taken_over(const hak_os_note_t *note, const hak_os_t *os,
                          const hak_os_t *systems) {
  return (note->release == os->release && note->ctx == os->ctx) ||
         note->release == systems->release;
}

HAK_SLOW void hak_os_start(const hak_os_t *os) {
  const hak_os_t *systems = hak_os_default();
  hak_lock_acquire(&lock);
  hak_os_note_t *next;
  for (hak_os_note_t *note = refused.first; note != NULL; note = next) {
    next = note->next;
    note->hooks = os;
    if (is_taken_over(note, os, systems)) continue;
    remove_locked(&refused, note);
    give_up_locked(note);
  }
  notes_os = os;
  hak_lock_release(&lock);
}

/* Only first_notes stay: the chunks are about to go. */
static void keep_first_notes_locked(void) {
  hak_lock_assert_held(&lock);
  hak_os_note_t copies[FIRST_NOTES];
  uint32_t count = 0;
  hak_os_note_t *note;
  while ((note = refused.first) != NULL) {
    remove_locked(&refused, note);
    if (count < FIRST_NOTES) copies[count++] = *note;
  }
  for (uint32_t i = 0; i < count; i++) {
    first_notes[i] = copies[i];
    add_locked(&refused, &first_notes[i]);
  }
  unused = NULL;
  whole = NULL;
  uncut = &first_notes[count];
  uncut_count = FIRST_NOTES - count;
  ranges = count;
  notes_made = FIRST_NOTES;
}

HAK_SLOW void hak_os_stop(void) {
  for (int i = 0; i < LAST_TRIES; i++) hak_os_retry_releases(true);
  hak_lock_acquire(&lock);
  keep_first_notes_locked();
  chunk_t *gone = chunks;
  chunks = NULL;
  notes_os = NULL;
  hak_lock_release(&lock);
  while (gone != NULL) {
    chunk_t *chunk = gone;
    gone = chunk->next;
    hak_sub_relaxed(&hak_os_notes_bytes, CHUNK_SIZE);
    release_chunk(chunk->os, chunk);
  }
}

/* --- fork -------------------------------------------------------------------------- */

HAK_SLOW uint64_t hak_os_forget_lost(void) {
  uint64_t lost = 0;
  hak_os_note_t *next;
  hak_lock_acquire(&lock);
  for (hak_os_note_t *note = in_hand.first; note != NULL; note = next) {
    next = note->next;
    if (note->who == hak_os_self()) continue;
    remove_locked(&in_hand, note);
    if (note->called) {
      /* The range may have gone, and another one may lie there by now. */
      lost += note->size;
      gone_locked(note);
    } else {
      refuse_locked(note);
    }
  }
  hak_lock_release(&lock);
  return lost;
}
