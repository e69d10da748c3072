/* current.c - the heap that a thread's hooks follow. Nothing in the library looks at it.
 */
#include "base/public.h"

static _Thread_local hak_heap_t *current;

hak_heap_t *hak_heap_use(hak_heap_t *heap) {
  hak_heap_t *before = current;
  current = heap;
  return before;
}

hak_heap_t *hak_heap_current(void) { return current; }
