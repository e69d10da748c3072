/* os_maps.c - which files' code lies where, as the system may say it: in any pieces, with
 * lines that are too long, with signals in between, and not at all. Linked with
 * --wrap=open and --wrap=read. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/maps.h"

/* --- the file -------------------------------------------------------------------------
 */

static struct {
  const char *text; /* what is left of it; NULL = the system's own is read */
  size_t piece;     /* bytes that a read gives at most */
  int signals;      /* reads from now on that a signal ends */
  int error;        /* of the read that comes to the end, instead of an end */
  bool ended, closed;
} g;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
  if (!g.closed) return __real_open(path, flags);
  errno = EACCES;
  return -1;
}

ssize_t __real_read(int file, void *to, size_t size);
ssize_t __wrap_read(int file, void *to, size_t size);
ssize_t __wrap_read(int file, void *to, size_t size) {
  CHECK(!g.closed && !g.ended);
  if (g.text == NULL) return __real_read(file, to, size);
  CHECK(size > 0);
  if (g.signals > 0) {
    g.signals--;
    errno = EINTR;
    return -1;
  }
  size_t length = strlen(g.text);
  if (length == 0) {
    g.ended = true;
    errno = g.error != 0 ? g.error : errno;
    return g.error != 0 ? -1 : 0;
  }
  if (length > size) length = size;
  if (length > g.piece) length = g.piece;
  memcpy(to, g.text, length);
  g.text += length;
  return (ssize_t)length;
}

/* --- what is told of it ---------------------------------------------------------------
 */

static char g_told[8192];

static void tell(const hak_code_map_t *map, void *ctx) {
  CHECK(ctx == &g && map->path != NULL);
  size_t length = strlen(g_told);
  snprintf(g_told + length, sizeof g_told - length,
           "%" PRIx64 "-%" PRIx64 " %" PRIx64 " %" PRIx64 " %.9s %zu\n", map->start,
           map->end, map->offset, map->base, map->path, strlen(map->path));
}

static void check(const char *text, size_t piece, const char *told) {
  g.text = text;
  g.piece = piece;
  g.ended = false;
  g_told[0] = '\0';
  errno = TEST_ERRNO;
  hak_code_maps(tell, &g);
  CHECK_EQ(errno, TEST_ERRNO);
  CHECK_MSG(strcmp(g_told, told) == 0, "with %zu at once: %s", piece, g_told);
  g.text = NULL;
  g.ended = false;
}

static const char parts[] =
    "00400000-00402000 r--p 00000000 fd:01 77         /bin/a\n"
    "00402000-00409000 r-xp 00002000 fd:01 77         /bin/a\n"
    "00409000-0040a000 rw-p 00009000 fd:01 77         /bin/a\n"
    "0040a000-0040b000 r-xp 00000000 00:00 0 \n"
    "10000000-10001000 r-xp 00001000 fd:01 78         /lib/b\n"
    "10001000-10002000 r-xp 00004000 fd:01 78         /lib/b\n"
    "20000000-20001000 r-xp 00000000 fd:02 78         /lib/c (deleted)\n"
    "30000000-30001000 r-xp 00000000 00:00 0          [vdso]\n";
static const char parts_told[] =
    "402000-409000 2000 400000 /bin/a 6\n"
    "10000000-10001000 1000 10000000 /lib/b 6\n"
    "10001000-10002000 4000 10000000 /lib/b 6\n"
    "20000000-20001000 0 20000000 /lib/c (d 16\n";

static void maps__are_the_same_however_they_are_read(void **state) {
  (void)state;
  for (size_t piece = 1; piece < sizeof parts; piece += piece < 70 ? 1 : 61) {
    check(parts, piece, parts_told);
  }
}

static void maps__are_read_on_after_a_signal(void **state) {
  (void)state;
  for (int signals = 1; signals < 4; signals++) {
    g.signals = signals;
    check(parts, 100, parts_told);
  }
}

static void maps__end_where_the_system_says_no_more(void **state) {
  (void)state;
  g.error = EIO;
  check(parts, 100, parts_told);
  g.error = 0;
  g.closed = true;
  check(parts, 100, "");
  g.closed = false;
}

static void line__that_is_something_else_tells_nothing(void **state) {
  (void)state;
  check(
      "10000000 10001000 r-xp 00000000 fd:01 78 /lib/b\n"
      "\n"
      "text\n"
      "10000000-10001000 r-x\n"
      "00010-1000 r--p 00000000 fd:01 78 /lib/b\n",
      1000, "");
}

/* Of a line that is too long the beginning counts, with as much of the path as there is;
 * the rest is no line, whatever it looks like. */
static void line__that_is_too_long_is_cut(void **state) {
  (void)state;
  static const char begin[] = "10000000-10001000 r-xp 00000000 fd:01 78 ",
                    like[] = "20000000-20001000 r-xp 00000000 fd:01 79 /lib/c";
  static char text[5000];
  for (size_t length = 990; length < 4500; length += length < 1050 ? 1 : 211) {
    memset(text, 0, sizeof text);
    memcpy(text, begin, sizeof begin - 1);
    memset(text + sizeof begin - 1, '/', length);
    /* The pieces that fit at once begin so. */
    for (size_t at = 1023; at + sizeof like < length; at += 1023) {
      memcpy(text + at, like, sizeof like - 1);
    }
    strcat(text, "\n");
    strcat(text, like);
    strcat(text, "\n");
    char told[200];
    size_t path = length < 1023 - (sizeof begin - 1) ? length : 1023 - (sizeof begin - 1);
    snprintf(told, sizeof told,
             "10000000-10001000 0 10000000 ///////// %zu\n"
             "20000000-20001000 0 20000000 /lib/c 6\n",
             path);
    check(text, 5000, told);
    check(text, 7, told);
  }
}

static void count(const hak_code_map_t *map, void *ctx) {
  CHECK(map->start < map->end && map->base <= map->start && map->path[0] == '/');
  uint64_t here = (uintptr_t)count;
  *(int *)ctx += here >= map->start && here < map->end;
}
static void maps__are_those_of_the_process(void **state) {
  (void)state;
  int found = 0;
  hak_code_maps(count, &found);
  CHECK_EQ(found, 1);
}

TEST_MAIN_FRESH(T(maps__are_the_same_however_they_are_read),
                T(maps__are_read_on_after_a_signal),
                T(maps__end_where_the_system_says_no_more),
                T(line__that_is_something_else_tells_nothing),
                T(line__that_is_too_long_is_cut), T(maps__are_those_of_the_process))
