/* readers.h - those who look at records without a lock, counted for those who would take
 * the records' pages or fill them in anew.
 *
 * Depends on: atomic, sys.   Used by: heap, superslab.
 *
 * A reader never waits, so it may be in a handler that interrupted anything. It enters,
 * reads which records are in use, looks at those, and leaves. Who wants a record for
 * something else first says that it is not in use, and then asks
 *
 *   - whether there is nobody (hak_readers_none): readers who come later see what was
 *     said, and those who came before are counted; or
 *   - whether two turns have passed since (hak_readers_turn). A turn passes when all who
 *     came before the last one have left, though others came meanwhile: so there is an
 *     end to the wait even if there is always somebody.
 *
 * Cost of a look: two locked instructions.
 */
#ifndef HAK_BASE_READERS_H
#define HAK_BASE_READERS_H

#include "base/atomic.h"
#include "base/sys.h"

typedef struct hak_readers {
  hak_atomic_u32_t count[2]; /* [any] of those who came in even and in odd turns */
  hak_atomic_u32_t turn;     /* [any] changed by one thread at a time */
} hak_readers_t;

enum {
  HAK_READERS_TURNS = 2 /* so many turns later those who were there have left */
};

/* What it returns is for hak_readers_leave. */
uint64_t hak_readers_enter(hak_readers_t *readers);

/* Nothing in the child of a fork that came in between, where nobody is counted. */
void hak_readers_leave(hak_readers_t *readers, uint64_t entered);

/* True if there is nobody who might not see what the caller has just said. */
bool hak_readers_none(hak_readers_t *readers);

/* Lets turns pass, as many as can, and says which one it is. Only by one thread at a
 * time. */
uint32_t hak_readers_turn(hak_readers_t *readers);

/* True if in `turn` those have left who were there when it was `since`. */
HAK_HOT bool hak_readers_left(uint32_t turn, uint32_t since) {
  return turn - since >= HAK_READERS_TURNS;
}

/* In the child of a fork, where none of those who were there is. */
void hak_readers_reset(hak_readers_t *readers);

#endif
