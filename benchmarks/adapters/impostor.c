/* Stands in for allocators in shared libraries under their own names: preloaded, it
 * must make the proofs of their adapters fail. */
#include <stdlib.h>

void *mi_malloc(size_t size);
void mi_free(void *ptr);
void *scalable_malloc(size_t size);
void scalable_free(void *ptr);

void *mi_malloc(size_t size) { return malloc(size); }
void mi_free(void *ptr) { free(ptr); }
void *scalable_malloc(size_t size) { return malloc(size); }
void scalable_free(void *ptr) { free(ptr); }
