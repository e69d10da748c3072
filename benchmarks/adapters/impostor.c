/* Stands in for allocators in shared libraries under their own names: preloaded, it
 * must make the proofs of their adapters fail. Not by malloc, for which some of them
 * stand in themselves. */
#include <stddef.h>

void *mi_malloc(size_t size);
void mi_free(void *ptr);
void *scalable_malloc(size_t size);
void scalable_free(void *ptr);

static _Alignas(16) char arena[1 << 24];
static size_t used;

static void *take(size_t size) {
  size_t rounded = (size + 15) / 16 * 16;
  if (rounded < size || rounded > sizeof arena - used) return NULL;
  used += rounded;
  return arena + used - rounded;
}

void *mi_malloc(size_t size) { return take(size); }
void mi_free(void *ptr) { (void)ptr; }
void *scalable_malloc(size_t size) { return take(size); }
void scalable_free(void *ptr) { (void)ptr; }
