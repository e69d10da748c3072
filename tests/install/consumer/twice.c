/* twice.c - three copies of the library in one process: in the program and in two
 * shared objects. Each knows its own blocks and no others, in every thread. */
#include <hakmem/hakmem.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

void *one_alloc(size_t size);
void one_free(void *block);
int one_owns(const void *block);
void *two_alloc(size_t size);
void two_free(void *block);
int two_owns(const void *block);

static void *work(void *failure) {
  static const size_t sizes[] = {8, 100, 5000, 300000, 5000000};
  for (int round = 0; round < 200; round++) {
    size_t size = sizes[round % 5];
    void *a = one_alloc(size), *b = two_alloc(size), *c = hak_alloc(size);
    if (a == NULL || b == NULL || c == NULL) return failure;
    memset(a, 1, size);
    memset(b, 2, size);
    memset(c, 3, size);
    if (!one_owns(a) || one_owns(b) || one_owns(c)) return failure;
    if (two_owns(a) || !two_owns(b) || two_owns(c)) return failure;
    if (hak_heap_of(a) != NULL || hak_heap_of(b) != NULL) return failure;
    if (hak_heap_of(c) != hak_heap_default()) return failure;
    if (*(char *)a != 1 || *(char *)b != 2 || *(char *)c != 3) return failure;
    one_free(a);
    two_free(b);
    hak_free(c);
  }
  return NULL;
}

int main(void) {
  int failure;
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    if (pthread_create(&threads[i], NULL, work, &failure) != 0) return 2;
  }
  int failures = work(&failure) != NULL;
  for (int i = 0; i < 4; i++) {
    void *result;
    if (pthread_join(threads[i], &result) != 0) return 2;
    failures += result != NULL;
  }
  printf("%d of 5 threads met a block of another copy, or none\n", failures);
  return failures != 0;
}
