/* registry.h - from any address to what is known of it, without a lock.
 *
 * Depends on: base, os, extent.
 * Used by: clock, external_range, mapping, mapping_move, superslab, external, tiny.
 *
 * Two levels: a table by the address's bits from 32 up, and a leaf for every
 * 4 GiB in use. A leaf has, for each slab of 64 KiB, two words of the folders above,
 * the entry of 8 bytes and the note of 2 bytes, in full checks also where its blocks
 * begin, and for each unit of 2 MiB the extent, and the lowest external range of callers'
 * memory. What the words mean is said where they are written: the entry in tiny/bin.h,
 * the note in superslab/locate.h. Zero means 'nobody's' everywhere, so fresh pages of the
 * OS need no filling: absent leaves share one that is never written.
 *
 * Lookup: safe without a lock because leaves stay mapped until shutdown, any
 * 64-bit value indexes inside the tables (high bits are compared, not masked),
 * and whoever has a block properly has seen its entry: it was written before
 * the block was given out. A stale entry read by anyone else is as good as a
 * new one; what it names then is checked.
 */
#ifndef HAK_PAGES_REGISTRY_H
#define HAK_PAGES_REGISTRY_H

#include "base/check.h"
#include "pages/extent.h"

#if defined(__x86_64__)
#define HAK_ADDRESS_BITS 47
#else
#define HAK_ADDRESS_BITS 48
#endif

#define HAK_LEAF_SHIFT 32
#define HAK_REGISTRY_LEAVES ((size_t)1 << (HAK_ADDRESS_BITS - HAK_LEAF_SHIFT))
#define HAK_LEAF_SLABS ((size_t)1 << (HAK_LEAF_SHIFT - HAK_SLAB_SHIFT))
#define HAK_LEAF_UNITS ((size_t)1 << (HAK_LEAF_SHIFT - HAK_SUPERSLAB_SHIFT))

/* What frees ask of a slab, in one cache line. In full checks that is also where blocks
 * of size classes begin: an address in the slab is a block's where address * inverse +
 * phase < inverse and address < limit. The slabs of a span have the same three words. */
typedef struct hak_leaf_words {
  hak_atomic_u64_t entry; /* [any] */
#if HAK_CHECKS == 2
  hak_atomic_u64_t inverse; /* [any] 2^64 / size of a block, rounded up; 0: none begins */
  hak_atomic_u64_t phase;   /* [any] the span's start times the inverse, negated */
  hak_atomic_u64_t limit;   /* [any] where what was cut into blocks ends */
#endif
} hak_leaf_words_t;

_Static_assert((sizeof(hak_leaf_words_t) & (sizeof(hak_leaf_words_t) - 1)) == 0,
               "a shift leads to them, and none crosses a cache line");

typedef struct hak_leaf {
  hak_leaf_words_t words[HAK_LEAF_SLABS];
  hak_atomic_u16_t note[HAK_LEAF_SLABS];           /* [any] */
  _Atomic(hak_extent_t *) extent[HAK_LEAF_UNITS];  /* [any] or NULL */
  hak_external_range_link_t range[HAK_LEAF_UNITS]; /* [lock: external ranges] the lowest
                                                      one in the unit, or NULL */
} hak_leaf_t;

typedef struct hak_registry {
  hak_atomic_i64_t leaf[HAK_REGISTRY_LEAVES]; /* [any] the leaf's distance in bytes from
                                                 `absent`; 0: there is none */
  hak_leaf_words_t absent[HAK_LEAF_SLABS];    /* [const] zeroes: the words of an absent
                                                 leaf */
} hak_registry_t;

/* The words for an address below 2^HAK_ADDRESS_BITS. */
HAK_HOT hak_leaf_words_t *hak_registry_words(hak_registry_t *registry,
                                             uintptr_t address) {
  char *base =
      (char *)registry + hak_load_relaxed(&registry->leaf[address >> HAK_LEAF_SHIFT]);
  HAK_OPAQUE(base); /* else the sum is split so that it takes an instruction more */
  hak_leaf_words_t *words =
      (hak_leaf_words_t *)(void *)(base + offsetof(hak_registry_t, absent));
  return &words[(uint32_t)address >> HAK_SLAB_SHIFT];
}
/* The entry for such an address. */
HAK_HOT uint64_t hak_registry_entry(hak_registry_t *registry, uintptr_t address) {
  return hak_load_relaxed(&hak_registry_words(registry, address)->entry);
}

/* Made once at start and given back at shutdown, when no thread points at it. */
HAK_EXTERN _Atomic(hak_registry_t *) hak_registry_table; /* [any] NULL before the start */
HAK_HOT hak_registry_t *hak_registry_root(void) {
  /* Acquire: pairs with hak_registry_start; the OS made the pages zero before. */
  return hak_load_acquire(&hak_registry_table);
}

/* The leaf of this index, or NULL. */
HAK_HOT hak_leaf_t *hak_registry_leaf(hak_registry_t *registry, size_t index) {
  /* Acquire: pairs with the release in hak_registry_cover, which publishes the
   * leaf's zeroes. */
  int64_t distance = hak_load_acquire(&registry->leaf[index]);
  return distance == 0 ? NULL
                       : (hak_leaf_t *)(void *)((char *)registry->absent + distance);
}
/* The places in the tables of a leaf that an address's slab and unit have. */
HAK_HOT size_t hak_leaf_slab(uintptr_t address) {
  return (uint32_t)address >> HAK_SLAB_SHIFT;
}
HAK_HOT size_t hak_leaf_unit(uintptr_t address) {
  return (uint32_t)address >> HAK_SUPERSLAB_SHIFT;
}

/* The extent of a unit whose slabs have notes. Relaxed: the notes were written after it.
 */
HAK_HOT hak_extent_t *hak_leaf_extent(hak_leaf_t *leaf, uintptr_t address) {
  return hak_load_relaxed(&leaf->extent[hak_leaf_unit(address)]);
}

/* The extent that a unit which is covered is part of, or NULL. */
hak_extent_t *hak_registry_extent(uintptr_t address);
/* The place where a unit that is covered names its lowest external range. */
hak_external_range_link_t *hak_registry_external(uintptr_t address);

/* Makes leaves for a range; false if it is out of reach or memory is short. No
 * lock held. */
bool hak_registry_cover(const hak_os_t *os, uintptr_t address, size_t size);

/* Leaves that a call has put aside for itself: a range up to a leaf's size touches two
 * at most. */
#define HAK_SPARE_LEAVES 2
typedef struct hak_spare_leaves {
  hak_leaf_t *leaf[HAK_SPARE_LEAVES]; /* or NULL */
} hak_spare_leaves_t;

/* Puts leaves aside, so that hak_registry_cover_moved can cover a range of `size` bytes
 * wherever it comes to lie within reach, whatever others do meanwhile; false if memory is
 * short or the range too large. For pages that are about to move and could not be moved
 * back. hak_registry_done gives what is left of the leaves to others. No lock held. */
bool hak_registry_prepare(size_t size, hak_spare_leaves_t *own);
bool hak_registry_cover_moved(uintptr_t address, size_t size, hak_spare_leaves_t *own);
void hak_registry_done(hak_spare_leaves_t *own);
/* In the child of a fork: forgets the leaves that threads which are not there had put
 * aside; their bytes. */
uint64_t hak_registry_forget_lost(void);

/* Sets the extent of a unit that is covered. */
HAK_HOT void hak_registry_set_unit(uintptr_t address, hak_extent_t *extent) {
  hak_leaf_t *leaf = hak_registry_leaf(hak_registry_root(), address >> HAK_LEAF_SHIFT);
  /* Release: pairs with hak_locate, which reads the extent's fields. */
  hak_store_release(&leaf->extent[hak_leaf_unit(address)], extent);
}
/* Sets the extent of every unit in a range that is covered. */
void hak_registry_set_extent(uintptr_t address, size_t size, hak_extent_t *extent);
/* Sets the notes of `count` slabs side by side: that of the first slab to `first`, and
 * each next one's to `step` more. In full checks no block begins there then. */
void hak_registry_set_notes(uintptr_t address, size_t count, uint32_t first,
                            uint32_t step);
/* In full checks: in `count` slabs side by side, a span, `cut` bytes were cut into
 * blocks, of whose size this is the inverse. */
void hak_registry_set_starts(uintptr_t address, size_t count, uint64_t inverse,
                             uint64_t cut);
/* Sets the entries of `count` slabs side by side. */
void hak_registry_set_entries(uintptr_t address, size_t count, uint64_t entry);
/* Clears entries of `count` slabs side by side: those that name a list less than
 * `bytes` bytes behind the one that the entry `first` names, in the same mode. */
void hak_registry_forget_entries(uintptr_t address, size_t count, uint64_t first,
                                 size_t bytes);

/* Gives pages of the tables back that say nothing but of a range in which nobody has a
 * slab, so that they hold zeroes and go on reading as such. The range is not released
 * yet. Where pages may not go now, nothing happens. No lock held. */
void hak_registry_purge(uintptr_t address, size_t size);

HAK_EXTERN hak_atomic_u64_t hak_registry_reserved; /* bytes of address space */

/* Calls `visit` for each of the tables in use, most of whose pages nobody has touched,
 * and of those that wait to be used. Takes no lock. */
void hak_registry_visit_tables(void (*visit)(void *table, size_t size, void *ctx),
                               void *ctx);

/* The hooks that the library's own records come from; NULL before the start. Heaps may
 * have others for their memory. */
const hak_os_t *hak_registry_os(void);

bool hak_registry_start(const hak_os_t *os);
void hak_registry_stop(void);

#endif
