/* hakmem.h - the public interface of hakmem, an allocator that programs link
 * and call by name.
 *
 * Rules that hold for every function below unless it says otherwise:
 *
 *  - Thread-safe. Not async-signal-safe, except hak_version() and the
 *    functions that say so.
 *  - Allocation failure gives NULL with errno = ENOMEM, a bad argument NULL
 *    with errno = EINVAL; an old block is untouched. Functions that return
 *    int return 0 or a positive errno value. Success leaves errno alone.
 *  - A size of 0 gives a unique pointer that can be freed. A size over
 *    PTRDIFF_MAX, or a product that overflows, is ENOMEM at once.
 *  - Alignment comes before size. It is a power of two up to HAK_ALIGNMENT_MAX;
 *    0 means the default. The size need not be a multiple of it.
 *  - Blocks of 16 bytes and more are 16-byte aligned; smaller ones to at least
 *    the largest power of two that fits in them.
 *  - hak_free() frees what any function here gave, on any thread.
 *  - Misuse (a double free, a pointer that is not ours or points into a block,
 *    a wrong size in a sized free) is reported to the error handler, which by
 *    default prints one line on stderr and aborts.
 *  - A parameter `heap` takes NULL for the default heap. One that is gone is
 *    misuse where blocks are asked for, and EINVAL elsewhere.
 *
 * Sizes are in bytes. Fast paths cost a handful of instructions and take no
 * lock; what a slow path costs is said at the function.
 */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HAK_VERSION_MAJOR 0
#define HAK_VERSION_MINOR 1
#define HAK_VERSION_PATCH 0
#define HAK_VERSION \
  (HAK_VERSION_MAJOR * 10000 + HAK_VERSION_MINOR * 100 + HAK_VERSION_PATCH)

#define HAK_ALIGNMENT_MAX ((size_t)1 << 30)

#if defined(__GNUC__) || defined(__clang__)
#define HAK_ATTR_ALLOC_SIZE(...) __attribute__((alloc_size(__VA_ARGS__)))
#else
#define HAK_ATTR_ALLOC_SIZE(...)
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hak_heap hak_heap_t;

/* ---- Core ------------------------------------------------------------- */

/* A block of at least `size` bytes, contents undefined. */
void *hak_alloc(size_t size) HAK_ATTR_ALLOC_SIZE(1);

/* A block of count * size bytes, all zero. Pages known to be zero are not
 * written again. */
void *hak_calloc(size_t count, size_t size) HAK_ATTR_ALLOC_SIZE(1, 2);

/* Changes a block's size; contents are kept up to the smaller of both sizes.
 * In place where the block or what lies behind it allows; a large block moves
 * by remapping its pages. NULL as `ptr` allocates. Size 0 acts as size 1 and
 * never frees. On failure the old block is untouched. */
void *hak_realloc(void *ptr, size_t size) HAK_ATTR_ALLOC_SIZE(2);
void *hak_reallocarray(void *ptr, size_t count, size_t size) HAK_ATTR_ALLOC_SIZE(2, 3);

/* Gives a block back. NULL is fine. Leaves errno alone. */
void hak_free(void *ptr);

/* A block whose address is a multiple of `alignment`. EINVAL for an alignment
 * that is not 0 or a power of two, or is over HAK_ALIGNMENT_MAX. */
void *hak_aligned_alloc(size_t alignment, size_t size) HAK_ATTR_ALLOC_SIZE(2);
void *hak_aligned_realloc(void *ptr, size_t alignment, size_t size)
    HAK_ATTR_ALLOC_SIZE(3);

/* hak_free() for callers that know the size they asked for; any value up to
 * hak_usable_size() is right, another is misuse. */
void hak_free_sized(void *ptr, size_t size);
void hak_free_aligned_sized(void *ptr, size_t alignment, size_t size);

/* Bytes that may be read and written at `ptr`; 0 for NULL. At least what was
 * asked for. */
size_t hak_usable_size(const void *ptr);

/* The usable size that an allocation of `size` would have; 0 where it would
 * fail for its size alone. */
size_t hak_good_size(size_t size);

/* Grows or shrinks a block without moving it: to `want_size` if possible, to
 * at least `min_size` otherwise. The new usable size, or 0 and nothing
 * changed. */
size_t hak_resize_in_place(void *ptr, size_t min_size, size_t want_size);

/* Copies of strings; `n` bytes at most in the second, which always ends in a
 * zero byte. */
char *hak_strdup(const char *s);
char *hak_strndup(const char *s, size_t n);

/* ---- Extended --------------------------------------------------------- */

#define HAK_ZERO 0x01u /* zero, up to the usable size */
#define HAK_NO_GROW                                                                      \
  0x02u                   /* NULL rather than a call to the operating system, on any way \
                             through the call; only its clock may be read */
#define HAK_NO_MOVE 0x04u /* hak_reallocx only: NULL rather than another address */

/* One static record per place in the program that allocates. The words after
 * `name` are the library's; they start as zero. */
typedef struct hak_site {
  const char *file;
  uint32_t line;
  const char *name; /* may be NULL */
  uintptr_t reserved[4];
} hak_site_t;

/* Declares a record with a name of its own: HAK_SITE(particles); */
#define HAK_SITE(site_name) \
  static hak_site_t site_name = {__FILE__, (uint32_t)__LINE__, #site_name, {0, 0, 0, 0}}

/* An expression that yields this place's record. gcc and clang, C and C++. */
#if defined(__GNUC__) || defined(__clang__)
#ifdef __cplusplus
#define HAK_CALLSITE()                                     \
  ([]() -> hak_site_t * {                                  \
    static hak_site_t hak_site_here = {                    \
        __FILE__, (uint32_t)__LINE__, NULL, {0, 0, 0, 0}}; \
    return &hak_site_here;                                 \
  }())
#else
#define HAK_CALLSITE()                                     \
  (__extension__({                                         \
    static hak_site_t hak_site_here = {                    \
        __FILE__, (uint32_t)__LINE__, NULL, {0, 0, 0, 0}}; \
    &hak_site_here;                                        \
  }))
#endif
#endif

/* All that an allocation can ask for in one call. `heap` NULL is the default
 * heap, `alignment` 0 the default, `site` may be NULL. EINVAL for unknown
 * flags. */
void *hak_allocx(hak_heap_t *heap, size_t size, size_t alignment, unsigned flags,
                 hak_site_t *site) HAK_ATTR_ALLOC_SIZE(2);
void *hak_reallocx(hak_heap_t *heap, void *ptr, size_t size, size_t alignment,
                   unsigned flags, hak_site_t *site) HAK_ATTR_ALLOC_SIZE(3);

/* hak_alloc() that names its place: hak_alloc_at(n, HAK_CALLSITE()). The
 * record counts its allocations. */
void *hak_alloc_at(size_t size, hak_site_t *site) HAK_ATTR_ALLOC_SIZE(1);

/* Allocations counted by a record so far. */
uint64_t hak_site_count(const hak_site_t *site);

/* ---- Heaps ------------------------------------------------------------ */

/* A heap is memory that goes away in one call. Any thread allocates from any heap
 * and frees any block with hak_free(). Heaps can be made without an end. A handle is no
 * address, and its lowest bits may be set. Once its heap is gone it is stale: it is told
 * from the handles of later heaps, and comes again after 2^27 of them at the soonest
 * (earlier only where the system has no memory for a record of 17 KiB).
 *
 * Cost: an empty heap takes at most 8 KiB of memory, one with a single small block
 * at most 72 KiB (and 2 MiB of address space). Up to 1,024 heaps at once have fast
 * paths like the default heap's; more take a longer one without locks, and fast ones
 * pass to the busy heaps of a thread. */

/* One thread at a time uses the heap, in an order that the program sees to (a lock, a
 * queue, a scheduler of fibers): hak_heap_alloc and hak_heap_free then take a path of
 * their own, without atomic instructions and thread-local storage. That holds for all
 * that allocates from the heap, frees or resizes its blocks, for hak_free too, and for
 * functions that are given the heap; not for hak_stats_get, hak_heap_of, hak_ptr_info,
 * hak_collect(NULL) and what other threads do elsewhere. */
#define HAK_HEAP_SERIAL 0x01u

struct hak_os;

/* Called by the thread that meets a limit of `heap`, with no lock held; `level` says
 * which limit. `needed` is what was asked for, or at a soft limit how much too much is
 * in use. May do anything but end heaps that the request is for; inside, an allocation
 * from the heap or one below it gives NULL. Nonzero: something was freed, try again.
 * Several threads may be in it at once. */
#define HAK_PRESSURE_SOFT 1
#define HAK_PRESSURE_HARD 2
typedef int(hak_pressure_fn)(hak_heap_t *heap, size_t needed, int level, void *ctx);

/* Free memory of the heap stays committed, and the heap's, until it is destroyed,
 * whatever the clock and hak_collect say; blocks over 1 MiB excepted. */
#define HAK_HEAP_NO_PURGE 0x02u

/* hak_heap_destroy reports what is still live, as HAK_ERROR_LEAK: how many blocks, once
 * for each size, large blocks and those in little memory of the caller's together. Costs
 * a look at the heap's slabs; a heap without it costs nothing. */
#define HAK_HEAP_REPORT_LEAKS 0x04u

#define HAK_HUGE_DEFAULT 0 /* as HAK_OPTION_HUGE_PAGES says */
#define HAK_HUGE_NEVER 1   /* never asked for */
#define HAK_HUGE_ALWAYS 2  /* asked for from the first block on */

typedef struct hak_heap_config {
  uint32_t struct_size;
  uint32_t flags;                /* HAK_HEAP_* */
  const char *name;              /* copied, 31 characters; NULL = none */
  hak_heap_t *parent;            /* the heap that this one is part of; NULL = of none */
  size_t soft_limit, hard_limit; /* bytes that it may be charged; 0 = none */
  size_t reserve; /* bytes of address space that the heap has from the start, for slabs */
  size_t prefault;              /* bytes made ready at once, as by hak_heap_prefault */
  void *memory;                 /* the caller's, see below; NULL = none */
  size_t memory_size;           /* of it, in bytes */
  const struct hak_os *os;      /* copied; hooks of its own, see below; NULL = none */
  int32_t huge_pages, reserved; /* HAK_HUGE_*, by madvise only; 0 */
  hak_pressure_fn *on_pressure; /* NULL = nobody is asked */
  void *ctx;                    /* passed to it */
} hak_heap_config_t;

/* With `memory`, from 256 KiB at any address: the heap's blocks lie in that memory and
 * nowhere else, and it gives NULL once it is full; after hak_heap_create it asks the
 * operating system for nothing (a thread's first use of large memory may: its own state
 * is the thread's). Memory with less than four whole aligned units of 2 MiB serves
 * wholly, what is known of its blocks included, and each call costs a lock and a fixed
 * number of steps. With more, so from 8 MiB if aligned and from 10 MiB at any address,
 * the units serve, and calls cost what those of other heaps cost; the library's records
 * of it take 2.2 KiB for each unit. The memory is the heap's until hak_heap_destroy
 * (after hak_heap_release: until the last block is freed and, with whole units, the
 * threads that used the heap have ended, gone idle or collected), then its owner's
 * again. Nobody is charged for it; `reserve`, `prefault` and HAK_HEAP_NO_PURGE change
 * nothing; limits are EINVAL, as is memory of hakmem's own or of another heap.
 *
 * With `os` the heap's blocks come from these hooks and no others, and all goes back to
 * them when it is destroyed, or at hak_shutdown; nothing is kept for other heaps. The
 * library's records of it come from the process's hooks, and so does the time. Not
 * together with `memory`: EINVAL. */

/* NULL config = defaults. NULL: ENOMEM, or EINVAL for a bad config. At most 65,535
 * heaps at once. */
hak_heap_t *hak_heap_create(const hak_heap_config_t *config);

/* Every block goes, and the heap. Costs O(SuperSlabs + threads), however many blocks
 * there are. Nobody may allocate from the heap or free its blocks meanwhile or use a
 * block after: a late free is diagnosed. Threads that end, go idle or collect at this
 * moment do no harm; one that is inside a hook of the heap's own is waited for. Such
 * hooks are not called after it has returned: a range that they refuse to release in
 * eight tries is given up, and told by unreleased_bytes. EBUSY while heaps made with this
 * one as parent are live, EINVAL for the default heap or no heap. */
int hak_heap_destroy(hak_heap_t *heap);

/* The handle goes, the blocks live on as the parent's (the default heap's, if there
 * is none), and go with it. Memory is given back as blocks are freed, at the latest
 * when threads that cached some end, go idle or collect. Others may free its blocks
 * meanwhile, but not allocate. EBUSY, EINVAL as above. */
int hak_heap_release(hak_heap_t *heap);

/* Every block goes; the heap stays, and its SuperSlabs with their pages, for the next
 * level, frame or request. Costs and rules as those of hak_heap_destroy. */
int hak_heap_reset(hak_heap_t *heap);

/* What a heap is charged: its memory by whole slabs, runs and mappings, used or not,
 * and its records, with all that the heaps below it are charged. A hard limit is never
 * exceeded by a byte. A request that meets one empties this thread's caches, gives
 * free slabs back to the OS, then calls on_pressure, three times at most, of the heap
 * whose limit it is, and then fails. Crossing a soft limit gives free slabs back and
 * calls on_pressure once; it counts again when the charge has been a sixteenth of the
 * limit below it. Of a heap with a hard limit in its way up every other thread caches
 * at most limit / (16 x threads that use it); see docs/BUDGETS.md.
 *
 * Sets the limits in bytes, 0 = none. Less than is in use is legal: growth fails until
 * enough was freed. Requests under way may still go by the old limits. EINVAL if soft
 * > hard > 0, or for no heap. */
int hak_heap_set_limits(hak_heap_t *heap, size_t soft, size_t hard);

/* The heap that the functions without a heap parameter use. Never NULL. */
hak_heap_t *hak_heap_default(void);

/* The heap that a block belongs to; NULL where `ptr` is not ours. Takes no
 * lock; usable in a crash handler. */
hak_heap_t *hak_heap_of(const void *ptr);

/* The name given at hak_heap_create, "" if none, "default". Valid as long as the
 * heap; NULL for no heap. */
const char *hak_heap_name(hak_heap_t *heap);

/* As the functions without a heap. hak_heap_realloc uses `heap` only where `ptr` is
 * NULL: a block stays in its heap for life. */
void *hak_heap_alloc(hak_heap_t *heap, size_t size) HAK_ATTR_ALLOC_SIZE(2);
void *hak_heap_calloc(hak_heap_t *heap, size_t count, size_t size)
    HAK_ATTR_ALLOC_SIZE(2, 3);
void *hak_heap_realloc(hak_heap_t *heap, void *ptr, size_t size) HAK_ATTR_ALLOC_SIZE(3);
void *hak_heap_aligned_alloc(hak_heap_t *heap, size_t alignment, size_t size)
    HAK_ATTR_ALLOC_SIZE(3);

/* Commits `bytes` bytes of free memory for blocks up to 1 MiB and touches its pages:
 * blocks that fit into it cost no call to the operating system and no page fault. Of
 * the heap's committed memory, what is in use now and as much again stays committed
 * until hak_heap_prefault(heap, 0) or the heap's end. 0, EINVAL for no heap, or ENOMEM:
 * part of it may be ready. Costs the page faults. */
int hak_heap_prefault(hak_heap_t *heap, size_t bytes);

/* Makes `count` blocks of `size` bytes ready, of any size, with all that belongs to
 * them: if nothing else comes between, this thread's next `count` allocations of that
 * size cost no call to the operating system and no page fault. Blocks to 32 KiB become
 * this thread's; larger ones are free memory like any other, which the purge of idle
 * memory may take (not in a heap with HAK_HEAP_NO_PURGE, nor where purging is manual).
 * How many are ready: fewer than `count`, with errno = ENOMEM, if memory is short or
 * free blocks of the size are not kept (over HAKMEM_HUGE_RETAIN_BYTES); 0 with EINVAL
 * for no heap. Costs the page faults, and the carving. */
size_t hak_heap_prewarm(hak_heap_t *heap, size_t size, size_t count);

/* hak_free() for a block that is to be of this heap; another heap's is misuse. The
 * fastest way to free blocks of a serial heap. */
void hak_heap_free(hak_heap_t *heap, void *ptr);

/* ---- Operating system hooks ------------------------------------------- */

/* Where memory comes from. Each function may fail at any call: the allocator
 * then gives NULL with its state intact, and works again once the hook does.
 * None is ever called with a lock of the allocator's held. Sizes and addresses
 * are multiples of page_size. */
typedef struct hak_os {
  uint32_t struct_size;
  uint32_t flags;     /* 0 */
  size_t page_size;   /* 4 KiB to 64 KiB, a power of two */
  size_t granularity; /* addresses of reserve are multiples of this */
  void *ctx;          /* passed to each function */
  /* Address space of `size` bytes at a multiple of `alignment` (at least
   * 64 KiB), not yet to be touched; NULL on failure. Below 2^47 (x86-64; else 2^48): what
   * blocks cannot lie in is released again, and the request fails. */
  void *(*reserve)(void *ctx, size_t size, size_t alignment);
  /* Gives back a whole range that reserve or remap gave. 0 or an errno: the range is
   * tried again later. */
  int (*release)(void *ctx, void *ptr, size_t size);
  /* Makes pages readable and writable; sets *zeroed if they all read as zero.
   * Called only for pages that are reserved or purged; in the child of a fork also
   * for pages, and purge for such, that a thread of the parent was at. */
  int (*commit)(void *ctx, void *ptr, size_t size, bool *zeroed);
  /* Gives the pages back but keeps the addresses; they are not touched again
   * before the next commit. */
  int (*purge)(void *ctx, void *ptr, size_t size);
  /* Makes a whole committed range larger or smaller, moving its pages to
   * another address if it must: a multiple of 2 MiB below 2^47 (x86-64; else 2^48), as
   * blocks may be nowhere else. From elsewhere the range is moved back by another call,
   * or copied; if neither can be done, its block is lost, HAK_ERROR_BAD_STATE says so,
   * and hak_realloc gives NULL. NULL leaves the old range as it was. May be NULL. */
  void *(*remap)(void *ctx, void *ptr, size_t old_size, size_t new_size);
  /* A clock that never goes back, in nanoseconds. */
  uint64_t (*now_ns)(void *ctx);
} hak_os_t;

/* The hooks of the operating system that the library was built for. */
const hak_os_t *hak_os_default(void);

/* ---- Lifecycle and threads -------------------------------------------- */

/* What was wrong, in a report to the error handler. The texts of
 * hak_error_text() are stable. */
typedef enum hak_error {
  HAK_ERROR_DOUBLE_FREE = 1,  /* the block is free already */
  HAK_ERROR_FOREIGN_POINTER,  /* the address is in no block of ours */
  HAK_ERROR_INTERIOR_POINTER, /* the address is inside a block, not its start */
  HAK_ERROR_WRONG_SIZE,       /* the size given to a sized free does not fit */
  HAK_ERROR_WRONG_ALIGNMENT,  /* the alignment given to a sized free does not fit */
  HAK_ERROR_CORRUPT_BLOCK,    /* a freed block was written to, or freed twice */
  HAK_ERROR_AFTER_SHUTDOWN,   /* a free after hak_shutdown */
  HAK_ERROR_BAD_OPTION,       /* an option or environment value was ignored; not fatal */
  HAK_ERROR_BAD_STATE,  /* hak_check found a broken invariant, or hooks lost a block */
  HAK_ERROR_STALE_HEAP, /* the heap was destroyed or released */
  HAK_ERROR_WRONG_HEAP, /* the block is not of the heap given */
  HAK_ERROR_LEAK        /* blocks were live as their heap ended; not fatal */
} hak_error_t;

typedef struct hak_error_info {
  uint32_t struct_size;
  hak_error_t error;
  const void *address;  /* the pointer in question; NULL where there is none */
  hak_heap_t *heap;     /* its heap; NULL where unknown */
  const char *function; /* the public function that found it, such as "hak_free" */
  const char *text;     /* one line that says what was wrong */
} hak_error_info_t;

/* Called for each misuse, with no lock held. If it returns, the call that
 * found the misuse is dropped: a free does nothing, an allocation goes on
 * without the block in question. It may not allocate from hakmem. */
typedef void(hak_error_fn)(const hak_error_info_t *info, void *ctx);

/* NULL restores the default: one line on stderr, then abort() for all but
 * HAK_ERROR_BAD_OPTION and HAK_ERROR_LEAK. */
void hak_set_error_handler(hak_error_fn *fn, void *ctx);

/* A handler that ignores every report; must be chosen knowingly. */
void hak_error_ignore(const hak_error_info_t *info, void *ctx);

/* The stable short name of an error, such as "double free". */
const char *hak_error_text(hak_error_t error);

#define HAK_INIT_NO_ENV 0x01u  /* do not read HAKMEM_* environment variables */
#define HAK_INIT_NO_FORK 0x02u /* do not register the fork handlers */

typedef struct hak_config {
  uint32_t struct_size;
  uint32_t flags;     /* HAK_INIT_* */
  const hak_os_t *os; /* copied; NULL = hak_os_default() */
} hak_config_t;

/* Optional, before first use: the first allocation initialises by itself.
 * EALREADY once initialised, EINVAL for a bad config, ENOMEM. */
int hak_init(const hak_config_t *config);

#define HAK_SHUTDOWN_FORCE 0x01u

/* Gives every mapping back. EBUSY while other threads are attached, or in a call that
 * takes longer than about 20 ms, unless forced: then they must not use hakmem at this
 * moment, and attach anew at their next call. Blocks are gone; freeing one is diagnosed
 * until hak_init or the next allocation starts the library afresh. So are heaps; to ask
 * one for blocks after is not diagnosed. EINVAL if not initialised. */
int hak_shutdown(unsigned flags);

/* Attach this thread, or detach it and make all that it cached everybody's.
 * Both are optional: the first allocation attaches, the end of the thread
 * detaches. hak_thread_init: 0 or ENOMEM. */
int hak_thread_init(void);
void hak_thread_exit(void);

/* Before a thread blocks for long: its caches become everybody's. The next
 * call wakes it. Costs as much as freeing what it cached. */
void hak_thread_idle(void);

#define HAK_COLLECT_ALL 0x01u /* as much as there is, however long it takes */

/* Gives free memory back to the operating system, `max_bytes` at most but for the rest
 * of a slab (64 KiB). Looks at a bounded number of slabs (HAK_OPTION_COLLECT_SLABS), with
 * which blocks that this thread has cached are counted too, so that it fits into a frame;
 * the next call goes on where this one stopped. Reaches what idle and ended threads left.
 * `heap` NULL: of all heaps; else of that heap, and what is free and nobody's. Returns
 * the bytes given back; with HAK_COLLECT_ALL nothing is left to give. 0 with EINVAL for
 * no heap or unknown flags. */
size_t hak_collect(hak_heap_t *heap, size_t max_bytes, unsigned flags);

typedef enum hak_option {
#define HAK_OPTION(id, env, def, min, max, doc) HAK_OPTION_##id,
#include <hakmem/options.def>
#undef HAK_OPTION
  HAK_OPTION_COUNT,
  /* former names, for one version; in the environment too */
  HAK_OPTION_ARENA_BYTES = HAK_OPTION_REGION_BYTES,
  HAK_OPTION_ARENA_BYTES_MAX = HAK_OPTION_REGION_BYTES_MAX,
  HAK_OPTION_TICK_REFILLS = HAK_OPTION_TRIM_REFILLS,
  HAK_OPTION_TRANSFER_SLOTS = HAK_OPTION_TRANSFER_MAGAZINES
} hak_option_t;

/* Options are numbers that slow paths read; each can be set at any time and
 * acts from then on. EINVAL for an unknown option, ERANGE for a value out of
 * range: nothing is changed. hak_option_get: 0 for an unknown option. */
int hak_option_set(hak_option_t option, int64_t value);
int64_t hak_option_get(hak_option_t option);

/* The name, range and meaning of an option; ENOENT for an unknown one. */
typedef struct hak_option_info {
  uint32_t struct_size;
  const char *name; /* as in the environment, without HAKMEM_ */
  int64_t value, default_value, min, max;
  const char *doc;
} hak_option_info_t;
int hak_option_describe(hak_option_t option, hak_option_info_t *out);

/* For programs that fork by other means than fork(), or that started with
 * HAK_INIT_NO_FORK: call before, and after in parent and child. The child goes on with
 * its one thread: what other threads cached is everybody's, what they were in the
 * midst of is counted (fork_lost_bytes), heaps that they were ending are ended. */
void hak_fork_prepare(void);
void hak_fork_parent(void);
void hak_fork_child(void);

/* HAK_VERSION of the library that is linked. Async-signal-safe. */
uint32_t hak_version(void);

/* ---- Statistics and introspection ------------------------------------- */

/* Byte and block counts are derived from the slabs, so they cannot drift:
 * exact when no other thread is inside hakmem, else within what threads have
 * cached (about 1 MiB each at most). Event counts cover threads that have
 * ended, and living ones up to their last slow path. */
typedef struct hak_stats {
  uint32_t struct_size, reserved;
  /* bytes */
  uint64_t live_bytes;      /* in blocks that the program holds, by usable size */
  uint64_t live_blocks;     /* blocks that the program holds */
  uint64_t cached_bytes;    /* free, in bins, magazines and transfer slots */
  uint64_t free_bytes;      /* free, in slabs in use */
  uint64_t committed_bytes; /* committed in all, metadata included */
  uint64_t retained_bytes;  /* committed in slabs that nobody uses */
  uint64_t metadata_bytes;  /* committed for the library's own records */
  uint64_t reserved_bytes;  /* address space */
  uint64_t peak_committed_bytes;
  uint64_t large_blocks, large_bytes; /* part of the live ones beyond 56 KiB */
  uint64_t superslabs;                /* 2 MiB units in use by the heap */
  uint64_t slabs_active, slabs_empty, slabs_purged, slabs_unused;
  uint64_t threads; /* attached now */
  /* refills of a bin, by the stage that served it */
  uint64_t refill_spare, refill_magazine, refill_transfer, refill_partial;
  uint64_t refill_shelf, refill_carve, refill_slab;
  /* blocks that went home in slow paths, by way */
  uint64_t free_local;   /* to slabs that the freeing thread holds */
  uint64_t free_remote;  /* pushed onto the word of a slab held by another */
  uint64_t free_shelved; /* to slabs on a shelf */
  uint64_t free_batched; /* handed over in magazines */
  /* why fast paths were left */
  uint64_t slow_alloc, slow_free, slow_event;
  uint64_t slab_claims, slab_let_go, slab_shelved, slab_fresh, slab_retired;
  uint64_t entry_writes;   /* registry entries written */
  uint64_t shelf_visits;   /* times a shelf's lock was taken */
  uint64_t lock_contended; /* lock acquisitions that had to wait */
  uint64_t thread_attaches, thread_exits;
  /* calls to the hooks, by kind */
  uint64_t os_reserve, os_release, os_commit, os_purge, os_remap, os_advise;
  uint64_t os_failures;
  uint64_t purged_bytes;
  /* In the child of a fork: what threads that are not there had cached in the midst of
   * a slow path, or were releasing, at most; it stays out of use. See docs/FORK.md. */
  uint64_t fork_lost_bytes;
  /* of a heap with limits (0 = none), and how many requests its hard one refused */
  uint64_t soft_limit, hard_limit, budget_refused;
  /* Address space that is to go back but that the hooks refused to release, or that may
   * not go yet; it is no part of reserved_bytes. Tried again by later releases,
   * hak_collect and at the end of the hooks; what they refuse even then stays in here. */
  uint64_t unreleased_bytes;
} hak_stats_t;

/* Set out->struct_size first. `heap` NULL = the whole process; else the figures of
 * the heap and those below it, where what is not counted by heap (threads, events,
 * calls to the hooks, the peak, metadata, states of free slabs) is 0, and
 * committed_bytes is what the heap is charged. Takes no lock;
 * usable in a crash handler. Cost grows with the number of SuperSlabs. EINVAL. */
int hak_stats_get(hak_heap_t *heap, hak_stats_t *out);

#define HAK_FORMAT_TEXT 0
#define HAK_FORMAT_JSON 1

/* Receives pieces of text, in order; not zero-terminated. */
typedef void(hak_write_fn)(const char *text, size_t length, void *ctx);

/* Statistics as text or JSON. Allocates nothing. `write` NULL = stderr. */
int hak_stats_print(hak_heap_t *heap, int format, hak_write_fn *write, void *ctx);

typedef struct hak_block {
  uint32_t struct_size;
  bool is_start; /* the address asked about is the block's first byte */
  void *address; /* the block's start */
  size_t size;   /* usable */
  hak_heap_t *heap;
} hak_block_t;

/* The block that an address lies in, interior addresses too. Set
 * out->struct_size first. ENOENT if it is in no block of ours. Does not say
 * whether the block is in use. Takes no lock; usable in a crash handler. */
int hak_ptr_info(const void *ptr, hak_block_t *out);

/* Called for each block in use; return false to stop. */
typedef bool(hak_visit_fn)(const hak_block_t *block, void *ctx);

/* Visits every block of the heap (NULL: the default heap) that the program holds, not
 * those of heaps below it. The heap must be quiet: no other thread allocates from it or
 * frees into it meanwhile. Threads that used it before may be at work on other heaps, end
 * or go idle, and keep what they have cached. What they cached of the heap is noted in
 * memory reserved for the length of the call: ENOMEM if it is short. The visitor may not
 * call hakmem, and is called with no lock held. EINVAL. Costs a look at each SuperSlab of
 * the process and at each block of the heap. */
int hak_heap_visit(hak_heap_t *heap, hak_visit_fn *visit, void *ctx, unsigned flags);

/* 1 if moving the block elsewhere would let memory go (its slab is mostly
 * free), else 0. Never reads the block. For active defragmentation. */
int hak_move_hint(const void *ptr);

typedef bool(hak_heap_visit_fn)(hak_heap_t *heap, void *ctx);
int hak_visit_heaps(hak_heap_visit_fn *visit, void *ctx);

/* Walks all invariants; 0, or EFAULT after reports to the error handler.
 * Other threads may go on; what they change meanwhile is not judged. */
int hak_check(hak_heap_t *heap);

/* Slow-path events, for profilers. Called with no lock held; it may not call
 * hakmem. */
typedef enum hak_event {
  HAK_EVENT_REFILL = 1,        /* size: class */
  HAK_EVENT_SUPERSLAB_NEW,     /* address, size */
  HAK_EVENT_SUPERSLAB_RELEASE, /* address, size */
  HAK_EVENT_PURGE,             /* address, size */
  HAK_EVENT_BUDGET_REFUSED,    /* size: a request failed at a hard limit */
  HAK_EVENT_LARGE_ALLOC,       /* address, size */
  HAK_EVENT_LARGE_FREE         /* address, size */
} hak_event_t;
typedef void(hak_event_fn)(hak_event_t event, const void *address, size_t size,
                           void *ctx);

/* NULL unsets it; unset it costs a load per slow path. */
void hak_set_event_hook(hak_event_fn *fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif /* HAKMEM_H */
