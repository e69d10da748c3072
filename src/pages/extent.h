/* extent.h - what the registry names: a range of address space and who has it.
 *
 * Depends on: base, os.   Used by: pages and all folders above.
 *
 * Access:  [const] written before publication, never again
 *          [owner] under the lock of the pool, region map or list that has it
 */
#ifndef HAK_PAGES_EXTENT_H
#define HAK_PAGES_EXTENT_H

#include "os/os.h"

/* The registry maps slabs of this size, and extents in SuperSlabs of this one. */
#define HAK_SLAB_SHIFT 16
#define HAK_SLAB_SIZE ((size_t)1 << HAK_SLAB_SHIFT)
#define HAK_SUPERSLAB_SHIFT 21
#define HAK_SUPERSLAB_SIZE ((size_t)1 << HAK_SUPERSLAB_SHIFT)
#define HAK_SUPERSLAB_SLABS 32

/* Classes of what a slab holds, beyond the size classes of tiny/size_class.h. */
#define HAK_CLASS_NONE 0xff  /* nothing */
#define HAK_CLASS_LARGE 0xfe /* one block of whole OS pages */
#define HAK_CLASS_EXTERNAL \
  0xfd /* caller's memory, whose external heap knows its blocks */

typedef enum hak_extent_kind {
  HAK_EXTENT_FREE = 0, /* a SuperSlab nobody has */
  HAK_EXTENT_SLABS,    /* a SuperSlab of a heap, used in slabs and spans */
  HAK_EXTENT_RUN,      /* a SuperSlab that is (part of) one block */
  HAK_EXTENT_MAPPING,  /* a mapping of its own, one block */
  HAK_EXTENT_EXTERNAL  /* memory of the caller's, see external_range.h */
} hak_extent_kind_t;

/* What the registry names for every 2 MiB: a SuperSlab or a mapping. */
typedef struct hak_extent {
  char *base;                  /* [const] */
  const hak_os_t *os;          /* [const] */
  hak_atomic_u32_t kind;       /* hak_extent_kind_t; [owner] */
  hak_atomic_u32_t generation; /* of the heap; [owner] */
  hak_atomic_ptr_t heap;       /* NULL where no heap has it; [owner] */
  hak_atomic_ptr_t block;      /* run or mapping: the block's start; [owner] */
  hak_atomic_u64_t size;       /* run or mapping: usable bytes of the block; [owner] */
} hak_extent_t;

#endif
