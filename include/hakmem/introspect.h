/* introspect.h - what a program can ask about its memory: statistics, what an address
 * lies in, visits of heaps and blocks, checks, and events for profilers.
 *
 * Part of hakmem.h, which includes it; the rules at its beginning hold here, too.
 */
#ifndef HAKMEM_INTROSPECT_H
#define HAKMEM_INTROSPECT_H

#include <hakmem/hakmem.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Byte and block counts are derived from the slabs, so they cannot drift. They
 * are exact when all other threads have ended or gone idle; else they are off by at most
 * what those have cached (about 1 MiB each). Of serial heaps they may be too small by a
 * list of each class until hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL). Event counts
 * cover threads that have ended, and living ones up to their last slow path. */
typedef struct hak_stats {
  uint32_t struct_size, reserved;
  /* bytes */
  uint64_t live_bytes;      /* in blocks that the program holds, by usable size, and of
                               hardened builds with the canary of each */
  uint64_t live_blocks;     /* blocks that the program holds */
  uint64_t cached_bytes;    /* free, in bins, magazines and transfer slots */
  uint64_t free_bytes;      /* free, in slabs in use */
  uint64_t committed_bytes; /* committed in all, metadata included, untouched not */
  uint64_t retained_bytes;  /* committed in slabs that nobody uses */
  uint64_t metadata_bytes;  /* committed for the library's own records */
  uint64_t reserved_bytes;  /* address space */
  uint64_t peak_committed_bytes;      /* of the process: as far as it was asked for */
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
  /* In the child of a fork: an upper bound of what threads of the parent had cached or
   * were releasing, if a slow path of theirs was under way; it stays out of use. See
   * docs/FORK.md. */
  uint64_t fork_lost_bytes;
  /* the limits of a heap (0 = none), and how many requests its hard limit refused */
  uint64_t soft_limit, hard_limit, budget_refused;
  /* Address space whose release the hooks refused, or which may not be released yet; it
   * is no part of reserved_bytes. The release is tried again by later releases, by
   * hak_collect and at the end of the hooks; what is refused even then stays counted. */
  uint64_t unreleased_bytes;
  /* More rows of the resident set, of the process only. Of a quiet process
   *     committed == live + cached + free + uncarved + class_waste + large_slack
   *                  + retained + metadata - hole - untouched - foreign        (in bytes)
   * see docs/MEMORY.md. */
  uint64_t uncarved_bytes;    /* in slabs in use, never cut into blocks */
  uint64_t class_waste_bytes; /* in slabs in use, behind the last block that fits */
  uint64_t large_slack_bytes; /* of large blocks, beyond their usable sizes */
  uint64_t hole_bytes;        /* free, in slabs in use, and given back to the system */
  uint64_t untouched_bytes;   /* of large blocks, and of memory that is retained or never
                                 cut: not resident, as nobody has written there; the
                                 system is asked for it */
  uint64_t foreign_bytes;     /* in blocks, live or free, in memory of the caller's */
} hak_stats_t;
/* A record for hak_stats_get() to fill. */
#define HAK_STATS_INIT HAK_STRUCT_INIT(hak_stats_t)

/* Fills *out with figures; set out->struct_size first. `heap` NULL means the whole
 * process. For a heap the figures include the heaps below it; committed_bytes is what the
 * heap is charged, and all memory of the caller's that it and they have, which is charged
 * to nobody; peak_committed_bytes is the most that it has been since the heap was made;
 * what is not counted by heap (threads, events, calls to the hooks, metadata, states of
 * free slabs) is 0. Waits for no lock; usable in a crash handler. Cost grows
 * with the number of SuperSlabs; of the process, with that of large blocks and of heaps
 * too, of which the system is asked what is resident (about 1 us for each, 2 ms for each
 * resident GiB).
 * EINVAL for no heap or a record that is too short. */
int hak_stats_get(hak_heap_t *heap, hak_stats_t *out);

/* What one size class has. Blocks over 1 MiB are in none: hak_stats_get has them in
 * large_blocks. */
typedef struct hak_class_stats {
  uint32_t struct_size, reserved;
  uint64_t size;          /* usable bytes of a block of the class */
  uint64_t live_blocks;   /* blocks that the program holds */
  uint64_t cached_blocks; /* free, in bins, magazines and transfer slots */
  uint64_t free_blocks;   /* free, in slabs in use */
} hak_class_stats_t;
/* The first record for hak_stats_classes() to fill. */
#define HAK_CLASS_STATS_INIT HAK_STRUCT_INIT(hak_class_stats_t)

/* Fills up to `count` records, the smallest class first, and returns how many classes
 * there are. Set struct_size of the first record before; the records lie as many bytes
 * apart. `heap` as for hak_stats_get, which says how exact the figures are and what they
 * cost. 0 with EINVAL for no heap, or for records that are too short, or not a multiple
 * of 8 bytes apart; 0 alone where the library is not running. Takes no lock. */
size_t hak_stats_classes(hak_heap_t *heap, hak_class_stats_t *out, size_t count);

/* Statistics as lines for people, who may find them changed in any version. */
#define HAK_FORMAT_TEXT 0
/* Statistics as one object of JSON. */
#define HAK_FORMAT_JSON 1

/* Receives pieces of text, in order; not zero-terminated. */
typedef void(hak_write_fn)(const char *text, size_t length, void *ctx);

/* Statistics as text or JSON: of a heap and those below it, or of the process for NULL,
 * as hak_stats_get gives them. The text leaves out figures that are 0, but for the first
 * five. Allocates nothing. `write` NULL = stderr. EINVAL for no heap or another format.
 */
int hak_stats_print(hak_heap_t *heap, int format, hak_write_fn *write, void *ctx);

/* How many lengths of life are told apart. */
#define HAK_SITE_LIVES 6

/* What is known of a place in the program that allocates by functions with a record
 * (hak_alloc_at and its like); see docs/SITES.md. Blocks and bytes are estimates from
 * samples, without bias: a block of s bytes is looked at with a chance of about s / N,
 * where N is HAK_OPTION_SAMPLE_BYTES, and stands for N / s like it. Sums of b bytes have
 * a standard deviation of about the square root of N * b; for live bytes of places whose
 * blocks live for a short time N is up to 8 times as large. Bytes are those asked for. */
typedef struct hak_site_info {
  uint32_t struct_size;
  uint32_t line;
  const char *file;       /* the end of its path, 47 characters or more; "" for types */
  const char *name;       /* the beginning of it, as much; "" if it has none */
  uint64_t blocks, bytes; /* allocated so far */
  uint64_t live_blocks, live_bytes; /* of them not freed yet */
  /* The bytes that really live lie between these two 95 times in 100. */
  uint64_t live_bytes_low, live_bytes_high;
  uint64_t peak_bytes;        /* the largest live_bytes so far */
  uint64_t samples;           /* blocks looked at so far */
  uint64_t live_samples;      /* of them not freed yet, but for those nobody follows */
  uint64_t smallest, largest; /* bytes of a block, of those looked at */
  /* Of its bytes that came in a wave of load, how much is there after it, in thousandths,
   * by the last waves; -1: not known. Of blocks of the default heap. */
  int32_t stays_permille;
  uint32_t
      group; /* its blocks lie apart, with those of places of the same number; 0: no */
  /* Of its bytes that were freed, how many lived how long, in thousandths: while named
   * places allocated less than 256 KiB, 2, 16 or 128 MiB, 1 GiB, and longer. All 0: none
   * was seen. */
  uint32_t lived_permille[HAK_SITE_LIVES];
  /* Its part of saved_bytes below: what is resident for its blocks of the last waves is
   * so much less than if all places shared slabs; below 0 if it is more. What is resident
   * is told to places in proportion to their bytes there, so that all parts add up to the
   * whole. Of few samples it is as uncertain as live_bytes. */
  int64_t saved_bytes;
} hak_site_info_t;
/* An empty record, for programs that call their visitor themselves. */
#define HAK_SITE_INFO_INIT HAK_STRUCT_INIT(hak_site_info_t)

/* Called for each place; the record and its texts are valid during the call. Return false
 * to stop. May call hakmem. */
typedef bool(hak_site_visit_fn)(const hak_site_info_t *site, void *ctx);

/* Visits the places that have allocated, in the order in which they first did; those for
 * which there was no record come first, as one. Other threads go on; what they change
 * meanwhile may be seen or not. Allocates nothing. EINVAL for no visitor. */
int hak_sites_visit(hak_site_visit_fn *visit, void *ctx);

/* What waves of load were seen of the places that are named, and what keeping some of
 * them apart saves, or would save where HAK_OPTION_LEARN is 0; see docs/LEARNING.md. */
typedef struct hak_waves_info {
  uint32_t struct_size;
  uint32_t places_apart; /* now */
  uint64_t waves;        /* so far */
  uint64_t moves;        /* of places, to a group or back, so far */
  /* Live bytes of the last wave, estimated from samples. */
  uint64_t peak_bytes, trough_bytes;
  /* Bytes that one such wave leaves resident, by a model: if all places share slabs; as
   * they are led now; and in the best way that is known. */
  uint64_t together_bytes, apart_bytes, best_bytes;
  /* Bytes that are resident less after the last wave, with what is left of those before
   * it, than if all places shared slabs; where HAK_OPTION_LEARN is 0, that would be. By a
   * model, within 15 % of what is measured in the mean of many waves and programs; of a
   * single small wave a MiB or two off, and up to twice as much where a part of each
   * place's blocks stays. */
  int64_t saved_bytes;
} hak_waves_info_t;
/* A record for hak_waves_get() to fill. */
#define HAK_WAVES_INFO_INIT HAK_STRUCT_INIT(hak_waves_info_t)

/* Set out->struct_size first; a shorter record of an earlier version gets what it has
 * room for. All is 0 before the first wave. Takes a lock for a moment; O(places). EINVAL
 * for no record or one that is too short. */
int hak_waves_get(hak_waves_info_t *out);

/* Writes what was learned of places, some 32 bytes each, so that another run of the
 * program knows it from the start: see docs/LEARNING.md. `build` is any text that changes
 * with the program, such as its version; NULL is an empty one. The data is binary; keep
 * it where only those write whom the program trusts. Allocates nothing. EINVAL for no
 * `write`, ENODATA where the library is not running. */
int hak_learned_save(const char *build, hak_write_fn *write, void *ctx);
/* Starts the library if need be, and has it take up what hak_learned_save wrote in
 * another run: places that allocate later, and those of which nothing is known yet, begin
 * with it. Once for each start of the library. `data` is copied. 0; or, and then nothing
 * has changed, EINVAL for data that is damaged or none of that function's, ESTALE for
 * that of another `build`, EALREADY, ENOMEM. *why, unless `why` is NULL: a static text
 * that says which; "" for 0. */
int hak_learned_load(const char *build, const void *data, size_t size, const char **why);

/* Writes the return addresses of the calls that the thread is in, the innermost first,
 * `most` at most, and returns how many there are; 0 says nothing. */
typedef size_t(hak_stack_fn)(void **addresses, size_t most, void *ctx);

/* Has `fn` called for each block that is looked at as a sample, on the thread that
 * allocates it and inside that call, with no lock of the library's held: so the calls by
 * which its place was reached are known, for the formats with HAK_FORMAT_STACKS; and for
 * each allocation and free of a guarded block (hak_guard_explain). NULL as
 * `fn`: no more. It may not call hakmem, and need not keep errno. The 30 innermost
 * addresses count, and the first 1,024 stacks; blocks of further ones are known by their
 * place alone. Costs about 320 KiB, from the first sample on. */
void hak_set_stack_hook(hak_stack_fn *fn, void *ctx);

/* Writes what is known of a guarded block (HAK_OPTION_GUARD_SAMPLE) that an address lies
 * in, or beside, or where it was before its free: which block, its place if it has one,
 * by which calls it came and went. False, and nothing is written, if nothing is known.
 * For handlers of errors and of crashes: allocates nothing, waits for nobody, and keeps
 * errno. Reads /proc/self/maps. `write` NULL = stderr. */
bool hak_guard_explain(const void *address, hak_write_fn *write, void *ctx);

/* Formats of profilers, for hak_sites_print only. */
#define HAK_FORMAT_PPROF 2     /* profile.proto of pprof, not compressed */
#define HAK_FORMAT_HEAP_V2 3   /* text for jeprof */
#define HAK_FORMAT_FOLDED 4    /* folded stacks, for flame graphs: live bytes */
#define HAK_FORMAT_HEAPTRACK 5 /* text for heaptrack_print and heaptrack_gui */
/* Added to one of these four: by stack too, as far as hak_set_stack_hook's function said
 * one, and by place else. */
#define HAK_FORMAT_STACKS 16

/* All places in one of the formats, text and JSON too; the text has the 40 with the most
 * live bytes. Allocates nothing. `write` NULL = stderr. EINVAL for another format. Costs
 * a lock for a moment for each place and stack, and a text 40 times as many. */
int hak_sites_print(int format, hak_write_fn *write, void *ctx);

/* A block, as hak_ptr_info() and visits describe it. */
typedef struct hak_block {
  uint32_t struct_size;
  bool is_start; /* the address asked about is the block's first byte */
  void *address; /* the block's start */
  size_t size;   /* usable */
  hak_heap_t *heap;
} hak_block_t;
/* A record for hak_ptr_info() to fill. */
#define HAK_BLOCK_INIT HAK_STRUCT_INIT(hak_block_t)

/* The block that an address lies in; any address inside the block will do. Set
 * out->struct_size first. ENOENT if the address is in no block of hakmem's; EINVAL for no
 * record or one that is too short. Does not say whether the block is in use. Takes no
 * lock; usable in a crash handler. */
int hak_ptr_info(const void *ptr, hak_block_t *out);

/* Called for each block in use; return false to stop. */
typedef bool(hak_visit_fn)(const hak_block_t *block, void *ctx);

/* Visits every block of the heap (NULL: the default heap) that the program holds, not
 * those of heaps below it. The heap must be quiet: no other thread allocates from it or
 * frees its blocks meanwhile. Threads that used it before may work on other heaps, end or
 * go idle, and keep what they have cached. The call notes what they cached of the heap in
 * memory that it reserves for its length; ENOMEM if memory for that is short. The visitor
 * may not call hakmem, and is called with no lock held. EINVAL for no heap or unknown
 * flags; EBUSY in a hook of a call that empties caches of the heap. Costs a look at each
 * SuperSlab of the process and at each block of the heap. */
int hak_heap_visit(hak_heap_t *heap, hak_visit_fn *visit, void *ctx, unsigned flags);

/* 1 if moving the block elsewhere lets memory go, else 0. For active defragmentation: a
 * pass over all blocks allocates anew, copies and frees those for which this is 1. The
 * first 1 for a block of a slab also decides that the slab is to be emptied: new blocks
 * come from slabs with fewer free blocks, which have room for what moves, and its own go
 * back to it as they are freed. So passes end: each moves a block at most once, and after
 * two or three of them hardly any block is left to move. If nothing is moved, the slab
 * serves again when memory of its class is needed. 0 for blocks over 56 KiB, of serial
 * heaps, and in slabs that other threads allocate from. What threads have cached counts
 * as in use, so hak_collect with HAK_COLLECT_ALL comes before the first pass. Never reads
 * the block. Costs 10 to 20 ns, and about a microsecond for the first block of a slab
 * that is to be emptied.
 */
int hak_move_hint(const void *ptr);

/* Gives a heap a new name, which is copied; what is beyond 31 bytes is cut off, between
 * two characters of UTF-8. NULL = none. Other threads may read the name meanwhile, but
 * not change it. 0, EINVAL for no heap. */
int hak_heap_set_name(hak_heap_t *heap, const char *name);

/* The heap that was given as parent at hak_heap_create; NULL if none was, and for no
 * heap. O(1). */
hak_heap_t *hak_heap_parent(hak_heap_t *heap);

/* A pointer of the program's that goes with the heap, NULL at first: for callbacks and
 * visitors that are given a heap. Any thread reads and writes it at any time, and sees
 * what was written to memory before the pointer was set. 0; EINVAL for no heap. O(1). */
int hak_heap_set_user(hak_heap_t *heap, void *user);

/* The pointer that hak_heap_set_user gave the heap; NULL for no heap. O(1). */
void *hak_heap_user(hak_heap_t *heap);

/* Called for each heap that the program has not ended, the default heap included; return
 * false to stop. */
typedef bool(hak_heap_visit_fn)(hak_heap_t *heap, void *ctx);
/* Calls `visit` for each heap; 0, or what kept it from that. */
int hak_visit_heaps(hak_heap_visit_fn *visit, void *ctx);

/* The whole tree of heaps: as text, a line for each heap below its parent's; as JSON, one
 * object with each heap's name, parent, limits, use, peak and rows by size class, a map
 * of the SuperSlabs and large blocks, and the process's statistics. docs/VIEW.md has the
 * members; tools/hakmem-view makes a page of them. The JSON is valid UTF-8 whatever names
 * heaps have. `write` NULL = stderr. Other threads go on: heaps that they make or end
 * meanwhile may be missing, and the figures are as exact as those of hak_stats_get.
 *
 * 0; EINVAL for another format; ENOMEM, and nothing is written, if memory for the length
 * of the call is short: about 3 KiB for each heap. Costs a look at each heap, SuperSlab,
 * thread cache and sample, and what hak_stats_get costs for the process. */
int hak_heaps_print(int format, hak_write_fn *write, void *ctx);

/* Walks all invariants of a heap, or of the process for NULL; 0, or EFAULT after
 * reports to the error handler. Other threads may go on; what they change meanwhile
 * is not judged, nor what a call is changing that this one is in a hook of. */
int hak_check(hak_heap_t *heap);

/* Slow-path events, for profilers. The hook is called with no lock held, may not call
 * hakmem, and need not keep errno. */
typedef enum hak_event {
  HAK_EVENT_REFILL = 1,        /* size: class */
  HAK_EVENT_SUPERSLAB_NEW,     /* address, size */
  HAK_EVENT_SUPERSLAB_RELEASE, /* address, size */
  HAK_EVENT_PURGE,             /* address, size */
  HAK_EVENT_BUDGET_REFUSED,    /* size: a request failed at a hard limit */
  HAK_EVENT_LARGE_ALLOC,       /* address, size */
  HAK_EVENT_LARGE_FREE         /* address, size */
} hak_event_t;
/* Receives an event; see hak_event_t for what `address` and `size` are. */
typedef void(hak_event_fn)(hak_event_t event, const void *address, size_t size,
                           void *ctx);

/* Has `fn` called, with `ctx`, for each event. NULL unsets the hook; without a hook each
 * slow path costs one load more. */
void hak_set_event_hook(hak_event_fn *fn, void *ctx);

/* What became of a block of a heap that was made with HAK_HEAP_WATCHED. */
typedef enum hak_block_event_kind {
  HAK_BLOCK_ALLOC = 1, /* it is about to be given to the program */
  HAK_BLOCK_FREE,      /* it is about to be freed; nobody else has its memory yet */
  HAK_BLOCK_RESIZE,    /* it has another size now, and another address if its pages moved.
                          A resize that copies is an allocation and then a free */
  HAK_BLOCK_ALL_GONE   /* of the whole heap: it was reset or destroyed */
} hak_block_event_kind_t;

/* Valid for the length of the call of the hook. */
typedef struct hak_block_event {
  uint32_t struct_size;
  hak_block_event_kind_t kind;
  hak_heap_t *heap;
  void *address;          /* NULL for HAK_BLOCK_ALL_GONE */
  size_t size;            /* usable bytes */
  size_t requested;       /* bytes that were asked for, never more than `size`; 0 for
                             frees */
  void *old_address;      /* of HAK_BLOCK_RESIZE: it may be the same */
  size_t old_size;        /* the same; usable bytes */
  const hak_site_t *site; /* the place that asks, where it names itself; or NULL */
} hak_block_event_t;
/* An empty event, for programs that call their hook themselves. */
#define HAK_BLOCK_EVENT_INIT HAK_STRUCT_INIT(hak_block_event_t)

/* Hears of a block, on the thread that allocates, frees or resizes it, inside that call
 * and with no lock of the library's held. It may read and write the block, and may call
 * hakmem: what it does with the same heap is told of as well, so it should keep its own
 * memory elsewhere. It may not end the heap or shut the library down. It need not keep
 * errno. */
typedef void(hak_block_event_fn)(const hak_block_event_t *event, void *ctx);

/* Sets the hook of a heap that was made with HAK_HEAP_WATCHED; `fn` NULL unsets it. At
 * any time, while other threads use the heap too: calls that have begun may still go to
 * the hook of before. Each allocation, free and resize of a block is told of, by whatever
 * function and on whatever thread, also in the child of a fork; frees of blocks that were
 * allocated while there was no hook, too, and frees that turn out to be misuse may be.
 * Blocks of a heap that is released into this one are not told of, nor are their frees;
 * a resize that copies one is an allocation here.
 * The hook stays over a reset, and goes with the heap when that is destroyed or released.
 * 0; EINVAL for no heap, or one without the flag. */
int hak_heap_set_block_hook(hak_heap_t *heap, hak_block_event_fn *fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif /* HAKMEM_INTROSPECT_H */
