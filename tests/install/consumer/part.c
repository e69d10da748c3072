/* part.c - a shared object with a library of its own; PART names its functions. */
#include <hakmem/hakmem.h>

#define JOIN(a, b) JOIN_(a, b)
#define JOIN_(a, b) a##b

void *JOIN(PART, _alloc)(size_t size);
void JOIN(PART, _free)(void *block);
int JOIN(PART, _owns)(const void *block);
int JOIN(PART, _end)(void);
int JOIN(PART, _maintain)(void);

void *JOIN(PART, _alloc)(size_t size) { return hak_alloc(size); }
void JOIN(PART, _free)(void *block) { hak_free(block); }
int JOIN(PART, _owns)(const void *block) { return hak_heap_of(block) != NULL; }
int JOIN(PART, _end)(void) { return hak_shutdown(HAK_SHUTDOWN_FORCE); }
int JOIN(PART, _maintain)(void) { return hak_maintenance_start(1); }
