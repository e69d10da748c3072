/* memory.h - the platform's own memory: what a port implements for os.h.
 *
 * Depends on: base.   Used by: os.
 *
 * The hooks of hak_os_default() are the other half; hakmem.h says what each of them
 * promises, and docs/PORTING.md what a port has to. Implemented for Linux in
 * memory_linux.c. Any thread may call what follows.
 */
#ifndef HAK_OS_MEMORY_H
#define HAK_OS_MEMORY_H

#include "base/public.h"

/* Bytes of address space that the process may have, everything counted that counts
 * against the tightest limit of such a kind; SIZE_MAX if there is none, or none is known
 * of. May change at any time. */
size_t hak_memory_limit(void);

/* Bytes of memory that the machine has, what it may swap to included; SIZE_MAX if that is
 * not known. Who touches more is ended. */
size_t hak_memory_total(void);

/* The clock of the default hooks: nanoseconds, no argument, coarse; errno stays. */
uint64_t hak_memory_now_ns(void *ctx);

/* Pages that those hooks have reserved, and that are not in use, may not be touched from
 * now on: who does faults. False if the system refuses. */
bool hak_memory_guard(void *ptr, size_t size);
/* Pages of a range that was guarded may be touched; they read as zero. False, and nothing
 * has changed, if the system refuses. */
bool hak_memory_open(void *ptr, size_t size);
/* The same pages, and others of the range beside them, may not be touched any more, and
 * take no memory. False if the system refuses; *emptied: what was in them is gone. */
bool hak_memory_close(void *ptr, size_t size, bool *emptied);

/* What follows are hints for pages that those hooks have reserved and committed. They may
 * do nothing, they report no failure, and they leave the content of the pages alone.
 * Threads may call them for different pages at the same time.
 *
 * Pages that are touched for the first time from now on may be huge; shall be small. */
void hak_memory_advise_huge(void *ptr, size_t size);
void hak_memory_advise_small(void *ptr, size_t size);
/* Small pages that lie there become a huge one. */
void hak_memory_collapse(void *ptr, size_t size);
/* Bytes of the range that are resident, or -1 if nobody knows. */
int64_t hak_memory_resident(void *ptr, size_t size);
/* The system makes pages huge although nobody asked for it. Looked up once, by the first
 * that asks. */
bool hak_memory_is_huge_unasked(void);

#endif
