/* many.c - twenty shared objects in one process, each with a library of its own, loaded
 * while threads run, used side by side, and unloaded in another order.
 *
 * many OBJECT */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  OBJECTS = 20,
  THREADS = 4
};

typedef struct object {
  void *handle;
  void *(*alloc)(size_t);
  void (*free)(void *);
  int (*owns)(const void *);
  int (*end)(void);
} object_t;

static object_t objects[OBJECTS];
static pthread_barrier_t before, after;

/* A block of each; every object knows its own and no other's. */
static void *work(void *failure) {
  void *result = NULL;
  pthread_barrier_wait(&before);
  for (size_t size = 8; size < 4000000; size *= 7) {
    void *blocks[OBJECTS];
    for (int i = 0; i < OBJECTS; i++) {
      blocks[i] = objects[i].alloc(size);
      if (blocks[i] == NULL) exit(3);
      memset(blocks[i], i, size);
    }
    for (int i = 0; i < OBJECTS; i++) {
      int next = (i + 1) % OBJECTS;
      if (*(char *)blocks[i] != i || !objects[i].owns(blocks[i]) ||
          objects[next].owns(blocks[i])) {
        result = failure;
      }
      objects[i].free(blocks[i]);
    }
  }
  pthread_barrier_wait(&after);
  return result;
}

/* The loader knows an object by its file, so each needs a copy of its own. */
static void *load_copy(const char *path) {
  char name[] = "/tmp/hakmem-object-XXXXXX";
  int fd = mkstemp(name);
  FILE *from = fopen(path, "rb");
  FILE *to = fd < 0 ? NULL : fdopen(fd, "wb");
  if (from == NULL || to == NULL) exit(2);
  char piece[4096];
  size_t got;
  while ((got = fread(piece, 1, sizeof piece, from)) > 0) fwrite(piece, 1, got, to);
  fclose(from);
  fclose(to);
  void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) printf("refused: %s\n", dlerror());
  unlink(name);
  return handle;
}

static int load(const char *path, object_t *object) {
  object->handle = load_copy(path);
  if (object->handle == NULL) return 0;
  *(void **)&object->alloc = dlsym(object->handle, "plugin_alloc");
  *(void **)&object->free = dlsym(object->handle, "plugin_free");
  *(void **)&object->owns = dlsym(object->handle, "plugin_owns");
  *(void **)&object->end = dlsym(object->handle, "plugin_end");
  return object->alloc != NULL && object->free != NULL && object->owns != NULL &&
         object->end != NULL;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  int failures = 0;
  pthread_t threads[THREADS];
  pthread_barrier_init(&before, NULL, THREADS + 1);
  pthread_barrier_init(&after, NULL, THREADS + 1);
  for (int i = 0; i < THREADS; i++) {
    if (pthread_create(&threads[i], NULL, work, &failures) != 0) return 2;
  }
  for (int i = 0; i < OBJECTS; i++) {
    if (!load(argv[1], &objects[i])) return 1;
  }
  pthread_barrier_wait(&before);
  pthread_barrier_wait(&after);
  for (int i = 0; i < THREADS; i++) {
    void *result;
    if (pthread_join(threads[i], &result) != 0) return 2;
    failures += result != NULL;
  }
  for (int i = 0; i < OBJECTS; i++) {
    object_t *object = &objects[i * 7 % OBJECTS];
    if (object->end() != 0 || dlclose(object->handle) != 0) failures++;
  }
  printf("%d objects, each with a library of its own: %d failures\n", OBJECTS, failures);
  return failures != 0;
}
