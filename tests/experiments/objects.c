/* objects.c - a host that loads 20 shared objects, each of which has the allocator in it,
 * as plugins have. Thread-local data of objects that come late have to find room in what
 * the C library keeps for that. */
#include "experiments.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  OBJECTS = 20
};

/* A copy of the file: one of the same name or inode is not loaded again. */
static void copy(const char *from, const char *to) {
  static char buffer[1 << 16];
  int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);
  ssize_t length;
  if (in < 0 || out < 0) end(SKIPPED, "no object of this allocator");
  while ((length = read(in, buffer, sizeof buffer)) > 0) {
    if (write(out, buffer, (size_t)length) != length) end(SKIPPED, "no room for a copy");
  }
  close(in);
  close(out);
}

typedef bool use_t(void);

static use_t *find(void *handle) {
  use_t *use = NULL;
  void *symbol = dlsym(handle, "object_use");
  memcpy(&use, &symbol, sizeof use);
  return use;
}

static bool is_served; /* in the thread, too */

static void *use_thread(void *handle) {
  is_served = true;
  for (int i = 0; i < 10; i++) is_served = find(handle)() && is_served;
  return NULL;
}

static void list(void) {
  if (getenv("EXPERIMENTS_OBJECT") != NULL) say_case("objects");
}

static void run(const char *which) {
  (void)which;
  const char *object = getenv("EXPERIMENTS_OBJECT");
  char folder[] = "/tmp/experiments-XXXXXX", path[64];
  const char *why = "";
  int loaded = 0;
  if (object == NULL) end(SKIPPED, "no object of this allocator");
  if (mkdtemp(folder) == NULL) end(SKIPPED, "no folder");
  for (int i = 0; i < OBJECTS; i++) {
    snprintf(path, sizeof path, "%s/%d.so", folder, i);
    copy(object, path);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    unlink(path);
    if (handle == NULL) {
      why = dlerror();
      break;
    }
    if (find(handle) == NULL || !find(handle)()) {
      why = "an object does not work";
      break;
    }
    elsewhere(use_thread, handle);
    if (!is_served) {
      why = "an object does not work in another thread";
      break;
    }
    loaded++;
  }
  rmdir(folder);
  if (loaded < OBJECTS) fprintf(stderr, "%s\n", why);
  end_with(loaded, "objects");
}

const experiment_t exp_objects = {"objects", list, run};
