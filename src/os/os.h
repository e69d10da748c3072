/* os.h - the contract with the operating system.
 *
 * Depends on: base, leak, memory.   Used by: pages and all folders above.
 *
 * Every call goes through the hooks of a hak_os_t (see hakmem.h for what a hook
 * promises), is counted, and may fail at any time. Callers hold no lock: they
 * reserve, act, publish, and undo on failure.
 *
 *   reserve   address space, aligned; may not be touched yet
 *   commit    pages of it may be touched; *zeroed = they read as zero
 *   purge     pages are given back, addresses are kept; commit before next use
 *   release   a whole reservation goes, at once or when it may
 *   remap     a whole committed reservation changes its size, perhaps its
 *             address (then a multiple of HAK_OS_REMAP_ALIGNMENT); pages move
 *             without being copied; NULL leaves it as it was
 *   advise    asks for huge pages, or for small ones; a hint, not for a program's hooks
 *   collapse  makes a huge page of the small ones there; a hint, like advise
 *   resident  how much of a range is; not for a program's hooks
 *   now       nanoseconds of a clock that never goes back; coarse
 *
 * reserve and release are in reservation.h, which also remembers what the system does not
 * take back. What a port implements stands in memory.h.
 */
#ifndef HAK_OS_OS_H
#define HAK_OS_OS_H

#include "base/atomic.h"
#include "base/bits.h"
#include "base/public.h"

#define HAK_OS_REMAP_ALIGNMENT ((size_t)2 << 20)

typedef struct hak_os_counts {
  hak_atomic_u64_t reserve, release, commit, purge, remap, advise, look, failures;
  hak_atomic_u64_t purged_bytes;
  hak_atomic_u64_t stray_bytes; /* address space now that the system gave along with
                                   aligned ranges, and has not taken back yet */
} hak_os_counts_t;

/* In the flags of hooks for memory that is there already: nobody calls them, no page
 * comes or goes. A program's hooks have no flags. */
#define HAK_OS_FIXED 0x1u

HAK_HOT bool hak_os_is_fixed(const hak_os_t *os) {
  return (os->flags & HAK_OS_FIXED) != 0;
}

HAK_EXTERN hak_os_counts_t hak_os_counts; /* since the library was loaded */
/* Counts a call, which went well if `ok`; returns `ok`. */
bool hak_os_count(hak_atomic_u64_t *calls, bool ok);

/* What the calling thread may ask of the OS now. A refusal looks to callers like one
 * of the OS itself, but is neither a call nor a failure that is counted; a range that
 * may not be released waits until something may be. */
typedef enum hak_os_scope {
  HAK_OS_INLINE = 0, /* in an allocation or a free: where purging is manual nothing is
                        given back, and nothing advised */
  HAK_OS_GIVING,     /* anything */
  HAK_OS_BARRED      /* nothing: HAK_NO_GROW */
} hak_os_scope_t;

extern _Thread_local hak_os_scope_t hak_os_scope;

/* Changes the scope of the calling thread. Returns the scope before, which hak_os_leave
 * puts back. */
HAK_HOT hak_os_scope_t hak_os_enter(hak_os_scope_t scope) {
  hak_os_scope_t before = hak_os_scope;
  hak_os_scope = scope;
  return before;
}
HAK_HOT void hak_os_leave(hak_os_scope_t before) { hak_os_scope = before; }
/* The calling thread may ask the OS for nothing, so it need not wait for its turn. */
HAK_HOT bool hak_os_is_barred(void) {
  return HAK_UNLIKELY(hak_os_scope == HAK_OS_BARRED);
}

/* An address that stands for the calling thread. After a fork it tells what the surviving
 * thread was at from what lost threads were at. */
HAK_HOT const void *hak_os_self(void) { return &hak_os_scope; }

/* Pages and ranges may be given back now. */
bool hak_os_may_give(void);

/* True if a reservation of these hooks can be released and moved in parts: they are the
 * system's own. */
bool hak_os_is_divisible(const hak_os_t *os);
/* Pages come with their first touch, and commit asks the system for nothing: the hooks
 * are the library's own. */
bool hak_os_commits_by_touch(const hak_os_t *os);

/* What these hooks have purged may be read and written without another commit, and reads
 * as zero: late readers of records do no harm. A program's hooks promise less. */
bool hak_os_keeps_zeroes(const hak_os_t *os);

/* True if the hooks can be worked with: functions there, sizes in range. */
bool hak_os_is_valid(const hak_os_t *os);

bool hak_os_commit(const hak_os_t *os, void *ptr, size_t size, bool *zeroed);
bool hak_os_purge(const hak_os_t *os, void *ptr, size_t size);
/* The same of hooks that keep zeroes (hak_os_keeps_zeroes), where `bytes` of the range
 * are committed, or of any hooks, where all is. */
bool hak_os_purge_loose(const hak_os_t *os, void *ptr, size_t size, size_t bytes);
/* The calling thread is inside a purge of these hooks: what they gave must not end now.
 */
bool hak_os_is_purging(const hak_os_t *os);
void *hak_os_remap(const hak_os_t *os, void *ptr, size_t old_size, size_t new_size);
void hak_os_advise_huge(const hak_os_t *os, void *ptr, size_t size);
void hak_os_advise_small(const hak_os_t *os, void *ptr, size_t size);
void hak_os_collapse(const hak_os_t *os, void *ptr, size_t size);
/* Bytes of a range of the system's own hooks that are resident; -1: nobody knows, or
 * nothing may be asked or advised now. */
int64_t hak_os_resident(const hak_os_t *os, void *ptr, size_t size);
/* Where nobody asks for huge pages, there may be some. */
bool hak_os_is_huge_unasked(const hak_os_t *os);
uint64_t hak_os_now(const hak_os_t *os);
/* Bytes of address space that the process may have in all; SIZE_MAX where no limit is
 * known, as for a program's own hooks. */
size_t hak_os_limit(const hak_os_t *os);
/* Bytes that can be resident at once, whatever anybody gives back; SIZE_MAX where that is
 * not known. */
size_t hak_os_total(const hak_os_t *os);

/* Blocks lie in memory that the program reserved, from now on, or no longer. Tells leak
 * tools, and does not call the system. */
void hak_os_borrow(void *ptr, size_t size);
void hak_os_return(void *ptr, size_t size);

/* OS pages that hold `size` bytes; no division, as pages are powers of two. */
HAK_HOT size_t hak_os_pages(const hak_os_t *os, size_t size) {
  unsigned shift = hak_lowest_bit(os->page_size);
  return (size >> shift) + ((size & (os->page_size - 1)) != 0);
}

#endif
