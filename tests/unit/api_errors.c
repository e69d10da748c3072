/* api_errors.c - misuse that is named at once, and what the handlers are told.
 * Misuse that shows later is in tests/death. */
#include "child.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int g_static[64];

typedef struct foreign {
  const char *name;
  void *address;
} foreign_t;

static void foreign_pointers__are_named_at_once_by_every_function(void **state) {
  (void)state;
  int local[64];
  char *mapped =
      mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *unreadable = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void *libc = malloc(128);
  char *ours = hak_alloc(64);
  const foreign_t foreign[] = {
      {"stack", local},
      {"static", g_static},
      {"mapped", mapped},
      {"inside a mapping", mapped + 65536},
      {"unreadable", unreadable},
      {"libc's", libc},
      {"code", (void *)(uintptr_t)&foreign_pointers__are_named_at_once_by_every_function},
      {"1", (void *)1},
      {"16", (void *)16},
      {"4096", (void *)4096},
      {"65536", (void *)65536},
      {"non-canonical", (void *)(uintptr_t)0x0000800000000000},
      {"non-canonical high", (void *)(uintptr_t)0xdeadbeefdeadbee0},
      {"kernel", (void *)(uintptr_t)0xffff888000000000},
      {"all ones", (void *)UINTPTR_MAX},
      {"aligned all ones", (void *)(UINTPTR_MAX - 15)},
      {"ours with bit 47", (void *)((uintptr_t)ours ^ (uintptr_t)1 << 47)},
      {"ours with bit 48", (void *)((uintptr_t)ours ^ (uintptr_t)1 << 48)},
      {"ours with bit 55", (void *)((uintptr_t)ours ^ (uintptr_t)1 << 55)},
      {"ours with bit 63", (void *)((uintptr_t)ours ^ (uintptr_t)1 << 63)},
  };
  unsigned count = 0;
  for (size_t i = 0; i < TEST_COUNT(foreign); i++) {
    void *p = foreign[i].address;
    fprintf(stderr, "  %s\n", foreign[i].name);
    hak_free(p);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_free");
    CHECK(g_reports.last.heap == NULL);
    hak_free_sized(p, 16);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_free_sized");
    hak_free_aligned_sized(p, 16, 16);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_free_aligned_sized");
    CHECK(hak_realloc(p, 100) == NULL);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_realloc");
    CHECK(hak_reallocarray(p, 10, 10) == NULL);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_reallocarray");
    CHECK(hak_aligned_realloc(p, 64, 100) == NULL);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_aligned_realloc");
    CHECK(hak_reallocx(NULL, p, 100, 0, 0, NULL) == NULL);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_reallocx");
    CHECK_EQ(hak_usable_size(p), 0);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_usable_size");
    CHECK_EQ(hak_resize_in_place(p, 1, 1), 0);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_resize_in_place");
  }
  hak_free(ours);
  CHECK_EQ(g_reports.count, count);
  free(libc);
  munmap(mapped, 4 << 20);
  munmap(unreadable, 4096);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Bins keep no blocks over 56 KiB: then each is looked at as it is freed. */
static void forbid_growth(void) {
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 0), 0);
  hak_thread_idle();
}
static void allow_growth(void) {
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 32 << 20), 0);
}

static void large_blocks__freed_inside_into_a_bin_are_named_and_never_given(
    void **state) {
  (void)state;
  static const size_t sizes[] = {60000, 100000, 1 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (int n = 0; n < 3; n++) hak_free(hak_alloc(sizes[i])); /* the bin has room */
    unsigned before = g_reports.count;
    unsigned char *block = hak_alloc(sizes[i]);
    test_fill_sparse(block, sizes[i], i);
    hak_free(block + 4096);
    unsigned char *other = hak_alloc(sizes[i]);
    CHECK(other + sizes[i] <= block || other >= block + sizes[i]);
    test_expect_report(before + 1, HAK_ERROR_INTERIOR_POINTER, block + 4096, NULL);
    hak_free(other);
    hak_free(block);
    CHECK_EQ(g_reports.count, before + 1);
  }
}

static void interior_pointers__into_large_blocks_are_named_at_once(void **state) {
  (void)state;
  forbid_growth();
  static const size_t sizes[] = {60000, 100000, 1 << 20, 3 << 20, 50 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    unsigned char *block = hak_alloc(sizes[i]);
    test_fill_sparse(block, sizes[i], i);
    const size_t offsets[] = {1, 8, 16, 4096, sizes[i] / 2, sizes[i] - 1};
    for (size_t k = 0; k < TEST_COUNT(offsets); k++) {
      unsigned before = g_reports.count;
      hak_free(block + offsets[k]);
      test_expect_report(before + 1, HAK_ERROR_INTERIOR_POINTER, block + offsets[k],
                         "hak_free");
      CHECK(g_reports.last.heap == hak_heap_default());
      CHECK(hak_realloc(block + offsets[k], 10) == NULL);
      test_expect_report(before + 2, HAK_ERROR_INTERIOR_POINTER, block + offsets[k],
                         "hak_realloc");
    }
    unsigned before = g_reports.count;
    CHECK(test_verify_sparse(block, sizes[i], i));
    hak_free(block);
    CHECK_EQ(g_reports.count, before);
  }
  allow_growth();
}

static void large_blocks__freed_twice_are_named_at_once(void **state) {
  (void)state;
  forbid_growth();
  static const size_t sizes[] = {100000, 1 << 20, 3 << 20, 50 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    unsigned before = g_reports.count;
    void *block = hak_alloc(sizes[i]);
    hak_free(block);
    CHECK_EQ(g_reports.count, before);
    hak_free(block);
    CHECK_EQ(g_reports.count, before + 1);
    CHECK(g_reports.last.address == block);
    CHECK_MSG(g_reports.last.error == HAK_ERROR_DOUBLE_FREE ||
                  g_reports.last.error == HAK_ERROR_FOREIGN_POINTER,
              "reported as '%s'", hak_error_text(g_reports.last.error));
    /* Nothing was broken by it. */
    CHECK_EQ(hak_check(NULL), 0);
    block = hak_alloc(sizes[i]);
    CHECK(block != NULL);
    hak_free(block);
  }
  allow_growth();
}

static void free_sized__a_size_beyond_the_usable_one_is_named_and_dropped(void **state) {
  (void)state;
  static const size_t sizes[] = {1,     16,     100,     1024,    5000,
                                 32768, 100000, 1 << 20, 40 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    uint64_t blocks = test_live_blocks();
    unsigned before = g_reports.count;
    unsigned char *block = hak_alloc(sizes[i]);
    size_t usable = hak_usable_size(block);
    test_fill_sparse(block, usable, i);
    hak_free_sized(block, usable + 1);
    test_expect_report(before + 1, HAK_ERROR_WRONG_SIZE, block, "hak_free_sized");
    CHECK(g_reports.last.heap == hak_heap_default());
    hak_free_sized(block, SIZE_MAX);
    test_expect_report(before + 2, HAK_ERROR_WRONG_SIZE, block, "hak_free_sized");
    hak_free_aligned_sized(block, 1, usable * 2);
    test_expect_report(before + 3, HAK_ERROR_WRONG_SIZE, block, "hak_free_aligned_sized");
    /* The calls were dropped: the block is whole and can be freed. */
    CHECK(test_verify_sparse(block, usable, i));
    CHECK_EQ(test_live_blocks(), blocks + 1);
    hak_free_sized(block, usable);
    CHECK_EQ(g_reports.count, before + 3);
    CHECK_EQ(test_live_blocks(), blocks);
  }
}

static void free_aligned_sized__a_wrong_alignment_is_named_and_dropped(void **state) {
  (void)state;
  unsigned char *blocks[8];
  unsigned count = 0;
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(48);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    if ((uintptr_t)blocks[i] % MIB != 0) {
      hak_free_aligned_sized(blocks[i], MIB, 48);
      test_expect_report(++count, HAK_ERROR_WRONG_ALIGNMENT, blocks[i],
                         "hak_free_aligned_sized");
    }
    hak_free_aligned_sized(blocks[i], 48, 48);
    test_expect_report(++count, HAK_ERROR_WRONG_ALIGNMENT, blocks[i],
                       "hak_free_aligned_sized");
    hak_free_aligned_sized(blocks[i], 16, 48);
    CHECK_EQ(g_reports.count, count);
  }
}

static void errors__have_stable_distinct_names(void **state) {
  (void)state;
  static const struct {
    hak_error_t error;
    const char *text;
  } names[] = {{HAK_ERROR_DOUBLE_FREE, "double free"},
               {HAK_ERROR_FOREIGN_POINTER, "foreign pointer"},
               {HAK_ERROR_INTERIOR_POINTER, "interior pointer"},
               {HAK_ERROR_WRONG_SIZE, "wrong size"},
               {HAK_ERROR_WRONG_ALIGNMENT, "wrong alignment"},
               {HAK_ERROR_CORRUPT_BLOCK, "corrupt free block"},
               {HAK_ERROR_AFTER_SHUTDOWN, "use after shutdown"},
               {HAK_ERROR_BAD_OPTION, "bad option"},
               {HAK_ERROR_BAD_STATE, "broken invariant"},
               {HAK_ERROR_STALE_HEAP, "stale heap"},
               {HAK_ERROR_WRONG_HEAP, "wrong heap"},
               {HAK_ERROR_LEAK, "leak"},
               {HAK_ERROR_OVERFLOW, "overflow"}};
  CHECK_EQ(TEST_COUNT(names), HAK_ERROR_OVERFLOW);
  for (size_t i = 0; i < TEST_COUNT(names); i++) {
    CHECK_MSG(strcmp(hak_error_text(names[i].error), names[i].text) == 0,
              "'%s' is not '%s'", hak_error_text(names[i].error), names[i].text);
  }
  CHECK(hak_error_text((hak_error_t)0) != NULL);
  CHECK(hak_error_text((hak_error_t)1000) != NULL);
}

/* ---- The default handler ---------------------------------------------- */

static int free_static_child(void *ctx) {
  (void)ctx;
  hak_set_error_handler(NULL, NULL);
  hak_free(hak_alloc(10));
  hak_free(g_static);
  return 0;
}

static void default_handler__prints_one_line_and_aborts(void **state) {
  (void)state;
  test_child_t child = test_child_run(free_static_child, NULL, 10);
  CHECK_EQ(child.signal, SIGABRT);
  char start[128];
  snprintf(start, sizeof start, "hakmem: foreign pointer: address %p, in ",
           (void *)g_static);
  CHECK_MSG(strncmp(child.output, start, strlen(start)) == 0, "said: %s", child.output);
  CHECK_MSG(strstr(child.output, ", in hak_free: ") != NULL, "said: %s", child.output);
  if (!TEST_ASAN && !TEST_TSAN) {
    CHECK_EQ(strchr(child.output, '\n') - child.output, (long)child.length - 1);
  }
}

static int wrong_size_child(void *ctx) {
  (void)ctx;
  hak_set_error_handler(NULL, NULL);
  hak_free_sized(hak_alloc(100), 5000);
  return 0;
}

static int realloc_high_child(void *ctx) {
  (void)ctx;
  hak_set_error_handler(NULL, NULL);
  hak_free(hak_alloc(10));
  void *p = hak_realloc((void *)(uintptr_t)0xfff0000000000010, 10);
  return p == NULL ? 3 : 0;
}

static void default_handler__names_the_function_and_the_fault(void **state) {
  (void)state;
  test_child_must_abort(wrong_size_child, NULL, "hakmem: wrong size: address 0x",
                        ", in hak_free_sized: ", NULL);
  test_child_must_abort(realloc_high_child, NULL,
                        "hakmem: foreign pointer: address 0xfff0000000000010",
                        ", in hak_realloc: ", NULL);
}

static int ignore_child(void *ctx) {
  (void)ctx;
  hak_set_error_handler(hak_error_ignore, NULL);
  for (int i = 0; i < 100; i++) {
    hak_free(&g_static[i % 64]);
    hak_free((void *)(uintptr_t)(0x1234567890abcdefu * (unsigned)i));
    CHECK_EQ(hak_usable_size(g_static), 0);
    CHECK(hak_realloc(g_static, 5) == NULL);
  }
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void ignore_handler__drops_every_report_silently(void **state) {
  (void)state;
  test_child_t child = test_child_run(ignore_child, NULL, 10);
  CHECK_EQ(child.signal, 0);
  CHECK_EQ(child.status, 0);
  CHECK_EQ(child.length, 0);
}

static void handler__gets_its_context_and_null_restores_the_default(void **state) {
  (void)state;
  test_reports_t mine = {0};
  hak_set_error_handler(test_count_report, &mine);
  hak_free(g_static);
  CHECK_EQ(mine.count, 1);
  CHECK_EQ(g_reports.count, 0);
  hak_set_error_handler(NULL, NULL);
  test_child_must_abort(free_static_child, NULL, "foreign pointer", NULL);
}

/* The second free of each makes the list of free blocks come back to itself. */
static void free_so_that_lists_come_back(char **blocks, size_t count) {
  for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
  hak_free(blocks[0]);
}

static int cycle_child(void *ctx) {
  enum {
    BLOCKS = 20
  };
  (void)ctx;
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.hard_limit = 64 * MIB;
  hak_heap_t *heaps[] = {NULL, hak_heap_create(NULL), hak_heap_create(&config)};
  static const size_t sizes[] = {64, 800, 5000, 30000};
  test_reports_begin();
  for (size_t h = 0; h < TEST_COUNT(heaps); h++) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      for (int way = 0; way < 3; way++) {
        char *blocks[BLOCKS];
        for (size_t k = 0; k < BLOCKS; k++) {
          blocks[k] = hak_heap_alloc(heaps[h], sizes[i]);
          CHECK(blocks[k] != NULL);
        }
        free_so_that_lists_come_back(blocks, BLOCKS);
        if (way == 0) (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
        if (way == 1) (void)hak_heap_prewarm(heaps[h], sizes[i], 4 * BLOCKS);
        hak_thread_idle();
        (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
      }
    }
  }
  CHECK(g_reports.count > 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void double_free__no_list_makes_the_library_loop(void **state) {
  (void)state;
  test_child_must_succeed(cycle_child, NULL, 30);
}

static jmp_buf g_out;
static unsigned g_left;

static void leave(const hak_error_info_t *info, void *ctx) {
  (void)info;
  (void)ctx;
  g_left++;
  longjmp(g_out, 1);
}

static void misuse(int kind, hak_heap_t *heap, hak_heap_t *gone) {
  char *block = hak_heap_alloc(heap, 3000), *other = hak_alloc(100);
  CHECK(block != NULL && other != NULL);
  if (setjmp(g_out) != 0) return;
  switch (kind) {
    case 0:
      hak_free(g_static);
      break;
    case 1:
      hak_free(block + 8);
      break;
    case 2:
      hak_heap_free(heap, other);
      break;
    case 3:
      hak_free_sized(block, 100000);
      break;
    case 4:
      CHECK(hak_heap_alloc(gone, 10) == NULL);
      break;
    case 5:
      hak_free(block);
      hak_free(block);
      for (int i = 0; i < 300; i++) (void)hak_heap_alloc(heap, 3000);
      break;
    case 6:
      (void)hak_heap_destroy(heap); /* its leaks */
      break;
    case 7: /* the operating system is out of reach for this call alone */
      (void)hak_reallocx(NULL, g_static, 100, 0, HAK_NO_GROW, NULL);
      break;
    case 8: /* found in the middle of a request that the limit refuses */
      for (int i = 0; i < 20; i++) hak_free(hak_heap_alloc(heap, 3000));
      hak_free(block);
      hak_free(block);
      (void)hak_heap_alloc(heap, 64 << 20);
      break;
    default:
      fail();
  }
}

/* Where the calls that were left had their records something else lies now. */
static __attribute__((noinline)) void use_stack(void) {
  volatile unsigned char bytes[8192];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = 0xA5;
}

/* Requests of all kinds are served, and asked of the operating system if need be. */
static bool use_memory(hak_heap_t *heap) {
  bool ok = true;
  for (size_t i = 0; i < 20; i++) {
    void *block = hak_alloc(3 << 20), *other = hak_alloc(60000 + 5000 * i);
    ok = ok && block != NULL && other != NULL;
    if (hak_heap_name(heap) != NULL) ok = ok && hak_heap_alloc(heap, 2 << 20) != NULL;
    hak_free(hak_realloc(other, 300000));
  }
  return ok;
}

static int longjmp_child(void *ctx) {
  enum {
    KINDS = 9
  };
  (void)ctx;
  hak_heap_t *gone = hak_heap_create(NULL);
  CHECK_EQ(hak_heap_destroy(gone), 0);
  hak_set_error_handler(leave, NULL);
  for (int kind = 0; kind < KINDS; kind++) {
    hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
    config.flags = HAK_HEAP_REPORT_LEAKS;
    if (kind == 8) config.hard_limit = 60 << 20;
    hak_heap_t *heap = hak_heap_create(&config);
    void *stays = hak_heap_alloc(heap, 3000);
    unsigned before = g_left;
    misuse(kind, heap, gone);
    CHECK_MSG(g_left > before, "misuse %d", kind);
    CHECK(stays != NULL);
    use_stack();
    CHECK_MSG(use_memory(heap), "misuse %d", kind);
    CHECK_EQ(hak_check(NULL), 0);
    hak_stats_t stats = HAK_STATS_INIT;
    pid_t pid = test_fork();
    if (pid == 0) {
      CHECK_EQ(hak_stats_get(NULL, &stats), 0);
      _exit(stats.fork_lost_bytes != 0 || hak_check(NULL) != 0);
    }
    test_fork_end(pid);
  }
  CHECK_EQ(hak_shutdown(0), 0);
  return 0;
}

static void handler__may_leave_by_longjmp(void **state) {
  (void)state;
  test_child_must_succeed(longjmp_child, NULL, 60);
}

static void misuse__leaves_errno_alone_in_free(void **state) {
  (void)state;
  errno = TEST_ERRNO;
  hak_free(g_static);
  CHECK_EQ(errno, TEST_ERRNO);
  CHECK_EQ(g_reports.count, 1);
  errno = 0;
  CHECK(hak_realloc(g_static, 100) == NULL);
  CHECK_EQ(errno, EINVAL);
}

#define M(function) \
  cmocka_unit_test_setup_teardown(function, test_reports_setup, test_reports_teardown)

TEST_MAIN(M(foreign_pointers__are_named_at_once_by_every_function),
          M(interior_pointers__into_large_blocks_are_named_at_once),
          M(large_blocks__freed_inside_into_a_bin_are_named_and_never_given),
          M(large_blocks__freed_twice_are_named_at_once),
          M(free_sized__a_size_beyond_the_usable_one_is_named_and_dropped),
          M(free_aligned_sized__a_wrong_alignment_is_named_and_dropped),
          M(errors__have_stable_distinct_names),
          M(default_handler__prints_one_line_and_aborts),
          M(default_handler__names_the_function_and_the_fault),
          M(ignore_handler__drops_every_report_silently),
          M(handler__gets_its_context_and_null_restores_the_default),
          M(handler__may_leave_by_longjmp),
          M(double_free__no_list_makes_the_library_loop),
          M(misuse__leaves_errno_alone_in_free))
