/* maps_linux.c - which files' code lies where, by /proc/self/maps. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "os/maps.h"

enum {
  LINE_MOST = 1024 /* bytes; what is longer is cut */
};

typedef struct reader {
  hak_code_map_fn *fn;
  void *ctx;
  uint64_t base;  /* of the file whose parts are being read */
  char which[48]; /* its device and number */
  bool cut;       /* the rest of a line is passed over */
  size_t length;  /* of the line that is not whole yet */
  char line[LINE_MOST];
} reader_t;

/* Parts of one file come one after another. What tells files apart ends with a space, so
 * that of none is how that of another one begins. */
static uint64_t base_of(reader_t *r, const char *which, uint64_t start) {
  size_t length = strcspn(which, "/");
  if (length >= sizeof r->which) length = sizeof r->which - 1;
  if (strncmp(r->which, which, length) != 0) {
    memcpy(r->which, which, length);
    r->which[length] = '\0';
    r->base = start;
  }
  return r->base;
}

/* "start-end rwxp offset device number path", in hexadecimal digits. Ranges without a
 * file, or without code, are nobody's. */
static HAK_SLOW void read_line(reader_t *r, char *at, char *end) {
  *end = '\0';
  hak_code_map_t map;
  map.start = strtoull(at, &at, 16);
  if (*at++ != '-') return;
  map.end = strtoull(at, &at, 16);
  if (strlen(at) < 6) return;
  bool has_code = at[3] == 'x';
  map.offset = strtoull(at + 6, &at, 16);
  map.path = strchr(at, '/');
  if (map.path == NULL) return;
  map.base = base_of(r, at, map.start);
  if (has_code) r->fn(&map, r->ctx);
}

/* The whole lines that have been read; what is behind them comes to the beginning. Of a
 * line that is too long the first part counts, and the rest is passed over. */
static void read_lines(reader_t *r, size_t filled) {
  size_t from = 0;
  for (size_t i = r->length; i < filled; i++) {
    if (r->line[i] != '\n') continue;
    if (!r->cut) read_line(r, r->line + from, r->line + i);
    r->cut = false;
    from = i + 1;
  }
  r->length = filled - from;
  memmove(r->line, r->line + from, r->length);
  if (r->length < LINE_MOST - 1) return;
  if (!r->cut) read_line(r, r->line, r->line + r->length);
  r->cut = true;
  r->length = 0;
}

/* Crash handlers have little stack: there is one buffer. */
static void read_all(int file, reader_t *r) {
  for (;;) {
    ssize_t n = read(file, r->line + r->length, LINE_MOST - 1 - r->length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    read_lines(r, r->length + (size_t)n);
  }
}

HAK_SLOW void hak_code_maps(hak_code_map_fn *fn, void *ctx) {
  int saved = errno, cancel = hak_sys_forbid_cancel();
  int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (file >= 0) {
    reader_t reader = {.fn = fn, .ctx = ctx};
    read_all(file, &reader);
    close(file);
  }
  hak_sys_allow_cancel(cancel);
  errno = saved;
}
