/* chain.cpp - objects with a library of their own each, and guarded blocks, which have a
 * handler for faults: whoever handled faults before the objects came gets them in
 * whatever order the objects go, and when the last is gone it is the process's handler
 * again. Nothing of them is called later: by a fault, by a fork, or by the end of a
 * thread.
 *
 * chain OBJECT MODE: which of the destructors of late.cpp the objects have */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

const int objects = 3;
const int orders[][objects] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                               {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
int failures;

sigjmp_buf out;
void handle(int, siginfo_t *, void *) { siglongjmp(out, 1); }

/* The handler is called for a fault in what is not the objects'. */
void fault(volatile char *at, const char *when) {
  if (sigsetjmp(out, 1) == 0) {
    *at = 1;
    printf("no fault %s\n", when);
    failures++;
  }
}

struct object {
  void *handle;
  void *(*alloc)(size_t);
  int (*end)();
};

/* The loader knows an object by its file, so each needs a copy of its own. */
object load(const char *path) {
  char name[] = "/tmp/hakmem-object-XXXXXX", piece[4096];
  int fd = mkstemp(name);
  FILE *from = fopen(path, "rb"), *to = fd < 0 ? nullptr : fdopen(fd, "wb");
  if (from == nullptr || to == nullptr) exit(2);
  for (size_t got; (got = fread(piece, 1, sizeof piece, from)) > 0;) {
    fwrite(piece, 1, got, to);
  }
  fclose(from);
  fclose(to);
  object made = {dlopen(name, RTLD_NOW | RTLD_LOCAL), nullptr, nullptr};
  unlink(name);
  if (made.handle == nullptr) {
    printf("refused: %s\n", dlerror());
    exit(2);
  }
  made.alloc = reinterpret_cast<void *(*)(size_t)>(dlsym(made.handle, "late_alloc"));
  made.end = reinterpret_cast<int (*)()>(dlsym(made.handle, "late_end"));
  if (made.alloc == nullptr || made.end == nullptr) exit(2);
  return made;
}

pthread_key_t next_key() {
  pthread_key_t key;
  if (pthread_key_create(&key, nullptr) != 0) exit(2);
  pthread_key_delete(key);
  return key;
}

void fork_once() {
  pid_t child = fork();
  if (child == 0) _exit(0);
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) failures++;
}

/* Uses the objects, and ends after they are gone. */
pthread_barrier_t used, gone;
object *in_use;
void *use(void *) {
  for (int i = 0; in_use != nullptr && i < objects; i++) {
    if (in_use[i].alloc(100) == nullptr) failures++;
  }
  pthread_barrier_wait(&used);
  pthread_barrier_wait(&gone);
  return nullptr;
}

void round(const char *path, const int *order, bool use_them, bool tidy,
           volatile char *closed) {
  object all[objects];
  char *blocks[objects] = {nullptr};
  for (int i = 0; i < objects; i++) all[i] = load(path);
  in_use = use_them ? all : nullptr;
  pthread_t thread;
  if (pthread_create(&thread, nullptr, use, nullptr) != 0) exit(2);
  pthread_barrier_wait(&used);
  for (int i = 0; use_them && i < objects; i++) {
    blocks[i] = static_cast<char *>(all[i].alloc(4096));
    if (blocks[i] == nullptr) failures++;
  }
  fault(closed, "before the first object went");
  for (int i = 0; i < objects; i++) {
    if (blocks[order[i]] != nullptr) fault(blocks[order[i]] + 4096, "behind a block");
    if (tidy && all[order[i]].end() != 0) failures++;
    fault(closed, "after the end of an object's library");
    if (dlclose(all[order[i]].handle) != 0) failures++;
    fault(closed, "after an object went");
  }
  pthread_barrier_wait(&gone);
  pthread_join(thread, nullptr);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  setenv("HAKMEM_GUARD_SAMPLE", "1", 1);
  setenv("LATE", argv[2], 1);
  if (!freopen("/dev/null", "w", stderr)) return 2; /* where faults are named */
  void *page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 2;
  pthread_barrier_init(&used, nullptr, 2);
  pthread_barrier_init(&gone, nullptr, 2);
  struct sigaction ours = {}, now;
  ours.sa_sigaction = handle;
  ours.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &ours, nullptr);
  pthread_key_t key = next_key();
  for (const auto &order : orders) {
    for (int how = 0; how < 4; how++) {
      round(argv[1], order, (how & 1) != 0, (how & 2) != 0 && (how & 1) != 0,
            static_cast<char *>(page));
      sigaction(SIGSEGV, nullptr, &now);
      if (now.sa_sigaction != handle || next_key() != key) {
        printf("order %d %d %d, case %d: %s\n", order[0], order[1], order[2], how,
               now.sa_sigaction != handle ? "a handler stays" : "a key stays");
        failures++;
      }
      fork_once();
    }
  }
  printf("%s: %d failures\n", argv[2], failures);
  return failures != 0;
}
