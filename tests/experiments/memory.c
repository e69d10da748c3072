/* memory.c - the process may not have more memory (RLIMIT_AS, RLIMIT_DATA), from the
 * first allocation on or later: NULL with errno, and service again when blocks are free.
 */
#include "experiments.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const size_t sizes[] = {1000, 40000, 3000000};

enum {
  MOST = 1 << 21, /* blocks */
  SPARE = 192,    /* MiB beyond what the process has */
  STORED = 3 << 9 /* MiB, at most: some have address space in store */
};

/* Of address space (vm), or of data. */
static size_t taken(bool data) {
  char text[4096] = {0};
  int file = open("/proc/self/status", O_RDONLY);
  if (file < 0 || read(file, text, sizeof text - 1) <= 0) end(SKIPPED, "no /proc");
  close(file);
  char *line = strstr(text, data ? "VmData:" : "VmSize:");
  return line != NULL ? strtoul(line + 7, NULL, 10) * KIB : 0;
}

static void limit(bool data, size_t spare) {
  struct rlimit bound;
  bound.rlim_cur = bound.rlim_max = taken(data) + spare;
  if (setrlimit(data ? RLIMIT_DATA : RLIMIT_AS, &bound) != 0) end(SKIPPED, "no limit");
}

/* Allocates until there is none. *error is 0 if there was enough to stop. */
static size_t fill(block_t *blocks, size_t size, int *error) {
  size_t count = 0, most = STORED * MIB / size;
  for (*error = 0; count < MOST && count < most; count++) {
    errno = 0;
    blocks[count] = (block_t){face_alloc(size), size, count};
    if (blocks[count].at == NULL) {
      *error = errno != 0 ? errno : -1;
      return count;
    }
    block_fill(blocks[count]);
  }
  return count;
}

static void empty(block_t *blocks, size_t first, size_t count, size_t step) {
  for (size_t i = first; i < count; i += step) {
    if (!block_is_whole(blocks[i])) end(DAMAGE, "a block changed");
    face_free(blocks[i].at);
  }
}

static void list(void) {
  for (size_t i = 0; i < COUNT(sizes); i++) {
    say_case("memory/first/%zu", sizes[i]); /* the first allocation, and no space */
    say_case("memory/space/%zu", sizes[i]);
    say_case("memory/data/%zu", sizes[i]);
  }
}

static void run(const char *which) {
  const char *slash = strchr(which, '/');
  if (slash == NULL) return;
  size_t size = strtoul(slash + 1, NULL, 10);
  int error;
  block_t *blocks = own_memory(MOST * sizeof *blocks);
  if (which[0] == 'f') {
    limit(false, 0);
  } else {
    face_free(face_alloc(size));
    limit(which[0] == 'd', SPARE * MIB);
  }
  size_t count = fill(blocks, size, &error);
  size_t reached = count * size / MIB;
  empty(blocks, 0, count, 2);
  /* Half of it is free now, between blocks in use. */
  for (size_t i = 0; i < count / 4; i++) {
    blocks[2 * i] = (block_t){face_alloc(size), size, i};
    if (blocks[2 * i].at == NULL) end(REFUSED, "NULL where half of all is free");
    block_fill(blocks[2 * i]);
  }
  empty(blocks, 0, count / 4 * 2, 2);
  empty(blocks, 1, count, 2);
  if (error != 0 && error != ENOMEM) end(UNSET, "errno is not ENOMEM");
  end(FINE, "%zu MiB", reached);
}

const experiment_t exp_memory = {"memory", list, run};
