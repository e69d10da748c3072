/* The least that an allocator called by name has to do: find the class of a size,
 * take a block from its list; find the class of an address, put the block back.
 *
 * All memory is one static arena of units of 64 KiB; a unit has blocks of one class.
 * Blocks freed go to a list of their own, which is taken over when the first is
 * empty: a processor need not wait for a store of the last free to allocate again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "adapters/adapter.h"

#define ARENA ((size_t)1 << 30)
#define UNIT_SHIFT 16
#define UNIT ((size_t)1 << UNIT_SHIFT)
#define CARVE 8192 /* bytes turned into blocks at a time */
#define GRAIN 16
#define CLASSES 64

typedef struct block {
  struct block *next;
} block_t;

static _Alignas(1 << 21) char arena[ARENA];
static uint8_t class_of_unit[ARENA >> UNIT_SHIFT];
static uint8_t class_of_size[BENCH_LARGEST_BLOCK / GRAIN + 1];
static uint32_t block_size[CLASSES];
static block_t *ready[CLASSES];
static block_t *freed[CLASSES];

/* What is left of the unit that a class carves at the moment. */
static char *carve_from[CLASSES];
static char *carve_end[CLASSES];
static size_t units_used;

/* Classes are 16 bytes apart up to 128 bytes, then four to a doubling. Huge pages
 * are asked for, as a yardstick must not lose time to address translation. */
__attribute__((constructor)) static void prepare(void) {
  size_t size = 0, step = GRAIN;
  unsigned class = 0;
  while (size < BENCH_LARGEST_BLOCK) {
    size_t next = size + step;
    for (size_t s = size + GRAIN; s <= next; s += GRAIN) {
      class_of_size[s / GRAIN] = (uint8_t) class;
    }
    block_size[class ++] = (uint32_t)next;
    size = next;
    if (size >= 8 * step) step *= 2;
  }
  madvise(arena, ARENA, MADV_HUGEPAGE);
}

static block_t *carve(unsigned class) {
  size_t size = block_size[class];
  if (carve_from[class] == carve_end[class]) {
    if (units_used == ARENA >> UNIT_SHIFT) {
      fprintf(stderr, "ceiling: the arena is full\n");
      abort();
    }
    class_of_unit[units_used] = (uint8_t) class;
    carve_from[class] = arena + units_used++ * UNIT;
    carve_end[class] = carve_from[class] + UNIT / size * size;
  }
  block_t *first = NULL, **tail = &first;
  size_t carved = 0;
  do {
    block_t *block = (block_t *)(void *)carve_from[class];
    *tail = block;
    tail = &block->next;
    carve_from[class] += size;
    carved += size;
  } while (carved + size <= CARVE && carve_from[class] != carve_end[class]);
  *tail = NULL;
  return first;
}

static __attribute__((noinline, cold)) void *alloc_slow(unsigned class) {
  block_t *block = freed[class] != NULL ? freed[class] : carve(class);
  freed[class] = NULL;
  ready[class] = block->next;
  return block;
}

__attribute__((noinline)) void *ceiling_alloc(size_t size) {
  unsigned class = class_of_size[(size + GRAIN - 1) / GRAIN];
  block_t *block = ready[class];
  if (__builtin_expect(block == NULL, 0)) return alloc_slow(class);
  ready[class] = block->next;
  return block;
}

__attribute__((noinline)) void ceiling_free(void *ptr) {
  unsigned class = class_of_unit[(size_t)((char *)ptr - arena) >> UNIT_SHIFT];
  block_t *block = ptr;
  block->next = freed[class];
  freed[class] = block;
}

size_t ceiling_usable_size(const void *ptr) {
  size_t unit = ((uintptr_t)ptr - (uintptr_t)arena) >> UNIT_SHIFT;
  return unit < units_used ? block_size[class_of_unit[unit]] : 0;
}

void *ceiling_realloc(void *ptr, size_t size) {
  size_t old = ptr != NULL ? ceiling_usable_size(ptr) : 0;
  if (size > BENCH_LARGEST_BLOCK) return NULL;
  if (size <= old && size > 0) return ptr;
  void *block = ceiling_alloc(size);
  if (old > 0) {
    memcpy(block, ptr, old < size ? old : size);
    ceiling_free(ptr);
  }
  return block;
}

void *ceiling_calloc(size_t count, size_t size) {
  if (size != 0 && count > BENCH_LARGEST_BLOCK / size) return NULL;
  return memset(ceiling_alloc(count * size), 0, count * size);
}
