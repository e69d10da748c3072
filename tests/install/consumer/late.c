/* late.c - loads copies of a small object until no static TLS is left, then two
 * that contain the library: the one built for initial-exec must be refused, which
 * proves that nothing is left, and the one for global-dynamic must work, in
 * threads that began before and after.
 *
 * late EATER INITIAL_EXEC GLOBAL_DYNAMIC */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *(*plugin_alloc)(size_t);
static void (*plugin_free)(void *);
static int (*plugin_owns)(const void *);
static pthread_barrier_t loaded;

static void *work(void *failure) {
  void *blocks[100];
  for (size_t i = 0; i < 100; i++) {
    size_t size = 16 + i * i * 10;
    blocks[i] = plugin_alloc(size);
    if (blocks[i] == NULL || !plugin_owns(blocks[i])) return failure;
    memset(blocks[i], (int)i, size);
  }
  if (plugin_owns(failure)) return failure;
  for (size_t i = 0; i < 100; i++) plugin_free(blocks[i]);
  return NULL;
}

static void *wait_and_work(void *failure) {
  pthread_barrier_wait(&loaded);
  return work(failure);
}

/* The loader knows an object by its file, so each load needs a copy of its own. */
static void *load_copy(const char *path, int number) {
  char name[] = "/tmp/hakmem-eater-XXXXXX";
  int fd = mkstemp(name);
  FILE *from = fopen(path, "rb");
  FILE *to = fd < 0 ? NULL : fdopen(fd, "wb");
  if (from == NULL || to == NULL) {
    fprintf(stderr, "cannot copy %s (%d)\n", path, number);
    exit(2);
  }
  char piece[4096];
  size_t got;
  while ((got = fread(piece, 1, sizeof piece, from)) > 0) fwrite(piece, 1, got, to);
  fclose(from);
  fclose(to);
  void *object = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  unlink(name);
  return object;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int failure, eaters = 0;
  pthread_t before, after;
  void *result;
  pthread_barrier_init(&loaded, NULL, 2);
  if (pthread_create(&before, NULL, wait_and_work, &failure) != 0) return 2;

  while (eaters < 4096 && load_copy(argv[1], eaters) != NULL) eaters++;
  printf("%d objects until static TLS was used up: %s\n", eaters, dlerror());
  if (eaters < 20 || eaters == 4096) return 1;

  if (dlopen(argv[2], RTLD_NOW | RTLD_LOCAL) != NULL) {
    printf("the initial-exec build was loaded; this proves nothing\n");
    return 1;
  }
  void *plugin = dlopen(argv[3], RTLD_NOW | RTLD_LOCAL);
  if (plugin == NULL) {
    printf("the global-dynamic build was refused: %s\n", dlerror());
    return 1;
  }
  *(void **)&plugin_alloc = dlsym(plugin, "plugin_alloc");
  *(void **)&plugin_free = dlsym(plugin, "plugin_free");
  *(void **)&plugin_owns = dlsym(plugin, "plugin_owns");
  if (plugin_alloc == NULL || plugin_free == NULL || plugin_owns == NULL) return 1;

  int failures = work(&failure) != NULL;
  pthread_barrier_wait(&loaded);
  if (pthread_join(before, &result) != 0) return 2;
  failures += result != NULL;
  if (pthread_create(&after, NULL, work, &failure) != 0) return 2;
  if (pthread_join(after, &result) != 0) return 2;
  failures += result != NULL;
  printf("%d of 3 threads failed with the global-dynamic build\n", failures);
  return failures != 0;
}
