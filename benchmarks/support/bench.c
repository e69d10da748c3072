#include "support/bench.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* With plain calls: stdio would allocate a buffer. */
size_t bench_read_text(const char *path, char *text, size_t capacity) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  size_t length = 0;
  if (file >= 0) {
    ssize_t got;
    while (length + 1 < capacity &&
           (got = read(file, text + length, capacity - 1 - length)) > 0) {
      length += (size_t)got;
    }
    close(file);
  }
  text[length] = '\0';
  return length;
}

/* The number of KiB behind `key` in such a file, in bytes; 0 if it is not there. */
static size_t read_kib(const char *path, const char *key) {
  char text[8192];
  bench_read_text(path, text, sizeof text);
  const char *line = strstr(text, key);
  return line != NULL ? (size_t)strtoull(line + strlen(key), NULL, 10) * 1024 : 0;
}

size_t bench_rss(void) {
  size_t bytes = read_kib("/proc/self/smaps_rollup", "\nAnonymous:");
  return bytes != 0 ? bytes : bench_rss_fast();
}

size_t bench_huge_rss(void) {
  return read_kib("/proc/self/smaps_rollup", "\nAnonHugePages:");
}

size_t bench_rss_fast(void) {
  char text[128];
  bench_read_text("/proc/self/statm", text, sizeof text);
  const char *resident = strchr(text, ' ');
  if (resident == NULL) return 0;
  return (size_t)strtoull(resident, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

size_t bench_peak_rss(void) { return read_kib("/proc/self/status", "\nVmHWM:"); }

static _Atomic(uint64_t) record_faults, record_bytes;

static uint64_t faults_of(int who) {
  struct rusage usage;
  getrusage(who, &usage);
  return (uint64_t)usage.ru_minflt;
}

uint64_t bench_minor_faults(void) { return faults_of(RUSAGE_SELF) - record_faults; }

size_t bench_map_lines(void) {
  char text[16384];
  size_t lines = 0;
  ssize_t got;
  int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  while ((got = read(file, text, sizeof text)) > 0) {
    for (ssize_t i = 0; i < got; i++) lines += text[i] == '\n';
  }
  close(file);
  return lines;
}

static size_t in_pages(size_t bytes) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (bytes + page - 1) / page * page;
}

void *bench_records(size_t bytes) {
  uint64_t before = faults_of(RUSAGE_THREAD);
  void *records = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (records == MAP_FAILED) {
    perror("no memory for the benchmark's own records");
    exit(1);
  }
  record_faults += faults_of(RUSAGE_THREAD) - before;
  record_bytes += in_pages(bytes);
  return records;
}

void bench_records_free(void *records, size_t bytes) {
  munmap(records, bytes);
  record_bytes -= in_pages(bytes);
}

size_t bench_records_bytes(void) { return record_bytes; }

void bench_shuffle(void **items, size_t count, uint64_t *state) {
  for (size_t i = count; i > 1; i--) {
    size_t k = bench_range(state, 0, (uint32_t)(i - 1));
    void *item = items[i - 1];
    items[i - 1] = items[k];
    items[k] = item;
  }
}

void bench_sleep_ms(unsigned milliseconds) {
  struct timespec time = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
  nanosleep(&time, NULL);
}

static uint64_t progress_began_ns, progress_last_ns;
static int progress_shown;

/* ", 12 min left", as if all were as slow as what is done; "" where that says little. */
static void say_time_left(char *text, size_t length, uint64_t now, double done,
                          double of) {
  double past = (double)(now - progress_began_ns) / 1e9;
  double left = done > 0 ? past * (of - done) / done : 0;
  text[0] = '\0';
  if (past < 2 || left < 1) return;
  snprintf(text, length, left < 90 ? ", %.0f s left" : ", %.0f min left",
           left < 90 ? left : left / 60);
}

void bench_progress(const char *what, double done, double of) {
  uint64_t now = bench_now_ns();
  int terminal = isatty(STDERR_FILENO);
  char left[32];
  if (done <= 0) progress_began_ns = now;
  uint64_t pause = terminal ? 200000000u : 10000000000u;
  if (progress_last_ns == 0 && !terminal) progress_last_ns = now;
  if (now - progress_last_ns < pause) return;
  progress_last_ns = now;
  progress_shown = terminal;
  say_time_left(left, sizeof left, now, done, of);
  dprintf(STDERR_FILENO, terminal ? "\r\033[K%s: %.0f %%%s" : "%s: %.0f %%%s\n", what,
          of > 0 ? 100 * done / of : 0, left);
}

void bench_progress_end(void) {
  if (progress_shown) dprintf(STDERR_FILENO, "\r\033[K");
  progress_shown = 0;
}
