/* malloc.h - the C library's allocator, and the tools that watch it.
 *
 * Sanitizers and valgrind put their own malloc in the place of the C library's, and know
 * blocks that come from there: what is freed, where a block ends, which ones are lost.
 * Nothing else in the library calls malloc, and this is called only where the program's
 * blocks are to be malloc's (external/malloced.h).
 *
 * Depends on: nothing.   Used by: malloced, api.
 *
 * Besides it hears of an order that the library promises its program.
 *
 * Any thread may call what follows, with no lock held. A port implements it; for Linux
 * that is malloc_linux.c.
 */
#ifndef HAK_OS_MALLOC_H
#define HAK_OS_MALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* A block of exactly `size` bytes (not 0) at a multiple of `alignment`, a power of two or
 * 0 for what malloc gives anyway; with zeroes, or as it is. NULL if memory is short, or
 * for a size at which a tool would end the program. */
void *hak_malloc_get(size_t size, size_t alignment, bool zero);
/* Gives such a block back. */
void hak_malloc_put(void *block);

/* A tool watches the blocks of malloc, or what threads do to them: a sanitizer that the
 * program is built with, or valgrind. */
bool hak_malloc_is_watched(void);

/* What one thread published at an address, and what another one read there, for a tool
 * that does not see the library's own order: the accesses to what was published are in
 * order. `release` comes before the store, `acquire` after the load. */
void hak_malloc_release(void *address);
void hak_malloc_acquire(void *address);

/* The program has given an address that is no block of the library's. Where a tool judges
 * that with more to tell than the library knows, the tool is told, which may end the
 * program; then true. False if none does, or the address is a block that the program has
 * from malloc itself. `freeing`: the address was to be freed or resized. */
bool hak_malloc_accuse(void *ptr, bool freeing);

#endif
