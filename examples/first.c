/* first.c - the smallest whole program: allocate, grow, ask, free. */
#include <hakmem/hakmem.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  char *text = hak_strdup("a block of memory");
  if (text == NULL) return 1;
  size_t length = strlen(text);
  char *longer = hak_realloc(text, 1000);
  if (longer == NULL) { /* then the old block is still there */
    hak_free(text);
    return 1;
  }
  text = longer;
  strcpy(text + length, ", and more room");
  printf("%s: %zu bytes asked for, %zu usable\n", text, (size_t)1000,
         hak_usable_size(text));

  double *vector = hak_aligned_alloc(64, 256 * sizeof *vector);
  if (vector == NULL) return 1;
  printf("a cache line's start: %s\n", (size_t)vector % 64 == 0 ? "yes" : "no");

  hak_free(vector);
  hak_free(text);
  return 0;
}
