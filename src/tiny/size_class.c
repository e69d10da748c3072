#include "tiny/size_class.h"

#include "base/check.h"
#include "superslab/slab.h"

#define CLASS(size) \
  { (size), (((uint64_t)1 << 40) + (size)-1) / (size) }
#define DOUBLING(from) \
  CLASS((from) / 4 * 5), CLASS((from) / 4 * 6), CLASS((from) / 4 * 7), CLASS((from)*2)

const hak_class_info_t hak_class_infos[HAK_CLASSES] = {
    CLASS(8),         CLASS(16),       CLASS(32),       CLASS(48),       CLASS(64),
    CLASS(80),        CLASS(96),       CLASS(112),      CLASS(128),      DOUBLING(128),
    DOUBLING(256),    DOUBLING(512),   DOUBLING(1024),  DOUBLING(2048),  DOUBLING(4096),
    DOUBLING(8192),   DOUBLING(16384), DOUBLING(32768), DOUBLING(65536), DOUBLING(131072),
    DOUBLING(262144), DOUBLING(524288)};

/* A block with a span to itself begins with a slab. */
#define SINGLE(from) 65535, 65535, 65535, 65535
#define BELOW(size) ((size) & (0u - (size))) - 1
#define BELOW_DOUBLING(from) \
  BELOW((from) / 4 * 5u), BELOW((from) / 4 * 6u), BELOW((from) / 4 * 7u), BELOW((from)*2u)

const uint32_t hak_class_askew[HAK_CLASSES] = {BELOW(8u),
                                               BELOW(16u),
                                               BELOW(32u),
                                               BELOW(48u),
                                               BELOW(64u),
                                               BELOW(80u),
                                               BELOW(96u),
                                               BELOW(112u),
                                               BELOW(128u),
                                               BELOW_DOUBLING(128),
                                               BELOW_DOUBLING(256),
                                               BELOW_DOUBLING(512),
                                               BELOW_DOUBLING(1024),
                                               BELOW_DOUBLING(2048),
                                               BELOW_DOUBLING(4096),
                                               BELOW_DOUBLING(8192),
                                               BELOW_DOUBLING(16384),
                                               BELOW(40960u),
                                               BELOW(49152u),
                                               BELOW(57344u),
                                               65535,
                                               SINGLE(65536),
                                               SINGLE(131072),
                                               SINGLE(262144),
                                               SINGLE(524288)};

#define TWICE(c) c, c
#define FOUR(c) TWICE(c), TWICE(c)
#define EIGHT(c) FOUR(c), FOUR(c)
#define SIXTEEN(c) EIGHT(c), EIGHT(c)

/* The mark of full checks needs a second word. */
#define LEAST (HAK_CHECKS >= 2 ? 1 : 0)

const uint8_t hak_tiny_class_of_step[HAK_TINY_STEPS] = {
    LEAST,     1,         TWICE(2),  TWICE(3),    TWICE(4),    TWICE(5),    TWICE(6),
    TWICE(7),  TWICE(8),  FOUR(9),   FOUR(10),    FOUR(11),    FOUR(12),    EIGHT(13),
    EIGHT(14), EIGHT(15), EIGHT(16), SIXTEEN(17), SIXTEEN(18), SIXTEEN(19), SIXTEEN(20)};

_Static_assert(sizeof(hak_class_infos) / sizeof(hak_class_infos[0]) == HAK_CLASSES,
               "9 small classes and 13 doublings of 4");
_Static_assert(9 + (15 - 7) * 4 + 2 == HAK_SHARED_CLASSES - 1, "56 KiB is the last");
_Static_assert(9 + (19 - 7) * 4 + 3 == HAK_CLASSES - 1, "1 MiB is the last");

uint32_t hak_class_of_aligned(size_t size, size_t alignment) {
  if (size > HAK_CLASS_MAX || alignment > HAK_SLAB_SIZE) return HAK_CLASSES;
  /* A block with a span to itself starts where a slab does. */
  size_t least = alignment <= HAK_MID_MAX ? alignment : HAK_MID_MAX + 1;
  if (size < least) size = least;
  uint32_t cls = hak_class_of(size == 0 ? 1 : size);
  while (!hak_class_is_single(cls) && !hak_is_aligned(hak_class_size(cls), alignment)) {
    cls++;
  }
  return cls;
}
