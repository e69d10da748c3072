/* callee.h - a function of the program's and its context, which change together.
 *
 * Depends on: lock, wait.   Used by: report, event, heap (fork).
 *
 * A caller reads function and context between two looks at a count of changes. If the
 * count has moved it reads them again, so that no function is called with another one's
 * context. A caller takes no lock.
 */
#ifndef HAK_BASE_CALLEE_H
#define HAK_BASE_CALLEE_H

#include "base/lock.h"

typedef void(hak_any_fn)(void);

typedef struct hak_callee {
  hak_atomic_u32_t changes; /* odd while it is being changed */
  _Atomic(hak_any_fn *) fn;
  hak_atomic_ptr_t ctx;
} hak_callee_t;

/* The lock that hak_callee_set takes, for a fork. */
hak_lock_t *hak_callees_lock(void);

void hak_callee_set(hak_callee_t *callee, hak_any_fn *fn, void *ctx);
/* Returns the function, or NULL, and sets *ctx to its context. */
hak_any_fn *hak_callee_get(hak_callee_t *callee, void **ctx);

#endif
