#include "tiny/bin.h"

#define AT(cls) (uint16_t)(offsetof(hak_thread_t, bins) + (cls) * sizeof(hak_bin_t))
#define HAK_TINY_CLASS(cls, size, steps) HAK_STEPS_##steps(AT(HAK_STEP_CLASS(cls)))
#define HAK_SHARED_CLASS(cls, size, eighths)
#define HAK_SINGLE_CLASS(cls, size, eighths)
const uint16_t hak_bin_offset_of_step[] = {
#include "tiny/size_classes.def"
};

#undef HAK_TINY_CLASS
#undef HAK_SHARED_CLASS
#undef HAK_SINGLE_CLASS

#define MID(cls, below) {AT(cls), (uint16_t)(below)},
#define EIGHTHS_1(cls, below) MID(cls, below)
#define EIGHTHS_2(cls, below) MID(cls, below) MID(cls, below)
#define HAK_TINY_CLASS(cls, size, steps)
#define HAK_SHARED_CLASS(cls, size, eighths) EIGHTHS_##eighths(cls, HAK_CLASS_BELOW(size))
#define HAK_SINGLE_CLASS(cls, size, eighths) EIGHTHS_##eighths(cls, HAK_SLAB_SIZE - 1)
const hak_mid_class_t hak_mid_classes[] = {
#include "tiny/size_classes.def"
};

_Static_assert(sizeof(hak_mid_classes) / sizeof(hak_mid_classes[0]) == HAK_LARGE_EIGHTHS,
               "all tables are of the same classes");

HAK_SLOW void hak_thread_defer_report(hak_thread_t *me, void *heap, hak_error_t error,
                                      const void *block, const char *text) {
  if (me->deferred.error != 0) return;
  me->to_report = 1;
  me->deferred.error = (int)error;
  me->deferred.heap = heap;
  me->deferred.block = block;
  me->deferred.text = text;
}

HAK_SLOW void hak_list_report_bad(hak_thread_t *me, const hak_cache_t *cache,
                                  const void *block) {
  hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_CORRUPT_BLOCK, block,
                          "a free block was written to, or freed twice");
}

void hak_thread_take_in_hand(hak_thread_t *me, uint32_t cls, int64_t blocks) {
  hak_compiler_fence();
  me->in_hand += (uint64_t)(blocks * (int64_t)hak_class_size(cls));
  hak_compiler_fence();
}

uint32_t hak_list_cut(hak_thread_t *me, const hak_cache_t *cache, void *list, size_t most,
                      void **rest) {
  void *last = NULL, *block;
  uint32_t count = 0;
  while (count < most && list != HAK_LINK_END &&
         !hak_list_take_fails(me, cache, &list, &block)) {
    last = block;
    count++;
  }
  if (last != NULL) hak_link_write(&me->key, last, HAK_LINK_END);
  *rest = list;
  return count;
}
