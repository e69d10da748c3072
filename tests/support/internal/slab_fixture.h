/* slab_fixture.h - slabs of the class of class_fixture.h, whose blocks a test sends where
 * it likes, without allocating or freeing them. */
#ifndef HAKMEM_TEST_SLAB_FIXTURE_H
#define HAKMEM_TEST_SLAB_FIXTURE_H

#include "class_fixture.h"
#include "tiny/hold.h"

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

/* Blocks on a list of free ones, which is walked. */
uint32_t test_list_length(void *list);

/* Checks that the three lists of this thread's bin have so many blocks, and that their
 * counts say the same. */
void test_bin_expect(uint32_t list, uint32_t ready, uint32_t spare);

#endif /* HAKMEM_TEST_SLAB_FIXTURE_H */
