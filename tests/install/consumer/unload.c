/* unload.c - an object that contains the library is loaded, used by threads that live
 * on, and unloaded, a thousand times. Before it goes it shuts its library down: then
 * the process has as many mappings and keys as before, and as much memory. Now and then
 * it does not: its memory stays, and all goes well nevertheless. The end of a thread
 * after the object, a fork, the library's own thread and the end of the process must not
 * run code that is gone.
 *
 * unload OBJECT [<rounds>] */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  STAYING = 4,
  WARM_UP = 20,
  FORK_EVERY = 50,
  MAINTAIN_EVERY = 2,
  UNTIDY = 5,
  RSS_MAX_KIB = 2048
};

static void *(*plugin_alloc)(size_t);
static void (*plugin_free)(void *);
static int (*plugin_end)(void), (*plugin_maintain)(void);
static pthread_barrier_t loaded, used, unloaded;
static atomic_int failures;
static int rounds;

static void use(unsigned salt) {
  void *blocks[50];
  for (unsigned i = 0; i < 50; i++) {
    size_t size = 16 + (size_t)(i + salt % 7) * i * 40;
    blocks[i] = plugin_alloc(size);
    if (blocks[i] == NULL) {
      failures++;
    } else {
      memset(blocks[i], 1, size);
    }
  }
  /* The rest goes with the shutdown. */
  for (unsigned i = 0; i < 50; i += 2) plugin_free(blocks[i]);
}

/* Outlives every load; ends when the last is gone. */
static void *stay(void *unused) {
  (void)unused;
  for (int round = 0; round < rounds; round++) {
    pthread_barrier_wait(&loaded);
    use((unsigned)round);
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&unloaded);
  }
  return NULL;
}

/* Outlives one load, and ends after it. */
static void *use_and_wait(void *go_on) {
  use(3);
  pthread_barrier_wait(&used);
  pthread_barrier_wait(go_on);
  return NULL;
}

static long lines_of(const char *path, const char *field, long *value) {
  char line[512];
  long lines = 0;
  FILE *file = fopen(path, "r");
  if (file == NULL) exit(2);
  while (fgets(line, sizeof line, file) != NULL) {
    lines++;
    if (field != NULL && strncmp(line, field, strlen(field)) == 0) {
      *value = strtol(line + strlen(field), NULL, 10);
    }
  }
  fclose(file);
  return lines;
}

static long mappings(void) { return lines_of("/proc/self/maps", NULL, NULL); }
static long rss_kib(void) {
  long value = 0;
  lines_of("/proc/self/status", "VmRSS:", &value);
  return value;
}
static pthread_key_t next_key(void) {
  pthread_key_t key;
  if (pthread_key_create(&key, NULL) != 0) exit(2);
  pthread_key_delete(key);
  return key;
}

static void load_use_unload(const char *path, int round, int tidy) {
  void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (plugin == NULL) {
    printf("not loaded: %s\n", dlerror());
    exit(1);
  }
  *(void **)&plugin_alloc = dlsym(plugin, "plugin_alloc");
  *(void **)&plugin_free = dlsym(plugin, "plugin_free");
  *(void **)&plugin_end = dlsym(plugin, "plugin_end");
  *(void **)&plugin_maintain = dlsym(plugin, "plugin_maintain");
  if (plugin_alloc == NULL || plugin_free == NULL || plugin_end == NULL ||
      plugin_maintain == NULL) {
    exit(1);
  }

  pthread_t passing;
  pthread_barrier_t go_on;
  pthread_barrier_init(&go_on, NULL, 2);
  if (pthread_create(&passing, NULL, use_and_wait, &go_on) != 0) exit(2);
  pthread_barrier_wait(&loaded);
  use((unsigned)round);
  if (round % MAINTAIN_EVERY == 0 && plugin_maintain() != 0) failures++;
  pthread_barrier_wait(&used);
  if (tidy && plugin_end() != 0) failures++;
  if (dlclose(plugin) != 0) failures++;
  pthread_barrier_wait(&go_on);
  if (pthread_join(passing, NULL) != 0) exit(2);
  pthread_barrier_wait(&unloaded);
  pthread_barrier_destroy(&go_on);
}

static void fork_once(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) failures++;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  rounds = argc > 2 ? atoi(argv[2]) : 1000;
  if (rounds <= WARM_UP + UNTIDY) return 2;
  pthread_t staying[STAYING];
  pthread_barrier_init(&loaded, NULL, STAYING + 1);
  pthread_barrier_init(&used, NULL, STAYING + 2);
  pthread_barrier_init(&unloaded, NULL, STAYING + 1);
  for (int i = 0; i < STAYING; i++) {
    if (pthread_create(&staying[i], NULL, stay, NULL) != 0) return 2;
  }
  long maps = 0, rss = 0;
  pthread_key_t key = 0;
  int round = 0;
  for (; round < rounds - UNTIDY; round++) {
    load_use_unload(argv[1], round, 1);
    if (round % FORK_EVERY == 0) fork_once();
    if (round + 1 == WARM_UP) {
      maps = mappings();
      rss = rss_kib();
      key = next_key();
    }
  }
  long more_maps = mappings() - maps, more_rss = rss_kib() - rss;
  int more_keys = next_key() != key;
  for (; round < rounds; round++) load_use_unload(argv[1], round, 0);
  usleep(20000); /* a thread that was left behind would have woken by now */
  fork_once();
  for (int i = 0; i < STAYING; i++) pthread_join(staying[i], NULL);
  printf("%d times loaded and unloaded: %ld mappings, %ld KiB and %s more; %d failures\n",
         rounds, more_maps, more_rss, more_keys ? "keys" : "no keys", (int)failures);
  return failures != 0 || more_maps > 0 || more_rss > RSS_MAX_KIB || more_keys;
}
