/* describe.h - what reports say of a heap and of a block.
 *
 * Depends on: base, external, pages, pool, superslab, tiny, heap, stay, thread_end.
 * Used by: show, lifecycle, api.
 */
#ifndef HAK_HEAP_DESCRIBE_H
#define HAK_HEAP_DESCRIBE_H

#include "base/report.h"
#include "heap/heap.h"

/* Writes the heap's name behind those of the heaps that it is part of, "server/requests",
 * with "?" for one without a name; the last part of it where there is less room, behind
 * ".../". `room` bytes, 8 or more, the zero byte included. Takes no lock. */
void hak_heap_path(hak_heap_t *heap, char *path, size_t room);

/* For hak_report_describe_by. Says nothing while the library is not running. */
void hak_describe_report(hak_error_info_t *info, char *path, size_t room,
                         hak_inside_t *inside);

#endif
