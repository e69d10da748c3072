/* readers.h - those who look at records without a lock, counted for those who would take
 * the records' pages or fill them in anew.
 *
 * Depends on: atomic, sys.   Used by: heap, superslab.
 *
 * A reader never waits, so it may be in a handler that interrupted anything. It enters,
 * reads which records are in use, looks at those, and leaves. Who wants a record for
 * something else first says that it is not in use, and then asks whether there is nobody:
 * readers who come later see what was said, and those who came before are counted.
 *
 * Cost of a look: two locked instructions.
 */
#ifndef HAK_BASE_READERS_H
#define HAK_BASE_READERS_H

#include "base/atomic.h"
#include "base/sys.h"

typedef struct hak_readers {
  hak_atomic_u32_t count; /* [any] */
} hak_readers_t;

/* What it returns is for hak_readers_leave. Acquire: pairs with hak_readers_none; what
 * was said before is seen. */
HAK_HOT uint64_t hak_readers_enter(hak_readers_t *readers) {
  hak_add_acquire(&readers->count, 1);
  return hak_sys_process();
}

/* Nothing in the child of a fork that came in between, where nobody is counted. Release:
 * pairs with hak_readers_none; the reader looks no more. */
HAK_HOT void hak_readers_leave(hak_readers_t *readers, uint64_t entered) {
  if (entered == hak_sys_process()) hak_sub_release(&readers->count, 1);
}

/* True if there is nobody who might not see what the caller has just said. A change and
 * no load, so that it comes before or after each entry. */
HAK_HOT bool hak_readers_none(hak_readers_t *readers) {
  /* Release: pairs with hak_readers_enter. */
  hak_or_release(&readers->count, 0);
  /* Acquire: pairs with hak_readers_leave. */
  return hak_load_acquire(&readers->count) == 0;
}

/* In the child of a fork, where none of those who were there is. */
HAK_HOT void hak_readers_reset(hak_readers_t *readers) {
  hak_store_relaxed(&readers->count, 0);
}

#endif
