#include "tiny/size_class.h"

#include "base/check.h"
#include "superslab/slab.h"

/* --- tables of size_classes.def --------------------------------------------------- */

#define INFO(size) {(size), UINT64_MAX / (size) + 1},
#define HAK_TINY_CLASS(cls, size, steps) INFO(size)
#define HAK_SHARED_CLASS(cls, size, eighths) INFO(size)
#define HAK_SINGLE_CLASS(cls, size, eighths) INFO(size)
const hak_class_info_t hak_class_infos[] = {
#include "tiny/size_classes.def"
};
#undef HAK_TINY_CLASS
#undef HAK_SHARED_CLASS
#undef HAK_SINGLE_CLASS

#define BELOW(size) HAK_CLASS_BELOW(size),
#define HAK_TINY_CLASS(cls, size, steps) BELOW(size)
#define HAK_SHARED_CLASS(cls, size, eighths) BELOW(size)
/* A block with a span to itself begins where a slab begins. */
#define HAK_SINGLE_CLASS(cls, size, eighths) HAK_SLAB_SIZE - 1,
const uint32_t hak_class_askew[] = {
#include "tiny/size_classes.def"
};
#undef HAK_TINY_CLASS
#undef HAK_SHARED_CLASS
#undef HAK_SINGLE_CLASS

#define HAK_TINY_CLASS(cls, size, steps) HAK_STEPS_##steps(HAK_STEP_CLASS(cls))
#define HAK_SHARED_CLASS(cls, size, eighths)
#define HAK_SINGLE_CLASS(cls, size, eighths)
const uint8_t hak_tiny_class_of_step[] = {
#include "tiny/size_classes.def"
};
#undef HAK_TINY_CLASS
#undef HAK_SHARED_CLASS
#undef HAK_SINGLE_CLASS

#define HAK_TINY_CLASS(cls, size, steps)
#define HAK_SHARED_CLASS(cls, size, eighths) HAK_STEPS_##eighths(cls)
#define HAK_SINGLE_CLASS(cls, size, eighths) HAK_STEPS_##eighths(cls)
const uint8_t hak_class_of_eighth[] = {
#include "tiny/size_classes.def"
};
#undef HAK_TINY_CLASS
#undef HAK_SHARED_CLASS
#undef HAK_SINGLE_CLASS

_Static_assert(sizeof(hak_class_infos) / sizeof(hak_class_infos[0]) == HAK_CLASSES &&
                   sizeof(hak_class_askew) / sizeof(hak_class_askew[0]) == HAK_CLASSES &&
                   sizeof(hak_tiny_class_of_step) == HAK_TINY_STEPS &&
                   sizeof(hak_class_of_eighth) == HAK_LARGE_EIGHTHS,
               "all tables are of the same classes");

size_t hak_class_bytes(uint32_t cls, bool *single) {
  *single = cls < HAK_CLASSES && hak_class_is_single(cls);
  return cls < HAK_CLASSES ? hak_class_size(cls) : 0;
}

uint32_t hak_class_of_aligned(size_t size, size_t alignment) {
  if (size > HAK_CLASS_MAX || alignment > HAK_SLAB_SIZE) return HAK_CLASSES;
  /* A block that shares a span has no alignment beyond HAK_MID_MAX, but one with a span
   * to itself starts where a slab does. */
  size_t least = alignment <= HAK_MID_MAX ? alignment : HAK_MID_MAX + 1;
  if (size < least) size = least;
  uint32_t cls = hak_class_of(size == 0 ? 1 : size);
  while (!hak_class_is_single(cls) && !hak_is_aligned(hak_class_size(cls), alignment)) {
    cls++;
  }
  return cls;
}
