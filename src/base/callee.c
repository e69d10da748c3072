#include "base/callee.h"

#include "base/wait.h"

/* Guards functions and their contexts while they are set. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_CALLEES);

hak_lock_t *hak_callees_lock(void) { return &lock; }

void hak_callee_set(hak_callee_t *callee, hak_any_fn *fn, void *ctx) {
  hak_lock_acquire(&lock);
  uint32_t changes = hak_load_relaxed(&callee->changes);
  hak_store_relaxed(&callee->changes, changes + 1);
  /* Release, each of the three: pairs with hak_callee_get, where a thread that reads the
   * new function or context sees the odd count as well. */
  hak_store_release(&callee->fn, fn);
  hak_store_release(&callee->ctx, ctx);
  hak_store_release(&callee->changes, changes + 2);
  hak_lock_release(&lock);
}

hak_any_fn *hak_callee_get(hak_callee_t *callee, void **ctx) {
  enum {
    TRIES = 1000 /* in a handler that interrupted a change it would never end */
  };
  hak_any_fn *fn = NULL;
  unsigned rounds = 0;
  for (int i = 0; i < TRIES; i++) {
    /* Acquire, all: pair with hak_callee_set. */
    uint32_t before = hak_load_acquire(&callee->changes);
    fn = hak_load_acquire(&callee->fn);
    *ctx = hak_load_acquire(&callee->ctx);
    if (before % 2 == 0 && hak_load_relaxed(&callee->changes) == before) return fn;
    hak_wait_step(&rounds);
  }
  return NULL;
}
