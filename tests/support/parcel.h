/* parcel.h - blocks that say themselves what must be in them, so that any thread
 * can verify every byte of what another thread filled. */
#ifndef HAKMEM_TEST_PARCEL_H
#define HAKMEM_TEST_PARCEL_H

#include "support.h"

/* Smallest block that can carry its own description. */
#define PARCEL_LEAST 8

/* Allocates in one of several ways and fills; NULL where there is no memory. */
void *parcel_make(test_rng_t *rng, size_t size);
/* Checks every byte. */
void parcel_verify(const void *parcel);
size_t parcel_size(const void *parcel);
/* Verifies, changes the size by hak_realloc, and fills anew. */
void *parcel_resize(test_rng_t *rng, void *parcel, size_t size);
/* Verifies and frees; NULL is fine. */
void parcel_free(void *parcel);

#endif /* HAKMEM_TEST_PARCEL_H */
