/* bin.h - what one thread keeps: its bins, what it holds, and the two hot
 * functions.
 *
 * Depends on: learn, pages, central, counters, link, lookup_cache, quarantine,
 * size_classes.
 * Used by: tiny, heap, api.
 *
 * A free pushes its block onto a list that the registry names. The entry of a
 * slab is
 *
 *     (list - thread state) << 16 | D
 *
 *   cached    the list is the freeing thread's own bin of the class, at the same
 *             offset in every thread; D = HAK_MODE_CACHED
 *   local     the list is the slab's own; D = the complement of its holder's code
 *   unowned   the entry is 0: it names the list at the start of the thread state,
 *             which never has room
 *
 * A thread's code has 7 of 15 bits set, and the thread's mask is its code. So
 * `entry & mask` is zero exactly for 'cached', for 'unowned', and for 'local' if the
 * thread itself holds the slab: one test lets pass what may be pushed at once.
 *
 * A bin has two lists: frees push onto `list`, and allocations take from `ready`. When
 * `ready` is empty, `list` takes its place. (Blocks for places in a heap come from `list`
 * first: hak_bin_last_fails.) Both lists keep the order of frees, so
 * blocks that were neighbours stay neighbours. Full lists go to a third one, `spare`.
 * Blocks over HAK_TINY_MAX lie so far apart that neighbours gain nothing, and begin at
 * addresses that share few sets of the processor's caches. Of these classes allocations
 * take from `list` first, the block that was freed last, and from `ready` when it is
 * empty.
 * Where a thread only frees what others allocate, its bin of the class has no room, and
 * freed blocks collect in a magazine, which nobody has to touch them for.
 *
 * Access:  see base/lock.h. 'cache' stands for who has the thread cache: its thread; of
 *          a serial heap, who has the heap; and once nobody may use the heap any more,
 *          who tears it down. A thread state is its thread's while one is attached. It
 *          is used again, and not unmapped before shutdown: others may read it late.
 */
#ifndef HAK_TINY_BIN_H
#define HAK_TINY_BIN_H

#include "learn/chance.h"
#include "pages/registry.h"
#include "tiny/central.h"
#include "tiny/link.h"
#include "tiny/lookup_cache.h"
#include "tiny/quarantine.h"

#define HAK_CODE_BITS 15
#define HAK_CODE_MASK 0x7fffu
/* The code that slabs of serial heaps are held by, whoever has the heap. No thread has
 * it. */
#define HAK_CODE_SERIAL HAK_CODE_MASK
#define HAK_MODE_CACHED 0x8000u

/* As a value of `spilling`: the thread only frees blocks of the class that others
 * allocate. The bin's list has no room, and frees go past it into a magazine. */
#define HAK_BIN_GATHERS UINT16_MAX

typedef struct hak_bin {
  /* [owner: cache] all of it; statistics read the atomic fields. */
  hak_list_t list;              /* frees push here */
  void *ready;                  /* allocations take from here */
  uint16_t spilling;            /* how often a full list went home since an allocation
                                   found no block ready, or HAK_BIN_GATHERS */
  hak_atomic_u16_t armed;       /* blocks; what list.room was set to */
  hak_atomic_u16_t ready_count; /* blocks in `ready` when it was filled */
  uint16_t capacity;            /* blocks that each list may have; see capacity.h */
} hak_bin_t;

_Static_assert(sizeof(hak_bin_t) == 32, "two bins a cache line");

/* Whether a thread keeps little of a class; see lean.h. */
typedef enum hak_lean {
  HAK_LEAN_NOT = 0,
  HAK_LEAN,
  HAK_LEAN_ANEW /* for the first time in a while: the bin is to shrink */
} hak_lean_t;

/* How a class is cached of a heap with a hard limit; see far.h. */
typedef enum hak_far {
  HAK_FAR_NOT = 0,
  HAK_FAR,
  HAK_FAR_NO_ROOM /* the limit is far, but the quota does not do for slabs: the class is
                     cut, and works with depots; its bin was granted two lists */
} hak_far_t;

/* What a thread holds of one class; see hold.h. */
typedef struct hak_hold {
  /* [owner: cache] all of it; statistics read the atomic fields. */
  hak_slab_t *first, *last;           /* the queue: partly free slabs that are held */
  hak_slab_t *current;                /* the slab that is being carved, or NULL */
  _Atomic(hak_magazine_t *) magazine; /* blocks freed here whose slabs others have */
  void *spare;                        /* the bin's third list */
  hak_atomic_u32_t spare_count;       /* blocks in `spare`, at most */
  uint32_t slabs;                     /* slabs in the queue */
  uint32_t slabs_most;                /* slabs; if the queue has more, one that is nearly
                                         free goes to the partial list */
  uint32_t magazine_blocks;           /* blocks with which a magazine is full; 0: the
                                         class has not begun, see capacity.h */
  int32_t credit;                     /* slabs that may be claimed: those let go, less
                                         those claimed */
  uint32_t given, given_before; /* blocks that refills were asked for, in this period
                                   and in the last; see trim.h. Of a single class: how
                                   often one was brought from the pool of late, and when
                                   the last time; see capacity.c */
  int32_t surplus_periods;      /* periods in a row with more held than used; below 0 as
                                   many are left until what was made ready may count */
  uint32_t pins;                /* 1: blocks in the bin may keep a slab from
                                   becoming free, so it is to be emptied; flush.h */
  uint32_t lean;                /* hak_lean_t; see lean.h */
  uint64_t lean_next;           /* ns; the time up to which beginnings are used up */
  uint32_t taken;               /* blocks that refills brought since the bin last
                                   overflowed; of a single class: blocks that went
                                   to the pool since one was brought from there */
  uint32_t capacity_least;      /* blocks; the bin's capacity without demand */
  uint64_t seen;                /* a hash of the bin at the last look; see trim.h */
  uint64_t quota;               /* bytes; the quota when the bin's capacity was set,
                                   in a heap with a limit; 0: the heap has none */
  uint64_t granted;             /* bytes of the quota that the class has */
  uint32_t far;                 /* hak_far_t; see far.h */
  uint32_t far_looks;           /* refills and overflows since there was no room */
  uint32_t patience;            /* overflows before the quota is asked for more again */
  uint32_t shared;              /* blocks that refills brought while the thread shares
                                   slabs of the class, or HAK_SHARED_NOT; see capacity.h */
} hak_hold_t;

/* Events of slow paths. */
typedef struct hak_counts {
  /* [owner: the thread] each; statistics read them */
#define HAK_COUNTER(name) hak_atomic_u64_t name;
#include "tiny/counters.def"
#undef HAK_COUNTER
} hak_counts_t;

#define HAK_COUNT(thread, name, n) hak_count_own(&(thread)->counts.name, (uint64_t)(n))

typedef enum hak_thread_kind {
  HAK_THREAD_ATTACHED = 0,
  HAK_THREAD_NONE /* the static state, for threads that have no state of their own:
                     before their first allocation, after codes or memory ran out, or
                     while they end */
} hak_thread_kind_t;

/* When allocations out of bins come to a slow path all the same (recall.h): of a thread,
 * and of each serial heap. */
typedef struct hak_pace {
  hak_atomic_i32_t flips; /* [owner: cache] of bins that may come before the next look;
                             below 0 it is due */
  hak_atomic_i32_t pops;  /* [owner: cache] blocks over HAK_TINY_MAX that may be taken
                             before these count as a flip */
  uint64_t looked_at;     /* [owner: cache] ns; the last look that came with a flip */
  uint32_t given;         /* [owner: cache] what `flips` was set to last */
} hak_pace_t;
/* So many blocks over HAK_TINY_MAX are one flip: their bins' lists have as many at
 * least. */
enum {
  HAK_POPS_OF_FLIP = 8
};

/* A thread cache: where to find what a thread keeps of one heap, or a serial heap of
 * itself. Slow paths are told which thread they run on, and which cache they work for. */
typedef struct hak_cache {
  hak_bin_t *bins;      /* [owner: cache] one for each class */
  hak_hold_t *holds;    /* [const] one for each class */
  hak_store_t *store;   /* [const] the heap's */
  uint64_t entry;       /* [owner: cache] what the registry says of slabs of class 0 in
                           cached mode; 0: no entry can name these bins, and frees take
                           the slow path */
  hak_lookup_t *lookup; /* [const] of a serial heap: says what entries cannot; or NULL */
  uint64_t *grown;      /* [const] where bytes granted to its bins are counted (see
                           capacity.h); NULL: none are ever granted */
  hak_pace_t *pace;     /* [const] NULL: it has no fast path */
  uint32_t code;        /* [const] of who holds its slabs */
  uint64_t *begun;      /* [const] bits of classes whose holds have begun (capacity.h), so
                           that walks leave the others alone; NULL: the holds tell */
} hak_cache_t;

/* A thread state has places for the bins of so many heaps beside the default one. The
 * place of an index is at the same offset in every thread's state. */
#define HAK_CACHE_INDICES 1024
/* Entries of hak_thread_t.bins_of and bins_at: for the bins of the default heap; for
 * heaps that have no place, which leads to bins that are always empty; and from the third
 * on one for each place. */
enum {
  HAK_INDEX_DEFAULT,
  HAK_INDEX_NONE,
  HAK_INDEX_FIRST
};

/* A thread's way to its next guarded block (api/guarded.c). Refills count it down, by the
 * blocks that they bring: fast paths know nothing of it. */
typedef struct hak_guard_way {
  int64_t left;    /* allocations; below 1 one is due */
  uint64_t random; /* 0: it has not begun */
  int32_t flips;   /* that come, or came, between the last two looks of recall.h */
  bool asks;       /* the thread is being asked for the calls that it is in */
} hak_guard_way_t;

/* What a thread has cached of heaps other than the default one is emptied in turns, heap
 * by heap and each class by class (heap/give_up.c). Where they are: */
typedef struct hak_turns {
  uint32_t heap, cls;  /* the next one's; HAK_CLASSES: of the next heap */
  uint64_t owed;       /* turns that are due: classes of heaps, used or not */
  uint64_t counted_at; /* ns; when those were counted last */
  bool transfers;      /* what lies in the heap's transfer caches has its turn too */
} hak_turns_t;

typedef struct hak_thread {
  hak_list_t unowned;       /* [owner] entries of 0 name this list; room is always 0 */
  uint64_t mask;            /* [owner] the code; see above */
  hak_link_key_t key;       /* [const] */
  hak_registry_t *registry; /* [const] */
  uint64_t registry_limit;  /* [const] leaves; 0 where there is no registry to look at */
  uint32_t code;            /* [const] */
  uint32_t kind;            /* [const] hak_thread_kind_t */

  hak_bin_t bins[HAK_CLASSES]; /* [owner] of the default heap */
  hak_sample_way_t way;        /* [owner] to the next block that is sampled */
  hak_pace_t pace;             /* [owner] of bins of its caches */
  /* [const] Always empty: where a place that allocates for the first time finds no block
   * ready. */
  hak_bin_t empty[HAK_TINY_CLASSES];

  hak_cache_t cache;               /* [const] of the default heap */
  hak_store_t *store;              /* [const] the default heap's */
  uint64_t begun[HAK_CLASS_WORDS]; /* [owner] of the default heap; see hak_cache_t */

  /* [owner] from here to `empty_count` */
  uint32_t trims;          /* looks at one class since the last at all; see trim.h */
  uint32_t looks;          /* refills that looked at a bin since the thread attached */
  uint64_t spans;          /* of this thread, about; see lean.h, also of the next five */
  uint32_t dropped;        /* spans that it gave back since it began one, or emptied its
                              bins */
  uint32_t drops;          /* times that it emptied its bins since it began a span */
  uint32_t drops_anew;     /* 1: for the first time in a while */
  hak_atomic_u32_t ended;  /* [any] of `spans`, those that went with their heaps since the
                              thread last looked */
  uint64_t drop_next;      /* ns; the time up to which drops are used up */
  uint32_t quiet_looks;    /* `looks` at the last collection that found it changed */
  uint16_t sweep;          /* the last sweep that came to what the thread holds */
  uint16_t sweep_class;    /* while it does: the class to go on with; see hole_sweep.h */
  uint32_t sweep_heap;     /* the same: the heap, once the default one is done */
  uint64_t quiet_since;    /* ns; when that was, 0: never */
  uint64_t recalled_at;    /* ns; see recall.h */
  uint32_t recalls;        /* that may still come before the next time */
  uint32_t to_empty;       /* classes of which the blocks that are kept are to go home */
  uint32_t emptied;        /* the class whose turn is next */
  uint32_t foreign_frees;  /* since the last that looked at what is idle */
  uint64_t grown;          /* bytes that bins may keep beyond their least capacity */
  uint64_t in_hand;        /* bytes of lists that left a bin, or are to come to one, at
                              most; the child of a fork reads it */
  hak_guard_way_t guard;   /* to the next block that is guarded */
  uint32_t no_grow;        /* 1: this allocation may not take memory from the OS */
  uint32_t in_parts;       /* 1: the bins are being emptied a part at a time */
  uint32_t to_report;      /* 1: `deferred` is set, or the state is the shared one */
  hak_magazine_t *empties; /* a few empty magazines */
  uint32_t empty_count;

  /* [lock: threads] 1: a thread has it; read without the lock */
  hak_atomic_u32_t attached;
  hak_atomic_u32_t busy; /* [owner] slow paths that it is in: more than one, if hooks of
                            the program's call the library; the child of a fork reads it,
                            and so do full checks */
  hak_counts_t counts;   /* [owner] statistics read them */
  /* [owner] Misuse found where a lock may be held; it is reported on the way out. */
  struct hak_deferred {
    int error; /* hak_error_t; 0: none */
    const void *block;
    void *heap;
    const char *text;
  } deferred;
  hak_turns_t turns;       /* [owner] of its caches of heaps */
  uint32_t number;         /* [const] of the state's place among all; see threads.c */
  uint32_t room;           /* [const] cache indices that it has address space for */
  uint32_t indices_ready;  /* cache indices with memory; [lock: threads] once published */
  hak_atomic_u32_t chunks; /* [owner] 1: the state has chunks; see thread_state.h */
  struct hak_thread **tls; /* [lock: threads] where its thread points at it from */
  /* [any] Bytes from the bins of a thread without a state, which are always empty, to
   * those of a heap: of the default heap and of heaps without a place, and of those with
   * one. The thread writes them, and who tears down a heap. */
  hak_atomic_i64_t bins_of[HAK_INDEX_FIRST];
  /* What is above lies in the first page, which every thread writes to; each of the pages
   * below is written to for what it has of some classes or heaps. */
  hak_hold_t holds[HAK_CLASSES]; /* [owner] of the default heap */
  hak_atomic_i64_t bins_at[HAK_CACHE_INDICES];
#if HAK_CHECKS >= 3
  hak_quarantine_t quarantine; /* [owner] */
#endif
} __attribute__((aligned(HAK_CACHE_LINE))) hak_thread_t;

_Static_assert(offsetof(hak_thread_t, unowned) == 0, "an entry of 0 names this list");
_Static_assert(offsetof(hak_thread_t, bins) == 64, "the words of a free share a line");
_Static_assert(offsetof(hak_thread_t, holds) <= 3584,
               "with the line that lies before a state, and a few holds, one page");

/* A slow path of the thread's begins and ends. */
HAK_HOT void hak_busy_begin(hak_thread_t *me) { hak_count_own(&me->busy, 1); }
HAK_HOT void hak_busy_end(hak_thread_t *me) { hak_count_own(&me->busy, (uint32_t)-1); }

/* Offset in a thread state of the bin that serves 8 * i + 1 to 8 * i + 8 bytes. */
HAK_EXTERN const uint16_t hak_bin_offset_of_step[HAK_TINY_STEPS];

/* What an allocation over HAK_TINY_MAX needs of its class, in one place. */
typedef struct hak_mid_class {
  uint16_t bin_offset; /* [const] of its bin in a thread state */
  uint16_t askew;      /* [const] hak_class_askew */
} hak_mid_class_t;
/* Element hak_class_eighth(size). */
HAK_EXTERN const hak_mid_class_t hak_mid_classes[HAK_LARGE_EIGHTHS];

/* The entry, in cached mode, of a slab of the class in the default heap. */
HAK_HOT uint64_t hak_entry_cached(uint32_t cls) {
  return (uint64_t)(offsetof(hak_thread_t, bins) + cls * sizeof(hak_bin_t)) << 16 |
         HAK_MODE_CACHED;
}
/* The entry, in cached mode, of a slab of the class in the heap that the cache is of; 0
 * if no entry can name the cache's bins. */
HAK_HOT uint64_t hak_cache_entry(const hak_cache_t *cache, uint32_t cls) {
  uint64_t first = cache->entry;
  return first == 0 ? 0 : first + ((uint64_t)(cls * sizeof(hak_bin_t)) << 16);
}
/* The entry of a slab of one class, in cached mode, for one of another class. */
HAK_HOT uint64_t hak_entry_of_class(uint64_t entry, uint32_t was, uint32_t cls) {
  uint64_t back = (uint64_t)((was - cls) * sizeof(hak_bin_t)) << 16;
  return entry - back;
}
/* No thread keeps anything in the cache between two calls; see hak_refill_one. */
HAK_HOT bool hak_cache_is_shared_way(const hak_cache_t *cache) {
  return cache->grown == NULL;
}
/* Threads free each other's blocks of the class: this one has such blocks, or one found
 * some of late. What one has too many of and another too few changes hands through the
 * transfer cache. Full checks know of none: they see a write to a freed block as long as
 * its slab is not begun anew, and so keep slabs for longer. */
HAK_HOT bool hak_cache_is_exchanged(const hak_cache_t *cache, uint32_t cls) {
  if (HAK_CHECKS == 2) return false;
  return hak_load_relaxed(&cache->holds[cls].magazine) != NULL ||
         hak_load_relaxed(&cache->store->centrals[cls].takes) != 0;
}
/* The entry, in local mode, of a slab that this thread holds. */
HAK_HOT uint64_t hak_entry_local(const hak_thread_t *me, const hak_slab_t *slab) {
  return (uint64_t)((const char *)slab - (const char *)me) << 16 |
         (~me->code & HAK_CODE_MASK);
}
/* The word of a slab that is held for the cache, and onto which nobody has pushed. */
HAK_HOT uint64_t hak_word_mine(const hak_cache_t *cache) {
  return hak_word_make(HAK_SLAB_HELD, cache->code);
}
HAK_HOT bool hak_word_is_mine(const hak_cache_t *cache, uint64_t word) {
  return hak_word_owner(word) == hak_word_owner(hak_word_mine(cache));
}

/* So many blocks have left a bin, or a place where a refill found them, and are on no
 * list that a fork's child would find; or, below 0, they are on one again. */
void hak_thread_take_in_hand(hak_thread_t *me, uint32_t cls, int64_t blocks);

/* Lets the bin's list, which is empty, take so many blocks. */
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
  /* After a push that found no room it is -1, which reads as a large number here. */
  uint32_t room = (uint32_t)hak_load_relaxed(&bin->list.room);
  uint32_t armed = hak_load_relaxed(&bin->armed);
  return room > armed ? armed : armed - room;
}

/* Counts a list's room down; true if it was 0 before, or less. The caller is its only
 * writer, others may read it. This is one instruction where compilers make three. */
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

/* The same up, by one. */
HAK_HOT void hak_room_comes_back(hak_atomic_i32_t *room) {
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(HAK_TSAN)
  __asm__("addl $1, %0" : "+m"(*(int32_t *)room) : : "cc");
#else
  hak_count_own(room, 1);
#endif
}

/* Notes misuse, to be reported when no lock is held. Only the first since the last report
 * is kept. */
HAK_SLOW void hak_thread_defer_report(hak_thread_t *me, void *heap, hak_error_t error,
                                      const void *block, const char *text);

/* If nothing is ready, the list that frees have made becomes the ready one, and its first
 * block is taken. True if that list is empty too, or a link is bad. */
HAK_HOT bool hak_bin_flip_fails(const hak_link_key_t *key, hak_bin_t *bin, void **block) {
  if (bin->ready != HAK_LINK_END) return true;
  void *list = bin->list.head;
  if (hak_link_pop_fails(key, &list, block)) return true;
  if (HAK_CHECKS != 0 && HAK_UNLIKELY(list == *block)) return true; /* freed twice */
  hak_store_relaxed(&bin->ready_count, (uint16_t)(hak_bin_listed(bin) - 1));
  /* A fork may come between two stores: then the blocks are on both lists, which the
   * child sees by the first one's link (hak_reclaim_mend). */
  bin->ready = list;
  hak_compiler_fence();
  bin->list.head = HAK_LINK_END;
  bin->spilling = 0;
  hak_bin_set_room(bin, hak_bin_capacity(bin));
  return false;
}

/* The same in a fast path: now and then it fails, so that its thread comes to a slow path
 * although its bins could serve it for ever. */
HAK_HOT bool hak_bin_flip_is_due(const hak_link_key_t *key, hak_atomic_i32_t *flips,
                                 hak_bin_t *bin, void **block) {
  return hak_room_is_gone(flips) || hak_bin_flip_fails(key, bin, block);
}

/* Takes a block from the bin; true if none is ready and frees have made no list. */
HAK_HOT bool hak_bin_pop_fails(const hak_link_key_t *key, hak_bin_t *bin, void **block) {
  return HAK_UNLIKELY(hak_link_pop_fails(key, &bin->ready, block)) &&
         HAK_UNLIKELY(hak_bin_flip_fails(key, bin, block));
}
/* The same in a fast path; see hak_bin_flip_is_due. */
HAK_HOT bool hak_bin_pop_is_due(const hak_link_key_t *key, hak_atomic_i32_t *flips,
                                hak_bin_t *bin, void **block) {
  return HAK_UNLIKELY(hak_link_pop_fails(key, &bin->ready, block)) &&
         HAK_UNLIKELY(hak_bin_flip_is_due(key, flips, bin, block));
}

/* The block that was freed last is to be taken again, as the processor's caches have it
 * if they have any. True if frees have left none on the list, its link is bad, or it was
 * freed twice. The caller makes `next` the first one, counts the room up, and calls
 * hak_link_unmark. No flip comes of it: the caller sees to it that its thread comes to a
 * slow path all the same. */
HAK_HOT bool hak_bin_last_fails(const hak_link_key_t *key, void *last, void **next) {
  if (hak_link_next_fails(key, last, next)) return true;
  HAK_OPAQUE(*next); /* else the two comparisons become one value */
  return HAK_CHECKS != 0 && HAK_UNLIKELY(*next == last);
}
/* Takes the block that was freed last; true if frees have made no list, or its link is
 * bad. For classes over HAK_TINY_MAX. A fork between two stores leaves a list that has
 * one block less than its count says, as between the two of a push. */
HAK_HOT bool hak_bin_pop_last_fails(const hak_link_key_t *key, hak_bin_t *bin,
                                    void **block) {
  if (HAK_UNLIKELY(hak_link_pop_fails(key, &bin->list.head, block))) return true;
  hak_compiler_fence();
  hak_room_comes_back(&bin->list.room);
  return false;
}
/* The same, or else a block that is ready; true if there is none either, or a link is
 * bad. */
HAK_HOT bool hak_bin_pop_mid_fails(const hak_link_key_t *key, hak_bin_t *bin,
                                   void **block) {
  if (HAK_LIKELY(!hak_bin_pop_last_fails(key, bin, block))) return false;
  return bin->list.head != HAK_LINK_END || hak_link_pop_fails(key, &bin->ready, block);
}
/* A block over HAK_TINY_MAX is about to be taken in a fast path: now and then it is not
 * to be; see hak_bin_flip_is_due. Then no other is either, until flips may come again. */
HAK_HOT bool hak_pace_is_due(hak_pace_t *pace) {
  if (HAK_LIKELY(!hak_room_is_gone(&pace->pops))) return false;
  bool due = hak_room_is_gone(&pace->flips);
  hak_store_relaxed(&pace->pops, due ? 0 : HAK_POPS_OF_FLIP - 1);
  return due;
}
/* Takes a block out of a bin of any class; true if it has none, or a link is bad. */
HAK_HOT bool hak_bin_take_fails(const hak_link_key_t *key, hak_bin_t *bin, uint32_t cls,
                                void **block) {
  return cls < HAK_TINY_CLASSES ? hak_bin_pop_fails(key, bin, block)
                                : hak_bin_pop_mid_fails(key, bin, block);
}
/* The same in a fast path. */
HAK_HOT bool hak_bin_take_is_due(const hak_link_key_t *key, hak_pace_t *pace,
                                 hak_bin_t *bin, uint32_t cls, void **block) {
  if (cls < HAK_TINY_CLASSES) return hak_bin_pop_is_due(key, &pace->flips, bin, block);
  return hak_pace_is_due(pace) || hak_bin_pop_mid_fails(key, bin, block);
}

HAK_HOT uint32_t hak_bin_class(const hak_thread_t *me, const hak_bin_t *bin) {
  return (uint32_t)(bin - me->bins);
}

/* Pushes a block onto a list with room for it. */
HAK_HOT void hak_list_push(const hak_link_key_t *key, hak_list_t *list, void *block) {
  hak_link_write(key, block, list->head);
  list->head = block;
}

/* The same of a block that has its mark, if blocks have one. */
HAK_HOT void hak_list_push_marked(const hak_link_key_t *key, hak_list_t *list,
                                  void *block) {
  hak_link_write_marked(key, block, list->head);
  list->head = block;
}

/* Reports that the link of `block` is bad. */
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

/* Cuts the first blocks off a list, at most `most`; *rest is the list behind them.
 * Returns how many they are; 0 if the list had none, or its first link is bad: the list
 * is given up then. O(most). */
uint32_t hak_list_cut(hak_thread_t *me, const hak_cache_t *cache, void *list, size_t most,
                      void **rest);

#endif
