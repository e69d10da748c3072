/* bin.h - what one thread keeps: its bins, what it holds, and the two hot
 * functions.
 *
 * Depends on: pages, central, counters, link, lookup_cache, size_classes.
 * Used by: tiny, heap, api.
 *
 * A free pushes its block onto a list that the registry names. The entry of a
 * 64 KiB unit is
 *
 *     (list - thread state) << 16 | D
 *
 *   cached    the list is the freeing thread's own bin of the class, at the same
 *             offset in every thread; D = HAK_MODE_CACHED
 *   local     the list is the slab's own; D = the complement of its holder's code
 *   nobody's  0: the list at the start of the thread state, which never has room
 *
 * A thread's code has 7 of 15 bits set, and its mask is its code: so
 * `entry & mask` is zero exactly for 'cached', for 'local and mine' and for
 * nobody's, and one test lets pass what may be pushed at once.
 *
 * A bin has two lists: frees push onto `list`, allocations take from `ready`;
 * when that is empty, `list` becomes it. This keeps the order of frees, so
 * neighbours stay neighbours. A third list, `spare`, lies behind. Where a thread
 * only frees what others allocate, its bin of the class has no room and frees
 * collect in a magazine, untouched.
 *
 * Access: all of a thread state belongs to its thread, except where marked; it
 * is reused, never unmapped before shutdown.
 */
#ifndef HAK_TINY_BIN_H
#define HAK_TINY_BIN_H

#include "pages/registry.h"
#include "tiny/central.h"
#include "tiny/link.h"
#include "tiny/lookup_cache.h"

#define HAK_CODE_BITS 15
#define HAK_CODE_MASK 0x7fffu
/* No thread's: holds what a serial heap holds, whoever has the heap. */
#define HAK_CODE_SERIAL HAK_CODE_MASK
#define HAK_MODE_CACHED 0x8000u

/* The bin of a class of which the thread only frees what others allocate: its list
 * has no room, and frees pass by it into a magazine. */
#define HAK_BIN_GATHERS UINT16_MAX

typedef struct hak_bin {
  hak_list_t list;              /* frees push here */
  void *ready;                  /* allocations take from here */
  uint16_t spilling;            /* how often its list was sent home, or HAK_BIN_GATHERS */
  hak_atomic_u16_t armed;       /* what list.room was set to */
  hak_atomic_u16_t ready_count; /* blocks in `ready` when it was filled */
  uint16_t capacity;            /* blocks in each list; see capacity.h */
} hak_bin_t;

_Static_assert(sizeof(hak_bin_t) == 32, "two bins a cache line");

/* What a thread holds of one class; see hold.h. */
typedef struct hak_hold {
  hak_slab_t *first, *last;           /* partly free slabs */
  hak_slab_t *current;                /* the slab that is being carved */
  _Atomic(hak_magazine_t *) magazine; /* foreign blocks that it freed */
  void *spare;                        /* the bin's third list, or NULL */
  hak_atomic_u32_t spare_count;
  uint32_t slabs;               /* in the queue */
  uint32_t slabs_most;          /* more than these are listed */
  uint32_t magazine_blocks;     /* capacity in use */
  int32_t credit;               /* slabs let go less slabs claimed */
  uint32_t given, given_before; /* blocks taken by refills in this and the last period */
  uint32_t surplus_periods;     /* periods in a row with more held than used */
  uint32_t pins;                /* the bin may keep a slab of few blocks from coming home
                                   as a whole: it is to be emptied; see flush.h */
  /* Blocks that slow paths brought since the bin overflowed; of a single class:
   * that went to the pool since one was brought. */
  uint32_t taken;
  uint32_t capacity_least; /* the bin's capacity without demand */
  uint64_t seen;           /* the bin at the last look; see trim.c */
  uint64_t quota;          /* of a heap with a limit: what this thread might cache of it
                              when the bin's capacity was set; 0: it has none */
} hak_hold_t;

/* Events of slow paths; written by the thread, read by statistics. */
typedef struct hak_counts {
#define HAK_COUNTER(name) hak_atomic_u64_t name;
#include "tiny/counters.def"
#undef HAK_COUNTER
} hak_counts_t;

#define HAK_COUNT(thread, name, n) hak_count_own(&(thread)->counts.name, (uint64_t)(n))

typedef enum hak_thread_kind {
  HAK_THREAD_ATTACHED = 0,
  HAK_THREAD_NONE /* the static state of threads that have none: not yet; or because codes
                     or memory ran out, or the thread is ending */
} hak_thread_kind_t;

/* Where to find what a thread keeps of one heap, or a serial heap of itself. Slow paths
 * are told which thread they run on, and which cache they work for. */
typedef struct hak_cache {
  hak_bin_t *bins;      /* of all classes */
  hak_hold_t *holds;    /* likewise */
  hak_store_t *store;   /* the heap's */
  uint64_t entry;       /* of a slab of the first class in cached mode; 0: bins that no
                           entry can name, frees take the slow path */
  hak_lookup_t *lookup; /* of a serial heap: what stands for entries; or NULL */
  uint64_t *grown;      /* bytes granted to its bins, see capacity.h; NULL: none ever */
  uint32_t code;        /* of who holds its slabs */
} hak_cache_t;

/* A thread state has places for the bins of so many heaps beside the default
 * one, at the same offset in every thread's. */
#define HAK_CACHE_INDICES 1024
/* Which of a state's ways leads to a heap's bins: those of the default heap, none
 * (to bins that are always empty), or a slot's. */
enum {
  HAK_INDEX_DEFAULT,
  HAK_INDEX_NONE,
  HAK_INDEX_FIRST,
  HAK_INDEX_ENTRIES = HAK_INDEX_FIRST + HAK_CACHE_INDICES
};

typedef struct hak_thread {
  hak_list_t unowned; /* entries of 0 name this list; room is always 0 */
  uint64_t mask;      /* code */
  hak_link_key_t key;
  hak_registry_t *registry;
  uint64_t registry_limit; /* leaves; 0 where there is no registry to look at */
  uint32_t code;
  uint32_t kind; /* hak_thread_kind_t */

  hak_bin_t bins[HAK_CLASSES];

  hak_cache_t cache;  /* [const] of the default heap */
  hak_store_t *store; /* the default heap's */
  hak_hold_t holds[HAK_CLASSES];
  uint32_t trims;
  uint32_t looks;          /* slow events since this thread was attached */
  uint64_t grown;          /* bytes that bins may keep beyond their least capacity */
  uint32_t no_grow;        /* this allocation may not call the OS */
  uint32_t in_parts;       /* its bins are being emptied a part at a time */
  uint32_t to_report;      /* `deferred` is set, or the state is the shared one */
  hak_magazine_t *empties; /* a few empty magazines */
  uint32_t empty_count;
  hak_atomic_u32_t attached; /* [any] a thread has it; written under the threads' lock */
  hak_atomic_u32_t busy;     /* in a slow path; seen by the child of a fork */
  hak_counts_t counts;
  struct hak_deferred {
    int error; /* hak_error_t; 0 = none */
    const void *block;
    void *heap;
    const char *text;
  } deferred; /* misuse found where a lock may be held; reported at the way out */
  struct hak_thread *next;      /* [lock: threads] all states ever made */
  struct hak_thread *next_free; /* [lock: threads] */
  struct hak_thread **tls;      /* [lock: threads] where its thread points at it from */
  /* From the bins of a thread without a state, which are always empty, to those of
   * a heap, in bytes; written by who tears a heap down. */
  hak_atomic_i64_t bins_at[HAK_INDEX_ENTRIES];
} __attribute__((aligned(HAK_CACHE_LINE))) hak_thread_t;

_Static_assert(offsetof(hak_thread_t, unowned) == 0, "an entry of 0 names this list");
_Static_assert(offsetof(hak_thread_t, bins) == 64, "the words of a free share a line");

/* Offset in a thread state of the bin that serves 8 * i + 1 to 8 * i + 8 bytes. */
extern const uint16_t hak_bin_offset_of_step[HAK_TINY_STEPS];

/* Where entries of the class lead while they are cached. */
HAK_HOT uint64_t hak_entry_cached(uint32_t cls) {
  return (uint64_t)(offsetof(hak_thread_t, bins) + cls * sizeof(hak_bin_t)) << 16 |
         HAK_MODE_CACHED;
}
/* The same for the heap that the cache is of. */
HAK_HOT uint64_t hak_cache_entry(const hak_cache_t *cache, uint32_t cls) {
  uint64_t first = cache->entry;
  return first == 0 ? 0 : first + ((uint64_t)(cls * sizeof(hak_bin_t)) << 16);
}
HAK_HOT uint64_t hak_entry_local(const hak_thread_t *me, const hak_slab_t *slab) {
  return (uint64_t)((const char *)slab - (const char *)me) << 16 |
         (~me->code & HAK_CODE_MASK);
}
HAK_HOT uint64_t hak_word_mine(const hak_cache_t *cache) {
  return hak_word_make(HAK_SLAB_HELD, cache->code);
}
HAK_HOT bool hak_word_is_mine(const hak_cache_t *cache, uint64_t word) {
  return hak_word_owner(word) == hak_word_owner(hak_word_mine(cache));
}

/* How many blocks the bin's list may take now. */
HAK_HOT void hak_bin_set_room(hak_bin_t *bin, uint32_t blocks) {
  hak_store_relaxed(&bin->armed, (uint16_t)blocks);
  hak_store_relaxed(&bin->list.room, (int32_t)blocks);
}
HAK_HOT uint32_t hak_bin_capacity(const hak_bin_t *bin) { return bin->capacity; }
/* How many blocks a refill of the bin may bring. */
HAK_HOT uint32_t hak_bin_batch(const hak_bin_t *bin) {
  uint32_t blocks = hak_bin_capacity(bin);
  return blocks == 0 ? 1 : blocks;
}

/* Blocks on the bin's list. */
HAK_HOT uint32_t hak_bin_listed(hak_bin_t *bin) {
  /* Below 0, as it is after a push that found no room, it is a large number. */
  uint32_t room = (uint32_t)hak_load_relaxed(&bin->list.room);
  uint32_t armed = hak_load_relaxed(&bin->armed);
  return room > armed ? armed : armed - room;
}

/* A decrement by the only writer of a count that others may read; true if it
 * was 0 before. One instruction where the compiler would make three. */
HAK_HOT bool hak_room_is_gone(hak_atomic_i32_t *room) {
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(HAK_TSAN)
  bool negative;
  __asm__("subl $1, %0" : "+m"(*(int32_t *)room), "=@ccs"(negative));
  return negative;
#else
  int32_t left = hak_load_relaxed(room) - 1;
  hak_store_relaxed(room, left);
  return left < 0;
#endif
}

/* Notes misuse, to be reported when no lock is held; the first one counts. */
HAK_SLOW void hak_thread_defer_report(hak_thread_t *me, void *heap, hak_error_t error,
                                      const void *block, const char *text);

/* Where nothing is ready, takes from the list that frees have made, which becomes
 * the ready one; true if that is empty too, or a link is bad. */
HAK_HOT bool hak_bin_flip_fails(const hak_link_key_t *key, hak_bin_t *bin, void **block) {
  if (bin->ready != HAK_LINK_END) return true;
  void *list = bin->list.head;
  if (hak_link_pop_fails(key, &list, block)) return true;
  if (HAK_CHECKS != 0 && HAK_UNLIKELY(list == *block)) return true; /* freed twice */
  hak_store_relaxed(&bin->ready_count, (uint16_t)(hak_bin_listed(bin) - 1));
  /* At no moment are the blocks on both lists: a fork may come between. */
  bin->list.head = HAK_LINK_END;
  hak_compiler_fence();
  bin->ready = list;
  bin->spilling = 0;
  hak_bin_set_room(bin, hak_bin_capacity(bin));
  return false;
}

/* Takes a block from the bin; true if none is ready and frees have made no list. */
HAK_HOT bool hak_bin_pop_fails(const hak_link_key_t *key, hak_bin_t *bin, void **block) {
  return HAK_UNLIKELY(hak_link_pop_fails(key, &bin->ready, block)) &&
         HAK_UNLIKELY(hak_bin_flip_fails(key, bin, block));
}

HAK_HOT uint32_t hak_bin_class(const hak_thread_t *me, const hak_bin_t *bin) {
  return (uint32_t)(bin - me->bins);
}

/* Pushes a block onto a list with room for it. */
HAK_HOT void hak_list_push(const hak_link_key_t *key, hak_list_t *list, void *block) {
  hak_link_write(key, block, list->head);
  list->head = block;
}

/* A link is bad: reports it. `block` is the block whose link it is. */
HAK_SLOW void hak_list_report_bad(hak_thread_t *me, const hak_cache_t *cache,
                                  const void *block);

/* Takes the first block off a list that is not empty. True if its link is broken: the
 * block is not free, and after a report it is given up with the rest of the list. */
HAK_HOT bool hak_list_take_fails(hak_thread_t *me, const hak_cache_t *cache, void **list,
                                 void **block) {
  *block = *list;
  *list = hak_link_read(&me->key, *block);
  if (HAK_LIKELY(!hak_link_is_broken(&me->key, *block, *list))) return false;
  hak_list_report_bad(me, cache, *block);
  *list = HAK_LINK_END;
  return true;
}

#endif
