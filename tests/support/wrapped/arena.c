/* arena.c - see arena.h.
 *
 * Ranges are multiples of units, and lie as low as they fit: in an arena that is empty at
 * first the same calls get the same ranges. Between ranges all is zero. What does not
 * fit, or is to lie at an address, is the system's. */
#include "arena.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_COLLAPSE /* older headers do not have it */
#define MADV_COLLAPSE 25
#endif

enum {
  UNIT = 64 << 10,
  SIZE = 256 << 20,
  ALIGNMENT = 2 << 20, /* of the arena; of a range that is not smaller */
  UNITS = SIZE / UNIT,
  PAGE = TEST_ARENA_PAGE
};

void *__real_mmap(void *address, size_t size, int protection, int flags, int fd,
                  off_t offset);
int __real_munmap(void *address, size_t size);
int __real_madvise(void *address, size_t size, int advice);
int __real_mincore(void *address, size_t size, unsigned char *pages);
int __real_mprotect(void *address, size_t size, int protection);
int __real_clock_gettime(clockid_t clock, struct timespec *time);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd,
                  off_t offset);
int __wrap_munmap(void *address, size_t size);
int __wrap_madvise(void *address, size_t size, int advice);
int __wrap_mincore(void *address, size_t size, unsigned char *pages);
int __wrap_mprotect(void *address, size_t size, int protection);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

static char *arena;
static bool used;              /* between begin and end */
static bool taken[UNITS];      /* by a range */
static bool huge[SIZE / PAGE]; /* of a huge page, so that all of it came at once */
static struct timespec now;    /* when it began */

static bool is_inside(const void *address) {
  return arena != NULL && test_is_within(address, arena, SIZE);
}
static size_t units_of(size_t size) { return (size + UNIT - 1) / UNIT; }
static size_t unit_at(const void *address) {
  return (size_t)((const char *)address - arena) / UNIT;
}

/* The first of so many free units that begin at a multiple of `step`; UNITS if there are
 * none. */
static size_t find(size_t count, size_t step) {
  size_t first = 0, free = 0;
  for (size_t i = 0; i < UNITS && free < count; i++) {
    if (free == 0 && i % step != 0) continue;
    if (free == 0) first = i;
    free = taken[i] ? 0 : free + 1;
  }
  return free == count ? first : UNITS;
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd,
                  off_t offset) {
  if (used && address == NULL && (flags & MAP_ANONYMOUS) != 0 && size <= SIZE) {
    size_t count = units_of(size);
    size_t first = find(count, size < ALIGNMENT ? 1 : ALIGNMENT / UNIT);
    if (first < UNITS) {
      memset(&taken[first], true, count);
      return arena + first * UNIT;
    }
  }
  return __real_mmap(address, size, protection, flags, fd, offset);
}

/* In steps that a compiler adds up in vectors. */
static bool is_zero(const char *page) {
  const uint64_t *words = (const uint64_t *)(const void *)page;
  enum {
    STEP = 32
  };
  for (size_t i = 0; i < PAGE / sizeof *words; i += STEP) {
    uint64_t any = 0;
    for (size_t k = 0; k < STEP; k++) any |= words[i + k];
    if (any != 0) return false;
  }
  return true;
}

static void make_zero(char *start, size_t size) {
  for (size_t i = 0; i < size; i += PAGE) {
    if (!is_zero(start + i)) memset(start + i, 0, PAGE);
  }
}

/* The same of a range most of which nobody ever touched. */
static void make_zero_again(char *start, size_t size) {
  static unsigned char there[SIZE / PAGE];
  CHECK_EQ(__real_mincore(start, size, there), 0);
  for (size_t i = 0; i < size / PAGE; i++) {
    if ((there[i] & 1) != 0) make_zero(start + i * PAGE, PAGE);
  }
}

/* Of the pages of a range. */
static void set_huge(const char *start, size_t size, bool value) {
  memset(&huge[(size_t)(start - arena) / PAGE], value, size / PAGE);
}

int __wrap_munmap(void *address, size_t size) {
  if (!is_inside(address)) return __real_munmap(address, size);
  set_huge(address, size, false);
  make_zero_again(address, units_of(size) * UNIT);
  memset(&taken[unit_at(address)], false, units_of(size));
  return 0;
}

int __wrap_madvise(void *address, size_t size, int advice) {
  if (!is_inside(address)) return __real_madvise(address, size, advice);
  if (advice == MADV_HUGEPAGE || advice == MADV_COLLAPSE) set_huge(address, size, true);
  if (advice == MADV_DONTNEED) {
    set_huge(address, size, false);
    make_zero(address, size);
  }
  return 0;
}

int __wrap_mincore(void *address, size_t size, unsigned char *pages) {
  if (!is_inside(address)) return __real_mincore(address, size, pages);
  for (size_t i = 0; i < size / PAGE; i++) {
    const char *page = (char *)address + i * PAGE;
    pages[i] = huge[(size_t)(page - arena) / PAGE] || !is_zero(page);
  }
  return 0;
}

int __wrap_mprotect(void *address, size_t size, int protection) {
  return is_inside(address) ? 0 : __real_mprotect(address, size, protection);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time) {
  if (!used) return __real_clock_gettime(clock, time);
  *time = now;
  return 0;
}

void test_arena_begin(void) {
  if (arena == NULL) {
    char *all = __real_mmap(NULL, (size_t)SIZE + ALIGNMENT, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(all != MAP_FAILED);
    arena = all + (-(uintptr_t)all & (ALIGNMENT - 1));
    (void)__real_madvise(arena, SIZE, MADV_HUGEPAGE);
  }
  CHECK_EQ(__real_clock_gettime(CLOCK_MONOTONIC, &now), 0);
  used = true;
}

void test_arena_end(void) { used = false; }
