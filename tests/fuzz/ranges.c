/* ranges.c - callers' memory by address: ranges of any base and size that come and go,
 * and lookups of any address, against a table. Nobody looks at the memory itself. */
#include "fuzz.h"

#include <errno.h>

#include "pages/external_range.h"
#include "pages/registry.h"
#include "superslab/locate.h"

enum {
  RANGES = 24,
  SPAN = 1 << 25 /* bytes of addresses that are played with */
};

#define BASE ((uintptr_t)0x123400000000)

typedef struct range {
  hak_external_range_t range;
  uintptr_t base;
  size_t size; /* 0: it is not there */
} range_t;

static range_t g_ranges[RANGES];

static range_t *at(uintptr_t address) {
  for (size_t i = 0; i < RANGES; i++) {
    if (address - g_ranges[i].base < g_ranges[i].size) return &g_ranges[i];
  }
  return NULL;
}

static bool overlaps(uintptr_t base, size_t size) {
  for (size_t i = 0; i < RANGES; i++) {
    const range_t *range = &g_ranges[i];
    if (range->size > 0 && base < range->base + range->size && range->base < base + size)
      return true;
  }
  return false;
}

static void look(uintptr_t address) {
  range_t *range = at(address);
  CHECK(hak_locate(address).extent == (range == NULL ? NULL : &range->range.extent));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static int heap;
  fuzz_input_t input = {data, size};
  void *block = hak_alloc(1); /* the registry runs */
  CHECK(block != NULL);
  while (input.left > 0) {
    range_t *range = &g_ranges[fuzz_below(&input, RANGES)];
    uintptr_t base = BASE + (uintptr_t)fuzz_below(&input, SPAN);
    size_t bytes =
        1 + (size_t)fuzz_below(&input, (uint64_t)1 << (8 * (1 + input.left % 3)));
    if (range->size > 0) {
      hak_external_range_remove(&range->range);
      range->size = 0;
      look(range->base);
    } else {
      int error =
          hak_external_range_add(hak_os_default(), &range->range, (void *)base, bytes);
      CHECK_EQ(error, overlaps(base, bytes) ? EINVAL : 0);
      if (error == 0) {
        hak_store_relaxed(&range->range.extent.heap, &heap);
        range->base = base;
        range->size = bytes;
        look(base + bytes - 1);
        look(base + bytes);
      }
    }
    look(base);
    look(base - 1);
  }
  for (size_t i = 0; i < RANGES; i++) {
    if (g_ranges[i].size > 0) hak_external_range_remove(&g_ranges[i].range);
    g_ranges[i].size = 0;
  }
  hak_free(block);
  return 0;
}
