/* meta.h - memory for the library's own records: thread states, heaps,
 * magazines, descriptions of mappings.
 *
 * Depends on: base, os.   Used by: mapping, superslab, external, tiny, heap, api.
 *
 * Addresses of records never go back to the OS before shutdown, so whoever reads one late
 * reads memory of the right type, or zeroes; each user keeps a free list of its own.
 */
#ifndef HAK_PAGES_META_H
#define HAK_PAGES_META_H

#include "base/lock.h"
#include "os/os.h"

/* Bytes for records. Those of thread states are counted too, though they lie in ranges
 * of their own. */
HAK_EXTERN hak_atomic_u64_t hak_meta_committed, hak_meta_reserved;
/* Of those that are committed: pages of which no record was cut yet, so that they are not
 * resident. */
HAK_EXTERN hak_atomic_u64_t hak_meta_uncut;

/* Zeroed memory at a multiple of `alignment` (a power of two up to 4 KiB), or
 * NULL. May call the OS: no lock held. */
void *hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);

/* The same for a record that goes back while nobody has it: at a multiple of the hooks'
 * page size, where that is at most 4 KiB. */
void *hak_meta_alloc_pages(const hak_os_t *os, size_t size);
/* Gives the pages of such a record back. It keeps its address, reads as zero, and counts
 * as not committed until hak_meta_reuse. False, and nothing has changed, where pages may
 * not go back now, or the hooks do not promise the zeroes. Nobody writes to it meanwhile.
 * No lock held. */
bool hak_meta_purge(const hak_os_t *os, void *record, size_t size);
/* False: never, with such hooks. */
bool hak_meta_may_go(const hak_os_t *os);
void hak_meta_reuse(size_t size);

/* At shutdown: gives everything back. Nobody may use a record after. */
void hak_meta_stop(void);

/* The lock of this module, for fork. */
hak_lock_t *hak_meta_lock(void);
/* In the child of a fork: nobody is getting memory for records. */
void hak_meta_forget_others(void);

#endif
