/* tiny.c - the cost of being there.
 *
 * Measures RSS and file size of a static program that allocates one small block
 * and ends (tiny_main.c), with the allocator and with the C library's malloc.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/figures.h"

/* The programs lie beside this one. */
static bool tiny_path(const char *allocator, char *path, size_t capacity) {
  char self[4096];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length <= 0) return false;
  self[length] = '\0';
  *strrchr(self, '/') = '\0';
  int written = snprintf(path, capacity, "%s/hakmem_tiny_%s", self, allocator);
  return written > 0 && (size_t)written < capacity && access(path, X_OK) == 0;
}

/* What the program says about its RSS; 0 if it fails. */
static size_t run_program(const char *path) {
  int ends[2];
  char text[32] = "";
  if (pipe(ends) != 0) return 0;
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    execl(path, path, (char *)NULL);
    _exit(127);
  }
  close(ends[1]);
  ssize_t got = read(ends[0], text, sizeof text - 1);
  close(ends[0]);
  return got > 0 ? (size_t)strtoull(text, NULL, 10) : 0;
}

static double file_size(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 ? (double)status.st_size : 0;
}

void run_tiny(double scale) {
  char with[4200], without[4200];
  (void)scale;
  if (!tiny_path(bench_name(), with, sizeof with) ||
      !tiny_path("system", without, sizeof without)) {
    figure_missing("a static program", "not built for this allocator or system");
    return;
  }
  size_t rss = run_program(with), system_rss = run_program(without);
  if (rss == 0 || system_rss == 0) {
    figure_missing("a static program", "it does not run");
    return;
  }
  figure("RSS with malloc", (double)system_rss / 1024, "KiB");
  figure_at_most("RSS above that", ((double)rss - (double)system_rss) / 1024, 400, "KiB");
  figure_at_most("file size above that", (file_size(with) - file_size(without)) / 1024,
                 400, "KiB");
}
