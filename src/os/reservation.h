/* reservation.h - ranges of address space: reserved, released, and those that the system
 * does not take back.
 *
 * Depends on: base, leak, memory, os.   Used by: pages and all folders above.
 *
 * A release that fails, or may not be now, is noted and tried again: at the next release
 * that may go through, by hak_collect, at the end of the hooks. No note is ever wanting:
 * one is held for each range from its reservation on, and a reservation fails where none
 * can be had. Of the system's own ranges the pages go at once, though the addresses stay,
 * and a later reservation that fits takes such a range, or a part of it.
 *
 * Life of a note: unused -> in hand (a thread calls the hook, or is about to)
 *                 -> unused | refused -> in hand -> ...
 *
 * Invariant: refused + in hand <= ranges <= notes
 */
#ifndef HAK_OS_RESERVATION_H
#define HAK_OS_RESERVATION_H

#include "os/os.h"

struct hak_lock;
typedef struct hak_os_note hak_os_note_t;

/* Bytes of ranges that were released and have not gone, including those that the library
 * has given up; bytes of the ranges in which notes lie. */
HAK_EXTERN hak_atomic_u64_t hak_os_unreleased_bytes, hak_os_notes_bytes;

/* `size` bytes that begin at a multiple of `alignment`, a power of two; NULL if the
 * system refuses, or hak_os_scope does. No lock held. */
void *hak_os_reserve(const hak_os_t *os, size_t size, size_t alignment);
/* A whole reservation goes, at once or when it may. No lock held. */
void hak_os_release(const hak_os_t *os, void *ptr, size_t size);

/* A release in two steps, for a range that the caller has in a list: a fork between them
 * finds the range either in that list or in a note. The first step calls no hook; the
 * caller may hold any lock with a lower rank than the notes' lock. The second step is
 * called without a lock. NULL: there is nothing to release. */
hak_os_note_t *hak_os_release_begin(const hak_os_t *os, void *ptr, size_t size);
void hak_os_release_end(hak_os_note_t *note);

/* For a range that was reserved in this very call and turned out to be of no use. It goes
 * back at once, even where purging is manual, because it never was memory in use. */
void hak_os_unreserve(const hak_os_t *os, void *ptr, size_t size);
void hak_os_unreserve_end(hak_os_note_t *note);

/* A reservation of hooks that are divisible (hak_os_is_divisible) may become two, each of
 * which is released on its own, or two that lie side by side may become one. For a
 * second one a note is held first, without a lock: false if memory is short. The rest
 * calls no hook, and the caller may hold any lock with a lower rank than the notes'
 * lock. */
bool hak_os_divide_begin(void);
void hak_os_divide_end(void *ptr, size_t size, size_t first);
void hak_os_join(void *ptr, size_t first, size_t size);

/* `*count` reservations of `size` bytes at once, one behind the other: fewer, as *count
 * tells then, if memory is short, and one if the hooks are not divisible. NULL as
 * hak_os_reserve. `size` is a multiple of `alignment`. No lock held. */
void *hak_os_reserve_row(const hak_os_t *os, size_t size, size_t alignment,
                         uint32_t *count);

/* Tries again to release what was refused: each range once if `all`, else a few ranges,
 * until one of them is refused again. No lock held. */
void hak_os_retry_releases(bool all);

/* The hooks are never called again after this. It waits for threads that are releasing
 * ranges of these hooks, tries refused ranges a few times more, and gives them up then.
 */
void hak_os_end(const hak_os_t *os);

/* Start and end of the library. Memory for notes comes from `os`, and goes back at the
 * end. Between an end and the next start no hook is called. Ranges that were refused to
 * the end, as far as the notes that need no memory can name them, are tried again after a
 * start with the same hooks, or if they are the system's own; others are given up. */
void hak_os_start(const hak_os_t *os);
void hak_os_stop(void);

/* The notes' lock, for a fork. */
struct hak_lock *hak_os_unreleased_lock(void);
/* In the child of a fork: ranges that other threads were releasing are tried again later.
 * Where nobody knows whether the range has gone it is given up; returns how many bytes.
 */
uint64_t hak_os_forget_lost(void);

#endif
