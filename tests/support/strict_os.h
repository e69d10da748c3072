/* strict_os.h - operating system hooks that trust nobody.
 *
 * Reserved and purged pages are PROT_NONE, released ranges are unmapped, pages
 * that come back from a purge are full of garbage, and every argument is held
 * against the contract in hakmem.h; a breach prints one line and aborts. The
 * hooks count, can be made to fail by plan, and come in the variants below.
 */
#ifndef HAKMEM_TEST_STRICT_OS_H
#define HAKMEM_TEST_STRICT_OS_H

#include "support.h"

#define TEST_OS_FAR 0x01u /* reservations lie far apart, in falling and rising order */
#define TEST_OS_PAGE_16K 0x02u     /* reports pages of 16 KiB */
#define TEST_OS_PAGE_64K 0x04u     /* reports pages of 64 KiB */
#define TEST_OS_PURGE_NOOP 0x08u   /* purge succeeds and keeps pages and contents */
#define TEST_OS_NO_REMAP 0x10u     /* remap is NULL */
#define TEST_OS_LIMITED 0x20u      /* reserves `limit` bytes in all, at most */
#define TEST_OS_SLOW_PURGE 0x40u   /* purge takes its time before it acts */
#define TEST_OS_SLOW_RESERVE 0x80u /* reserve does */
#define TEST_OS_DIRTY 0x100u       /* pages are full of garbage the first time, too */

#ifdef __cplusplus
extern "C" {
#endif

typedef enum test_os_kind {
  TEST_OS_RESERVE,
  TEST_OS_RELEASE,
  TEST_OS_COMMIT,
  TEST_OS_PURGE,
  TEST_OS_REMAP,
  TEST_OS_KINDS
} test_os_kind_t;

#define TEST_OS_ALL_KINDS ((1u << TEST_OS_KINDS) - 1)

typedef enum test_os_mode {
  TEST_FAIL_NONE,
  TEST_FAIL_NTH,      /* call n only */
  TEST_FAIL_FROM_NTH, /* call n and all that follow */
  TEST_FAIL_RANDOM    /* n percent of the calls, at random */
} test_os_mode_t;

typedef struct test_os {
  hak_os_t hooks; /* what to give to hak_init */
  unsigned flags;
  size_t limit;
  /* the plan of failures; calls of `kinds` are counted from when it was set */
  test_os_mode_t mode;
  unsigned kinds;
  uint64_t n, planned_calls;
  test_rng_t rng;
  /* what happened */
  uint64_t calls[TEST_OS_KINDS];
  uint64_t failures;
  uint64_t clock_skew_ns; /* added to the clock */
  size_t reserved_bytes;  /* now */
  size_t committed_bytes; /* now */
  size_t ranges;          /* reservations now */
  struct test_range *range;
  size_t range_capacity;
  uint64_t far_next;
} test_os_t;

void test_os_open(test_os_t *os, unsigned flags);
/* Forgets the records; the ranges must have been released. */
void test_os_close(test_os_t *os);
/* Flags from a list such as "1", "far", "page64,noremap". */
unsigned test_os_parse(const char *text);

void test_os_fail(test_os_t *os, test_os_mode_t mode, unsigned kinds, uint64_t n);
/* Moves the hooks' clock forward. */
void test_os_advance_ms(test_os_t *os, uint64_t ms);
/* Calls of all kinds so far. */
uint64_t test_os_calls(test_os_t *os);

/* hak_init over these hooks, without the environment. */
int test_os_init(test_os_t *os);

#ifdef __cplusplus
}
#endif

#endif /* HAKMEM_TEST_STRICT_OS_H */
