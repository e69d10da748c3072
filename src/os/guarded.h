/* guarded.h - guard pages of a hardened build: ranges that nobody may touch, around what
 * no overflow is to reach.
 *
 * Depends on: base, memory, reservation.   Used by: pages, superslab, heap.
 *
 * The library's own records lie in reservations of their own. Those made here have
 * HAK_GUARD_BYTES before them and behind them, and so have regions (region_growth.h): a
 * write that goes on and on from a block ends at such a range, before any record. Guards
 * take address space and no memory. With a program's hooks they are a part of the
 * reservation that is never committed; the hooks decide what a touch of it does.
 *
 * In other builds there are none, and this is hak_os_reserve and its like.
 */
#ifndef HAK_OS_GUARDED_H
#define HAK_OS_GUARDED_H

#include "base/check.h"
#include "os/reservation.h"

#define HAK_GUARD_BYTES ((size_t)(HAK_CHECKS >= 3 ? 64 * 1024 : 0))

/* Nobody may touch these pages, which were never committed, until their reservation is
 * released. False if the system refuses. A hint to a program's hooks at most. */
bool hak_guard(const hak_os_t *os, void *ptr, size_t size);

/* hak_os_reserve, hak_os_unreserve and hak_os_release with guards around the range. The
 * alignment is HAK_GUARD_BYTES at most, in a build that has guards. */
void *hak_guarded_reserve(const hak_os_t *os, size_t size, size_t alignment);
void hak_guarded_unreserve(const hak_os_t *os, void *ptr, size_t size);
void hak_guarded_release(const hak_os_t *os, void *ptr, size_t size);

#endif
