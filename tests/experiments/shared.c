#include "experiments.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

void say_case(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("case ");
  vprintf(format, arguments);
  printf("\n");
  va_end(arguments);
}

static void say_and_go(const char *line, int length) {
  if (length > 0 && write(STDOUT_FILENO, line, (size_t)length) == length) _exit(0);
  _exit(4);
}

void end(outcome_t outcome, const char *format, ...) {
  static const char *const names[] = {"fine",    "unset", "wrong",  "damage",
                                      "refused", "hung",  "skipped"};
  char text[200], line[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  say_and_go(line, snprintf(line, sizeof line, "outcome %s %s\n", names[outcome], text));
  abort();
}

void end_with(double value, const char *unit) {
  char line[256];
  say_and_go(line, snprintf(line, sizeof line, "value %.3f %s\n", value, unit));
  abort();
}

/* --- blocks ---------------------------------------------------------------------- */

static char byte_at(block_t block, size_t at) {
  return (char)((block.tag * 0x9e3779b97f4a7c15u + at) * 0xbf58476d1ce4e5b9u >> 56);
}

/* The first 64 bytes, 8 in each page, and the last 8: the next one behind `at`. */
static size_t next_byte(size_t at, size_t size) {
  size_t next = at + 1, last = size < 72 ? 64 : size - 8;
  if (next < 64 || next % 4096 < 8 || next >= last) return next;
  size_t page = (next + 4095) / 4096 * 4096;
  return page < last ? page : last;
}

void block_fill(block_t block) {
  for (size_t at = 0; at < block.size; at = next_byte(at, block.size)) {
    block.at[at] = byte_at(block, at);
  }
}

bool block_is_whole(block_t block) {
  for (size_t at = 0; at < block.size; at = next_byte(at, block.size)) {
    if (block.at[at] != byte_at(block, at)) return false;
  }
  return true;
}

/* Shell's sort: qsort allocates. */
static void sort(block_t *blocks, size_t count) {
  for (size_t gap = count / 2; gap > 0; gap /= 2) {
    for (size_t i = gap; i < count; i++) {
      block_t block = blocks[i];
      size_t at = i;
      for (; at >= gap && blocks[at - gap].at > block.at; at -= gap) {
        blocks[at] = blocks[at - gap];
      }
      blocks[at] = block;
    }
  }
}

bool blocks_overlap(block_t *blocks, size_t count) {
  sort(blocks, count);
  for (size_t i = 1; i < count; i++) {
    if (blocks[i - 1].at == NULL) continue;
    if ((uintptr_t)blocks[i - 1].at + blocks[i - 1].size > (uintptr_t)blocks[i].at) {
      return true;
    }
  }
  return false;
}

/* --- the process ----------------------------------------------------------------- */

uint64_t random_next(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

size_t resident_bytes(void) {
  char text[128] = {0};
  int file = open("/proc/self/statm", O_RDONLY);
  if (file < 0 || read(file, text, sizeof text - 1) <= 0) {
    end(SKIPPED, "no /proc/self/statm");
  }
  close(file);
  char *resident = strchr(text, ' ');
  return strtoul(resident != NULL ? resident : "", NULL, 10) *
         (size_t)sysconf(_SC_PAGESIZE);
}

size_t mappings(void) {
  static char text[1 << 16];
  size_t lines = 0;
  int file = open("/proc/self/maps", O_RDONLY);
  if (file < 0) end(SKIPPED, "no /proc/self/maps");
  for (;;) {
    ssize_t length = read(file, text, sizeof text);
    if (length <= 0) break;
    for (ssize_t i = 0; i < length; i++) lines += text[i] == '\n';
  }
  close(file);
  return lines;
}

void *own_memory(size_t size) {
  void *memory =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) end(SKIPPED, "no memory for the experiment itself");
  return memory;
}

void thread_begin(unsigned long *thread, void *(*function)(void *), void *argument) {
  pthread_t made;
  pthread_attr_t attributes;
  _Static_assert(sizeof made == sizeof *thread, "thread_begin has room for a pthread_t");
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 * KIB);
  if (pthread_create(&made, &attributes, function, argument) != 0) {
    end(SKIPPED, "no thread");
  }
  pthread_attr_destroy(&attributes);
  *thread = made;
}

void thread_end(unsigned long thread) { pthread_join(thread, NULL); }

void elsewhere(void *(*function)(void *), void *argument) {
  unsigned long thread;
  thread_begin(&thread, function, argument);
  thread_end(thread);
}
