/* failures.c - the n-th call for memory fails, or all from the n-th on, in a program that
 * uses blocks of all sizes, from its first allocation on. It may get NULL; what it has
 * stays whole, and when the failure is over it is served again. */
#include "experiments.h"
#include "os_calls.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
  BLOCKS = 3000
};

static block_t blocks[BLOCKS];
static char *handed[64]; /* to the other thread */
static pthread_barrier_t hand, taken;

static size_t size_of(size_t i) {
  uint64_t state = i;
  size_t random = random_next(&state) >> 20;
  if (i % 100 == 99) return MIB + random % (12 * MIB);
  if (i % 25 == 24) return 32 * KIB + random % MIB;
  if (i % 5 == 4) return KIB + random % (32 * KIB);
  return 1 + random % KIB;
}

static void keep(block_t *block, char *at, size_t size, uint64_t tag) {
  *block = (block_t){at, at != NULL ? size : 0, tag};
  if (at != NULL) block_fill(*block);
}

static void look(const block_t *block) {
  if (block->at != NULL && !block_is_whole(*block)) end(DAMAGE, "a block changed");
}

static void drop(block_t *block) {
  look(block);
  face_free(block->at);
  block->at = NULL;
}

static void resize(block_t *block, size_t size) {
  look(block);
  char *at = face_realloc(block->at, size);
  if (at == NULL) {
    look(block);
    return;
  }
  block->at = at;
  block->size = size;
  block_fill(*block);
}

/* The thread that frees what others allocated. */
static void *free_handed(void *nothing) {
  for (;;) {
    pthread_barrier_wait(&hand);
    for (size_t i = 0; i < COUNT(handed); i++) face_free(handed[i]);
    for (size_t i = 0; i < COUNT(handed); i++) handed[i] = face_alloc(64 + 50 * i);
    pthread_barrier_wait(&taken);
    for (size_t i = 0; i < COUNT(handed); i++) {
      face_free(handed[i]);
      handed[i] = NULL;
    }
  }
  return nothing;
}

static void work(void) {
  for (size_t i = 0; i < BLOCKS; i++) {
    size_t size = size_of(i);
    char *at = i % 7 == 0 ? face_aligned(256, size) : face_alloc(size);
    if (i % 7 == 0 && (uintptr_t)at % 256 != 0) end(WRONG, "it is not aligned");
    keep(&blocks[i], at, size, i);
  }
  for (size_t i = 0; i < COUNT(handed); i++) handed[i] = face_alloc(64 + 50 * i);
  pthread_barrier_wait(&hand);
  pthread_barrier_wait(&taken);
  for (size_t i = 0; i < BLOCKS; i += 2) drop(&blocks[i]);
  for (size_t i = 1; i < BLOCKS; i += 20) {
    if (blocks[i].at != NULL) resize(&blocks[i], blocks[i].size * 3);
  }
  face_collect();
  for (size_t i = 0; i < BLOCKS; i += 2) {
    size_t size = size_of(i);
    char *at = face_calloc(1, size);
    for (size_t at_byte = 0; at != NULL && at_byte < size; at_byte += 61) {
      if (at[at_byte] != 0) end(DAMAGE, "calloc gave what is not zero");
    }
    keep(&blocks[i], at, size, i + BLOCKS);
  }
  static block_t sorted[BLOCKS];
  memcpy(sorted, blocks, sizeof blocks);
  if (blocks_overlap(sorted, BLOCKS)) end(DAMAGE, "two blocks overlap");
}

static void list(void) { say_case("failures"); }

/* "count" says how many calls there are; "once/N" and "from/N" fail some. */
static void run(const char *which) {
  const char *slash = strchr(which, '/');
  size_t n = slash != NULL ? strtoul(slash + 1, NULL, 10) : SIZE_MAX;
  unsigned long thread;
  pthread_barrier_init(&hand, NULL, 2);
  pthread_barrier_init(&taken, NULL, 2);
  if (!os_calls_watch()) end(SKIPPED, "the system has no seccomp for this");
  /* The thread's stack is there before the first call fails. */
  thread_begin(&thread, free_handed, NULL);
  os_calls_begin(n, which[0] == 'f' ? SIZE_MAX : n);
  work();
  size_t calls = os_calls_end();
  if (slash == NULL) end_with((double)calls, "calls");
  if (os_calls_failed() == 0) end(SKIPPED, "there are only %zu calls", calls);
  for (size_t i = 0; i < BLOCKS; i++) drop(&blocks[i]);
  for (size_t i = 0; i < BLOCKS; i++) {
    keep(&blocks[i], face_alloc(size_of(i)), size_of(i), i);
    if (blocks[i].at == NULL) end(REFUSED, "NULL when the failure is over");
  }
  for (size_t i = 0; i < BLOCKS; i++) drop(&blocks[i]);
  end(FINE, "%zu calls", calls);
}

const experiment_t exp_failures = {"failures", list, run};
