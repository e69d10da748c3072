/* cookbook_games.c - the recipes of docs/COOKBOOK.md for programs that draw frames: what
 * lives for a frame and for a level, a console's fixed memory, an audio thread that never
 * asks the system. The page shows parts of this file; the rest proves what they promise.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cookbook.h"

/* ---- Frames ---- */

/* Two heaps by turns: what is made in a frame lives to the end of the next one. */
typedef struct frames {
  hak_heap_t *heap[2];
  unsigned number;
} frames_t;

static bool frames_begin(frames_t *frames, hak_heap_t *game) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "frame";
  config.parent = game;
  config.prefault = 1 << 20; /* the first frames are as fast as the others */
  frames->heap[0] = hak_heap_create(&config);
  frames->heap[1] = hak_heap_create(&config);
  frames->number = 0;
  return frames->heap[0] != NULL && frames->heap[1] != NULL;
}

static void *frame_alloc(const frames_t *frames, size_t size) { /* any thread */
  return hak_heap_alloc(frames->heap[frames->number % 2], size);
}

static void frames_next(frames_t *frames) { /* while no job of the frame runs */
  hak_heap_reset(frames->heap[++frames->number % 2]);
}

static unsigned long long os_calls(void) {
  hak_stats_t s = stats_of(NULL);
  return s.os_reserve + s.os_release + s.os_purge + s.os_remap;
}

static void try_frames(hak_heap_t *game) {
  frames_t frames;
  MUST(frames_begin(&frames, game));
  unsigned long long calls = 0;
  unsigned *before = NULL;
  for (unsigned i = 0; i < 300; i++) {
    if (i == 50) calls = os_calls();
    unsigned *number = frame_alloc(&frames, sizeof *number);
    MUST(number != NULL);
    *number = i;
    for (unsigned k = 0; k < 2000; k++) {
      char *label = frame_alloc(&frames, 16 + (i + k) % 300);
      MUST(label != NULL);
      label[0] = 'x';
    }
    MUST(before == NULL || *before == i - 1); /* last frame's data is still there */
    before = number;
    frames_next(&frames);
  }
  MUST(os_calls() == calls);
  MUST(hak_heap_destroy(frames.heap[0]) == 0 && hak_heap_destroy(frames.heap[1]) == 0);
  printf("frames: 250 of 2,000 blocks without a call to the system\n");
}

/* ---- Levels ---- */

static hak_heap_t *level_begin(hak_heap_t *game, const char *name) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = name;
  config.parent = game;                 /* its budget covers all levels that there are */
  config.hard_limit = 32u << 20;        /* one level's share: NULL beyond that */
  config.flags = HAK_HEAP_REPORT_LEAKS; /* where each object should have been freed */
  return hak_heap_create(&config);
}

/* Jobs, streaming and views are done with the level. */
static bool level_end(hak_heap_t *level) {
  return hak_heap_destroy(level) == 0; /* EBUSY: a heap made below it is still there */
}

static char leak[200];

static void note_leak(const hak_error_info_t *info, void *ctx) {
  (void)ctx;
  if (info->error == HAK_ERROR_LEAK) {
    snprintf(leak, sizeof leak, "%s: %s", info->heap_path, info->text);
  }
}

static void try_levels(hak_heap_t *game) {
  hak_set_error_handler(note_leak, NULL);
  uint64_t most = 0;
  for (int i = 0; i < 20; i++) {
    char name[16];
    snprintf(name, sizeof name, "level %d", i);
    hak_heap_t *level = level_begin(game, name);
    MUST(level != NULL);
    static void *meshes[1000];
    for (int k = 0; k < 1000; k++) {
      meshes[k] = hak_heap_calloc(level, 1, 1000 + (size_t)k * 10);
      MUST(meshes[k] != NULL);
    }
    MUST(hak_heap_alloc(level, 40u << 20) == NULL); /* more than its share */
    if (i == 0) most = stats_of(NULL).committed_bytes;
    for (int k = 0; k < 1000 - (i == 7); k++) hak_free(meshes[k]);
    MUST(level_end(level));
  }
  hak_set_error_handler(NULL, NULL);
  MUST(strstr(leak, "game/level 7: 1 block ") == leak);
  MUST(stats_of(NULL).committed_bytes <= most && stats_of(game).live_blocks == 0);
  printf("levels: 20, none larger than the first; leak named: %s\n", leak);
}

/* ---- A console: all there is, cut beforehand ---- */

static _Alignas(2 << 20) unsigned char console_memory[12u << 20];

/* `bytes` of the console's memory from `at` on, as a heap; NULL when they are used up. */
static hak_heap_t *console_heap(const char *name, size_t at, size_t bytes) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = name;
  config.memory = console_memory + at;
  config.memory_size = bytes;
  return hak_heap_create(&config);
}

static size_t fill(hak_heap_t *heap, size_t most) {
  size_t sum = 0;
  for (size_t i = 0;; i++) {
    size_t size = 16 + i * 41 % most;
    unsigned char *block = hak_heap_alloc(heap, size);
    if (block == NULL) return sum;
    MUST(block >= console_memory &&
         block + size <= console_memory + sizeof console_memory);
    memset(block, 1, size);
    sum += size;
  }
}

static void try_console(void) {
  hak_heap_t *world = console_heap("world", 0, 10u << 20); /* 8 MiB and more: as fast */
  hak_heap_t *scripts = console_heap("scripts", 10u << 20, 1u << 20); /* a lock a call */
  hak_heap_t *sound = console_heap("sound", 11u << 20, 1u << 20);
  MUST(world != NULL && scripts != NULL && sound != NULL);
  hak_free(hak_heap_alloc(world, 1)); /* this thread's first block there: its own state */
  unsigned long long calls = os_calls();
  size_t in_world = fill(world, 500), in_scripts = fill(scripts, 2000);
  MUST(os_calls() == calls);
  MUST(in_world >= (10u << 20) * 8 / 10 && in_scripts >= (1u << 20) * 9 / 10);
  void *beep = hak_heap_alloc(sound, 1000); /* a full heap is full for nobody else */
  MUST(beep != NULL && hak_heap_of(beep) == sound);
  MUST(hak_heap_destroy(world) == 0 && hak_heap_destroy(scripts) == 0);
  MUST(hak_heap_destroy(sound) == 0);
  printf("console: %.1f of 10 MiB, %.2f of 1 MiB used when the first NULL came\n",
         (double)in_world / (1 << 20), (double)in_scripts / (1 << 20));
}

/* ---- Audio: no call to the system, no page fault ---- */

enum {
  VOICES = 512,
  VOICE_BYTES = 1000,
  MESSAGES = 64,
  MESSAGE_BYTES = 200,
  OTHERS_KEEP = 64 /* blocks that one other thread which frees ours may hold back */
};

static hak_heap_t *audio_heap(hak_heap_t *game) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "audio";
  config.parent = game;
  config.flags = HAK_HEAP_NO_PURGE; /* what is ready stays ready, whoever collects */
  return hak_heap_create(&config);
}

/* On the audio thread itself, before its first buffer. */
static bool audio_prepare(hak_heap_t *heap) {
  size_t messages = MESSAGES + OTHERS_KEEP;
  return hak_heap_prewarm(heap, VOICE_BYTES, VOICES) == VOICES &&
         hak_heap_prewarm(heap, MESSAGE_BYTES, messages) == messages;
}

static void *audio_alloc(hak_heap_t *heap, size_t size) { /* NULL: play without it */
  return hak_allocx(heap, size, 0, HAK_NO_GROW, NULL);
}

/* What the hooks of this program see: calls that the audio thread must not make. */
static _Thread_local bool in_real_time;
static atomic_uint asked_in_real_time;
static const hak_os_t *system_os;

static void note_call(void) { atomic_fetch_add(&asked_in_real_time, in_real_time); }
static void *reserve(void *ctx, size_t size, size_t alignment) {
  note_call();
  return system_os->reserve(ctx, size, alignment);
}
static int release(void *ctx, void *ptr, size_t size) {
  note_call();
  return system_os->release(ctx, ptr, size);
}
static int commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  note_call();
  return system_os->commit(ctx, ptr, size, zeroed);
}
static int purge(void *ctx, void *ptr, size_t size) {
  note_call();
  return system_os->purge(ctx, ptr, size);
}
static void *remap(void *ctx, void *ptr, size_t old_size, size_t new_size) {
  note_call();
  return system_os->remap(ctx, ptr, old_size, new_size);
}

static void watch_the_system(void) {
  system_os = hak_os_default();
  hak_os_t watched = *system_os;
  watched.reserve = reserve;
  watched.release = release;
  watched.commit = commit;
  watched.purge = purge;
  watched.remap = remap;
  hak_config_t config = HAK_CONFIG_INIT;
  config.os = &watched;
  MUST(hak_init(&config) == 0);
}

static _Atomic(void *)
    mailbox[MESSAGES]; /* messages to the main thread, which frees them */
static atomic_bool audio_done;

static long page_faults(void) {
  struct rusage usage;
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_minflt : 0;
}

static void play(hak_heap_t *heap, void **voices) {
  for (int i = 0; i < VOICES; i++) {
    voices[i] = audio_alloc(heap, VOICE_BYTES);
    MUST(voices[i] != NULL);
    memset(voices[i], i, VOICE_BYTES);
  }
  for (int i = 0; i < MESSAGES; i++) {
    if (atomic_load(&mailbox[i]) != NULL) continue; /* not read yet */
    void *message = audio_alloc(heap, MESSAGE_BYTES);
    MUST(message != NULL);
    atomic_store(&mailbox[i], message);
  }
  for (int i = 0; i < VOICES; i++) hak_free(voices[i]);
}

static void *audio_thread(void *heap) {
  static void *voices[VOICES];
  MUST(audio_prepare(heap));
  memset(voices, 1, sizeof voices); /* what is the program's own is touched before, too */
  long faults = page_faults();
  in_real_time = true;
  for (int buffer = 0; buffer < 500; buffer++) {
    play(heap, voices);
    usleep(200);
  }
  in_real_time = false;
  printf("audio: 500 buffers of %d voices, %u calls to the system, %ld page faults\n",
         VOICES, atomic_load(&asked_in_real_time), page_faults() - faults);
  atomic_store(&audio_done, true);
  return NULL;
}

static void read_mail(void) {
  for (int i = 0; i < MESSAGES; i++) hak_free(atomic_exchange(&mailbox[i], NULL));
}

static void try_audio(hak_heap_t *game) {
  hak_heap_t *heap = audio_heap(game);
  pthread_t thread;
  MUST(heap != NULL && pthread_create(&thread, NULL, audio_thread, heap) == 0);
  for (int frame = 0; !atomic_load(&audio_done); frame++) {
    read_mail();
    /* Neither the collection of each frame nor a thorough one takes what is ready. */
    hak_collect(NULL, frame % 10 == 0 ? SIZE_MAX : 1 << 20,
                frame % 10 == 0 ? HAK_COLLECT_ALL : 0);
    usleep(500);
  }
  pthread_join(thread, NULL);
  read_mail();
  MUST(atomic_load(&asked_in_real_time) == 0);
  MUST(stats_of(heap).live_blocks == 0 && hak_heap_destroy(heap) == 0);
}

int main(void) {
  watch_the_system();
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "game";
  config.hard_limit = 256u << 20;
  hak_heap_t *game = hak_heap_create(&config);
  MUST(game != NULL);
  try_frames(game);
  try_levels(game);
  try_console();
  try_audio(game);
  MUST(hak_heap_destroy(game) == 0 && hak_check(NULL) == 0);
  return hak_shutdown(0);
}
