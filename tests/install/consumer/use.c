/* use.c - the least that a C program does with the library. */
#include <hakmem/hakmem.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static void *thread_main(void *block) {
  hak_free(block);
  return hak_alloc(100);
}

int main(void) {
  if (hak_version() != HAK_VERSION) return 1;
  char *text = hak_alloc(6);
  if (text == NULL) return 2;
  memcpy(text, "hello", 6);
  text = hak_realloc(text, 100000);
  if (text == NULL || strcmp(text, "hello") != 0) return 3;
  if (hak_heap_of(text) != hak_heap_default()) return 4;

  pthread_t thread;
  void *block = NULL;
  if (pthread_create(&thread, NULL, thread_main, text) != 0) return 5;
  if (pthread_join(thread, &block) != 0 || block == NULL) return 6;
  hak_free(block);
  puts("hello");
  return 0;
}
