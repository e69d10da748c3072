#include "pages/density.h"

#include "base/option.h"

enum {
  SIZES = 40,        /* a place for each power of two; larger ones share the last */
  WHOLE = 256,       /* the share of a block all of which is resident */
  SEEN_LEAST = 2,    /* looks before a guess is made */
  LOOKS_ALWAYS = 16, /* so many blocks of a size are remembered; */
  LOOKS_OF = 16,     /* then one in so many */
  PROBES_OF = 8,     /* one in so many of a dense size has small pages */
  WINDOWS = 4,       /* parts of a block that are looked at */
  FULL_RUN = 4,     /* blocks of a size in a row that were resident are taken to be it, */
  SPARSE_RUN = 8,   /* and so many that hardly were: */
  RUN_LOOKS_OF = 8, /* then one in so many is looked at */
  RENEWED_OF =
      32 /* one in so many of a dense size loses its pages, as it may be sparse */
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

/* Blocks without pages, and those whose pages went because they are to be zero. */
static size_seen_t sizes[SIZES], renewed[SIZES];

/* Blocks of pages with old contents that are to be zero. */
static struct run {
  hak_atomic_i32_t full; /* [any] so many in a row were resident; below 0: hardly were */
  hak_atomic_u32_t skipped; /* [any] that were not looked at since */
} runs[SIZES];

static unsigned index_of(size_t size) {
  unsigned index = hak_highest_bit(size | 1);
  return index < SIZES ? index : SIZES - 1;
}
static size_seen_t *seen_of(size_t size) { return &sizes[index_of(size)]; }

/* Looks at some parts of a block, the last one among them: how much of them is resident,
 * of 256; -1: nobody knows. */
static int64_t share_of(const hak_os_t *os, char *block, size_t size) {
  size_t step = hak_align_down(size / WINDOWS, os->page_size), bytes = 0;
  size_t window = step < WINDOW ? step : WINDOW, windows = WINDOWS;
  /* Of up to a MiB all is looked at, with one call. */
  if (window == step) {
    step = window = step * WINDOWS;
    windows = 1;
  }
  int64_t resident = 0;
  for (size_t i = 1; i <= windows; i++) {
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

static bool is_dense(uint64_t share) {
  return share * 100 >= WHOLE * (uint64_t)hak_option(HUGE_DENSITY);
}

/* Looks at the block that is remembered, if there is one. */
static void look(const hak_os_t *os, size_seen_t *seen) {
  uint64_t block = hak_exchange_relaxed(&seen->block, 0);
  if (block == 0) return;
  learn(seen, share_of(os, (char *)(uintptr_t)block, hak_load_relaxed(&seen->size)));
}

/* What was seen tells that blocks of the size are dense: one look does if all that was
 * looked at was resident. */
static bool is_known_dense(size_seen_t *seen) {
  uint64_t share = hak_load_relaxed(&seen->share);
  uint32_t looks = hak_load_relaxed(&seen->seen);
  return looks >= SEEN_LEAST ? is_dense(share) : looks != 0 && share == WHOLE;
}

/* Blocks of the size are dense, but for one in `probes_of`, which is to be looked at. Of
 * sizes of which none was seen the next smaller one tells. */
static bool guess(const hak_os_t *os, size_seen_t *table, size_t size,
                  uint32_t probes_of) {
  unsigned index = index_of(size);
  size_seen_t *seen = &table[index];
  look(os, seen);
  if (hak_load_relaxed(&seen->seen) == 0) { /* and no block has less than a page */
    look(os, &table[index - 1]);
    return is_known_dense(&table[index - 1]);
  }
  if (!is_known_dense(seen)) return false;
  return hak_add_relaxed(&seen->huge, 1) % probes_of != probes_of - 1;
}

bool hak_density_is_dense(const hak_os_t *os, size_t size) {
  return guess(os, sizes, size, PROBES_OF);
}

static void remember(size_seen_t *seen, char *block, size_t size) {
  hak_store_relaxed(&seen->size, size);
  hak_store_relaxed(&seen->block, (uintptr_t)block);
}

static void note(size_seen_t *seen, char *block, size_t size) {
  uint32_t n = hak_add_relaxed(&seen->small, 1);
  if (n < LOOKS_ALWAYS || n % LOOKS_OF == 0) remember(seen, block, size);
}

void hak_density_note(char *block, size_t size, bool huge) {
  size_seen_t *seen = seen_of(size);
  if (!huge) {
    note(seen, block, size);
  } else if (hak_load_relaxed(&seen->seen) == 0) {
    remember(seen, block, size); /* that was a guess */
  }
}

void hak_density_note_zero(char *block, size_t size) {
  size_seen_t *seen = &renewed[index_of(size)];
  if (hak_load_relaxed(&seen->seen) < SEEN_LEAST) remember(seen, block, size);
}

bool hak_density_is_written(const hak_os_t *os, char *block, size_t size) {
  size_t window = size < WINDOW ? size : WINDOW;
  int64_t resident = hak_os_resident(os, block + size - window, window);
  return resident > 0 && is_dense((uint64_t)resident * WHOLE / window);
}

/* True if nothing of it was found resident. */
static bool freed(const hak_os_t *os, size_seen_t *seen, char *block, size_t size) {
  uint64_t it = (uintptr_t)block;
  if (HAK_LIKELY(hak_load_relaxed(&seen->block) != it) ||
      !hak_cas_relaxed(&seen->block, &it, 0)) {
    return false;
  }
  int64_t share = share_of(os, block, size);
  learn(seen, share);
  return share == 0;
}

bool hak_density_freed(const hak_os_t *os, char *block, size_t size) {
  (void)freed(os, &renewed[index_of(size)], block, size);
  return freed(os, seen_of(size), block, size);
}

/* --- blocks that are to be zero ------------------------------------------------------
 */

/* True if most of some places of the block read as zero: it was cleared as a whole and
 * then hardly written to, so that its pages are there for the sake of the clearing. */
static bool is_blank(const hak_os_t *os, const char *block, size_t size) {
  enum {
    PLACES = 64,
    WORDS = 8, /* that are looked at together: a line of the cache */
    LINE = WORDS * 8
  };
  size_t step = hak_align_up(size / PLACES | 1, os->page_size), places = 0, blank = 0;
  for (size_t at = 0; at < size; at += step) {
    /* Not at the same line of each page, which records of a power of two would leave. */
    size_t line = places * 7 % (os->page_size / LINE) * LINE;
    const uint64_t *words = (const uint64_t *)(const void *)(block + at + line);
    uint64_t any = 0;
    for (unsigned i = 0; i < WORDS; i++) any |= words[i];
    blank += any == 0;
    places++;
  }
  return blank * 4 > places * 3;
}

/* One more block of the run was looked at. */
static int32_t run_with(int32_t run, bool full) {
  if (full) return run < 0 ? 1 : run < FULL_RUN ? run + 1 : FULL_RUN;
  return run > 0 ? -1 : run > -SPARSE_RUN ? run - 1 : -SPARSE_RUN;
}

/* At least half of the block is resident, and was written to. */
static bool is_full(const hak_os_t *os, char *block, size_t size) {
  struct run *run = &runs[index_of(size)];
  int32_t before = hak_load_relaxed(&run->full);
  bool alike = before >= FULL_RUN || before <= -SPARSE_RUN;
  if (alike && hak_add_relaxed(&run->skipped, 1) % RUN_LOOKS_OF != 0) return before > 0;
  int64_t resident = hak_os_resident(os, block, size);
  bool full =
      resident < 0 || ((uint64_t)resident >= size / 2 && !is_blank(os, block, size));
  int32_t now = run_with(before, full);
  if (now != before) hak_store_relaxed(&run->full, now);
  return full;
}

hak_density_way_t hak_density_way(const hak_os_t *os, char *block, size_t size,
                                  size_t large) {
  if (!is_full(os, block, size)) return HAK_DENSITY_RENEW;
  if (size < large) return HAK_DENSITY_CLEAR;
  size_seen_t *seen = &renewed[index_of(size)];
  if (guess(os, renewed, size, RENEWED_OF)) return HAK_DENSITY_CLEAR;
  note(seen, block, size);
  return HAK_DENSITY_RENEW;
}
