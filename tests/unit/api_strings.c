/* api_strings.c - hak_strdup and hak_strndup. */
#include "support.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void strdup__copies_strings_of_all_lengths(void **state) {
  (void)state;
  static char text[100001];
  for (size_t length = 0; length < sizeof text;
       length = length < 600 ? length + 1 : length * 3) {
    memset(text, 'a' + (int)(length % 26), length);
    text[length] = '\0';
    errno = TEST_ERRNO;
    char *copy = hak_strdup(text);
    CHECK(copy != NULL && copy != text);
    CHECK_EQ(errno, TEST_ERRNO);
    CHECK_EQ(strlen(copy), length);
    CHECK(memcmp(copy, text, length + 1) == 0);
    CHECK(hak_usable_size(copy) >= length + 1);
    hak_free_sized(copy, length + 1);
  }
}

static void strdup__of_the_empty_string_is_a_block(void **state) {
  (void)state;
  char *a = hak_strdup(""), *b = hak_strdup("");
  CHECK(a != NULL && b != NULL && a != b);
  CHECK_EQ(a[0], 0);
  hak_free(a);
  hak_free(b);
}

static void strndup__cuts_and_always_ends(void **state) {
  (void)state;
  const char *text = "twelve bytes";
  for (size_t n = 0; n <= 40; n++) {
    /* What was in the block before may not show behind the end. */
    void *dirty = hak_alloc(n + 1);
    memset(dirty, 'x', hak_usable_size(dirty));
    hak_free(dirty);
    char *copy = hak_strndup(text, n);
    size_t expected = n < strlen(text) ? n : strlen(text);
    CHECK(copy != NULL);
    CHECK_EQ(strlen(copy), expected);
    CHECK(memcmp(copy, text, expected) == 0);
    hak_free(copy);
  }
}

static void strndup__with_a_large_bound_takes_only_what_the_string_needs(void **state) {
  (void)state;
  uint64_t bytes = test_live_bytes();
  char *copy = hak_strndup("short", SIZE_MAX);
  CHECK(copy != NULL && strcmp(copy, "short") == 0);
  CHECK(test_live_bytes() - bytes <= 16);
  hak_free(copy);
  copy = hak_strndup("short", (size_t)PTRDIFF_MAX);
  CHECK(copy != NULL && strcmp(copy, "short") == 0);
  hak_free(copy);
}

static void strndup__reads_no_byte_beyond_the_bound(void **state) {
  (void)state;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *pages =
      mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED);
  CHECK_EQ(mprotect(pages + page, page, PROT_NONE), 0);
  memset(pages, 'q', page);
  for (size_t n = 0; n <= 70; n++) {
    char *copy = hak_strndup(pages + page - n, n);
    CHECK(copy != NULL);
    CHECK_EQ(strlen(copy), n);
    hak_free(copy);
  }
  munmap(pages, 2 * page);
}

TEST_MAIN(T(strdup__copies_strings_of_all_lengths),
          T(strdup__of_the_empty_string_is_a_block), T(strndup__cuts_and_always_ends),
          T(strndup__with_a_large_bound_takes_only_what_the_string_needs),
          T(strndup__reads_no_byte_beyond_the_bound))
