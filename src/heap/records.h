/* records.h - memory of records that wait for the next heap or thread: of heaps, of what
 * serial ones cache, of threads. Their pages go when nobody has needed them for a decay,
 * or when a collection wants all of them.
 *
 * Depends on: base, pages, heap_record, serial, threads.
 * Used by: collect, thread, maintenance, api.
 */
#ifndef HAK_HEAP_RECORDS_H
#define HAK_HEAP_RECORDS_H

#include "base/atomic.h"

/* ns until some beyond RETAIN_BYTES have waited for a decay; UINT64_MAX: so few wait that
 * they stay. By the coarse clock, which the caller has refreshed. */
uint64_t hak_records_due_in(void);
/* Those, or all that wait, up to max_bytes or *looks records: the next call goes on with
 * the rest. The bytes. No lock held. */
size_t hak_records_give(size_t max_bytes, size_t *looks, bool all);

#endif
