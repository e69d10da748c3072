/* misuse.c - 16 kinds of misuse in blocks of four sizes. A program that misuses a block
 * goes on to work as it did, and looks whether its blocks are still its own. Fine means
 * here that nothing was noticed and nothing came of it. */
#include "experiments.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {32, 1024, 32768, 1 << 20};
static size_t size;

enum {
  ROUND = 400, /* blocks that the program has at once when it goes on */
  MOST = 64 << 20
};

static char *get(void) {
  char *block = face_alloc(size);
  if (block == NULL) end(SKIPPED, "no memory");
  memset(block, 0x33, size);
  return block;
}

static void *free_thread(void *block) {
  /* A thread that has worked before. */
  for (int i = 0; i < 20; i++) face_free(face_alloc(size));
  face_free(block);
  return NULL;
}
static void *write_thread(void *block) {
  free_thread(block);
  memset(block, 0x5a, size < 64 ? size : 64);
  return NULL;
}
static void *get_thread(void *place) {
  for (int i = 0; i < 20; i++) face_free(face_alloc(size));
  *(char **)place = get();
  return NULL;
}
static char *get_of_the_dead(void) {
  char *block = NULL;
  elsewhere(get_thread, &block);
  return block;
}

/* As a program goes on: it fills its blocks, frees and allocates others, here and in
 * another thread. */
static void use(void) {
  static block_t blocks[ROUND];
  size_t count = MOST / size < ROUND ? MOST / size : ROUND;
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < count; i++) {
      blocks[i] = (block_t){face_alloc(size), size, (uint64_t)round * ROUND + i + 1};
      if (blocks[i].at == NULL) end(SKIPPED, "no memory");
      block_fill(blocks[i]);
    }
    for (size_t i = 0; i < count; i++) {
      if (!block_is_whole(blocks[i])) end(DAMAGE, "a block changed");
    }
    if (blocks_overlap(blocks, count)) end(DAMAGE, "two blocks overlap");
    for (size_t i = 0; i < count; i++) face_free(blocks[i].at);
    face_collect();
  }
}
static void *use_thread(void *nothing) {
  use();
  return nothing;
}
static void go_on(void) {
  use();
  elsewhere(use_thread, NULL);
  use();
}

/* --- the kinds ------------------------------------------------------------------- */

static void double_free(void) {
  char *a = get();
  face_free(a);
  face_free(a);
}
static void double_free_another_between(void) {
  char *a = get(), *b = get();
  face_free(a);
  face_free(b);
  face_free(a);
}
static void double_free_remote(void) {
  char *a = get();
  elsewhere(free_thread, a);
  elsewhere(free_thread, a);
}
static void double_free_remote_then_local(void) {
  char *a = get();
  elsewhere(free_thread, a);
  face_free(a);
}
static void double_free_local_then_remote(void) {
  char *a = get();
  face_free(a);
  elsewhere(free_thread, a);
}
static void double_free_by_two_others(void) {
  char *a = get();
  unsigned long threads[2];
  thread_begin(&threads[0], free_thread, a);
  thread_begin(&threads[1], free_thread, a);
  thread_end(threads[0]);
  thread_end(threads[1]);
}
static void double_free_of_an_orphan(void) {
  char *a = get_of_the_dead();
  face_free(a);
  face_free(a);
}
static void double_free_of_an_orphan_after_churn(void) {
  char *a = get_of_the_dead(), *others[64];
  face_free(a);
  size_t count = size > KIB ? 8 : COUNT(others);
  for (size_t i = 0; i < count; i++) others[i] = get_of_the_dead();
  for (size_t i = 0; i < count; i += 2) face_free(others[i]);
  face_free(a);
}
static void interior(void) { face_free(get() + size / 2); }
static void interior_remote(void) { elsewhere(free_thread, get() + size / 2); }
static void mapping(void) {
  char *memory = own_memory(size + 2 * MIB);
  memset(memory, 0x33, size);
  face_free(get());
  face_free(memory + 4096);
}
static void stack(void) {
  char local[256];
  memset(local, 0x33, sizeof local);
  face_free(get());
  face_free(local + 64);
}
static void wild(void) {
  char *a = get();
  face_free((char *)0x123456789ab0 + size);
  face_free(a);
}
static void non_canonical(void) {
  char *a = get();
  face_free((char *)(uintptr_t)(0xdead000012345670u + size));
  face_free(a);
}
static void write_after_free(void) {
  char *a = get(), *b = get();
  face_free(a);
  face_free(b);
  memset(a, 0x5a, size < 64 ? size : 64);
}
static void write_after_free_remote(void) {
  char *a = get(), *b = get();
  elsewhere(write_thread, a);
  face_free(b);
}

static const struct {
  const char *name;
  void (*run)(void);
} kinds[] = {
    {"double_free", double_free},
    {"double_free_another_between", double_free_another_between},
    {"double_free_remote", double_free_remote},
    {"double_free_remote_then_local", double_free_remote_then_local},
    {"double_free_local_then_remote", double_free_local_then_remote},
    {"double_free_by_two_others", double_free_by_two_others},
    {"double_free_of_an_orphan", double_free_of_an_orphan},
    {"double_free_of_an_orphan_after_churn", double_free_of_an_orphan_after_churn},
    {"interior", interior},
    {"interior_remote", interior_remote},
    {"mapping", mapping},
    {"stack", stack},
    {"wild", wild},
    {"non_canonical", non_canonical},
    {"write_after_free", write_after_free},
    {"write_after_free_remote", write_after_free_remote},
};

static void list(void) {
  for (size_t i = 0; i < COUNT(kinds); i++) {
    for (size_t s = 0; s < COUNT(sizes); s++) {
      say_case("misuse/%s/%zu", kinds[i].name, sizes[s]);
    }
  }
}

static void run(const char *which) {
  const char *slash = strchr(which, '/');
  for (size_t i = 0; slash != NULL && i < COUNT(kinds); i++) {
    size_t length = (size_t)(slash - which);
    if (strlen(kinds[i].name) != length || strncmp(which, kinds[i].name, length) != 0) {
      continue;
    }
    size = strtoul(slash + 1, NULL, 10);
    for (int n = 0; n < 20; n++) face_free(get());
    kinds[i].run();
    go_on();
    end(FINE, "nothing came of it");
  }
}

const experiment_t exp_misuse = {"misuse", list, run};
