/* extent.h - what the registry names: a range of address space and who has it.
 *
 * Depends on: os.   Used by: external_range, mapping_lists, registry, superslab.
 *
 * Access:  see base/lock.h. A pool, the regions or a list, whichever has an extent,
 * writes under its own lock; lookups read without it.
 */
#ifndef HAK_PAGES_EXTENT_H
#define HAK_PAGES_EXTENT_H

#include "os/os.h"

/* The registry has an entry for each slab of address space, 64 KiB, and names an extent
 * for each unit of 2 MiB, which is the size of a SuperSlab. */
#define HAK_SLAB_SHIFT 16
#define HAK_SLAB_SIZE ((size_t)1 << HAK_SLAB_SHIFT)
#define HAK_SUPERSLAB_SHIFT 21
#define HAK_SUPERSLAB_SIZE ((size_t)1 << HAK_SUPERSLAB_SHIFT)
#define HAK_SUPERSLAB_SLABS 32

typedef enum hak_extent_kind {
  HAK_EXTENT_FREE = 0, /* a unit that nobody has */
  HAK_EXTENT_SLABS,    /* a unit of a heap, used in slabs */
  HAK_EXTENT_RUN,      /* a unit that is (part of) one block */
  HAK_EXTENT_MAPPING,  /* a mapping of its own, one block */
  HAK_EXTENT_EXTERNAL  /* memory of the caller's, see external_range.h; a unit of an
                          external region in which large blocks lie */
} hak_extent_kind_t;

/* What the registry names for a unit. The record of a SuperSlab, of a mapping or of an
 * external range begins with one. */
typedef struct hak_extent {
  char *base;             /* [const] */
  const hak_os_t *os;     /* [const] */
  hak_atomic_u32_t kind;  /* [owner: who has it] hak_extent_kind_t */
  hak_atomic_ptr_t heap;  /* [owner: who has it] the handle; NULL: no heap has it */
  hak_atomic_ptr_t block; /* [owner: who has it] run or mapping: the block's start;
                             external range: its first byte */
  hak_atomic_u64_t size;  /* [owner: who has it] run or mapping: usable bytes of the
                             block; external range: its bytes */
} hak_extent_t;

/* An extent of memory that the caller brought, which may share its first and last unit
 * with others; see external_range.h. */
typedef struct hak_external_range {
  hak_extent_t extent;
  _Atomic(struct hak_external_range *) next; /* [lock: external ranges] the one above */
} hak_external_range_t;

_Static_assert(offsetof(hak_external_range_t, extent) == 0, "places name extents");

typedef _Atomic(hak_external_range_t *) hak_external_range_link_t;

#endif
