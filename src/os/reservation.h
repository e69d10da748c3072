/* reservation.h - ranges of address space: reserved, released, and those that the system
 * does not take back.
 *
 * Depends on: base, leak, os.   Used by: pages and all folders above.
 *
 * A release that fails, or may not be now, is noted and tried again: at the next release
 * that may go through, by hak_collect, at the end of the hooks. No note is ever wanting:
 * one is held for each range from its reservation on, and a reservation fails where none
 * can be had.
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

/* Bytes of ranges that are to go and have not gone, those that were given up included;
 * bytes that notes take beyond a first few. */
extern hak_atomic_u64_t hak_os_unreleased_bytes, hak_os_notes_bytes;

/* `size` bytes that begin at a multiple of `alignment`, a power of two; NULL if the
 * system refuses, or hak_os_scope does. No lock held. */
void *hak_os_reserve(const hak_os_t *os, size_t size, size_t alignment);
/* A whole reservation goes, at once or when it may. No lock held. */
void hak_os_release(const hak_os_t *os, void *ptr, size_t size);

/* A release in two steps, for a range in a list of the caller's, so that a fork finds it
 * there or here: the first one calls nobody and may be under any lock below that of the
 * notes. NULL: nothing is to be done. */
hak_os_note_t *hak_os_release_begin(const hak_os_t *os, void *ptr, size_t size);
void hak_os_release_end(hak_os_note_t *note);

/* What was reserved in this very call and is of no use after all goes back at once, where
 * purging is manual too: it never was memory in use. */
void hak_os_unreserve(const hak_os_t *os, void *ptr, size_t size);
void hak_os_unreserve_end(hak_os_note_t *note);

/* Tries again what was refused: each range once if `all`, else a few until one is refused
 * again. No lock held. */
void hak_os_retry_releases(bool all);

/* The hooks are never called again after: waits for threads that are releasing ranges of
 * theirs, tries a few times what was refused, and gives up what still is. */
void hak_os_end(const hak_os_t *os);

/* Start and end of the library: where memory for notes comes from; it goes back. In
 * between nobody is called. What was refused to the end, by the first notes, is tried
 * again after a start with the same hooks, or if it is the system's own; else it is given
 * up. */
void hak_os_start(const hak_os_t *os);
void hak_os_stop(void);

/* For fork. In the child: ranges that threads which are not there were releasing are
 * tried again, or if nobody knows whether they have gone, given up; how many bytes. */
struct hak_lock *hak_os_unreleased_lock(void);
uint64_t hak_os_forget_lost(void);

#endif
