/* unload.c - an object that contains the library is unloaded while a thread that
 * used it lives on. The end of that thread, a fork and the end of the process must
 * not run code that is gone. Several times, as a program that reloads its plugins.
 *
 * unload OBJECT */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void *(*plugin_alloc)(size_t);
static void (*plugin_free)(void *);
static pthread_barrier_t used, unloaded;

static void *work(void *failure) {
  void *block = plugin_alloc(1000);
  if (block != NULL) memset(block, 1, 1000);
  plugin_free(block);
  pthread_barrier_wait(&used);
  pthread_barrier_wait(&unloaded);
  return block == NULL ? failure : NULL;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  pthread_barrier_init(&used, NULL, 2);
  pthread_barrier_init(&unloaded, NULL, 2);
  for (int round = 0; round < 5; round++) {
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL) {
      printf("not loaded: %s\n", dlerror());
      return 1;
    }
    *(void **)&plugin_alloc = dlsym(plugin, "plugin_alloc");
    *(void **)&plugin_free = dlsym(plugin, "plugin_free");
    if (plugin_alloc == NULL || plugin_free == NULL) return 1;
    plugin_free(plugin_alloc(100));

    pthread_t thread;
    if (pthread_create(&thread, NULL, work, &round) != 0) return 2;
    pthread_barrier_wait(&used);
    if (dlclose(plugin) != 0) return 1;
    pthread_barrier_wait(&unloaded);
    void *result;
    if (pthread_join(thread, &result) != 0 || result != NULL) return 1;

    pid_t child = fork();
    if (child == 0) _exit(0);
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
  }
  printf("loaded and unloaded 5 times\n");
  return 0;
}
