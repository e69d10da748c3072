/* rent.h - whether idle memory is worth its keep: rent or buy.
 *
 * Depends on: base.   Used by: idle, superslab.
 *
 * To keep an idle byte is rent; to give it back and to touch it anew later is a price.
 * The decay (PURGE_DECAY_MS) is the time after which the rent has come to the price. So
 * what has been idle for a decay goes: it has cost as much as it will cost, and who knew
 * the future would have paid one of the two. Some of it goes before that, at once,
 * because the program may be about to sleep for good. This is a prediction, and it is
 * scored by epochs of a decay: bytes that are needed again within an epoch, or two, were
 * a mistake.
 *
 *   - The *allowance* is what the next prediction leaves alone: bytes that were a
 * mistake. It halves with each decay in which there were none and it was of no use.
 *   - The *credit* is what a prediction may risk at all. Bytes that are touched and were
 *     no mistake earn it: their price is paid by whoever knows the future, too. What goes
 *     at once spends it, and has it back once an epoch shows that it was right.
 *
 *         credit  = touched - spent,   as much as is committed at most
 *         touched = bytes that were committed, for the first time or anew
 *         spent   = 2 x (mistakes) + (bytes of this epoch and the one before it,
 *                   given at once and not needed yet)
 *
 * docs/MEMORY.md states the bound that follows, and why. Everything here depends on its
 * arguments only, so a test can play any demand to it.
 *
 * Thread-safe: all fields are atomic. Where two threads change one at once a change may
 * be lost, which makes the prediction a little worse.
 */
#ifndef HAK_PAGES_RENT_H
#define HAK_PAGES_RENT_H

#include "base/atomic.h"

/* Times in ns, all else in bytes. Zeroed is the beginning. */
typedef struct hak_rent {
  hak_atomic_u64_t given;     /* [any] in this epoch, before it was old; not yet needed */
  hak_atomic_u64_t before;    /* [any] the same of the epoch before it */
  hak_atomic_u64_t since;     /* [any] when this epoch began */
  hak_atomic_u64_t last;      /* [any] when something went at once last */
  hak_atomic_u64_t spent;     /* [any] see above */
  hak_atomic_u64_t allowance; /* [any] */
  hak_atomic_u64_t at;        /* [any] when it last grew, was halved or of use */
} hak_rent_t;

/* What all decisions depend on besides. */
typedef struct hak_rent_terms {
  uint64_t now;       /* ns */
  uint64_t decay;     /* ns */
  uint64_t committed; /* bytes, now */
} hak_rent_terms_t;

/* Something that went at once may be needed yet. */
HAK_HOT bool hak_rent_is_open(hak_rent_t *rent) {
  /* Relaxed: what is missed here makes the prediction a little worse. */
  return (hak_load_relaxed(&rent->given) | hak_load_relaxed(&rent->before)) != 0;
}

/* Bytes went at once. */
void hak_rent_note_given(hak_rent_t *rent, uint64_t bytes, const hak_rent_terms_t *terms);
/* Bytes were committed, or are needed; those that were a mistake are allowed for from now
 * on. */
void hak_rent_note_needed(hak_rent_t *rent, uint64_t bytes,
                          const hak_rent_terms_t *terms);

/* The allowance, halved for the decays that have passed; less than `least` is none. */
uint64_t hak_rent_allowance(hak_rent_t *rent, uint64_t least,
                            const hak_rent_terms_t *terms);
/* It is to be no less than `allowed`, or what is committed. */
void hak_rent_allow(hak_rent_t *rent, uint64_t allowed, const hak_rent_terms_t *terms);
/* It is of use. */
HAK_HOT void hak_rent_confirm(hak_rent_t *rent, uint64_t now) {
  hak_store_relaxed(&rent->at, now);
}

/* How much may go at once, whatever is predicted. `touched`: see above. */
uint64_t hak_rent_credit(hak_rent_t *rent, uint64_t touched,
                         const hak_rent_terms_t *terms);

/* At most so much of `all` idle bytes goes as old, `passed` ns after the last look, if
 * the oldest is old for `late` ns: so much that all of it has gone at an even pace half a
 * decay after it became old; `least` at least, so that few bytes do not take many calls.
 */
uint64_t hak_rent_share(uint64_t all, uint64_t least, uint64_t passed, uint64_t late,
                        uint64_t decay);

#endif
