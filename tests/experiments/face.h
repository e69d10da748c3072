/* face.h - the allocator that this program was linked with, behind functions.
 *
 * face.c calls the adapter that the benchmarks have for it; everything else here is
 * compiled once for all allocators, and by a compiler that knows of no allocation: misuse
 * that it could see through would be warned of, or left out.
 */
#ifndef HAKMEM_EXPERIMENTS_FACE_H
#define HAKMEM_EXPERIMENTS_FACE_H

#include <stdbool.h>
#include <stddef.h>

void *face_alloc(size_t size);
void face_free(void *block);
void *face_realloc(void *block, size_t size);
void *face_calloc(size_t count, size_t size);
void *face_aligned(size_t alignment, size_t size);
size_t face_usable(void *block);
/* Asks it to give free memory back. */
void face_collect(void);

/* Whether this allocator serves what face_alloc gives, by its own word. With the variable
 * EXPERIMENTS_SERVED_BY it is the preloaded library of that name that has to serve it. */
bool face_is_proven(void);
void face_print_name(void);

#endif
