/* size_class.h - which sizes share a class.
 *
 * Depends on: base, superslab, size_classes.   Used by: tiny, heap, api.
 *
 * The classes are 8 bytes, steps of 16 bytes to 128, and then four to each doubling, to
 * 1 MiB, but eight to each from 1 to 4 KiB. So a block of a class above 128 bytes wastes
 * at most a fifth of itself, and one of 1 to 4 KiB at most a ninth. A block whose size is
 * a power of two is aligned to it, up to the size of a slab, because slabs are aligned.
 *
 * Blocks of the classes to 56 KiB share spans, which have central caches (central.h). A
 * block of a larger class has a span to itself: these are the single classes (single.h).
 */
#ifndef HAK_TINY_SIZE_CLASS_H
#define HAK_TINY_SIZE_CLASS_H

#include "base/bits.h"
#include "base/check.h"

#define HAK_CLASSES 69
#define HAK_CLASS_WORDS ((HAK_CLASSES + 63) / 64) /* of 64 bits, one for each class */
#define HAK_SHARED_CLASSES 52
#define HAK_TINY_CLASSES 21
#define HAK_TINY_MAX ((size_t)1024)
#define HAK_MID_MAX ((size_t)57344)
#define HAK_CLASS_MAX ((size_t)1048576)
/* Requests that one table serves are rounded to steps of 8 bytes. */
#define HAK_TINY_STEPS 128

/* HAK_STEPS_n repeats a value for the n steps of 8 bytes that end in one class, as
 * size_classes.def says. HAK_STEP_CLASS is the class that such steps really use: the mark
 * of full checks needs a second word, so there class 1 stands in for class 0. */
#define HAK_STEPS_1(value) value,
#define HAK_STEPS_2(value) HAK_STEPS_1(value) HAK_STEPS_1(value)
#define HAK_STEPS_4(value) HAK_STEPS_2(value) HAK_STEPS_2(value)
#define HAK_STEPS_8(value) HAK_STEPS_4(value) HAK_STEPS_4(value)
#define HAK_STEPS_16(value) HAK_STEPS_8(value) HAK_STEPS_8(value)
#define HAK_STEP_CLASS(cls) ((cls) == 0 && HAK_CHECKS >= 2 ? 1 : (cls))
/* Larger requests are rounded to eighths of the doubling that they lie in. */
#define HAK_LARGE_EIGHTHS 80

typedef struct hak_class_info {
  uint32_t size;    /* [const] bytes */
  uint64_t inverse; /* [const] 2^64 / size, rounded up */
} hak_class_info_t;

HAK_EXTERN const hak_class_info_t hak_class_infos[HAK_CLASSES];
/* Element i is the class of the sizes 8 * i + 1 to 8 * i + 8. */
HAK_EXTERN const uint8_t hak_tiny_class_of_step[HAK_TINY_STEPS];
/* Element 8 * d + e is the class of the sizes over (8 + e) / 8 KiB * 2^d, to one eighth
 * more. */
HAK_EXTERN const uint8_t hak_class_of_eighth[HAK_LARGE_EIGHTHS];

/* Bits that are zero in the address of every block of a class: those below the factors of
 * two in its size. */
#define HAK_CLASS_BELOW(size) ((((uint32_t)(size)) & (0u - (uint32_t)(size))) - 1)
HAK_EXTERN const uint32_t hak_class_askew[HAK_CLASSES];

HAK_HOT uint32_t hak_class_size(uint32_t cls) { return hak_class_infos[cls].size; }

HAK_HOT bool hak_class_is_single(uint32_t cls) { return cls >= HAK_SHARED_CLASSES; }

/* The bytes of a block of the class, and whether each has a span to itself; 0 for what is
 * no class. */
size_t hak_class_bytes(uint32_t cls, bool *single);

/* Which eighth a size lies in, with HAK_TINY_MAX < size <= HAK_CLASS_MAX. */
HAK_HOT size_t hak_class_eighth(size_t size) {
  enum {
    LEAST_BIT = 10,   /* the highest one in HAK_TINY_MAX */
    LEAST_EIGHTHS = 8 /* in what is left of that size by the shift */
  };
  size_t bit = hak_highest_bit(size - 1);
  HAK_OPAQUE(bit); /* else it is widened by an instruction of its own */
  return bit * 8 + ((size - 1) >> (bit - 3)) - (LEAST_BIT * 8 + LEAST_EIGHTHS);
}
/* The class of a size with HAK_TINY_MAX < size <= HAK_CLASS_MAX. */
HAK_HOT uint32_t hak_class_of_large(size_t size) {
  return hak_class_of_eighth[hak_class_eighth(size)];
}

/* The class of a size with 1 <= size <= HAK_CLASS_MAX. */
HAK_HOT uint32_t hak_class_of(size_t size) {
  if (HAK_LIKELY(size <= HAK_TINY_MAX)) return hak_tiny_class_of_step[(size - 1) >> 3];
  return hak_class_of_large(size);
}

/* Classes of 1 to 4 KiB, of which every second one lies halfway between two others. */
#define HAK_FINE_FIRST HAK_TINY_CLASSES
#define HAK_FINE_COUNT 16
/* The class, or the next one for a class that lies halfway. */
HAK_HOT uint32_t hak_class_coarse(uint32_t cls) {
  uint32_t fine = cls - HAK_FINE_FIRST;
  return fine < HAK_FINE_COUNT ? HAK_FINE_FIRST + (fine | 1) : cls;
}

/* The smallest class that takes the size and all of whose blocks have the alignment,
 * which is a power of two; HAK_CLASSES if there is none. */
uint32_t hak_class_of_aligned(size_t size, size_t alignment);

/* The index of the block of a span that an offset lies in: how often the offset has the
 * size, whose inverse is exact enough for offsets below 2^32. */
HAK_HOT uint32_t hak_class_index(uint32_t cls, size_t offset) {
  return (uint32_t)hak_mul_high(offset, hak_class_infos[cls].inverse);
}
/* True if a block of the class begins at an offset from its span's start: what is left of
 * the same product, the part behind the point, is then less than any other offset leaves.
 */
HAK_HOT bool hak_class_is_start(uint32_t cls, size_t offset) {
  uint64_t inverse = hak_class_infos[cls].inverse;
  return offset * inverse < inverse;
}

#endif
