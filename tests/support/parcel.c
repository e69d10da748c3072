/* parcel.c - see parcel.h */
#include "parcel.h"

#include <string.h>

typedef struct label {
  uint32_t size;
  uint32_t tag;
} label_t;

static label_t label_of(const void *parcel) {
  label_t label;
  memcpy(&label, parcel, sizeof label);
  return label;
}

static void *fill(void *block, size_t size, uint64_t random) {
  label_t label = {(uint32_t)size, (uint32_t)random};
  memcpy(block, &label, sizeof label);
  test_fill((char *)block + sizeof label, size - sizeof label, label.tag);
  return block;
}

static bool is_whole(const void *parcel, label_t label) {
  return label.size >= sizeof label && test_verify((const char *)parcel + sizeof label,
                                                   label.size - sizeof label, label.tag);
}

void *parcel_make(test_rng_t *rng, size_t size) {
  uint64_t random = test_random(rng);
  size = size < PARCEL_LEAST ? PARCEL_LEAST : size;
  void *block;
  switch (random % 8) {
    case 0:
      block = hak_calloc(1, size);
      CHECK(block == NULL || test_is_zero(block, size));
      break;
    case 1: {
      size_t alignment = (size_t)1 << (random >> 8) % 13;
      block = hak_aligned_alloc(alignment, size);
      CHECK(((uintptr_t)block & (alignment - 1)) == 0);
      break;
    }
    case 2:
      block = hak_realloc(NULL, size);
      break;
    default:
      block = hak_alloc(size);
      break;
  }
  return block == NULL ? NULL : fill(block, size, random >> 32);
}

void parcel_verify(const void *parcel) {
  label_t label = label_of(parcel);
  CHECK_MSG(is_whole(parcel, label), "block %p (label: %u bytes, tag 0x%x) was changed",
            parcel, label.size, label.tag);
}

size_t parcel_size(const void *parcel) { return label_of(parcel).size; }

void *parcel_resize(test_rng_t *rng, void *parcel, size_t size) {
  label_t label = label_of(parcel);
  size = size < PARCEL_LEAST ? PARCEL_LEAST : size;
  parcel_verify(parcel);
  char *moved = hak_realloc(parcel, size);
  if (moved == NULL) {
    parcel_verify(parcel);
    return parcel;
  }
  size_t kept = size < label.size ? size : label.size;
  CHECK(memcmp(moved, &label, sizeof label) == 0);
  CHECK(test_verify(moved + sizeof label, kept - sizeof label, label.tag));
  return fill(moved, size, test_random(rng));
}

void parcel_free(void *parcel) {
  if (parcel == NULL) {
    return;
  }
  size_t size = parcel_size(parcel);
  parcel_verify(parcel);
  if (size % 4 == 0) {
    hak_free_sized(parcel, size);
  } else {
    hak_free(parcel);
  }
}
