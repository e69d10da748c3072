/* maps_linux.c - which files' code lies where, by /proc/self/maps. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/maps.h"

enum {
  LINE_MOST = 1024 /* bytes; what is longer is cut */
};

typedef struct reader {
  hak_code_map_fn *fn;
  void *ctx;
  uint64_t base;  /* of the file whose parts are being read */
  char which[48]; /* its device and number */
  size_t length;  /* of the line */
  char line[LINE_MOST];
} reader_t;

/* Parts of one file come one after another. */
static uint64_t base_of(reader_t *r, const char *which, uint64_t start) {
  size_t length = strcspn(which, "/");
  if (length >= sizeof r->which) length = sizeof r->which - 1;
  if (strncmp(r->which, which, length) != 0 || r->which[length] != '\0') {
    memcpy(r->which, which, length);
    r->which[length] = '\0';
    r->base = start;
  }
  return r->base;
}

/* "start-end rwxp offset device number path", in hexadecimal digits. Ranges without a
 * file, or without code, are nobody's. */
static void read_line(reader_t *r) {
  r->line[r->length] = '\0';
  char *at = r->line;
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

static void read_all(int file, reader_t *r) {
  char piece[512];
  for (;;) {
    ssize_t n = read(file, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    for (ssize_t i = 0; i < n; i++) {
      if (piece[i] == '\n') {
        read_line(r);
        r->length = 0;
      } else if (r->length < LINE_MOST - 1) {
        r->line[r->length++] = piece[i];
      }
    }
  }
}

void hak_code_maps(hak_code_map_fn *fn, void *ctx) {
  int saved = errno;
  int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (file >= 0) {
    reader_t reader = {.fn = fn, .ctx = ctx};
    read_all(file, &reader);
    close(file);
  }
  errno = saved;
}
