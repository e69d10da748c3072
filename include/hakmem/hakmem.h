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
 *    default prints one line on stderr and aborts. Unless the library was built with
 *    HAKMEM_CHECKS=full a double free of a block to 1 MiB is reported by a later call,
 *    when the block goes home or is to serve again: docs/BUILDING.md has what is found
 *    when.
 *  - A function of the program's that the library calls (a hook, a handler, a callback, a
 *    visitor) comes back: the thread does not end in it, nor does an exception or longjmp
 *    lead out of it. An error handler alone may leave by longjmp. Nor is the library
 *    shut down in it: where it can tell, hak_shutdown(0) gives EBUSY.
 *  - A parameter `heap` takes NULL for the default heap. To ask a heap that was
 *    destroyed or released for a block is misuse; other functions return EINVAL
 *    for such a heap.
 *
 * Sizes are in bytes. Fast paths cost a handful of instructions and take no
 * lock; what a slow path costs is said at the function.
 */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A new major version may break what programs rely on; before 1.0, a new minor one. */
#define HAK_VERSION_MAJOR 0
/* A new minor version adds to the interface. */
#define HAK_VERSION_MINOR 1
/* A new patch changes nothing of the interface. */
#define HAK_VERSION_PATCH 0
/* The version as one number, 10203 for 1.2.3; hak_version() is that of the library. */
#define HAK_VERSION \
  (HAK_VERSION_MAJOR * 10000 + HAK_VERSION_MINOR * 100 + HAK_VERSION_PATCH)

/* The largest alignment that can be asked for: 1 GiB. */
#define HAK_ALIGNMENT_MAX (sizeof(char) << 30)

/* What compilers and analyzers (gcc -fanalyzer, clang --analyze) are told, so that they
 * see leaks, double frees, blocks that free() is given, results that are dropped, and
 * accesses past a block's end. A program that breaks the rules on purpose, to test, or
 * that uses blocks up to hak_usable_size(), defines HAK_NO_ATTRIBUTES before. The names
 * have underscores because a program may have macros malloc(), free() and the like. */
#if !defined(__GNUC__) || defined(HAK_NO_ATTRIBUTES)
#define HAK_ATTR_ALLOC_SIZE(...)
#define HAK_ATTR_ALIGN(argument)
#define HAK_ATTR_RESULT
#define HAK_ATTR_NEW
#define HAK_ATTR_FREES(argument)
#define HAK_ATTR_NOT_NULL
#else
/* Parameters that are, or are multiplied to, the size of the block returned. */
#define HAK_ATTR_ALLOC_SIZE(...) __attribute__((__alloc_size__(__VA_ARGS__)))
/* The result is needed: a block that nobody knows is lost. */
#define HAK_ATTR_RESULT __attribute__((__warn_unused_result__))
#define HAK_ATTR_NOT_NULL __attribute__((__returns_nonnull__))
#if defined(__clang__)
/* An alignment of 0, which clang does not know, is allowed. */
#define HAK_ATTR_ALIGN(argument)
/* A new block that has to be freed, as no heap's end will. */
#define HAK_ATTR_NEW \
  HAK_ATTR_RESULT __attribute__((__malloc__)) __attribute__((ownership_returns(malloc)))
#define HAK_ATTR_FREES(argument) __attribute__((ownership_takes(malloc, argument)))
#else
#define HAK_ATTR_ALIGN(argument) __attribute__((__alloc_align__(argument)))
#define HAK_ATTR_FREES(argument)
#if __GNUC__ >= 11
#define HAK_ATTR_NEW                                                                   \
  HAK_ATTR_RESULT                                                                      \
  __attribute__((__malloc__, __malloc__(hak_free, 1), __malloc__(hak_freex, 1),        \
                 __malloc__(hak_free_sized, 1), __malloc__(hak_free_aligned_sized, 1), \
                 __malloc__(hak_free_usable, 1), __malloc__(hak_heap_free, 2)))
#else
#define HAK_ATTR_NEW HAK_ATTR_RESULT __attribute__((__malloc__))
#endif
#endif
#endif

/* What a record that begins with struct_size is set to before it is filled in, or given
 * to the library to be filled: its size, and zero for all else. The records have macros
 * of their own, such as
 *
 *     hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
 */
#ifdef __cplusplus
#define HAK_STRUCT_INIT(type)                                     \
  ([]() -> type {                                                 \
    type hak_record = type();                                     \
    hak_record.struct_size = static_cast<uint32_t>(sizeof(type)); \
    return hak_record;                                            \
  }())
#else
#define HAK_STRUCT_INIT(type) \
  { .struct_size = (uint32_t)sizeof(type) }
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A heap's handle; NULL stands for the default heap. */
typedef struct hak_heap hak_heap_t;

/* ---- Giving blocks back ------------------------------------------------ */

/* Gives a block back, whichever function here gave it and whatever its heap. NULL is
 * fine. Leaves errno alone. */
void hak_free(void *ptr) HAK_ATTR_FREES(1);

/* hak_free() for callers that know the size they asked for. Any size up to
 * hak_usable_size() is accepted; a larger one is misuse. */
void hak_free_sized(void *ptr, size_t size) HAK_ATTR_FREES(1);

/* hak_free_sized() for callers that know the alignment too; the address has to be a
 * multiple of it. */
void hak_free_aligned_sized(void *ptr, size_t alignment, size_t size) HAK_ATTR_FREES(1);

/* hak_free(), and returns what hak_usable_size() said of the block; 0 for NULL. */
size_t hak_free_usable(void *ptr) HAK_ATTR_FREES(1);

/* hak_free() with flags: HAK_NO_CACHE. 0; EINVAL for unknown flags, and then nothing is
 * freed. */
int hak_freex(void *ptr, unsigned flags) HAK_ATTR_FREES(1);

/* hak_free() for a block of this heap; a block of another heap is misuse. This is the
 * fastest way to free blocks of a serial heap. */
void hak_heap_free(hak_heap_t *heap, void *ptr) HAK_ATTR_FREES(2);

/* ---- Core ------------------------------------------------------------- */

/* A block of at least `size` bytes, contents undefined. */
void *hak_alloc(size_t size) HAK_ATTR_ALLOC_SIZE(1) HAK_ATTR_NEW;

/* A block of count * size bytes, all zero. Pages known to be zero are not
 * written again. */
void *hak_calloc(size_t count, size_t size) HAK_ATTR_ALLOC_SIZE(1, 2) HAK_ATTR_NEW;

/* Changes a block's size; contents are kept up to the smaller of both sizes.
 * The block stays where it is if it is large enough or has free memory behind
 * it; a block over 1 MiB is copied the first time that it has to move in order to
 * grow, and moves by remapping its pages from then on. NULL as `ptr` allocates. Size
 * 0 acts as size 1 and never frees. On failure the old block is untouched; to make
 * a block smaller never fails. */
void *hak_realloc(void *ptr, size_t size) HAK_ATTR_ALLOC_SIZE(2) HAK_ATTR_RESULT;
/* hak_realloc() to count * size bytes; ENOMEM if the product overflows. */
void *hak_reallocarray(void *ptr, size_t count, size_t size)
    HAK_ATTR_ALLOC_SIZE(2, 3) HAK_ATTR_RESULT;

/* A block whose address is a multiple of `alignment`. EINVAL for an alignment
 * that is not 0 or a power of two, or is over HAK_ALIGNMENT_MAX. */
void *hak_aligned_alloc(size_t alignment, size_t size) HAK_ATTR_ALLOC_SIZE(2) HAK_ATTR_NEW
    HAK_ATTR_ALIGN(1);
/* hak_realloc() of a block whose address is, and stays, a multiple of `alignment`. */
void *hak_aligned_realloc(void *ptr, size_t alignment, size_t size)
    HAK_ATTR_ALLOC_SIZE(3) HAK_ATTR_RESULT HAK_ATTR_ALIGN(2);

/* Bytes that may be read and written at `ptr`; 0 for NULL. At least what was
 * asked for.
 *
 * Compilers that check accesses (_FORTIFY_SOURCE, -fsanitize=object-size) take a block to
 * end where the call that gave it was asked to, and end programs that go on from there. A
 * program that does has its blocks by hak_alloc_usable, grows them by hak_reallocx with
 * HAK_NO_MOVE, whose result is the larger block, or defines HAK_NO_ATTRIBUTES. */
size_t hak_usable_size(const void *ptr);

/* hak_alloc(), and in *usable what hak_usable_size() says of the block; 0 with NULL.
 * Compilers are not told where the block ends. */
void *hak_alloc_usable(size_t size, size_t *usable) HAK_ATTR_NEW;

/* The usable size that hak_alloc(size) would give; 0 if no block can be that large.
 * Blocks over 32 KiB that are to be zero, and those aligned to more than 64 KiB, may have
 * less, though never less than `size`. `size` itself where blocks may be guarded
 * (HAK_OPTION_GUARD_SAMPLE) or are malloc's (HAK_OPTION_BACKEND), as those have no
 * more; and, before the library has started, where the environment has any option. */
size_t hak_good_size(size_t size);

/* Grows or shrinks a block without moving it: to `want_size` if possible, to
 * at least `min_size` otherwise. Returns the new usable size, or 0 if nothing
 * was changed; see hak_usable_size for compilers that go by the old one. */
size_t hak_resize_in_place(void *ptr, size_t min_size, size_t want_size);

/* A copy of a string. */
char *hak_strdup(const char *s) HAK_ATTR_NEW;
/* A copy of at most `n` bytes of a string; it always ends in a zero byte. */
char *hak_strndup(const char *s, size_t n) HAK_ATTR_NEW;

/* ---- Extended --------------------------------------------------------- */

/* The block is zero, up to its usable size; of hak_reallocx, what is beyond the old one.
 */
#define HAK_ZERO 0x01u

/* The call never asks the operating system for anything but the time, and gives NULL
 * where it would have to. */
#define HAK_NO_GROW 0x02u

/* Of hak_reallocx only: NULL if the block cannot stay where it is. */
#define HAK_NO_MOVE 0x04u

/* Past this thread's cache, for programs that move blocks to give memory back: a new
 * block is the next free one of the fullest slab that no thread holds, and a freed block
 * goes home to its slab at once. Costs a lock of the size class, about 50 ns. Changes
 * nothing for blocks over 1 MiB, in serial heaps and in little memory of the caller's. */
#define HAK_NO_CACHE 0x08u

/* One static record per place in the program that allocates; see docs/SITES.md. The words
 * after `name` are the library's; they start as zero. The library looks at a record, and
 * at its strings, only in calls that are given it. */
typedef struct hak_site {
  const char *file; /* may be NULL */
  uint32_t line;
  const char *name; /* may be NULL */
  uintptr_t reserved[4];
} hak_site_t;

/* Declares a record with a name of its own: HAK_SITE(particles); */
#define HAK_SITE(site_name) \
  static hak_site_t site_name = {__FILE__, __LINE__, #site_name, {0}}

/* An expression that yields this place's record. gcc and clang, C and C++. */
#if defined(__GNUC__) || defined(__clang__)
#ifdef __cplusplus
#define HAK_CALLSITE()                                            \
  ([]() -> hak_site_t * {                                         \
    static hak_site_t hak_site_here = {                           \
        __FILE__, static_cast<uint32_t>(__LINE__), nullptr, {0}}; \
    return &hak_site_here;                                        \
  }())
#else
#define HAK_CALLSITE()                                                           \
  (__extension__({                                                               \
    static hak_site_t hak_site_here = {__FILE__, (uint32_t)__LINE__, NULL, {0}}; \
    &hak_site_here;                                                              \
  }))
#endif
#endif

/* The record of a place that is known by a code address alone: where a call returns to.
 * For operators, hooks and wrappers whose callers cannot name their places. There is one
 * record for each address, the library's own, for as long as the program runs; beyond
 * some 4,000 all addresses share one. Never NULL. Any thread; takes no lock, allocates
 * nothing and asks the system for nothing: about 10 instructions for an address that has
 * a record. See docs/SITES.md. */
hak_site_t *hak_site_of_caller(const void *address);

/* The record of whoever called the function that this stands in, which must not be
 * inlined: hak_alloc_at(size, HAK_CALLER()). gcc and clang, C and C++. */
#if defined(__GNUC__) || defined(__clang__)
#define HAK_CALLER() hak_site_of_caller(__builtin_return_address(0))
#endif

/* Everything that an allocation can ask for, in one call. `heap` NULL is the
 * default heap, `alignment` 0 the default one, and `site` may be NULL. EINVAL for
 * unknown flags. */
void *hak_allocx(hak_heap_t *heap, size_t size, size_t alignment, unsigned flags,
                 hak_site_t *site) HAK_ATTR_ALLOC_SIZE(2) HAK_ATTR_RESULT
    HAK_ATTR_ALIGN(3);
/* hak_realloc() with everything that can be asked for, as hak_allocx(); HAK_NO_MOVE
 * too. `heap` is used only where `ptr` is NULL. */
void *hak_reallocx(hak_heap_t *heap, void *ptr, size_t size, size_t alignment,
                   unsigned flags, hak_site_t *site)
    HAK_ATTR_ALLOC_SIZE(3) HAK_ATTR_RESULT HAK_ATTR_ALIGN(4);

/* hak_alloc() for the place that `site` is the record of; NULL does what hak_alloc()
 * does. The other functions with _at are the same for theirs. hak_alloc_at(n,
 * HAK_CALLSITE()) names the place of the call; a wrapper takes a record from its caller
 * and passes it on. Where <hakmem/sites.h> is included the functions without _at name
 * their places by themselves. A block that is resized where it lies stays its old
 * place's; one that is made, or moves, is the new one's. With HAK_OPTION_LEARN blocks of
 * the default heap may lie apart by their places; they are the default heap's all the
 * same. */
void *hak_alloc_at(size_t size, hak_site_t *site) HAK_ATTR_ALLOC_SIZE(1) HAK_ATTR_NEW;
/* hak_alloc_at() for a record that is not NULL, which it does not ask: two instructions
 * less. What <hakmem/sites.h> makes of hak_alloc(), and the C++ allocators call. */
void *hak_alloc_named(size_t size, hak_site_t *site) HAK_ATTR_ALLOC_SIZE(1) HAK_ATTR_NEW;
/* hak_calloc() for the place of `site`, as hak_alloc_at(). */
void *hak_calloc_at(size_t count, size_t size, hak_site_t *site)
    HAK_ATTR_ALLOC_SIZE(1, 2) HAK_ATTR_NEW;
/* hak_realloc() for the place of `site`, as hak_alloc_at(). */
void *hak_realloc_at(void *ptr, size_t size, hak_site_t *site)
    HAK_ATTR_ALLOC_SIZE(2) HAK_ATTR_RESULT;
/* hak_reallocarray() for the place of `site`, as hak_alloc_at(). */
void *hak_reallocarray_at(void *ptr, size_t count, size_t size, hak_site_t *site)
    HAK_ATTR_ALLOC_SIZE(2, 3) HAK_ATTR_RESULT;
/* hak_aligned_alloc() for the place of `site`, as hak_alloc_at(). */
void *hak_aligned_alloc_at(size_t alignment, size_t size, hak_site_t *site)
    HAK_ATTR_ALLOC_SIZE(2) HAK_ATTR_NEW HAK_ATTR_ALIGN(1);
/* hak_aligned_realloc() for the place of `site`, as hak_alloc_at(). */
void *hak_aligned_realloc_at(void *ptr, size_t alignment, size_t size, hak_site_t *site)
    HAK_ATTR_ALLOC_SIZE(3) HAK_ATTR_RESULT HAK_ATTR_ALIGN(2);
/* hak_strdup() for the place of `site`, as hak_alloc_at(). */
char *hak_strdup_at(const char *s, hak_site_t *site) HAK_ATTR_NEW;
/* hak_strndup() for the place of `site`, as hak_alloc_at(). */
char *hak_strndup_at(const char *s, size_t n, hak_site_t *site) HAK_ATTR_NEW;

/* Allocations counted by a record so far, estimated from samples; 0 for NULL, and for a
 * record that none named yet. For blocks of one size the standard deviation is the square
 * root of (the count * SAMPLE_BYTES / size) where blocks are smaller than SAMPLE_BYTES,
 * and less for larger ones; there is no bias. Exact while the option SAMPLE_BYTES is 1.
 * Places beyond the 4,094th share one count. See docs/LEARNING.md. */
uint64_t hak_site_count(const hak_site_t *site);

/* ---- Heaps ------------------------------------------------------------ */

/* A heap is memory that goes away in one call. Any thread allocates from any heap
 * and frees any block with hak_free(). A program can make and end any number of heaps. A
 * handle is not an address, and its lowest bits may be set. Once its heap is gone a
 * handle is stale: hakmem tells it from the handles of later heaps. The same value is
 * given to another heap after 2^27 later heaps at the soonest (earlier only where the
 * system has no memory for a record of 17 KiB).
 *
 * Cost: an empty heap takes at most 8 KiB of memory, one with a single small block
 * at most 72 KiB (and 2 MiB of address space). Up to 1,024 heaps at once have fast
 * paths like the default heap's. With more heaps than that, the others take a longer
 * path, also without locks, and a heap that a thread uses much takes over the fast path
 * of one that it uses little. */

/* A serial heap: the program promises that one thread at a time uses the heap, in an
 * order that the program sees to (a lock, a queue, a scheduler of fibers). In return
 * hak_heap_alloc and hak_heap_free take a path of their own, without atomic instructions
 * and thread-local storage. To use the heap is to allocate from it, to free or resize its
 * blocks, by hak_free too, or to call a function that is given the heap. Other threads
 * may at any time call hak_stats_get, hak_heap_of, hak_ptr_info and hak_collect(NULL),
 * and use other heaps. */
#define HAK_HEAP_SERIAL 0x01u

struct hak_os;

#define HAK_PRESSURE_SOFT 1 /* to hak_pressure_fn: the charge passed the soft limit */
#define HAK_PRESSURE_HARD 2 /* to hak_pressure_fn: the hard limit refuses a request */

/* Called by the thread that meets a limit of `heap`, inside the call that allocates, with
 * no lock of the library's held; `level` says which limit: HAK_PRESSURE_SOFT or
 * HAK_PRESSURE_HARD. Locks of the program's are held as the caller of the allocation left
 * them: a callback that takes a lock under which the program allocates from the heap
 * waits for itself (docs/COOKBOOK.md has what to do). `needed` is, at a hard limit, the
 * size in bytes of the request that the limit refuses; at a soft limit, by how many bytes
 * the charge is over the limit. The callback may do anything but end the heap that the
 * request is for or one above it. While it runs, the thread's allocations from `heap` and
 * from heaps below it give NULL, but for some blocks that the thread has ready, such as
 * those that it has just freed there: docs/BUDGETS.md says which. It returns nonzero if
 * it has freed something and the request is to be tried again; it is asked again while
 * that does not suffice, 64 times at most. Several threads may be in the callback at
 * once. */
typedef int(hak_pressure_fn)(hak_heap_t *heap, size_t needed, int level, void *ctx);

/* Free memory of the heap stays committed and belongs to the heap until it is destroyed;
 * neither time nor hak_collect gives it back. A thread that allocates from the heap, or
 * frees its blocks, does not give back what is due of other heaps meanwhile: with
 * hak_heap_prewarm and HAK_NO_GROW such a thread never asks the operating system for
 * anything but the time. Blocks over 1 MiB are excepted from all of this, and so is a
 * heap at a hard limit: before it refuses a request, as much of its free memory goes as
 * the request needs in other pages (but not where purging is manual). */
#define HAK_HEAP_NO_PURGE 0x02u

/* hak_heap_destroy reports the blocks that are still live, as HAK_ERROR_LEAK: one report
 * for each block size says how many there are; one more counts large blocks and, of a
 * heap in little memory of the caller's, all blocks. Further ones say of what places in
 * the program they are, as far as that is known (docs/SITES.md). Each names the heap,
 * with those that it is part of, and the addresses of up to four of the blocks. The
 * reports come before the end: a handler may ask for the heap's name and read the blocks.
 * Costs a look at the heap's blocks, and nothing for heaps without the flag. */
#define HAK_HEAP_REPORT_LEAKS 0x04u

/* Each block of the heap can be told of as it comes and goes: see
 * hak_heap_set_block_hook. No thread caches the heap's blocks, so each of its allocations
 * and frees takes a slow path and a lock, with a hook or without: about 70 ns, and 300
 * where a block is its slab's only one. HAK_HEAP_SERIAL changes nothing then. Nothing
 * changes for other heaps. */
#define HAK_HEAP_WATCHED 0x08u

#define HAK_HUGE_DEFAULT 0 /* huge pages are asked for as HAK_OPTION_HUGE_PAGES says */
#define HAK_HUGE_NEVER 1   /* huge pages are never asked for */
#define HAK_HUGE_ALWAYS 2  /* huge pages are asked for from the first block on */

/* What hak_heap_create() makes a heap of; begin with HAK_HEAP_CONFIG_INIT. */
typedef struct hak_heap_config {
  uint32_t struct_size;
  uint32_t flags;                /* HAK_HEAP_* */
  const char *name;              /* copied, 31 bytes of it; NULL = none */
  hak_heap_t *parent;            /* the heap that this one is part of; NULL = of none */
  size_t soft_limit, hard_limit; /* bytes that it may be charged; 0 = none */
  size_t reserve;  /* bytes of address space that the heap has from the start, for slabs;
                      their records, 2.3 KiB for each 2 MiB, are made with it */
  size_t prefault; /* bytes made ready at once, as by hak_heap_prefault */
  void *memory;    /* the caller's, see below; NULL = none */
  size_t memory_size;           /* of it, in bytes */
  const struct hak_os *os;      /* copied; hooks of its own, see below; NULL = none */
  int32_t huge_pages, reserved; /* HAK_HUGE_*, by madvise only; reserved is 0 */
  hak_pressure_fn *on_pressure; /* NULL = nobody is asked */
  void *ctx;                    /* passed to it */
} hak_heap_config_t;
/* A configuration with all defaults. */
#define HAK_HEAP_CONFIG_INIT HAK_STRUCT_INIT(hak_heap_config_t)

/* With `memory` (256 KiB or more, at any address) the heap's blocks lie in that memory
 * and nowhere else, and an allocation gives NULL once the memory is full. After
 * hak_heap_create the heap asks the operating system for nothing, with one exception:
 * a thread that uses a heap in large memory for the first time may need memory for its
 * own state. The memory is used in one of two ways:
 *
 *  - Little memory, with less than four whole aligned units of 2 MiB: blocks and the
 *    library's records of them fill all of the memory. Each call costs a lock and a
 *    fixed number of steps.
 *  - Large memory, with four such units or more (8 MiB if aligned, 10 MiB at any
 *    address): blocks fill the whole units, and calls cost what those of other heaps
 *    cost. Those over 56 KiB fill all of the memory, at multiples of 4 KiB, and each call
 *    costs a lock. The library's records, 2.3 KiB for each unit, lie elsewhere.
 *
 * The memory belongs to the heap until hak_heap_destroy, and to its owner again after.
 * After hak_heap_release it belongs to the heap until the last block is freed and, for
 * large memory, until the threads that used the heap have ended, gone idle or collected.
 * Nobody is charged for the memory; `reserve`, `prefault` and HAK_HEAP_NO_PURGE change
 * nothing. EINVAL for limits, on_pressure and huge_pages, for less than 256 KiB, and for
 * memory that is hakmem's own or another heap's.
 *
 * With `os` the heap's blocks come from these hooks and no others. All of the memory goes
 * back to them when the heap is destroyed, or at hak_shutdown, and none is kept for other
 * heaps. The library's records of the heap come from the process's hooks, and so does the
 * time. EINVAL together with `memory`. */

/* Makes a heap; NULL as `config` means all defaults. There can be 65,535 heaps at once.
 * Gives NULL with ENOMEM, which it is too where a hard limit forbids what is to be ready
 * at once; or with EINVAL where struct_size is not set, a flag or huge_pages is none that
 * is known, soft_limit is over hard_limit, the parent has ended, or `memory` or `os` is
 * not as said above. */
hak_heap_t *hak_heap_create(const hak_heap_config_t *config) HAK_ATTR_RESULT;

/* Ends the heap and frees all its blocks. Costs O(SuperSlabs + threads), however many
 * blocks there are. Meanwhile nobody may allocate from the heap or free its blocks;
 * afterwards nobody may use one of them, and a late free is diagnosed. Threads that end,
 * go idle or collect at this moment do no harm; hak_heap_destroy waits for a thread that
 * is inside a hook of the heap's own. Such hooks are not called after hak_heap_destroy
 * has returned: a range that they refuse to release eight times is given up, and counts
 * in unreleased_bytes. EBUSY while heaps made with this one as parent are live, or in a
 * purge hook that the heap's memory comes from; EINVAL for the default heap or no heap.
 */
int hak_heap_destroy(hak_heap_t *heap);

/* Ends the handle; the blocks live on as blocks of the parent (of the default heap, if
 * there is no parent) and go when the parent goes. Memory is given back as blocks are
 * freed, at the latest when threads that cached some of them end, go idle or collect.
 * During the call other threads may free the heap's blocks, but not allocate from it.
 * EBUSY and EINVAL as for hak_heap_destroy. */
int hak_heap_release(hak_heap_t *heap);

/* Frees all blocks; the heap stays, and so do its SuperSlabs with their pages, for the
 * next level, frame or request. Cost and rules are those of hak_heap_destroy, but live
 * heaps below this one do no harm. */
int hak_heap_reset(hak_heap_t *heap);

/* Sets the limits of a heap in bytes; 0 = none. A limit below what is in use is legal:
 * growth fails until enough was freed. Requests under way may still go by the old limits.
 * EINVAL if soft > hard > 0, for no heap, or for one in memory of the caller's.
 *
 * A heap is charged for its memory by whole slabs, runs and mappings, used or not, for
 * its records, and for everything that the heaps below it are charged for. The charge
 * never exceeds a hard limit. A request that a hard limit refuses empties this thread's
 * caches and gives free slabs back to the OS; then it calls on_pressure of the heap whose
 * limit it is, 64 times at most; then it fails. When the charge crosses a soft limit,
 * free slabs are given back and on_pressure is called while that does not suffice; the
 * limit is armed again when the charge has fallen a sixteenth of the limit below it. A
 * hard limit also bounds what threads cache of the heap and of the heaps below it: at
 * most limit / (16 x threads that use it) each; see docs/BUDGETS.md. */
int hak_heap_set_limits(hak_heap_t *heap, size_t soft, size_t hard);

/* The heap that the functions without a heap parameter use. Never NULL. */
hak_heap_t *hak_heap_default(void) HAK_ATTR_NOT_NULL;

/* Makes `heap` this thread's current heap, for hooks (<hakmem/hooks.h>) and code of the
 * program's that follow it, and returns the heap that was current before. NULL stands for
 * the default heap, and is what a thread begins with. Nothing else looks at it: hak_alloc
 * goes on using the default heap. The current heap is the thread's, not a fiber's. If it
 * ends while it is current, the next allocation from it is reported. Costs a call and a
 * store; cannot fail. */
hak_heap_t *hak_heap_use(hak_heap_t *heap);

/* What this thread's last hak_heap_use was given; NULL if that was NULL, or nothing. */
hak_heap_t *hak_heap_current(void);

/* The heap that a block belongs to; NULL if `ptr` is in no block of hakmem's. Takes no
 * lock; usable in a crash handler. */
hak_heap_t *hak_heap_of(const void *ptr);

/* The name that the heap has, by hak_heap_create or hak_heap_set_name: "" if it was given
 * none; "default" for the default heap; NULL for no heap. The string is valid as long as
 * the heap, and until the heap is named a second time after the call. */
const char *hak_heap_name(hak_heap_t *heap);

/* hak_alloc() in a heap. */
void *hak_heap_alloc(hak_heap_t *heap, size_t size)
    HAK_ATTR_ALLOC_SIZE(2) HAK_ATTR_RESULT;
/* hak_calloc() in a heap. */
void *hak_heap_calloc(hak_heap_t *heap, size_t count, size_t size)
    HAK_ATTR_ALLOC_SIZE(2, 3) HAK_ATTR_RESULT;
/* hak_realloc() in a heap, which is used only where `ptr` is NULL: a block stays in its
 * heap. */
void *hak_heap_realloc(hak_heap_t *heap, void *ptr, size_t size)
    HAK_ATTR_ALLOC_SIZE(3) HAK_ATTR_RESULT;
/* hak_aligned_alloc() in a heap. */
void *hak_heap_aligned_alloc(hak_heap_t *heap, size_t alignment, size_t size)
    HAK_ATTR_ALLOC_SIZE(3) HAK_ATTR_RESULT HAK_ATTR_ALIGN(2);

/* hak_heap_alloc() for the place of `site`, as hak_alloc_at(). */
void *hak_heap_alloc_at(hak_heap_t *heap, size_t size, hak_site_t *site)
    HAK_ATTR_ALLOC_SIZE(2) HAK_ATTR_RESULT;
/* hak_heap_calloc() for the place of `site`, as hak_alloc_at(). */
void *hak_heap_calloc_at(hak_heap_t *heap, size_t count, size_t size, hak_site_t *site)
    HAK_ATTR_ALLOC_SIZE(2, 3) HAK_ATTR_RESULT;
/* hak_heap_realloc() for the place of `site`, as hak_alloc_at(). */
void *hak_heap_realloc_at(hak_heap_t *heap, void *ptr, size_t size, hak_site_t *site)
    HAK_ATTR_ALLOC_SIZE(3) HAK_ATTR_RESULT;
/* hak_heap_aligned_alloc() for the place of `site`, as hak_alloc_at(). */
void *hak_heap_aligned_alloc_at(hak_heap_t *heap, size_t alignment, size_t size,
                                hak_site_t *site) HAK_ATTR_ALLOC_SIZE(3) HAK_ATTR_RESULT
    HAK_ATTR_ALIGN(2);

/* Commits `bytes` bytes of free memory for blocks up to 1 MiB and touches its pages, so
 * that blocks which fit into it cost no call to the operating system and no page fault.
 * From then on the heap keeps as much memory committed as is in use now and `bytes` more,
 * until hak_heap_prefault(heap, 0) or the heap's end. 0, EINVAL for no heap, or ENOMEM:
 * then a part of the memory may be ready, but none if `bytes` is more than the machine
 * has, swap included; what hooks of the program's own have is not known. Costs the page
 * faults. */
int hak_heap_prefault(hak_heap_t *heap, size_t bytes);

/* Makes `count` blocks of any size ready, with all records that they need: if nothing
 * else comes between, this thread's next `count` allocations of `size` bytes cost no call
 * to the operating system and no page fault. Blocks up to 32 KiB lie in this thread's
 * cache then, or in that of a serial heap; larger ones, those of watched heaps, and what
 * a limit keeps out of the cache, are free memory like any other, which the purge of idle
 * memory may take (but not in a heap with HAK_HEAP_NO_PURGE, nor where purging is
 * manual), and which blocks of other sizes may take: of such, what is made ready for two
 * sizes need not do for both.
 * Returns how many blocks are ready. These are fewer than `count`, with errno = ENOMEM,
 * if memory is short or if free blocks of the size are not kept (over
 * HAKMEM_HUGE_RETAIN_BYTES). 0 with ENOMEM at once if count * size is over PTRDIFF_MAX or
 * more than the machine has, swap included (what memory of the caller's and hooks of the
 * program's own have is not known); with EINVAL for no heap. Costs the page faults, and a
 * list entry for each block. */
size_t hak_heap_prewarm(hak_heap_t *heap, size_t size, size_t count);

/* ---- Operating system hooks ------------------------------------------- */

/* Where memory comes from. Each function may fail at any call: the allocator
 * then gives NULL with its state intact, and works again once the hook works
 * again. No hook is called while hakmem holds a lock. Sizes and addresses are
 * multiples of page_size. */
typedef struct hak_os {
  uint32_t struct_size;
  uint32_t flags;     /* 0 */
  size_t page_size;   /* 4 KiB to 64 KiB, a power of two */
  size_t granularity; /* addresses of reserve are multiples of this */
  void *ctx;          /* passed to each function */
  /* Address space of `size` bytes at a multiple of `alignment` (at least
   * 64 KiB), not yet to be touched; NULL on failure. Blocks can only lie below 2^47
   * (x86-64; elsewhere 2^48): address space above is released again, and the request
   * fails. */
  void *(*reserve)(void *ctx, size_t size, size_t alignment);
  /* Gives back a whole range that reserve or remap gave. 0 or an errno; then the
   * release is tried again later. */
  int (*release)(void *ctx, void *ptr, size_t size);
  /* Makes pages readable and writable; sets *zeroed if they all read as zero.
   * Called only for pages that are reserved or purged. In the child of a fork commit
   * and purge may also be called for pages that a thread of the parent was committing
   * or purging. */
  int (*commit)(void *ctx, void *ptr, size_t size, bool *zeroed);
  /* Gives the pages back but keeps the addresses; they are not touched again
   * before the next commit. */
  int (*purge)(void *ctx, void *ptr, size_t size);
  /* Makes a whole committed range larger or smaller, moving its pages to another
   * address if it must. That address has to be a multiple of 2 MiB below 2^47 (x86-64;
   * elsewhere 2^48). A range at another address is moved back by a second call, or
   * copied; if neither can be done, its block is lost, HAK_ERROR_BAD_STATE says so,
   * and hak_realloc gives NULL. A remap that returns NULL has left the old range as it
   * was. The hook itself may be NULL. */
  void *(*remap)(void *ctx, void *ptr, size_t old_size, size_t new_size);
  /* A clock that never goes back, in nanoseconds; the highest bit is left out. */
  uint64_t (*now_ns)(void *ctx);
} hak_os_t;
/* Hooks that are all NULL; a copy of hak_os_default() is the other beginning. */
#define HAK_OS_INIT HAK_STRUCT_INIT(hak_os_t)

/* The hooks of the operating system that the library was built for. */
const hak_os_t *hak_os_default(void) HAK_ATTR_NOT_NULL;

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
  HAK_ERROR_LEAK,       /* blocks were live as their heap ended; not fatal */
  HAK_ERROR_OVERFLOW    /* the bytes beside a block were written to; in hardened builds,
                           and of guarded blocks */
} hak_error_t;

/* What a report says; valid for the length of the call of the handler. */
typedef struct hak_error_info {
  uint32_t struct_size;
  hak_error_t error;
  const void *address;  /* the pointer in question; NULL where there is none */
  hak_heap_t *heap;     /* its heap; NULL where unknown */
  const char *function; /* the public function that found it, such as "hak_free" */
  const char *text;     /* one line that says what was wrong */
  size_t size;          /* usable bytes of the block that `address` lies in; 0: unknown */
  /* The heap's name behind those of the heaps that it is part of, "server/requests", with
   * "?" for one without a name; "" where no heap is known. For the length of the call. */
  const char *heap_path;
} hak_error_info_t;
/* An empty report, for programs that call their handler themselves. */
#define HAK_ERROR_INFO_INIT HAK_STRUCT_INIT(hak_error_info_t)

/* Called for each misuse, with no lock held. If the handler returns, the call
 * that found the misuse does nothing more if it was a free; an allocation goes
 * on without the block in question. The handler may not allocate from hakmem. */
typedef void(hak_error_fn)(const hak_error_info_t *info, void *ctx);

/* Has `fn` called, with `ctx`, for each report. NULL restores the default: one line on
 * stderr, then abort() for all but HAK_ERROR_BAD_OPTION and HAK_ERROR_LEAK. */
void hak_set_error_handler(hak_error_fn *fn, void *ctx);

/* A handler that ignores every report, for programs that choose to. */
void hak_error_ignore(const hak_error_info_t *info, void *ctx);

/* The stable short name of an error, such as "double free". */
const char *hak_error_text(hak_error_t error) HAK_ATTR_NOT_NULL;

#define HAK_INIT_NO_ENV 0x01u  /* do not read HAKMEM_* environment variables */
#define HAK_INIT_NO_FORK 0x02u /* do not register the fork handlers */

/* What hak_init() starts the library with; begin with HAK_CONFIG_INIT. */
typedef struct hak_config {
  uint32_t struct_size;
  uint32_t flags;     /* HAK_INIT_* */
  const hak_os_t *os; /* copied; NULL = hak_os_default() */
} hak_config_t;
/* A configuration with all defaults. */
#define HAK_CONFIG_INIT HAK_STRUCT_INIT(hak_config_t)

/* Starts the library with a configuration. Optional, as the first call that needs memory
 * starts it too: allocations of any kind, hak_heap_create, hak_heap_default,
 * hak_heap_prefault, hak_heap_prewarm, hak_thread_init, hak_maintenance_start, and where
 * NULL names the default heap (hak_heap_name, hak_heap_visit). Those that ask about
 * blocks or the process, or give back, do not (hak_usable_size, hak_good_size,
 * hak_heap_of, hak_stats_get, hak_collect, hak_purge_due) and find nothing before. The
 * start reads the environment: until then options have the values that they were set to.
 * EALREADY if it was started before, EINVAL for a bad config, ENOMEM. */
int hak_init(const hak_config_t *config);

/* hak_shutdown() even while other threads are attached. */
#define HAK_SHUTDOWN_FORCE 0x01u

/* Ends all heaps and blocks and gives all memory back to the operating system. EBUSY
 * while other threads are attached, or are in a call that takes longer than about 20 ms.
 * HAK_SHUTDOWN_FORCE shuts down even so: then other threads must not use hakmem at this
 * moment, and attach anew at their next call. To free a block afterwards is diagnosed
 * until hak_init or the next allocation starts the library afresh; to ask a heap of
 * before for a block is not. EINVAL if the library was not started. */
int hak_shutdown(unsigned flags);

/* Attaches this thread: 0 or ENOMEM. Optional: the first allocation does it too. */
int hak_thread_init(void);

/* Detaches this thread, as its end does, and what it cached can be used by all threads.
 * Its next allocation attaches it anew. In a hook, a callback or a visitor the thread
 * stays attached, and gives up what it cached, where the call goes on with its state. */
void hak_thread_exit(void);

/* For a thread that is about to block for long: what it cached can be used by all
 * threads, and what is due by then goes back to the operating system (see hak_collect),
 * unless purging is manual. The thread stays attached and may go on at any time. Costs as
 * much as freeing what it cached. A thread that just stops keeps what docs/IDLE.md lists:
 * about 3 MiB after it dropped all blocks of a burst, and what its bins grew by. */
void hak_thread_idle(void);

#define HAK_COLLECT_ALL 0x01u /* as much as there is, however long it takes */

/* Gives free memory of a heap back to the operating system, and with it free memory that
 * belongs to no heap; `heap` NULL means all heaps, whichever thread calls.
 *
 * Without HAK_COLLECT_ALL what is due goes, and what the program may need next stays:
 * due is what has been idle for HAK_OPTION_PURGE_DECAY_MS, down to what is kept (see
 * HAK_OPTION_RETAIN_BYTES and HAK_OPTION_RETAIN_SHARE), and what lies idle beyond as much
 * as is in use. What this thread has cached goes home only if it has needed no more for
 * that time. Gives back `max_bytes`, or at most the rest of a slab (64 KiB) more. A call
 * does a bounded amount of work, so that it fits into a frame: it looks at
 * HAK_OPTION_COLLECT_SLABS slabs at most, and each block of this thread's caches that it
 * takes home counts as some of them. The next call goes on where this one stopped.
 *
 * With HAK_COLLECT_ALL the work has no bound, this thread's caches are emptied, and
 * nothing that nobody uses is left to give back. Memory that idle and ended threads left
 * is reached too.
 *
 * Returns the bytes given back. 0 with EINVAL for no heap or unknown flags. */
size_t hak_collect(hak_heap_t *heap, size_t max_bytes, unsigned flags);

/* For event loops: milliseconds until hak_collect(NULL, SIZE_MAX, 0) will find something
 * that is due, if nothing happens until then; 0 if there is something now, -1 if there
 * never will be. Of what threads have cached, bins of the calling one count that have
 * grown. Can be passed on to poll and epoll_wait. Any thread, O(1). */
int hak_purge_due(void);

/* For programs that cannot call hak_collect now and then, and whose threads may all sleep
 * or never leave their caches: a thread of the library's that gives back what is due,
 * every `period_ms` milliseconds (1 to 86400000). It has no signals, a stack of 128 KiB,
 * and the name "hakmem"; event handlers and hooks of the program are called in it too.
 * It gives back in manual mode as well, and never touches what other threads have cached.
 * The library never starts it by itself. hak_shutdown ends it, and so does the unloading
 * of the object that the library is part of; the child of a fork has none, and may start
 * its own. A process whose own threads have all ended ends all the same, as by exit(0),
 * within a period (where /proc says which threads there are).
 *
 * 0; EINVAL for the period; EALREADY if it is there; EBUSY while it is being started or
 * stopped; ENOMEM if the library cannot start; or what the system says if it has no
 * thread (EAGAIN). hak_maintenance_stop ends it and returns after its end: 0; EINVAL if
 * there is none; EBUSY; EDEADLK in that thread itself. */
int hak_maintenance_start(unsigned period_ms);
/* Ends the thread of hak_maintenance_start() and returns after its end. */
int hak_maintenance_stop(void);

/* Values of HAK_OPTION_BACKEND, see docs/SANITIZERS.md: blocks are malloc's where a
 * sanitizer or valgrind watches those. */
#define HAK_BACKEND_AUTO 0
/* Blocks are the library's own. */
#define HAK_BACKEND_NATIVE 1
/* Blocks are malloc's. */
#define HAK_BACKEND_MALLOC 2

/* The options, one HAK_OPTION_* each, in the order of options.def, which says what
 * each does; docs/OPTIONS.md has them as a table. */
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

/* Sets an option. Options are numbers that slow paths read; each can be set at any time
 * and acts from then on. hak_option_set gives EINVAL for an unknown option and ERANGE for
 * a value out of range, and then changes nothing. hak_option_get gives 0 for an unknown
 * option. */
int hak_option_set(hak_option_t option, int64_t value);
/* The value of an option; 0 for an unknown one. What the environment says counts from the
 * library's start on. */
int64_t hak_option_get(hak_option_t option);

/* The name, range and meaning of an option. */
typedef struct hak_option_info {
  uint32_t struct_size;
  const char *name; /* as in the environment, without HAKMEM_ */
  int64_t value, default_value, min, max;
  const char *doc;
} hak_option_info_t;
/* A record for hak_option_describe() to fill. */
#define HAK_OPTION_INFO_INIT HAK_STRUCT_INIT(hak_option_info_t)
/* Fills *out for an option: 0, ENOENT for an unknown one, or EINVAL for no record or one
 * that is too short. */
int hak_option_describe(hak_option_t option, hak_option_info_t *out);

/* For programs that fork by other means than fork(), or that started with
 * HAK_INIT_NO_FORK: call hak_fork_prepare before, and one of the others after, in the
 * parent and in the child. The child goes on with its one thread. There, what other
 * threads had cached can be used; what they were changing at that moment stays out of use
 * and is counted (fork_lost_bytes); heaps that they were ending are ended. Beside the
 * library's own handlers they do no harm. */
void hak_fork_prepare(void);
/* After a fork, in the parent; see hak_fork_prepare(). */
void hak_fork_parent(void);
/* After a fork, in the child; see hak_fork_prepare(). */
void hak_fork_child(void);

/* HAK_VERSION of the library that is linked. Async-signal-safe. */
uint32_t hak_version(void);

#ifdef __cplusplus
}
#endif

/* What a program can ask about its memory: part of the interface too. */
#include <hakmem/introspect.h>

#endif /* HAKMEM_H */
