// exit_order.cc - blocks that are freed at the very end: by static destructors, atexit
// handlers, thread_local destructors, and destructors of keys that run after the
// library's own.
//
// Not a cmocka program: what matters happens after main. The object made first is
// destroyed last; it counts what has been freed and ends the process.
#include <hakmem/hakmem.h>
#include <pthread.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

int freed = 0;
int expected = 0;

struct last {
  last() { hak_thread_init(); }
  ~last() {
    if (freed != expected || hak_check(nullptr) != 0) {
      std::fprintf(stderr, "%d blocks were freed at the end, not %d\n", freed, expected);
      std::_Exit(1);
    }
    hak_stats_t stats;
    std::memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    if (hak_stats_get(nullptr, &stats) != 0 || stats.live_blocks != 0) {
      std::fprintf(stderr, "%llu blocks are live\n",
                   (unsigned long long)stats.live_blocks);
      std::_Exit(1);
    }
  }
};
last the_last;

const size_t sizes[] = {1, 100, 5000, 100000, 3000000, 40000000};

class holder {
 public:
  holder() {
    for (size_t size : sizes) {
      char *block = static_cast<char *>(hak_alloc(size));
      if (block == nullptr) std::abort();
      std::memset(block, 7, size < 10000 ? size : 10000);
      blocks_.push_back(block);
      expected++;
    }
  }
  // Also allocates: what is at its end may still need memory.
  ~holder() {
    for (char *block : blocks_) {
      if (*block != 7) std::abort();
      hak_free(block);
      freed++;
    }
    hak_free(hak_alloc(300));
  }

 private:
  std::vector<char *> blocks_;
};

holder of_the_program;
thread_local holder of_the_thread;
hak_heap_t *heap;

void at_exit() {
  hak_heap_destroy(heap);
  static holder made_at_exit;
}

// Runs in several rounds, so after the library's own key.
pthread_key_t key;
const int rounds = 3;
thread_local int round_of_key = 0;

void late(void *block) {
  hak_free(block);
  freed++;
  if (++round_of_key >= rounds) return;
  expected++;
  pthread_setspecific(key, hak_alloc(1000));
}

void use_thread_local() {
  static_cast<void>(&of_the_thread);
  if (hak_heap_alloc(heap, 100) == nullptr) std::abort();
}

void run() {
  use_thread_local();
  expected++;
  pthread_setspecific(key, hak_alloc(50));
}

}  // namespace

int main() {
  heap = hak_heap_create(nullptr);
  if (heap == nullptr || std::atexit(at_exit) != 0) return 2;
  if (pthread_key_create(&key, late) != 0) return 2;
  for (int i = 0; i < 20; i++) {
    std::thread thread(run);
    thread.join();
  }
  use_thread_local();
  static holder of_main;
  return 0;
}
