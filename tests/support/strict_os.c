/* strict_os.c - see strict_os.h */
#include "strict_os.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define UNIT ((size_t)4096)
#define GARBAGE 0xdb

/* Page states, a byte for each 4 KiB. */
enum {
  PAGE_RESERVED,
  PAGE_COMMITTED,
  PAGE_PURGED
};

typedef struct test_range {
  char *base;
  size_t size;
  size_t alignment;
  unsigned char *pages;
} test_range_t;

/* One lock for all instances, so that fork needs to hold only one. Static
 * storage: hooks may be called at any moment of a process's life. */
static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;

/* In the child of a fork nobody knows whether a thread that is not there had come to
 * note what it did to some pages. Of hooks that the child opens itself all is known. */
static bool g_forked;

static void lock(void) { pthread_mutex_lock(&g_lock); }
static void unlock(void) { pthread_mutex_unlock(&g_lock); }
static void unlock_in_child(void) {
  g_forked = true;
  unlock();
}
/* Before the library starts: in a child its handlers, which call hooks, come later then.
 */
__attribute__((constructor)) static void register_fork(void) {
  pthread_atfork(lock, unlock, unlock_in_child);
}

_Noreturn static void breach(const char *hook, const void *ptr, size_t size,
                             const char *what) {
  fprintf(stderr, "strict hooks: %s(%p, 0x%zx): %s\n", hook, ptr, size, what);
  fflush(NULL);
  abort();
}

static void require(bool condition, const char *hook, const void *ptr, size_t size,
                    const char *what) {
  if (!condition) {
    breach(hook, ptr, size, what);
  }
}

/* ---- Ranges, sorted by address ---------------------------------------- */

/* Index of the first range above `ptr`. */
static size_t range_above(const test_os_t *os, const char *ptr) {
  size_t low = 0, high = os->ranges;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (os->range[middle].base <= ptr) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static test_range_t *range_of(const test_os_t *os, const char *ptr, size_t size) {
  size_t above = range_above(os, ptr);
  if (above == 0) {
    return NULL;
  }
  test_range_t *range = &os->range[above - 1];
  size_t offset = (size_t)(ptr - range->base);
  return offset < range->size && size <= range->size - offset ? range : NULL;
}

static void range_insert(test_os_t *os, char *base, size_t size, size_t alignment) {
  if (os->ranges == os->range_capacity) {
    os->range_capacity = os->range_capacity * 2 + 64;
    os->range = realloc(os->range, os->range_capacity * sizeof *os->range);
  }
  size_t at = range_above(os, base);
  memmove(os->range + at + 1, os->range + at, (os->ranges - at) * sizeof *os->range);
  void *pages = mmap(NULL, size / UNIT, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(pages != MAP_FAILED, "reserve", base, size, "no memory for the records");
  os->range[at] = (test_range_t){base, size, alignment, pages};
  os->ranges++;
  os->reserved_bytes += size;
}

static size_t count_committed(const test_range_t *range) {
  size_t count = 0;
  for (size_t i = 0; i < range->size / UNIT; i++) {
    count += range->pages[i] == PAGE_COMMITTED;
  }
  return count * UNIT;
}

static void range_remove(test_os_t *os, test_range_t *range) {
  os->reserved_bytes -= range->size;
  os->committed_bytes -= count_committed(range);
  munmap(range->pages, range->size / UNIT);
  size_t at = (size_t)(range - os->range);
  os->ranges--;
  memmove(range, range + 1, (os->ranges - at) * sizeof *os->range);
}

static void require_pages(const test_os_t *os, const char *hook, const char *ptr,
                          size_t size) {
  require(size != 0, hook, ptr, size, "size is 0");
  require(((uintptr_t)ptr | size) % os->hooks.page_size == 0, hook, ptr, size,
          "not a multiple of the page size");
}

/* ---- Failures --------------------------------------------------------- */

static bool must_fail(test_os_t *os, test_os_kind_t kind) {
  os->calls[kind]++;
  if (os->mode == TEST_FAIL_NONE || (os->kinds & (1u << kind)) == 0) {
    return false;
  }
  uint64_t call = ++os->planned_calls;
  bool fail = os->mode == TEST_FAIL_NTH        ? call == os->n
              : os->mode == TEST_FAIL_FROM_NTH ? call >= os->n
                                               : test_below(&os->rng, 100) < os->n;
  os->failures += fail;
  return fail;
}

/* ---- The hooks -------------------------------------------------------- */

static char *map_aligned(size_t size, size_t alignment) {
  size_t room = size + alignment;
  if (room < size) {
    return NULL;
  }
  char *start =
      mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) {
    return NULL;
  }
  size_t head = (size_t)(-(uintptr_t)start & (alignment - 1));
  if (head != 0) {
    munmap(start, head);
  }
  if (room - head > size) {
    munmap(start + head + size, room - head - size);
  }
  return start + head;
}

/* Alternates between both ends of the address space that a process has here;
 * under TSan only the part that it leaves to mappings. */
static char *map_far(test_os_t *os, size_t size, size_t alignment) {
  const uint64_t low = TEST_TSAN ? 0x7e8000000000u : 0x200000000000u;
  const uint64_t high = TEST_TSAN ? 0x7f0000000000u : 0x7c0000000000u;
  const uint64_t step = TEST_TSAN ? 0x000400000000u : 0x004000000000u;
  const uint64_t places = TEST_TSAN ? 32 : 128;
  for (int tries = 0; tries < 256; tries++) {
    uint64_t k = os->far_next++ % places;
    uint64_t at = k % 2 == 0 ? low + k / 2 * step : high - (k / 2 + 1) * step;
    at = (at + alignment - 1) & ~((uint64_t)alignment - 1);
    char *base =
        mmap((void *)(uintptr_t)at, size, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (base == (char *)(uintptr_t)at) {
      return base;
    }
    if (base != MAP_FAILED) {
      munmap(base, size);
    }
  }
  return NULL;
}

static void *strict_reserve_locked(test_os_t *os, size_t size, size_t alignment) {
  require_pages(os, "reserve", NULL, size);
  require(alignment >= 65536 && (alignment & (alignment - 1)) == 0, "reserve", NULL, size,
          "bad alignment");
  if (must_fail(os, TEST_OS_RESERVE)) {
    return NULL;
  }
  if ((os->flags & TEST_OS_LIMITED) != 0 && size > os->limit - os->reserved_bytes) {
    return NULL;
  }
  char *base = NULL;
  if ((os->flags & TEST_OS_FAR) != 0) {
    base = map_far(os, size, alignment);
  }
  if (base == NULL) {
    base = map_aligned(size, alignment);
  }
  if (base != NULL) {
    range_insert(os, base, size, alignment);
  }
  return base;
}

static void *strict_reserve(void *ctx, size_t size, size_t alignment) {
  const test_os_t *os = ctx;
  if ((os->flags & TEST_OS_SLOW_RESERVE) != 0) usleep(200);
  lock();
  void *base = strict_reserve_locked(ctx, size, alignment);
  unlock();
  return base;
}

static int strict_release(void *ctx, void *ptr, size_t size) {
  test_os_t *os = ctx;
  lock();
  require_pages(os, "release", ptr, size);
  test_range_t *range = range_of(os, ptr, size);
  require(range != NULL && range->base == (char *)ptr && range->size == size, "release",
          ptr, size, "not a whole range of reserve or remap");
  int error = EINVAL;
  if (!must_fail(os, TEST_OS_RELEASE)) {
    error = munmap(ptr, size) == 0 ? 0 : errno;
    require(error == 0, "release", ptr, size, "munmap failed");
    range_remove(os, range);
  }
  unlock();
  return error;
}

static int strict_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  test_os_t *os = ctx;
  lock();
  require_pages(os, "commit", ptr, size);
  require(zeroed != NULL, "commit", ptr, size, "zeroed is NULL");
  test_range_t *range = range_of(os, ptr, size);
  require(range != NULL, "commit", ptr, size, "not inside a reservation");
  unsigned char *pages = range->pages + (size_t)((char *)ptr - range->base) / UNIT;
  size_t count = size / UNIT;
  for (size_t i = 0; i < count; i++) {
    require(pages[i] != PAGE_COMMITTED || g_forked, "commit", ptr, size,
            "is committed already");
  }
  int error = ENOMEM;
  if (!must_fail(os, TEST_OS_COMMIT) &&
      mprotect(ptr, size, PROT_READ | PROT_WRITE) == 0) {
    bool dirty = (os->flags & TEST_OS_DIRTY) != 0, fresh = !dirty;
    for (size_t i = 0; i < count; i++) {
      if (pages[i] == PAGE_PURGED || dirty) {
        fresh = false;
        if ((os->flags & TEST_OS_PURGE_NOOP) == 0) {
          memset((char *)ptr + i * UNIT, GARBAGE, UNIT);
        }
      }
      pages[i] = PAGE_COMMITTED;
    }
    os->committed_bytes += size;
    *zeroed = fresh;
    error = 0;
  }
  unlock();
  return error;
}

static int strict_purge(void *ctx, void *ptr, size_t size) {
  test_os_t *os = ctx;
  if ((os->flags & TEST_OS_SLOW_PURGE) != 0) {
    /* Whoever takes the pages meanwhile loses what it writes there. */
    usleep(200);
  }
  lock();
  require_pages(os, "purge", ptr, size);
  test_range_t *range = range_of(os, ptr, size);
  require(range != NULL, "purge", ptr, size, "not inside a reservation");
  unsigned char *pages = range->pages + (size_t)((char *)ptr - range->base) / UNIT;
  size_t count = size / UNIT;
  for (size_t i = 0; i < count; i++) {
    require(pages[i] == PAGE_COMMITTED || g_forked, "purge", ptr, size,
            "is not committed");
  }
  int error = ENOMEM;
  if (!must_fail(os, TEST_OS_PURGE)) {
    if ((os->flags & TEST_OS_PURGE_NOOP) == 0) {
      require(mprotect(ptr, size, PROT_NONE) == 0, "purge", ptr, size, "mprotect failed");
      require(madvise(ptr, size, MADV_DONTNEED) == 0, "purge", ptr, size,
              "madvise failed");
    }
    memset(pages, PAGE_PURGED, count);
    os->committed_bytes -= size;
    error = 0;
  }
  unlock();
  return error;
}

static void *strict_remap(void *ctx, void *ptr, size_t old_size, size_t new_size) {
  test_os_t *os = ctx;
  lock();
  require_pages(os, "remap", ptr, old_size);
  require_pages(os, "remap", ptr, new_size);
  test_range_t *range = range_of(os, ptr, old_size);
  require(range != NULL && range->base == (char *)ptr && range->size == old_size, "remap",
          ptr, old_size, "not a whole range");
  require(count_committed(range) == old_size, "remap", ptr, old_size,
          "not committed as a whole");
  size_t alignment = range->alignment;
  char *moved = NULL;
  bool fits = (os->flags & TEST_OS_LIMITED) == 0 || new_size < old_size ||
              new_size - old_size <= os->limit - os->reserved_bytes;
  char *target =
      !must_fail(os, TEST_OS_REMAP) && fits ? map_aligned(new_size, alignment) : NULL;
  if (target != NULL) {
    moved = mremap(ptr, old_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    if (moved == MAP_FAILED) {
      munmap(target, new_size);
      moved = NULL;
    } else {
      range_remove(os, range);
      range_insert(os, moved, new_size, alignment);
      memset(range_of(os, moved, new_size)->pages, PAGE_COMMITTED, new_size / UNIT);
      os->committed_bytes += new_size;
    }
  }
  unlock();
  return moved;
}

static uint64_t strict_now_ns(void *ctx) {
  const test_os_t *os = ctx;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec +
         __atomic_load_n(&os->clock_skew_ns, __ATOMIC_RELAXED);
}

/* ---- Opening ---------------------------------------------------------- */

void test_os_open(test_os_t *os, unsigned flags) {
  lock();
  g_forked = false;
  unlock();
  memset(os, 0, sizeof *os);
  os->flags = flags;
  os->limit = SIZE_MAX;
  os->rng = test_rng(test_seed(), 0x5051);
  size_t page = (flags & TEST_OS_PAGE_64K) != 0   ? 64 * KIB
                : (flags & TEST_OS_PAGE_16K) != 0 ? 16 * KIB
                                                  : 4 * KIB;
  os->hooks = (hak_os_t){
      .struct_size = sizeof os->hooks,
      .page_size = page,
      .granularity = page,
      .ctx = os,
      .reserve = strict_reserve,
      .release = strict_release,
      .commit = strict_commit,
      .purge = strict_purge,
      .remap = (flags & TEST_OS_NO_REMAP) != 0 ? NULL : strict_remap,
      .now_ns = strict_now_ns,
  };
}

void test_os_close(test_os_t *os) {
  CHECK_EQ(os->ranges, 0);
  free(os->range);
  os->range = NULL;
  os->range_capacity = 0;
}

unsigned test_os_parse(const char *text) {
  static const struct {
    const char *name;
    unsigned flag;
  } names[] = {{"far", TEST_OS_FAR},          {"page16", TEST_OS_PAGE_16K},
               {"page64", TEST_OS_PAGE_64K},  {"nopurge", TEST_OS_PURGE_NOOP},
               {"noremap", TEST_OS_NO_REMAP}, {"slow", TEST_OS_SLOW_PURGE},
               {"dirty", TEST_OS_DIRTY}};
  unsigned flags = 0;
  for (size_t i = 0; i < TEST_COUNT(names); i++) {
    if (strstr(text, names[i].name) != NULL) {
      flags |= names[i].flag;
    }
  }
  return flags;
}

void test_os_fail(test_os_t *os, test_os_mode_t mode, unsigned kinds, uint64_t n) {
  lock();
  os->mode = mode;
  os->kinds = kinds;
  os->n = n;
  os->planned_calls = 0;
  unlock();
}

void test_os_advance_ms(test_os_t *os, uint64_t ms) {
  __atomic_fetch_add(&os->clock_skew_ns, ms * 1000000u, __ATOMIC_RELAXED);
}

uint64_t test_os_calls(test_os_t *os) {
  uint64_t sum = 0;
  lock();
  for (int i = 0; i < TEST_OS_KINDS; i++) {
    sum += os->calls[i];
  }
  unlock();
  return sum;
}

int test_os_init(test_os_t *os) {
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = &os->hooks};
  return hak_init(&config);
}
