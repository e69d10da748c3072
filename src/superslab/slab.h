/* slab.h - what is known of one slab: its list, its counts, and the word that
 * says who holds it.
 *
 * Depends on: base, pages.   Used by: superslab, tiny, pool.
 *
 * A slab is 64 KiB, the piece that the registry has an entry for. A span is a run of
 * slabs used as one; its records are those of its first slab.
 *
 * Invariant of a span of small blocks, checked by hak_hold_is_valid():
 *     blocks on the list + blocks in the word + blocks out + blocks put away == carved
 *     carved <= capacity
 *
 * Access:  see base/lock.h. The owner of most fields is the holder: the thread that the
 *          word names, or whoever has the partial list's lock while the slab is PARTIAL.
 *          Others may read the atomic ones as statistics. [const] is until the slab is
 *          free again. Every writer of the word is in tiny/slab.h.
 */
#ifndef HAK_SUPERSLAB_SLAB_H
#define HAK_SUPERSLAB_SLAB_H

#include "base/atomic.h"
#include "base/bits.h"
#include "pages/extent.h"

/* Classes of what a slab holds, beyond the size classes of tiny/size_class.h. */
#define HAK_CLASS_NONE 0xff  /* nothing */
#define HAK_CLASS_LARGE 0xfe /* one block of whole OS pages */
#define HAK_CLASS_EXTERNAL \
  0xfd /* caller's memory, whose external heap knows its blocks */
/* Of places only: a block of malloc's, which lies in no slab (external/malloced.h). */
#define HAK_CLASS_MALLOCED 0xfc

/* A list that frees push onto. An entry of the registry names one. `room`
 * counts the pushes that may still come before one of them must be looked at:
 * that one finds 0 and goes to the slow path before it touches the list. */
typedef struct hak_list {
  void *head;            /* [owner: holder] */
  hak_atomic_i32_t room; /* [owner: holder] read by others as a statistic */
  uint32_t form;         /* [const] what hak_list_set_form says; 0: there are no blocks */
} hak_list_t;

/* The form has the size in its upper nineteen bits. Below are those of `askew`: every
 * size is a multiple of 8, so a free may look at the lower sixteen bits of all, in one
 * step. */
#define HAK_LIST_SIZE_SHIFT 13
#define HAK_LIST_SIZE_MAX (((uint32_t)1 << 19) - 8)
#define HAK_LIST_ASKEW_MASK (((uint32_t)1 << HAK_LIST_SIZE_SHIFT) - 1)

/* Blocks of so many bytes, none of which begins at an address that has one of the low
 * bits of `askew`. Of these HAK_LIST_ASKEW_MASK count. */
HAK_HOT void hak_list_set_form(hak_list_t *list, uint32_t size, uint32_t askew) {
  uint32_t bytes = size < HAK_LIST_SIZE_MAX ? size : HAK_LIST_SIZE_MAX;
  list->form = bytes << HAK_LIST_SIZE_SHIFT | (askew & HAK_LIST_ASKEW_MASK);
}
/* Bytes of a block, or HAK_LIST_SIZE_MAX of one that is larger; 0 where there are no
 * blocks. */
HAK_HOT uint32_t hak_list_block_size(const hak_list_t *list) {
  return list->form >> HAK_LIST_SIZE_SHIFT;
}
/* No block of the list's slabs begins there. In one instruction, of which clang makes
 * two. */
HAK_HOT bool hak_list_is_askew(const hak_list_t *list, const void *block) {
  uint16_t low = (uint16_t)(uintptr_t)block;
#if defined(__x86_64__)
  bool any;
  __asm__("testw %1, %2" : "=@ccnz"(any) : "r"(low), "m"(list->form));
  return any;
#else
  return ((uint16_t)list->form & low) != 0;
#endif
}

typedef enum hak_slab_queue {
  HAK_QUEUE_NONE = 0,
  HAK_QUEUE_HELD,     /* on its holder's queue of partly free slabs */
  HAK_QUEUE_UNCARVED, /* on the partial list, part of it never carved */
  HAK_QUEUE_PARTIAL   /* on the partial list, wholly carved */
} hak_slab_queue_t;

typedef struct hak_slab {
  hak_list_t list;            /* [owner: holder] free blocks */
  hak_atomic_u64_t word;      /* [any] see below */
  struct hak_slab *next;      /* [owner: holder] in the queue that `queue` names */
  struct hak_slab *prev;      /* [owner: holder] */
  hak_atomic_u32_t carved;    /* [owner: holder] blocks given out at least once */
  hak_atomic_u32_t capacity;  /* [const] blocks that fit; read late by who asks about
                                 any address */
  hak_atomic_u32_t held_back; /* [owner: holder] blocks still out when `room` runs out */
  hak_atomic_u32_t usable;    /* [owner: who has the block] bytes of a large block;
                                 [owner: holder] else blocks that were out at a look */
  hak_atomic_u8_t cls;        /* [const] size class or HAK_CLASS_* */
  hak_atomic_u8_t span;       /* [const] slabs in the span; read late by statistics */
  uint8_t queue : 2;          /* [owner: holder] hak_slab_queue_t */
  uint8_t group : 5; /* [owner: holder] of HAK_QUEUE_PARTIAL: by how full it is */
  uint8_t aged : 1;  /* [owner: holder] of HAK_QUEUE_PARTIAL: see partial_list.h; of
                        HAK_QUEUE_HELD: `usable` is of a look since it came */
  hak_atomic_u8_t
      committed; /* [owner: who has the slot] OS pages committed, from the slab's start */
  uint8_t dirty : 1;  /* [owner: holder] blocks were carved here before, in this life */
  uint8_t unsure : 7; /* [owner: holder] so many blocks may be neither listed nor out:
                         threads that freed them were lost in forks */
  uint8_t slot;       /* [const] its place in the SuperSlab */
  hak_atomic_u16_t holes; /* [owner: holder] a bit for each page that was given back
                             though the slab is in use; see tiny/hole_map.h */
} hak_slab_t;

/* `unsure` counts no further. */
#define HAK_UNSURE_MAX 127

_Static_assert(sizeof(hak_slab_t) == 64, "one cache line a slab: no false sharing");
_Static_assert(offsetof(hak_slab_t, list) == 0, "entries in local mode name the list");

/* The word: remote head (offset / 8 + 1, 0 = none), remote count, holder's
 * code, state. Blocks of one batch are linked and end the list. */
#define HAK_WORD_COUNT_SHIFT 16
#define HAK_WORD_HOLDER_SHIFT 32
#define HAK_WORD_STATE_SHIFT 48

typedef enum hak_slab_state {
  HAK_SLAB_FREE = 0, /* in the pool */
  HAK_SLAB_HELD,     /* one thread may touch it */
  HAK_SLAB_FULL,     /* nobody holds it: every block is out */
  HAK_SLAB_PARTIAL   /* partly free, on the heap's partial list of its class */
} hak_slab_state_t;

HAK_HOT uint64_t hak_word_make(hak_slab_state_t state, uint32_t holder) {
  return (uint64_t)state << HAK_WORD_STATE_SHIFT | (uint64_t)holder
                                                       << HAK_WORD_HOLDER_SHIFT;
}
HAK_HOT hak_slab_state_t hak_word_state(uint64_t word) {
  return (hak_slab_state_t)(word >> HAK_WORD_STATE_SHIFT);
}
HAK_HOT uint32_t hak_word_remote_count(uint64_t word) {
  return (uint32_t)(word >> HAK_WORD_COUNT_SHIFT) & 0xffff;
}
HAK_HOT uint32_t hak_word_remote_head(uint64_t word) { return (uint32_t)word & 0xffff; }
/* Holder and state, without what others have pushed. */
HAK_HOT uint64_t hak_word_owner(uint64_t word) { return word >> HAK_WORD_HOLDER_SHIFT; }

/* Blocks that are neither on the list nor in the word. */
HAK_HOT uint32_t hak_slab_out(hak_slab_t *slab) {
  return (uint32_t)(hak_load_relaxed(&slab->list.room) + 1) +
         hak_load_relaxed(&slab->held_back);
}

HAK_HOT uint32_t hak_slab_class(hak_slab_t *slab) { return hak_load_relaxed(&slab->cls); }
HAK_HOT void hak_slab_set_class(hak_slab_t *slab, uint32_t cls) {
  hak_store_relaxed(&slab->cls, (uint8_t)cls);
}

/* Makes no page of the slab a hole any more. Returns how many pages were. */
HAK_HOT unsigned hak_slab_clear_holes(hak_slab_t *slab) {
  uint32_t holes = hak_load_relaxed(&slab->holes);
  if (HAK_UNLIKELY(holes != 0)) hak_store_relaxed(&slab->holes, 0);
  return hak_count_bits(holes);
}

/* Nobody has a block of it any more, and nobody can reach it: in no class, FREE. For
 * whole heaps that are cleared; other changes of the word are in tiny/slab.h. */
HAK_HOT void hak_slab_forget(hak_slab_t *slab) {
  hak_slab_set_class(slab, HAK_CLASS_NONE);
  hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_FREE, 0));
}

HAK_HOT uint32_t hak_slab_capacity(const hak_slab_t *slab) {
  return hak_load_relaxed(&((hak_slab_t *)slab)->capacity);
}
HAK_HOT uint32_t hak_slab_pages(const hak_slab_t *slab) {
  return hak_load_relaxed(&((hak_slab_t *)slab)->committed);
}

HAK_HOT unsigned hak_slab_span(const hak_slab_t *slab) {
  return hak_load_relaxed(&((hak_slab_t *)slab)->span);
}
HAK_HOT void hak_slab_set_span(hak_slab_t *slab, unsigned span) {
  hak_store_relaxed(&slab->span, (uint8_t)span);
}

HAK_HOT uint32_t hak_slab_carved(hak_slab_t *slab) {
  return hak_load_relaxed(&slab->carved);
}

#endif
