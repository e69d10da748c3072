#include "heap/thread_range.h"

#include "heap/thread_state.h"
#include "os/guarded.h"
#include "pages/meta.h"

typedef struct row {
  char *next;
  uint32_t left, half, room; /* half: of those that it began with */
} row_t;

static row_t ahead, after; /* [lock] ahead is used up first */

/* The next range of the rows, or NULL. *more: the caller is the one thread that shall
 * make another row, while others use up what is left. */
static char *range_ahead(hak_lock_t *lock, uint32_t n, uint32_t room, bool *more) {
  enum {
    EACH = 64 /* states; where there is no row */
  };
  char *range = NULL;
  hak_lock_acquire(lock);
  if (ahead.left != 0 && ahead.room == room) {
    range = ahead.next;
    ahead.next += hak_thread_range_size(room);
    *more = --ahead.left == ahead.half;
    if (ahead.left == 0) {
      ahead = after;
      after.left = 0;
    }
  } else {
    *more = n % EACH == 0;
  }
  hak_lock_release(lock);
  return range;
}

/* Ranges side by side: *count, or fewer, as *count tells then. NULL if memory is short.
 */
static char *reserve(const hak_os_t *os, uint32_t room, uint32_t *count) {
  size_t size = hak_thread_range_size(room);
  char *first;
  if (*count == 1 || HAK_GUARD_BYTES != 0) {
    *count = 1;
    first = hak_guarded_reserve(os, size, HAK_SLAB_SIZE);
  } else {
    first = hak_os_reserve_row(os, size, HAK_SLAB_SIZE, count);
  }
  if (first != NULL) hak_add_relaxed(&hak_meta_reserved, *count * size);
  return first;
}

static void release_row(const hak_os_t *os, row_t row) {
  for (; row.left != 0; row.left--) {
    hak_thread_range_release(os, row.next, row.room);
    row.next += hak_thread_range_size(row.room);
  }
}

static void make_row(const hak_os_t *os, hak_lock_t *lock, uint32_t n, uint32_t room) {
  enum {
    SHARE = 2 /* of the states that there are already come in a row */
  };
  row_t row = {NULL, n / SHARE, n / SHARE / 2, room};
  row.next = row.left == 0 ? NULL : reserve(os, room, &row.left);
  if (row.next == NULL) return;
  hak_lock_acquire(lock);
  row_t *place = ahead.left == 0 ? &ahead : &after;
  bool kept = place->left == 0;
  if (kept) *place = row;
  hak_lock_release(lock);
  if (!kept) release_row(os, row);
}

HAK_SLOW char *hak_thread_range_get(const hak_os_t *os, hak_lock_t *lock, uint32_t n,
                                    uint32_t room, bool alone) {
  bool more = false;
  char *range = alone ? NULL : range_ahead(lock, n, room, &more);
  if (more) make_row(os, lock, n, room);
  uint32_t one = 1;
  return range != NULL ? range : reserve(os, room, &one);
}

HAK_SLOW void hak_thread_rows_release(const hak_os_t *os, hak_lock_t *lock) {
  hak_lock_acquire(lock);
  row_t first = ahead, second = after;
  ahead.left = after.left = 0;
  hak_lock_release(lock);
  release_row(os, first);
  release_row(os, second);
}
