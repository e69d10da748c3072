/* uv.c - libuv's loops and requests in a heap of their own. */
#include <uv.h>

#include "integrate.h"

/* glue: libuv passes nothing. */
HAK_DEFINE_HOOKS(uv, g_heap);
/* glue end: uv_replace_allocator(uv_malloc, uv_realloc, uv_calloc, uv_free) before
 * anything else */

static void begin(void) {
  MUST(uv_replace_allocator(uv_malloc, uv_realloc, uv_calloc, uv_free) == 0);
}
static void end(void) { uv_library_shutdown(); }

static unsigned g_rounds;
static unsigned long g_sum;

static void on_timer(uv_timer_t *timer) {
  if (++g_rounds == 50) uv_close((uv_handle_t *)timer, NULL);
}

static void give_room(uv_handle_t *handle, size_t size, uv_buf_t *out) {
  static char room[1024];
  (void)handle, (void)size;
  *out = uv_buf_init(room, sizeof room);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *bytes) {
  for (ssize_t i = 0; i < count; i++) g_sum = g_sum * 31 + (unsigned char)bytes->base[i];
  if (count < 0) uv_close((uv_handle_t *)stream, NULL);
}

/* Text through a pipe, which a loop reads until its end. */
static int work(char *result) {
  uv_loop_t loop;
  uv_timer_t timer;
  uv_pipe_t pipe;
  uv_file ends[2];
  g_rounds = 0;
  g_sum = 0;
  if (uv_loop_init(&loop) != 0) return 1;
  int ok = uv_pipe(ends, UV_NONBLOCK_PIPE, 0) == 0 &&
           uv_pipe_init(&loop, &pipe, 0) == 0 && uv_pipe_open(&pipe, ends[0]) == 0 &&
           uv_timer_init(&loop, &timer) == 0 &&
           uv_timer_start(&timer, on_timer, 0, 1) == 0 &&
           uv_read_start((uv_stream_t *)&pipe, give_room, on_read) == 0;
  MUST(ok);
  for (int i = 0; i < 50; i++) MUST(dprintf(ends[1], "line %d\n", i) > 0);
  close(ends[1]);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_fs_t request;
  int entries = uv_fs_scandir(&loop, &request, "/", 0, NULL);
  uv_dirent_t entry;
  for (int i = 0; i < entries && uv_fs_scandir_next(&request, &entry) == 0; i++) {
    g_sum += strlen(entry.name);
  }
  uv_fs_req_cleanup(&request);
  snprintf(result, RESULT_MAX, "%u rounds, %lu", g_rounds, g_sum);
  return uv_loop_close(&loop);
}

int main(void) {
  static const char fault[] = "libuv aborts where its table of files cannot grow";
  static const integration_t uv = {"libuv", 8 << 20, begin, end, work, fault};
  return integrate(&uv);
}
