#include "heap/thread_range.h"

#include "base/wait.h"
#include "heap/thread_state.h"
#include "os/guarded.h"
#include "pages/meta.h"

typedef struct row {
  char *next;
  uint32_t left, half, room; /* half: of those that it began with */
} row_t;

static row_t ahead, after;      /* [lock] ahead is used up first */
static hak_atomic_u32_t making; /* [lock] 1: a thread makes another row */

enum {
  EACH = 64, /* states; where there is no row one is begun with each so many */
  SHARE = 2, /* of the states that there are already come in a row */
  STEPS = 84 /* about a millisecond */
};

/* The next range of the rows, or NULL. *make: how many the caller shall reserve in a row
 * while others use up what is left; 0: none. */
static HAK_SLOW char *range_ahead(hak_lock_t *lock, uint32_t n, uint32_t room,
                                  uint32_t *make) {
  char *range = NULL;
  bool low = n % EACH == 0;
  hak_lock_acquire(lock);
  if (ahead.left != 0 && ahead.room == room) {
    range = ahead.next;
    ahead.next += hak_thread_range_size(room);
    low = --ahead.left == ahead.half;
    if (ahead.left == 0) {
      ahead = after;
      after.left = 0;
    }
  }
  *make = low && hak_load_relaxed(&making) == 0 ? n / SHARE : 0;
  if (*make != 0) hak_store_relaxed(&making, 1);
  hak_lock_release(lock);
  return range;
}

/* The same; where a row is being made and does not come yet, waits for it, but not for
 * ever: while one thread maps it, others that map would stop it and each other. */
static HAK_SLOW char *range_soon(hak_lock_t *lock, uint32_t n, uint32_t room,
                                 uint32_t *make) {
  char *range = range_ahead(lock, n, room, make);
  unsigned rounds = 0;
  /* Relaxed: what was made is seen under the lock. */
  while (range == NULL && *make == 0 && rounds < STEPS &&
         hak_load_relaxed(&making) != 0) {
    while (hak_load_relaxed(&making) != 0 && rounds < STEPS) hak_wait_step(&rounds);
    range = range_ahead(lock, n, room, make);
  }
  return range;
}

/* Ranges side by side: *count, or fewer, as *count tells then. NULL if memory is short.
 */
static HAK_SLOW char *reserve(const hak_os_t *os, uint32_t room, uint32_t *count) {
  size_t size = hak_thread_range_size(room);
  char *first;
  if (HAK_GUARD_BYTES != 0) {
    *count = 1;
    first = hak_guarded_reserve(os, size, HAK_SLAB_SIZE);
  } else {
    first = hak_os_reserve_row(os, size, HAK_SLAB_SIZE, count);
  }
  if (first != NULL) hak_add_relaxed(&hak_meta_reserved, *count * size);
  return first;
}

static HAK_SLOW void release_row(const hak_os_t *os, row_t row) {
  for (; row.left != 0; row.left--) {
    hak_thread_range_release(os, row.next, row.room);
    row.next += hak_thread_range_size(row.room);
  }
}

/* Leaves a row, which may be empty, to those who come later. */
static HAK_SLOW void keep(const hak_os_t *os, hak_lock_t *lock, row_t row) {
  hak_lock_acquire(lock);
  hak_store_relaxed(&making, 0);
  row_t *place = ahead.left == 0 ? &ahead : &after;
  bool kept = place->left == 0;
  if (kept) *place = row;
  hak_lock_release(lock);
  if (!kept) release_row(os, row);
}

HAK_SLOW char *hak_thread_range_get(const hak_os_t *os, hak_lock_t *lock, uint32_t n,
                                    uint32_t room, bool alone) {
  uint32_t make = 0;
  char *range = alone ? NULL : range_soon(lock, n, room, &make);
  bool makes = make != 0;
  if (range != NULL && !makes) return range;
  if (!makes) make = 1;
  row_t row = {reserve(os, room, &make), 0, 0, room};
  if (row.next != NULL) row.left = make;
  if (range == NULL && row.left != 0) {
    range = row.next;
    row.next += hak_thread_range_size(room);
    row.left--;
  }
  row.half = row.left / 2;
  if (makes) keep(os, lock, row);
  return range;
}

HAK_SLOW void hak_thread_rows_release(const hak_os_t *os, hak_lock_t *lock) {
  hak_lock_acquire(lock);
  row_t first = ahead, second = after;
  ahead.left = after.left = 0;
  hak_store_relaxed(&making, 0);
  hak_lock_release(lock);
  release_row(os, first);
  release_row(os, second);
}

HAK_SLOW void hak_thread_rows_forget_lost_locked(const hak_lock_t *lock) {
  hak_lock_assert_held(lock);
  hak_store_relaxed(&making, 0);
}
