#include "tiny/bin.h"

#define AT(cls) (uint16_t)(offsetof(hak_thread_t, bins) + (cls) * sizeof(hak_bin_t))
#define TWICE(c) AT(c), AT(c)
#define FOUR(c) TWICE(c), TWICE(c)
#define EIGHT(c) FOUR(c), FOUR(c)
#define SIXTEEN(c) EIGHT(c), EIGHT(c)

/* The mark of full checks needs a second word. */
#define LEAST (HAK_CHECKS >= 2 ? 1 : 0)

/* In step with hak_tiny_class_of_step; a unit test compares them. */
const uint16_t hak_bin_offset_of_step[HAK_TINY_STEPS] = {
    AT(LEAST), AT(1),     TWICE(2),  TWICE(3),    TWICE(4),    TWICE(5),    TWICE(6),
    TWICE(7),  TWICE(8),  FOUR(9),   FOUR(10),    FOUR(11),    FOUR(12),    EIGHT(13),
    EIGHT(14), EIGHT(15), EIGHT(16), SIXTEEN(17), SIXTEEN(18), SIXTEEN(19), SIXTEEN(20)};

HAK_SLOW void hak_thread_defer_report(hak_thread_t *me, void *heap, hak_error_t error,
                                      const void *block, const char *text) {
  if (me->deferred.error != 0) return;
  me->to_report = 1;
  me->deferred.error = error;
  me->deferred.heap = heap;
  me->deferred.block = block;
  me->deferred.text = text;
}

HAK_SLOW void hak_list_report_bad(hak_thread_t *me, const hak_cache_t *cache,
                                  const void *block) {
  hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_CORRUPT_BLOCK, block,
                          "a free block was written to, or freed twice");
}
