#include "os/written.h"

#include "base/check.h"

#if HAK_CHECKS >= 3

/* In pieces that a compiler adds up in vectors. */
typedef uint64_t line_t __attribute__((vector_size(64), may_alias));

HAK_HOT bool is_empty(const line_t *line) {
  uint64_t any = 0;
  for (size_t i = 0; i < HAK_WRITTEN_LINE / sizeof any; i++) any |= (*line)[i];
  return any == 0;
}

HAK_HOT const void *find_by_lines(const void *from, size_t bytes) {
  enum {
    STEP = 8 /* lines between two looks at what was found */
  };
  const line_t *at = from, *end = at + bytes / HAK_WRITTEN_LINE;
  while (end - at >= STEP) {
    line_t some = at[0] | at[1] | at[2] | at[3] | at[4] | at[5] | at[6] | at[7];
    if (HAK_UNLIKELY(!is_empty(&some))) break;
    at += STEP;
  }
  while (at < end && is_empty(at)) at++;
  return at < end ? at : NULL;
}

#if defined(__x86_64__)
/* Twice as fast as with the vectors that every processor has. */
__attribute__((target("avx2"))) static const void *find_wide(const void *from,
                                                             size_t bytes) {
  return find_by_lines(from, bytes);
}
static const void *find(const void *from, size_t bytes) {
  return __builtin_cpu_supports("avx2") ? find_wide(from, bytes)
                                        : find_by_lines(from, bytes);
}
#else
static const void *find(const void *from, size_t bytes) {
  return find_by_lines(from, bytes);
}
#endif

/* A piece of a slab at most. To read a page that is not there would bring it. */
static const void *find_in_piece(const hak_os_t *os, const char *from, size_t bytes) {
  return hak_os_resident(os, (void *)(uintptr_t)from, bytes) == 0 ? NULL
                                                                  : find(from, bytes);
}

const void *hak_os_find_written(const hak_os_t *os, const void *from, size_t bytes) {
  enum {
    PART = 2 << 20, /* bytes that one question is about */
    PIECE = 64 << 10
  };
  const char *at = from, *end = at + bytes;
  while (at < end) {
    size_t part = (size_t)(end - at) < PART ? (size_t)(end - at) : PART;
    int64_t there = hak_os_resident(os, (void *)(uintptr_t)at, part);
    const void *found = NULL;
    if (there < 0 || (size_t)there >= part) {
      found = find(at, part);
    } else if (there > 0) {
      for (size_t i = 0; i < part && found == NULL; i += PIECE) {
        found = find_in_piece(os, at + i, part - i < PIECE ? part - i : PIECE);
      }
    }
    if (found != NULL) return found;
    at += part;
  }
  return NULL;
}
#else
const void *hak_os_find_written(const hak_os_t *os, const void *from, size_t bytes) {
  (void)os, (void)from, (void)bytes; /* these builds never look */
  return NULL;
}
#endif
