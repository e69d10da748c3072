/* sites.h - where this is included, each allocation names its place in the program.
 *
 * After hakmem.h, before the code that allocates:
 *
 *     #include <hakmem/sites.h>
 *     ...
 *     node_t *node = hak_alloc(sizeof *node);   // counts for this line
 *
 * A call of an allocating function of hakmem.h becomes a call of its _at form, with a
 * static record of its own (HAK_CALLSITE). What is no call stays what it was: a
 * function's name as a value is the function without a record. hak_allocx and
 * hak_reallocx have a parameter for the record, and stay as they are. A wrapper that is
 * to count for the places that call it, and not for its own line, takes a record and
 * passes it on:
 *
 *     void *make_at(size_t size, hak_site_t *site);   // calls hak_alloc_at(size, site)
 *     #define make(size) make_at(size, HAK_CALLSITE())
 *
 * In C++ the allocators of hakmem.hpp name their types whether this is included or not.
 * An inline function of C that is not static may have no record; it calls a wrapper.
 * Compilers without HAK_CALLSITE (others than gcc and clang) see no change.
 */
#ifndef HAKMEM_SITES_H
#define HAKMEM_SITES_H

#include <hakmem/hakmem.h>

#ifdef HAK_CALLSITE

#define hak_alloc(size) hak_alloc_named(size, HAK_CALLSITE())
#define hak_calloc(count, size) hak_calloc_at(count, size, HAK_CALLSITE())
#define hak_realloc(ptr, size) hak_realloc_at(ptr, size, HAK_CALLSITE())
#define hak_reallocarray(ptr, count, size) \
  hak_reallocarray_at(ptr, count, size, HAK_CALLSITE())
#define hak_aligned_alloc(alignment, size) \
  hak_aligned_alloc_at(alignment, size, HAK_CALLSITE())
#define hak_aligned_realloc(ptr, alignment, size) \
  hak_aligned_realloc_at(ptr, alignment, size, HAK_CALLSITE())
#define hak_strdup(s) hak_strdup_at(s, HAK_CALLSITE())
#define hak_strndup(s, n) hak_strndup_at(s, n, HAK_CALLSITE())

#define hak_heap_alloc(heap, size) hak_heap_alloc_at(heap, size, HAK_CALLSITE())
#define hak_heap_calloc(heap, count, size) \
  hak_heap_calloc_at(heap, count, size, HAK_CALLSITE())
#define hak_heap_realloc(heap, ptr, size) \
  hak_heap_realloc_at(heap, ptr, size, HAK_CALLSITE())
#define hak_heap_aligned_alloc(heap, alignment, size) \
  hak_heap_aligned_alloc_at(heap, alignment, size, HAK_CALLSITE())

#endif /* HAK_CALLSITE */

#endif /* HAKMEM_SITES_H */
