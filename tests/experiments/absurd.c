/* absurd.c - sizes and alignments that nobody can serve: NULL, with errno set, and the
 * block that was to be resized stays as it is. */
#include "experiments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum call {
  ALLOC,
  CALLOC,
  REALLOC,
  ALIGNED
} call_t;

#define HALF (SIZE_MAX / 2) /* PTRDIFF_MAX */

static const struct {
  call_t call;
  size_t a, b;
} requests[] = {
    {ALLOC, SIZE_MAX, 0},
    {ALLOC, SIZE_MAX - 15, 0},
    {ALLOC, SIZE_MAX - 4095, 0},
    {ALLOC, HALF + 1, 0},
    {ALLOC, HALF, 0},
    {CALLOC, SIZE_MAX, 2},
    {CALLOC, HALF + 1, 2}, /* the product is 0 */
    {CALLOC, (size_t)1 << 32, (size_t)1 << 32},
    {CALLOC, ((size_t)1 << 32) + 1, (size_t)1 << 32}, /* the product is 2^32 */
    {REALLOC, SIZE_MAX, 0},
    {REALLOC, HALF + 1, 0},
    {ALIGNED, 64, SIZE_MAX},
    {ALIGNED, 4096, SIZE_MAX - 4096},
    {ALIGNED, (size_t)1 << 20, HALF},
    {ALIGNED, HALF + 1, HALF + 1},
};

static void list(void) {
  for (size_t i = 0; i < COUNT(requests); i++) say_case("absurd/%zu", i);
}

static void run(const char *which) {
  size_t i = strtoul(which, NULL, 10);
  if (i >= COUNT(requests)) return;
  block_t old = {face_alloc(100), 100, 7};
  if (old.at == NULL) end(WRONG, "no block of 100 bytes");
  block_fill(old);
  volatile size_t a = requests[i].a, b = requests[i].b;
  void *got = NULL;
  errno = 0;
  switch (requests[i].call) {
    case ALLOC:
      got = face_alloc(a);
      break;
    case CALLOC:
      got = face_calloc(a, b);
      break;
    case REALLOC:
      got = face_realloc(old.at, a);
      break;
    case ALIGNED:
      got = face_aligned(a, b);
  }
  int error = errno;
  if (got != NULL) end(WRONG, "it is served");
  if (!block_is_whole(old)) end(DAMAGE, "the old block changed");
  face_free(old.at);
  char *fresh = face_alloc(100);
  if (fresh == NULL) end(REFUSED, "no service afterwards");
  face_free(fresh);
  if (error != ENOMEM && error != EINVAL) end(UNSET, "errno is %d", error);
  end(FINE, "NULL, errno %d", error);
}

const experiment_t exp_absurd = {"absurd", list, run};
