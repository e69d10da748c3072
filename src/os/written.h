/* written.h - what was written to memory that has to read as zero.
 *
 * Depends on: base, os.   Used by: pages, superslab, heap.
 */
#ifndef HAK_OS_WRITTEN_H
#define HAK_OS_WRITTEN_H

#include "os/os.h"

#define HAK_WRITTEN_LINE ((size_t)64) /* bytes */

/* The first line of the range with something in it, or NULL. The range begins at a page
 * of these hooks, and has a multiple of HAK_WRITTEN_LINE bytes. Pages of the system's
 * that are not resident are taken for empty and stay away; the others are read. */
HAK_SLOW const void *hak_os_find_written(const hak_os_t *os, const void *from,
                                         size_t bytes);

#endif
