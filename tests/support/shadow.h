/* shadow.h - a model of what an allocator promises, and random operations that
 * hold the library against it.
 *
 * The map knows every live block: its range, alignment, usable size, heap and a
 * pattern in its bytes; it knows every heap, its kind, limit and parent. Each
 * operation is drawn, done, and judged: no overlap, alignment, contents, usable
 * size, owner, errno, counts. One thread at a time works on a shadow; with
 * SHADOW_THREADS the operations of one sequence are done by several threads in
 * turn, so that blocks and heaps pass from one to the other.
 *
 * Operation n of a seed draws from a generator that is made of the seed and n, and
 * blocks have places that do not change: what is left of a sequence after some of
 * its operations were taken out still does much the same. Or all is drawn from
 * bytes that a fuzzer makes (shadow_open_bytes).
 */
#ifndef HAKMEM_TEST_SHADOW_H
#define HAKMEM_TEST_SHADOW_H

#include "strict_os.h"
#include "support.h"

#define SHADOW_MAY_FAIL 0x01u   /* NULL with ENOMEM is right at any moment */
#define SHADOW_OPTIONS 0x02u    /* change options on the way */
#define SHADOW_THREAD 0x04u     /* idle and leave the library on the way */
#define SHADOW_ALONE 0x08u      /* nobody else uses the library: counts are exact */
#define SHADOW_HEAPS 0x10u      /* heaps of every kind come and go */
#define SHADOW_THREADS 0x20u    /* several threads take turns */
#define SHADOW_EVERY_BYTE 0x40u /* of large blocks too; else one word in each page */
#define SHADOW_FORKS 0x80u      /* fork on the way; the child looks at all there is */

/* Every kind of operation, the function that does it, and how often it is drawn, in parts
 * of the sum. Those from REALLOC_GROW to VERIFY need a block. */
#define SHADOW_OPERATIONS(X)                     \
  X(ALLOC, alloc, 1200)                          \
  X(ALLOC_USABLE, alloc_usable, 100)             \
  X(CALLOC, calloc, 400)                         \
  X(REALLOC_NULL, realloc_null, 60)              \
  X(ALIGNED_ALLOC, aligned_alloc, 200)           \
  X(ALLOCX, allocx, 200)                         \
  X(STRDUP, strdup, 100)                         \
  X(ALLOC_AT, alloc_at, 100)                     \
  X(WAVE, wave, 10)                              \
  X(REALLOC_GROW, realloc_grow, 300)             \
  X(REALLOC_SHRINK, realloc_shrink, 200)         \
  X(REALLOCARRAY, reallocarray, 100)             \
  X(ALIGNED_REALLOC, aligned_realloc, 80)        \
  X(REALLOCX, reallocx, 100)                     \
  X(REALLOCX_NO_MOVE, reallocx_no_move, 80)      \
  X(REALLOC_AT, realloc_at, 40)                  \
  X(RESIZE_IN_PLACE, resize_in_place, 100)       \
  X(MOVE, move, 60)                              \
  X(FREE, free, 1700)                            \
  X(FREE_SIZED, free_sized, 300)                 \
  X(FREE_ALIGNED_SIZED, free_aligned_sized, 100) \
  X(FREE_USABLE, free_usable, 60)                \
  X(FREEX, freex, 100)                           \
  X(HEAP_FREE, heap_free, 300)                   \
  X(USABLE_SIZE, usable_size, 100)               \
  X(PTR_INFO, ptr_info, 100)                     \
  X(VERIFY, verify, 200)                         \
  X(EMPTY, empty, 1)                             \
  X(REFUSALS, refusals, 40)                      \
  X(COUNTS, counts, 10)                          \
  X(VISIT, visit, 6)                             \
  X(VISIT_HEAPS, visit_heaps, 10)                \
  X(CHECK, check, 6)                             \
  X(PRINT, print, 2)                             \
  X(PURGE_DUE, purge_due, 20)                    \
  X(COLLECT, collect, 15)                        \
  X(COLLECT_HEAP, collect_heap, 10)              \
  X(IDLE, idle, 10)                              \
  X(EXIT, exit, 10)                              \
  X(SWITCH, switch, 30)                          \
  X(THREAD_END, thread_end, 6)                   \
  X(OPTION, option, 20)                          \
  X(PREFAULT, prefault, 4)                       \
  X(PREWARM, prewarm, 10)                        \
  X(HEAP_CREATE, heap_create, 60)                \
  X(HEAP_DESTROY, heap_destroy, 20)              \
  X(HEAP_RESET, heap_reset, 15)                  \
  X(HEAP_RELEASE, heap_release, 15)              \
  X(HEAP_LIMITS, heap_limits, 40)                \
  X(HEAP_NAMES, heap_names, 30)                  \
  X(HEAP_USE, heap_use, 30)                      \
  X(FORK, fork, 1)

#define SHADOW_ENUM(id, name, weight) SHADOW_##id,
typedef enum shadow_op {
  SHADOW_OPERATIONS(SHADOW_ENUM) SHADOW_OPS
} shadow_op_t;

enum {
  SHADOW_HEAPS_MAX = 12, /* the first of them is the default heap */
  SHADOW_ARENAS = 6,     /* memory for heaps in memory of the caller's */
  SHADOW_HOOKS = 4,      /* page hooks for heaps that have their own */
  SHADOW_THREADS_MAX = 4 /* the one that calls shadow_run is the first */
};

typedef struct shadow_block {
  unsigned char *address; /* NULL: no block in this place */
  size_t size;            /* bytes that carry the pattern */
  size_t usable;
  size_t alignment;
  uint64_t tag;
  uint8_t heap; /* its place */
  bool bounded; /* its memory is of a heap, ended or not, that may have no more */
} shadow_block_t;

typedef struct shadow_heap {
  hak_heap_t *handle; /* NULL: no heap in this place */
  unsigned flags;     /* HAK_HEAP_* */
  int parent;         /* its place; -1: none */
  int arena, hooks;   /* the memory or the page hooks that it has; -1: none */
  size_t hard;        /* its limit; 0: none */
  uint64_t most;      /* that it may be charged now */
  uint64_t inherited; /* bytes of callers' memory that it may have of released heaps */
  size_t blocks, bytes;
  size_t seen; /* live blocks, by what the hook of a watched heap was told */
  bool mixed;  /* it got blocks of a released heap, which the hook never heard of */
  const void *last;
  void *user;
} shadow_heap_t;

typedef struct shadow {
  uint64_t seed;
  test_rng_t rng;
  const uint8_t *input; /* what is drawn from instead, and how much of it is left */
  size_t input_left;
  unsigned flags;
  size_t max_size;  /* of one block */
  size_t max_bytes; /* of all live blocks */
  size_t max_blocks;
  shadow_block_t *blocks; /* by place */
  uint64_t *taken;        /* a bit for each place */
  uint32_t *by_address;   /* places of live blocks, sorted */
  size_t count, bytes;
  uint32_t busy; /* the place of the block that an operation is at; or UINT32_MAX */
  uint64_t next_tag, base_blocks, base_bytes;
  uint64_t beyond; /* bytes of each block that are counted, and not the program's */
  uint64_t operations, refused;
  uint64_t done[SHADOW_OPS];
  shadow_op_t current;
  shadow_heap_t heaps[SHADOW_HEAPS_MAX];
  unsigned char *arena[SHADOW_ARENAS];
  size_t arena_size[SHADOW_ARENAS];
  test_os_t hooks[SHADOW_HOOKS];
  hak_heap_t *stale;                    /* the handle of a heap that has ended; or NULL */
  hak_heap_t *used[SHADOW_THREADS_MAX]; /* the threads' current heaps */
  unsigned thread;                      /* whose turn it is */
  bool thread_ends;                     /* after this operation */
  uint64_t left;                        /* operations of this run */
  struct shadow_crew *crew;
  bool trace;            /* each operation is named on stderr */
  volatile uint64_t *at; /* the number of each operation is written there; or NULL */
} shadow_t;

void shadow_open(shadow_t *shadow, uint64_t seed, unsigned flags, size_t max_blocks);
/* All that is drawn comes from these bytes; a run ends with the last of them. */
void shadow_open_bytes(shadow_t *shadow, const uint8_t *input, size_t size,
                       unsigned flags, size_t max_blocks);
/* The next so many operations, from number shadow->operations on, which may be set
 * between two runs: operations that are left out are not done. */
void shadow_run(shadow_t *shadow, uint64_t operations);
/* Verifies and frees every block. */
void shadow_empty(shadow_t *shadow);
/* shadow_empty, the heaps end, and the map goes. */
void shadow_close(shadow_t *shadow);

/* ---- For shadow_*.c --------------------------------------------------- */

#define SHADOW_CHECK_THAT(shadow, condition)                     \
  CHECK_MSG(condition, "%s, at operation %llu (%s)", #condition, \
            (unsigned long long)(shadow)->operations, shadow_op_name((shadow)->current))

#define SHADOW_DECLARE(id, name, weight) void shadow_step_##name(shadow_t *shadow);
SHADOW_OPERATIONS(SHADOW_DECLARE)

const char *shadow_op_name(shadow_op_t op);
/* A number below `limit`, 0 for limit 0. */
uint64_t shadow_pick(shadow_t *shadow, uint64_t limit);
/* The place of a live block; there must be one. */
uint32_t shadow_pick_block(shadow_t *shadow);
/* The place of a heap: that of the default one half of the time. */
unsigned shadow_pick_heap(shadow_t *shadow);
size_t shadow_pick_size(shadow_t *shadow);
/* Whether an allocation from the heap may find no memory: it has limits, or its memory is
 * the caller's. */
bool shadow_may_refuse(const shadow_t *shadow, unsigned heap);
/* Judges what an allocating call gave; true if there is a block. */
bool shadow_accept(shadow_t *shadow, const void *address, bool may_refuse);

/* Enters a new block of the heap and fills it; the first `size` bytes are its contents.
 */
void shadow_add(shadow_t *shadow, unsigned heap, void *address, size_t size,
                size_t alignment);
/* Takes a block out of the map; its bytes are not looked at. */
shadow_block_t shadow_remove(shadow_t *shadow, uint32_t place);
/* The live block that begins there; NULL if there is none. */
const shadow_block_t *shadow_find(const shadow_t *shadow, const void *address);
void shadow_verify(shadow_t *shadow, const shadow_block_t *block);
void shadow_verify_all(shadow_t *shadow);
/* As before a change from `block` to `size` bytes: what must have been kept. */
void shadow_verify_kept(shadow_t *shadow, const shadow_block_t *block,
                        const void *address, size_t size);

void shadow_heaps_open(shadow_t *shadow);
void shadow_heaps_close(shadow_t *shadow);
/* Whether `heap` is the heap `above`, or below it. */
bool shadow_is_below(const shadow_t *shadow, unsigned heap, unsigned above);

/* One operation, by the thread whose turn it is. */
void shadow_one(shadow_t *shadow);
/* Lets the thread whose turn it is work until that changes; not the first thread. */
void shadow_crew_work(shadow_t *shadow);
void shadow_crew_end(shadow_t *shadow);
/* All other threads go idle, in turn: statistics count what they have exactly then. */
void shadow_others_idle(shadow_t *shadow);

#endif /* HAKMEM_TEST_SHADOW_H */
