/* trace_counters.c [FILE] - what heaps have, over time, as counters of a trace that
 * https://ui.perfetto.dev and chrome://tracing show: one track for each heap. */
#define _POSIX_C_SOURCE 200809L

#include <hakmem/hakmem.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

/* A trace being written; a heap's hook is given one track of it. */
typedef struct trace {
  FILE *file;
  pthread_mutex_t lock; /* events come from any thread */
  unsigned events;
} trace_t;
typedef struct track {
  trace_t *trace;
  const char *name;
  unsigned long long live_bytes, live_blocks;
} track_t;

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Names are the program's own, in UTF-8. */
static void write_string(FILE *file, const char *text) {
  fputc('"', file);
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    if (c < ' ' || c == '"' || c == '\\') {
      fprintf(file, "\\u%04x", c);
    } else {
      fputc(c, file);
    }
  }
  fputc('"', file);
}

static void on_block(const hak_block_event_t *event, void *ctx) {
  track_t *track = ctx;
  trace_t *trace = track->trace;
  pthread_mutex_lock(&trace->lock);
  switch (event->kind) {
    case HAK_BLOCK_ALLOC:
      track->live_bytes += event->size;
      track->live_blocks++;
      break;
    case HAK_BLOCK_FREE:
      track->live_bytes -= event->size;
      track->live_blocks--;
      break;
    case HAK_BLOCK_RESIZE:
      track->live_bytes += event->size - event->old_size;
      break;
    case HAK_BLOCK_ALL_GONE:
      track->live_bytes = track->live_blocks = 0;
      break;
  }
  fprintf(trace->file, "%s\n{\"ph\":\"C\",\"pid\":1,\"ts\":%.3f,\"name\":",
          trace->events++ == 0 ? "" : ",", now_us());
  write_string(trace->file, track->name);
  fprintf(trace->file, ",\"args\":{\"bytes\":%llu,\"blocks\":%llu}}", track->live_bytes,
          track->live_blocks);
  pthread_mutex_unlock(&trace->lock);
}

static hak_heap_t *traced_heap(track_t *track) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = track->name;
  config.flags = HAK_HEAP_WATCHED;
  hak_heap_t *heap = hak_heap_create(&config);
  if (heap != NULL) (void)hak_heap_set_block_hook(heap, on_block, track);
  return heap;
}

int main(int argc, char **argv) {
  trace_t trace = {.file = argc > 1 ? fopen(argv[1], "w") : stdout};
  if (trace.file == NULL || pthread_mutex_init(&trace.lock, NULL) != 0) return 1;
  track_t level = {.trace = &trace, .name = "level"};
  track_t sounds = {.trace = &trace, .name = "sounds \"now\""};
  fputs("{\"traceEvents\":[", trace.file);
  hak_heap_t *level_heap = traced_heap(&level), *sound_heap = traced_heap(&sounds);
  if (level_heap == NULL || sound_heap == NULL) return 1;
  for (size_t i = 0; i < 100; i++) {
    if (hak_heap_alloc(level_heap, 1000 + 10 * i) == NULL) return 1;
    void *sound = hak_heap_alloc(sound_heap, 30000);
    if (sound == NULL) return 1;
    if (i % 2 == 0) hak_free(sound);
  }
  (void)hak_heap_reset(level_heap); /* the next level */
  (void)hak_heap_destroy(sound_heap);
  (void)hak_heap_destroy(level_heap);
  fputs("\n]}\n", trace.file);
  bool ok = trace.file == stdout || fclose(trace.file) == 0;
  pthread_mutex_destroy(&trace.lock);
  return ok ? 0 : 1;
}
