#include "pages/density.h"

#include "base/option.h"

enum {
  SIZES = 64,        /* a place for each power of two */
  WHOLE = 256,       /* the share of a block all of which is resident */
  SEEN_LEAST = 2,    /* looks before a guess is made */
  LOOKS_ALWAYS = 16, /* so many blocks of a size are remembered; */
  LOOKS_OF = 16,     /* then one in so many */
  PROBES_OF = 8,     /* one in so many of a dense size has small pages */
  WINDOWS = 4        /* parts of a block that are looked at */
};
#define WINDOW (256 * HAK_KIB)

typedef struct size_seen {
  hak_atomic_u64_t block; /* [any] address of the one that is remembered, or 0 */
  hak_atomic_u64_t size;  /* [any] its bytes */
  hak_atomic_u32_t share; /* [any] of 256, of blocks that were looked at */
  hak_atomic_u32_t seen;  /* [any] looks */
  hak_atomic_u32_t small; /* [any] blocks that came with small pages */
  hak_atomic_u32_t huge;  /* [any] asked for and found dense */
} size_seen_t;

static size_seen_t sizes[SIZES];

static size_seen_t *seen_of(size_t size) { return &sizes[hak_highest_bit(size | 1)]; }

/* Looks at some parts of a block, the last one among them: how much of them is resident,
 * of 256; -1: nobody knows. */
static int64_t share_of(const hak_os_t *os, char *block, size_t size) {
  size_t step = hak_align_down(size / WINDOWS, os->page_size), bytes = 0;
  size_t window = step < WINDOW ? step : WINDOW;
  int64_t resident = 0;
  for (size_t i = 1; i <= WINDOWS; i++) {
    int64_t part = hak_os_resident(os, block + i * step - window, window);
    if (part < 0) return -1;
    resident += part;
    bytes += window;
  }
  return bytes == 0 ? -1 : resident * WHOLE / (int64_t)bytes;
}

static void learn(size_seen_t *seen, int64_t share) {
  if (share < 0) return;
  int64_t before = hak_load_relaxed(&seen->share);
  bool first = hak_add_relaxed(&seen->seen, 1) == 0;
  hak_store_relaxed(&seen->share, (uint32_t)(first ? share : (before * 3 + share) / 4));
}

bool hak_density_is_dense(const hak_os_t *os, size_t size) {
  size_seen_t *seen = seen_of(size);
  uint64_t block = hak_exchange_relaxed(&seen->block, 0);
  if (block != 0) {
    size_t its = hak_load_relaxed(&seen->size);
    learn(seen, share_of(os, (char *)(uintptr_t)block, its));
  }
  uint64_t share = hak_load_relaxed(&seen->share);
  if (hak_load_relaxed(&seen->seen) < SEEN_LEAST ||
      share * 100 < WHOLE * (uint64_t)hak_option(HUGE_DENSITY)) {
    return false;
  }
  return hak_add_relaxed(&seen->huge, 1) % PROBES_OF != PROBES_OF - 1;
}

void hak_density_note(char *block, size_t size) {
  size_seen_t *seen = seen_of(size);
  uint32_t n = hak_add_relaxed(&seen->small, 1);
  if (n >= LOOKS_ALWAYS && n % LOOKS_OF != 0) return;
  hak_store_relaxed(&seen->size, size);
  hak_store_relaxed(&seen->block, (uintptr_t)block);
}

bool hak_density_freed(const hak_os_t *os, char *block, size_t size) {
  size_seen_t *seen = seen_of(size);
  uint64_t it = (uintptr_t)block;
  if (HAK_LIKELY(hak_load_relaxed(&seen->block) != it) ||
      !hak_cas_relaxed(&seen->block, &it, 0)) {
    return false;
  }
  int64_t share = share_of(os, block, size);
  learn(seen, share);
  return share == 0;
}
