/* tiny_link.c - the link in a freed block: what was written is read again, and what
 * no link can be is seen. */
#include "support.h"

#include <pthread.h>

#define HAK_COUNT_ATOMICS /* of the functions in headers */
#include "pages/registry.h"
#include "tiny/link.h"

_Thread_local uint64_t hak_atomics_counted;

enum {
  SECRETS = 2000
};

/* An address that a block may have. */
static void *random_block(test_rng_t *rng) {
  return (void *)(uintptr_t)(test_random(rng) >> (64 - HAK_ADDRESS_BITS) & ~(uint64_t)7);
}

static void link__reads_as_the_block_that_was_written(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 1);
  for (int n = 0; n < SECRETS; n++) {
    hak_link_key_t key = hak_link_key_make(test_random(&rng));
    uint64_t block[2];
    for (int i = 0; i < 20; i++) {
      void *next = random_block(&rng);
      hak_link_write(&key, block, next);
      CHECK(hak_link_read(&key, block) == next);
      CHECK(!hak_link_is_bad(&key, next));
    }
  }
}

static void link__of_a_real_block_is_never_bad(void **state) {
  (void)state;
  uint64_t *block = hak_alloc(16);
  CHECK(block != NULL);
  test_rng_t rng = test_rng(test_seed(), 2);
  for (int n = 0; n < SECRETS; n++) {
    hak_link_key_t key = hak_link_key_make(test_random(&rng));
    uint64_t other[2];
    hak_link_write(&key, other, block);
    CHECK(hak_link_read(&key, other) == block);
    CHECK(!hak_link_is_bad(&key, hak_link_read(&key, other)));
  }
  hak_free(block);
}

static void pop__takes_blocks_in_order_and_stops_at_the_end(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 3);
  for (int n = 0; n < SECRETS; n++) {
    hak_link_key_t key = hak_link_key_make(test_random(&rng));
    uint64_t blocks[8][2];
    for (size_t i = 0; i < 8; i++) {
      hak_link_write(&key, blocks[i], i < 7 ? (void *)blocks[i + 1] : HAK_LINK_END);
    }
    void *list = blocks[0];
    for (size_t i = 0; i < 8; i++) {
      void *block = NULL;
      CHECK(!hak_link_pop_fails(&key, &list, &block));
      CHECK(block == blocks[i]);
      CHECK(!hak_link_is_marked(&key, block));
    }
    for (int i = 0; i < 3; i++) {
      void *block = NULL;
      CHECK(hak_link_pop_fails(&key, &list, &block));
      CHECK(list == HAK_LINK_END);
    }
  }
}

static void end__is_never_written_to(void **state) {
  (void)state;
  CHECK_EQ(hak_link_end[0], 1);
  CHECK_EQ(hak_link_end[1], 0);
}

/* --- what is no link ------------------------------------------------------- */

#if HAK_CHECKS >= 1
/* The value in a block's first word is bad, and a pop of the block fails and
 * changes nothing. */
static void check_bad(const hak_link_key_t *key, uint64_t word) {
  uint64_t block[2] = {word, 0};
  CHECK_MSG(hak_link_is_bad(key, hak_link_read(key, block)),
            "0x%llx is a link under the secret 0x%llx", (unsigned long long)word,
            (unsigned long long)key->secret);
  void *list = block, *before = list;
  void *popped = NULL;
  CHECK(hak_link_pop_fails(key, &list, &popped));
  CHECK(list == before && block[0] == word);
}

static hak_link_key_t extreme_key(int n, test_rng_t *rng) {
  switch (n) {
    case 0:
      return hak_link_key_make(0);
    case 1:
      return hak_link_key_make(UINT64_MAX);
    default: {
      uint64_t random = test_random(rng);
      /* Often with long runs of ones or zeroes. */
      if (n % 4 == 1) random |= UINT64_MAX >> test_below(rng, 64);
      if (n % 4 == 2) random &= UINT64_MAX << test_below(rng, 64);
      return hak_link_key_make(random);
    }
  }
}

static void bad_link__zero_one_and_small_numbers(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 4);
  for (int n = 0; n < SECRETS; n++) {
    hak_link_key_t key = extreme_key(n, &rng);
    for (uint64_t word = 0; word < 300; word++) check_bad(&key, word);
    check_bad(&key, UINT32_MAX);
    check_bad(&key, (uint64_t)1 << 32);
    check_bad(&key, test_random(&rng) >> 32);
  }
}

static void bad_link__pointers(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 5);
  static int data;
  for (int n = 0; n < SECRETS; n++) {
    hak_link_key_t key = extreme_key(n, &rng);
    int local;
    check_bad(&key, (uintptr_t)&data);
    check_bad(&key, (uintptr_t)&local);
    check_bad(&key, (uintptr_t)bad_link__pointers);
    for (int i = 0; i < 20; i++) check_bad(&key, (uintptr_t)random_block(&rng));
  }
}

static void bad_link__minus_one_and_its_neighbours(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 6);
  for (int n = 0; n < SECRETS; n++) {
    hak_link_key_t key = extreme_key(n, &rng);
    for (uint64_t i = 0; i < 50; i++) check_bad(&key, UINT64_MAX - i);
  }
}

/* A byte repeated, and text, are only likely to be seen: the bits that tell are
 * twenty, so of random words one in a million passes. */
static void bad_link__nearly_every_repeated_byte_and_random_word(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 7);
  unsigned passed = 0, words = 0;
  for (int n = 0; n < SECRETS; n++) {
    hak_link_key_t key = hak_link_key_make(test_random(&rng));
    for (uint64_t byte = 1; byte < 255; byte++, words++) {
      uint64_t block[2] = {byte * 0x0101010101010101u, 0};
      passed += !hak_link_is_bad(&key, hak_link_read(&key, block));
    }
    for (int i = 0; i < 50; i++, words++) {
      uint64_t block[2] = {test_random(&rng), 0};
      passed += !hak_link_is_bad(&key, hak_link_read(&key, block));
    }
  }
  CHECK_MSG(passed < words / 10000, "%u of %u words pass", passed, words);
}

static void bad_link__the_end_under_any_secret(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 8);
  for (int n = 0; n < SECRETS; n++) {
    hak_link_key_t key = extreme_key(n, &rng);
    CHECK(!hak_link_is_bad(&key, HAK_LINK_END));
    CHECK(hak_link_is_bad(&key, hak_link_read(&key, HAK_LINK_END)));
  }
  /* The static thread states have a secret of 0 and every bit bad. */
  hak_link_key_t none = {0, UINT64_MAX};
  CHECK(hak_link_is_bad(&none, hak_link_read(&none, HAK_LINK_END)));
}

static void cleared_block__reads_as_bad(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 9);
  for (int n = 0; n < SECRETS; n++) {
    hak_link_key_t key = extreme_key(n, &rng);
    uint64_t block[2];
    hak_link_write(&key, block, block);
    CHECK(!hak_link_is_bad(&key, hak_link_read(&key, block)));
    hak_link_spoil(block);
    check_bad(&key, block[0]);
  }
}

#define BAD_LINK_TESTS                                            \
  T(bad_link__zero_one_and_small_numbers), T(bad_link__pointers), \
      T(bad_link__minus_one_and_its_neighbours),                  \
      T(bad_link__nearly_every_repeated_byte_and_random_word),    \
      T(bad_link__the_end_under_any_secret), T(cleared_block__reads_as_bad)
#else
static void link__is_a_plain_pointer_without_checks(void **state) {
  (void)state;
  hak_link_key_t key = hak_link_key_make(UINT64_MAX);
  uint64_t block[2];
  hak_link_write(&key, block, &key);
  CHECK_EQ(block[0], (uintptr_t)&key);
  CHECK(HAK_LINK_END == NULL);
}
#define BAD_LINK_TESTS T(link__is_a_plain_pointer_without_checks)
#endif

#if HAK_CHECKS == 2
static void mark__is_that_of_its_block_and_secret(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 10);
  hak_seal_start();
  for (int n = 0; n < SECRETS; n++) {
    hak_link_key_t key = hak_link_key_make(test_random(&rng));
    uint64_t blocks[2][2] = {{0, 0}, {0, 0}};
    hak_link_write(&key, blocks[0], HAK_LINK_END);
    CHECK(hak_link_is_marked(&key, blocks[0]));
    blocks[1][1] = blocks[0][1];
    CHECK(!hak_link_is_marked(&key, blocks[1]));
    hak_link_unmark(blocks[0]);
    CHECK(!hak_link_is_marked(&key, blocks[0]));
    /* Without it a block is not taken, however good its link. */
    void *list = blocks[0], *popped = NULL;
    CHECK(hak_link_pop_fails(&key, &list, &popped) && list == blocks[0]);
    CHECK(!hak_link_mark_again(&key, blocks[0]));
    CHECK(hak_link_mark_again(&key, blocks[0]));
    CHECK(!hak_link_pop_fails(&key, &list, &popped) && popped == blocks[0]);
  }
}

/* A block is marked twice; locked instructions in the first of the two. */
static void *mark_twice(void *locked) {
  hak_link_key_t key = hak_link_key_make(1);
  uint64_t block[2] = {0, 0}, before = hak_atomics_counted;
  CHECK(!hak_link_mark_again(&key, block));
  *(uint64_t *)locked = hak_atomics_counted - before;
  CHECK(hak_link_mark_again(&key, block) && hak_link_is_marked(&key, block));
  return NULL;
}
static void mark__locks_where_another_thread_may_free_the_block_too(void **state) {
  (void)state;
  uint64_t here, there, after;
  bool alone = hak_sys_is_alone();
  mark_twice(&here);
  CHECK_EQ(here, alone ? 0 : 1);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, mark_twice, &there), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(there, 1);
  alone = hak_sys_is_alone();
  mark_twice(&after);
  CHECK_EQ(after, alone ? 0 : 1);
}
#else
static void mark__is_that_of_its_block_and_secret(void **state) {
  (void)state;
  skip(); /* only full checks mark */
}
static void mark__locks_where_another_thread_may_free_the_block_too(void **state) {
  (void)state;
  skip();
}
#endif

TEST_MAIN(T(link__reads_as_the_block_that_was_written),
          T(link__of_a_real_block_is_never_bad),
          T(pop__takes_blocks_in_order_and_stops_at_the_end), T(end__is_never_written_to),
          BAD_LINK_TESTS, T(mark__is_that_of_its_block_and_secret),
          T(mark__locks_where_another_thread_may_free_the_block_too))
