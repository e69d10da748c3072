/* support.h - what every test of the suite shares: checks that also work in
 * threads and child processes, random numbers with a seed that replays, byte
 * patterns, and the main function that chooses the hooks.
 *
 * Environment, read once by test_begin() and then removed, so that the library
 * never takes it for options of its own:
 *
 *   HAKMEM_TEST_STRICT=1    initialise over strict hooks; or a list of variants,
 *                           see test_os_parse() in strict_os.h
 *   HAKMEM_TEST_SEED=n      seed of every random test; "random" = from the clock
 *   HAKMEM_TEST_SCALE=n     percent of the usual amount of work
 *   HAKMEM_TEST_ONLY=name   the tests of that name, with * and ? as in a shell
 */
#ifndef HAKMEM_TEST_SUPPORT_H
#define HAKMEM_TEST_SUPPORT_H

#include <hakmem/hakmem.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include <cmocka.h>

#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif
#ifndef TEST_ASAN
#define TEST_ASAN 0
#endif
/* QEMU runs the tests: slowly, with a system of its own in between. */
#ifndef TEST_EMULATED
#define TEST_EMULATED 0
#endif

#define TEST_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/* A value that errno never has by itself: shows who writes it. */
#define TEST_ERRNO 4242

/* ---- Checks ----------------------------------------------------------- */

/* Fails the running test. In the main thread of a test executable that is
 * cmocka's failure; in other threads and in child processes, where cmocka may
 * not jump, the message goes to stderr and the process aborts. */
void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

#define CHECK(condition)                               \
  do {                                                 \
    if (!(condition)) {                                \
      test_fail(__FILE__, __LINE__, "%s", #condition); \
    }                                                  \
  } while (0)

#define CHECK_MSG(condition, ...)                 \
  do {                                            \
    if (!(condition)) {                           \
      test_fail(__FILE__, __LINE__, __VA_ARGS__); \
    }                                             \
  } while (0)

#define CHECK_EQ(a, b)                                                                 \
  do {                                                                                 \
    long long test_a_ = (long long)(a), test_b_ = (long long)(b);                      \
    if (test_a_ != test_b_) {                                                          \
      test_fail(__FILE__, __LINE__, "%s is %lld (0x%llx), not %s = %lld (0x%llx)", #a, \
                test_a_, (unsigned long long)test_a_, #b, test_b_,                     \
                (unsigned long long)test_b_);                                          \
    }                                                                                  \
  } while (0)

/* Keeps a value from the compiler, which would warn about absurd sizes. */
size_t test_opaque(size_t value);

/* ---- Random numbers --------------------------------------------------- */

typedef struct test_random_state {
  uint64_t state;
} test_rng_t;

/* The seed of this run; `salt` tells the users of one seed apart. */
uint64_t test_seed(void);
test_rng_t test_rng(uint64_t seed, uint64_t salt);
uint64_t test_random(test_rng_t *rng);
/* 0 .. limit - 1; 0 for limit 0. */
uint64_t test_below(test_rng_t *rng, uint64_t limit);
/* Sizes as programs ask for them: mostly small, all tiers, `max` at most. */
size_t test_random_size(test_rng_t *rng, size_t max);
/* Prints the seed and the command that replays it. */
void test_print_seed(void);
/* From now on that command names the one test that is running, and has an argument; NULL
 * = none. For executables with many tests. */
void test_replay(const char *only, const char *argument);

/* Amount of work: less under sanitizers, HAKMEM_TEST_SCALE percent. Never 0. */
size_t test_scale(size_t count);

/* ---- Byte patterns ---------------------------------------------------- */

/* Writes bytes that depend on the tag and the offset, so that another block's
 * pattern, or the same one shifted, is seen as wrong. */
void test_fill(void *block, size_t size, uint64_t tag);
bool test_verify(const void *block, size_t size, uint64_t tag);
bool test_is_zero(const void *block, size_t size);
/* Whether an address lies in these `size` bytes of memory. */
bool test_is_within(const void *address, const void *memory, size_t size);
/* The same for parts of a large block: both ends and a word in each page. */
void test_fill_sparse(void *block, size_t size, uint64_t tag);
bool test_verify_sparse(const void *block, size_t size, uint64_t tag);
/* The first `kept` bytes of a block that was filled as one of `size`. */
bool test_verify_sparse_prefix(const void *block, size_t size, size_t kept, uint64_t tag);
/* The same for a block of TEST_NOTED bytes or more that whoever frees it knows nothing
 * of: its first bytes say how large it is and what its tag is. Returns the block. */
enum {
  TEST_NOTED = 16
};
void *test_fill_noted(void *block, size_t size, uint64_t tag);
/* Checks it, and returns its size. */
size_t test_check_noted(const void *block);

/* ---- The library in a test -------------------------------------------- */

/* The configuration that this run asks for: NULL, or strict hooks. */
const hak_config_t *test_config(void);
/* Initialises over strict hooks where the run asks for them, else leaves the
 * library to its first allocation. */
void test_start(void);
/* After hak_shutdown: as test_start, from nothing. */
void test_restart(void);
/* True when the run is over hooks of the suite's own. */
bool test_is_strict(void);

/* Sets an option, which must succeed. */
void test_set(hak_option_t option, int64_t value);

/* Whether memory that is unused stays, whatever its age and however much there is: on a
 * busy machine what a test does may take longer than it would. */
void test_keep_unused(bool keep);

/* Of the process, and of one heap with those below it. */
hak_stats_t test_stats(void);
hak_stats_t test_heap_stats(hak_heap_t *heap);
/* A new heap of this configuration, whose struct_size need not be set; never NULL. */
hak_heap_t *test_heap_make(hak_heap_config_t config);
/* The same, of these three; its name is checked. */
hak_heap_t *test_heap(uint32_t flags, const char *name, hak_heap_t *parent);
/* A new heap in memory of the test's; NULL if that is refused. */
hak_heap_t *test_heap_in(void *memory, size_t size, uint32_t flags, hak_heap_t *parent);
/* Blocks that the program holds of a heap, serial ones included; collects it. */
uint64_t test_heap_live_blocks(hak_heap_t *heap);
/* Live bytes, by the sizes asked for, when the heap's first NULL comes: random sizes of
 * 16 B to 8 KiB, written to; with a `churn` of 2 or more one is freed again in so many
 * steps. The heap is checked then. */
size_t test_live_at_first_null(hak_heap_t *heap, unsigned churn, uint64_t salt);
uint64_t test_live_blocks(void);
uint64_t test_live_bytes(void);

/* A handler that counts and remembers the last report. */
typedef struct test_reports {
  unsigned count;
  hak_error_info_t last;
} test_reports_t;
void test_count_report(const hak_error_info_t *info, void *ctx);

/* What was reported since test_reports_begin(), which starts to count and remember. The
 * end restores the default handler and checks how many there were, and of what kind. */
extern test_reports_t g_reports;
void test_reports_begin(void);
void test_reports_end(unsigned count, hak_error_t error);
/* The same for one report, of this address. */
void test_reports_end_at(hak_error_t error, const void *address);
/* Checks that the handle of a heap that has ended, while `other` lives in its memory, and
 * a block that it had are named as such. Ends `other`. */
void test_reports_of_gone(hak_heap_t *heap, void *block, hak_heap_t *other);
/* For cmocka: begins, and restores the default handler without a look. */
int test_reports_setup(void **state);
int test_reports_teardown(void **state);
/* The last of `count` reports was this one; `function` NULL: whichever found it. */
void test_expect_report(unsigned count, hak_error_t error, const void *address,
                        const char *function);

/* ---- main ------------------------------------------------------------- */

void test_begin(void);
/* The number that is argument `i` of the program, or `otherwise` if it has not as many.
 */
size_t test_argument(int argc, char **argv, int i, size_t otherwise);
/* Seconds since some start, from a clock that never goes back. */
double test_seconds(void);
/* Of the process: what has an address, and what of it lies in memory. Sanitizers have
 * terabytes mapped, and pages of their own resident. */
size_t test_mapped_bytes(void);
size_t test_resident_bytes(void);

/* Writes main(): the library runs over the hooks that the environment asks for,
 * and the tests run in order. Arguments: the test functions. */
#define TEST_MAIN(...)                                \
  int main(void) {                                    \
    test_begin();                                     \
    test_start();                                     \
    const struct CMUnitTest tests[] = {__VA_ARGS__};  \
    return cmocka_run_group_tests(tests, NULL, NULL); \
  }

/* The same, but hakmem stays untouched: for tests whose children need a process
 * in which it was never used. */
#define TEST_MAIN_FRESH(...)                          \
  int main(void) {                                    \
    test_begin();                                     \
    const struct CMUnitTest tests[] = {__VA_ARGS__};  \
    return cmocka_run_group_tests(tests, NULL, NULL); \
  }

#ifdef __cplusplus
}
#define TEST(function) cmocka_unit_test(function) /* T names types there */
#else
#define T(function) cmocka_unit_test(function)
#endif

#endif /* HAKMEM_TEST_SUPPORT_H */
