/* slab_fixture.h - slabs of the class of class_fixture.h, whose blocks a test sends where
 * it likes, without allocating or freeing them. */
#ifndef HAKMEM_TEST_SLAB_FIXTURE_H
#define HAKMEM_TEST_SLAB_FIXTURE_H

#include "class_fixture.h"
#include "tiny/hold.h"

/* Collects what threads have cached, checks that every slab of the class has gone back to
 * the pool, and ends as test_class_teardown. */
int test_slab_teardown(void **state);
/* A test of slabs with blocks of `size` bytes, which ends thus. */
#define TEST_OF_SLABS(function, size) \
  TEST_OF_CLASS_ENDED(function, size, test_slab_teardown)

/* This thread's bin of the class, and what it holds of it. */
hak_bin_t *test_bin(void);
hak_hold_t *test_hold(void);

/* A slab that this thread holds, cut as a whole, all of whose blocks are out: they are
 * the test's. */
hak_slab_t *test_slab_full(void);

/* Block `i` of a slab. */
char *test_slab_block(hak_slab_t *slab, uint32_t i);

/* Links blocks `from` to `to` - 1 by the calling thread's key; the last one ends the
 * list. */
hak_batch_t test_slab_batch(hak_slab_t *slab, uint32_t from, uint32_t to);

/* Sends these blocks home, on the calling thread, or on another one, which then ends. */
void test_slab_home(hak_slab_t *slab, uint32_t from, uint32_t to);
void test_slab_home_elsewhere(hak_slab_t *slab, uint32_t from, uint32_t to);

/* Frees them as the program does. */
void test_slab_free(hak_slab_t *slab, uint32_t from, uint32_t to);

/* Ends a slab of one slab's span, which is in no queue, whatever a test has made of its
 * record, and gives it back to the pool. */
void test_slab_retire(hak_slab_t *slab);

/* Checks the slab's counts. */
void test_slab_expect(hak_slab_t *slab, uint32_t carved, uint32_t out,
                      uint32_t held_back);

/* Checks that the list begins with blocks `from` to `to` - 1 of the slab; returns what
 * follows them. */
void *test_list_expect(void *list, hak_slab_t *slab, uint32_t from, uint32_t to);

/* Blocks on a list of free ones, which is walked. */
uint32_t test_list_length(void *list);

/* Checks that the three lists of this thread's bin have so many blocks, and that their
 * counts say the same. */
void test_bin_expect(uint32_t list, uint32_t ready, uint32_t spare);

#endif /* HAKMEM_TEST_SLAB_FIXTURE_H */
