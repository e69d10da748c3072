/* frame_heap.c - the memory of a game loop: what lives for a frame comes from one heap
 * that is reset when the frame is over, what lives for a level from another that is
 * destroyed with it. Two threads fill the frame together; nothing is freed by itself.
 *
 * Prints what it proves: after the first frames the loop asks the system for nothing
 * more, its memory stays the same, and the level's data is whole to the end.
 */
#define _POSIX_C_SOURCE 200809L
#include <hakmem/hakmem.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
  FRAMES = 600,
  WARM_UP = 100,
  PARTICLES = 4000,
  MONSTERS = 2000
};

typedef struct particle {
  struct particle *next;
  float at[3], speed[3];
} particle_t;

typedef struct monster {
  unsigned name;
  char path[40];
} monster_t;

static hak_heap_t *frame, *level;
static pthread_barrier_t begin, end;
static unsigned long made[2];

/* A list that nobody takes apart: it goes with the frame. */
static int fill_frame(unsigned number, int who) {
  particle_t *list = NULL;
  for (unsigned i = 0; i < PARTICLES; i++) {
    particle_t *particle = hak_heap_alloc(frame, sizeof *particle);
    char *label = hak_heap_alloc(frame, 8 + (i + number) % 100);
    if (particle == NULL || label == NULL) return 0;
    snprintf(label, 8, "p%u", i % 1000);
    particle->next = list;
    list = particle;
    made[who] += 2;
  }
  unsigned count = 0;
  for (; list != NULL; list = list->next) count++;
  return count == PARTICLES;
}

/* A second thread draws while the first one computes. */
static void *draw(void *failed) {
  void *result = NULL;
  for (unsigned i = 0; i < FRAMES; i++) {
    pthread_barrier_wait(&begin);
    if (!fill_frame(i, 1)) result = failed;
    pthread_barrier_wait(&end);
  }
  return result;
}

static hak_stats_t stats_of(hak_heap_t *heap) {
  hak_stats_t stats;
  memset(&stats, 0, sizeof stats);
  stats.struct_size = sizeof stats;
  hak_stats_get(heap, &stats);
  return stats;
}

/* To commit the system's own memory takes no call. */
static unsigned long long os_calls(void) {
  hak_stats_t s = stats_of(NULL);
  return s.os_reserve + s.os_release + s.os_purge + s.os_remap;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int make_level(monster_t **monsters) {
  for (unsigned i = 0; i < MONSTERS; i++) {
    monsters[i] = hak_heap_alloc(level, sizeof **monsters);
    if (monsters[i] == NULL) return 0;
    monsters[i]->name = i;
    snprintf(monsters[i]->path, sizeof monsters[i]->path, "monsters/%u.mesh", i);
  }
  return 1;
}

static int level_is_whole(monster_t **monsters) {
  for (unsigned i = 0; i < MONSTERS; i++) {
    char path[40];
    snprintf(path, sizeof path, "monsters/%u.mesh", i);
    if (monsters[i]->name != i || strcmp(monsters[i]->path, path) != 0) return 0;
  }
  return 1;
}

int main(void) {
  static monster_t *monsters[MONSTERS];
  hak_heap_config_t config;
  memset(&config, 0, sizeof config);
  config.struct_size = sizeof config;
  config.name = "level";
  level = hak_heap_create(&config);
  config.name = "frame";
  frame = hak_heap_create(&config);
  if (level == NULL || frame == NULL || !make_level(monsters)) return 1;

  int ok = 1, failed;
  pthread_t drawing;
  pthread_barrier_init(&begin, NULL, 2);
  pthread_barrier_init(&end, NULL, 2);
  if (pthread_create(&drawing, NULL, draw, &failed) != 0) return 1;
  unsigned long long calls = 0, bytes = 0, blocks = 0;
  double resetting = 0;
  for (unsigned i = 0; i < FRAMES; i++) {
    if (i == WARM_UP) {
      calls = os_calls();
      bytes = stats_of(frame).committed_bytes;
    }
    pthread_barrier_wait(&begin);
    ok &= fill_frame(i, 0);
    pthread_barrier_wait(&end);
    if (i + 1 == FRAMES) blocks = stats_of(frame).live_blocks;
    double before = seconds();
    ok &= hak_heap_reset(frame) == 0; /* nobody uses the heap at this moment */
    resetting += seconds() - before;
  }
  void *result;
  pthread_join(drawing, &result);
  unsigned long long more = os_calls() - calls, now = stats_of(frame).committed_bytes;

  printf("%d frames by two threads, %lu blocks, none of them freed\n", FRAMES,
         made[0] + made[1]);
  printf("a frame of %llu blocks was gone in %.1f us\n", blocks,
         resetting / FRAMES * 1e6);
  printf("calls to the system after frame %d: %llu\n", WARM_UP, more);
  printf("memory of the frame's heap: %llu KiB, then %llu KiB\n", bytes / 1024,
         now / 1024);
  ok &=
      result == NULL && more == 0 && now <= bytes + bytes / 4 && level_is_whole(monsters);
  ok &= hak_heap_destroy(frame) == 0 && hak_heap_destroy(level) == 0;
  printf("blocks left when both heaps are gone: %llu\n",
         (unsigned long long)stats_of(NULL).live_blocks);
  return ok && stats_of(NULL).live_blocks == 0 ? 0 : 1;
}
