/* leaks.c - keeps blocks of the C library's alive by pointers in hakmem's blocks of each
 * tier, in heaps of each kind, and loses as many as it is told to. LeakSanitizer is to
 * report those and no other. */
#include <hakmem/hakmem.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                 \
  do {                                                   \
    if (!(condition)) {                                  \
      fprintf(stderr, "check failed: %s\n", #condition); \
      exit(1);                                           \
    }                                                    \
  } while (0)

enum {
  SIZES = 6,
  HEAPS = 4,
  LENGTH = 50
};
static const size_t sizes[SIZES] = {16, 600, 5000, 70000, 3 << 20, 80 << 20};
static void *g_blocks[HEAPS][SIZES];
static void *g_grown;
static char g_memory[12 << 20] __attribute__((aligned(2 << 20)));

/* A block that only hakmem's knows. */
static void *keep(hak_heap_t *heap, size_t size) {
  char *block = hak_heap_alloc(heap, size);
  if (block == NULL) return NULL;
  char *text = malloc(LENGTH);
  CHECK(text != NULL);
  memcpy(block + size / 2 / 8 * 8, &text, sizeof text);
  return block;
}

int main(int argc, char **argv) {
  int lost = argc > 1 ? atoi(argv[1]) : 0;
  hak_heap_config_t serial = {.struct_size = sizeof serial, .flags = HAK_HEAP_SERIAL};
  hak_heap_config_t in_memory = {.struct_size = sizeof in_memory,
                                 .memory = g_memory,
                                 .memory_size = sizeof g_memory};
  hak_heap_t *heaps[HEAPS] = {NULL, hak_heap_create(NULL), hak_heap_create(&serial),
                              hak_heap_create(&in_memory)};
  for (size_t h = 0; h < HEAPS; h++) {
    CHECK(h == 0 || heaps[h] != NULL);
    size_t count = heaps[h] == heaps[HEAPS - 1] ? SIZES - 1 : SIZES;
    for (size_t i = 0; i < count; i++) {
      g_blocks[h][i] = keep(heaps[h], sizes[i]);
      CHECK(g_blocks[h][i] != NULL);
    }
  }
  /* Blocks that moved or whose neighbours went are found where they are now. */
  g_grown = hak_realloc(keep(NULL, 40 << 20), 200 << 20);
  CHECK(g_grown != NULL);
  hak_free(hak_alloc(80 << 20));
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  for (int i = 0; i < lost; i++) {
    char *volatile text = malloc(LENGTH);
    CHECK(text != NULL);
    text = NULL;
  }
  return 0;
}
