/* size_class.h - which sizes share a class.
 *
 * Depends on: base, superslab, size_classes.   Used by: tiny, heap, api.
 *
 * 8 bytes; 16-byte steps to 128; then four classes per doubling to 1 MiB. So a
 * block of a class above 128 bytes wastes at most a fifth of itself, and a class
 * that is a power of two is aligned to its size, because slabs are.
 *
 * Blocks of the classes to 56 KiB share spans, which have central caches (central.h).
 * Above, a block has a span to itself: these are the single classes (single.h).
 */
#ifndef HAK_TINY_SIZE_CLASS_H
#define HAK_TINY_SIZE_CLASS_H

#include "base/bits.h"
#include "base/check.h"

#define HAK_CLASSES 61
#define HAK_SHARED_CLASSES 44
#define HAK_TINY_CLASSES 21
#define HAK_TINY_MAX ((size_t)1024)
#define HAK_MID_MAX ((size_t)57344)
#define HAK_CLASS_MAX ((size_t)1048576)
/* Requests that one table serves are rounded to steps of 8 bytes. */
#define HAK_TINY_STEPS 128

/* What size_classes.def says of each step: a value so many times, and the class of steps
 * that end in one: the mark of full checks needs a second word, so none end in the first.
 */
#define HAK_STEPS_1(value) value,
#define HAK_STEPS_2(value) HAK_STEPS_1(value) HAK_STEPS_1(value)
#define HAK_STEPS_4(value) HAK_STEPS_2(value) HAK_STEPS_2(value)
#define HAK_STEPS_8(value) HAK_STEPS_4(value) HAK_STEPS_4(value)
#define HAK_STEPS_16(value) HAK_STEPS_8(value) HAK_STEPS_8(value)
#define HAK_STEP_CLASS(cls) ((cls) == 0 && HAK_CHECKS >= 2 ? 1 : (cls))

typedef struct hak_class_info {
  uint32_t size;
  uint64_t inverse; /* of the size, times 2^40, rounded up */
} hak_class_info_t;

extern const hak_class_info_t hak_class_infos[HAK_CLASSES];
/* Class of sizes 8 * i + 1 to 8 * i + 8. */
extern const uint8_t hak_tiny_class_of_step[HAK_TINY_STEPS];

/* Bits that are zero in the address of every block: below its size's factors of two.
 * Hidden, so that its address is computed and not loaded. */
extern const uint32_t hak_class_askew[HAK_CLASSES] __attribute__((visibility("hidden")));

HAK_HOT uint32_t hak_class_size(uint32_t cls) { return hak_class_infos[cls].size; }

HAK_HOT bool hak_class_is_single(uint32_t cls) { return cls >= HAK_SHARED_CLASSES; }

/* 128 < size <= HAK_CLASS_MAX. */
HAK_HOT uint32_t hak_class_of_large(size_t size) {
  unsigned bit = hak_highest_bit(size - 1);
  return 9 + (bit - 7) * 4 + ((uint32_t)((size - 1) >> (bit - 2)) & 3);
}

/* 1 <= size <= HAK_CLASS_MAX. */
HAK_HOT uint32_t hak_class_of(size_t size) {
  if (HAK_LIKELY(size <= HAK_TINY_MAX)) return hak_tiny_class_of_step[(size - 1) >> 3];
  return hak_class_of_large(size);
}

/* The smallest class for a size all of whose blocks have an alignment that is a
 * power of two; HAK_CLASSES if there is none. */
uint32_t hak_class_of_aligned(size_t size, size_t alignment);

/* Which block of its span an offset lies in, and whether it is its start. The
 * inverse is exact for offsets below 2^20. */
HAK_HOT uint32_t hak_class_index(uint32_t cls, size_t offset) {
  return (uint32_t)(offset * hak_class_infos[cls].inverse >> 40);
}
HAK_HOT bool hak_class_is_start(uint32_t cls, size_t offset) {
  return (size_t)hak_class_index(cls, offset) * hak_class_size(cls) == offset;
}

#endif
