// engine.cc - the memory of a small game engine, all of it at once: a budget for the
// whole and for each part, caches that give way, jobs that fill a heap of the frame,
// assets that one thread streams in and another frees, scripts in serial heaps, an audio
// thread that never asks the system, levels that name what was forgotten.
//
// Prints what it proves; ends with 1 if a claim did not hold.
#include <hakmem/hooks.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <hakmem/hakmem.hpp>
#include <memory_resource>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "whole_program.hpp"

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

// ---- Who asks the system ----------------------------------------------------------

thread_local bool in_real_time = false;
std::atomic<unsigned> calls{0}, calls_in_real_time{0};
const hak_os_t *const system_os = hak_os_default();

void count_call() {
  calls++;
  if (in_real_time) calls_in_real_time++;
}

hak_os_t counting_hooks() {
  hak_os_t os = *system_os;
  os.reserve = [](void *ctx, std::size_t size, std::size_t alignment) {
    count_call();
    return system_os->reserve(ctx, size, alignment);
  };
  os.release = [](void *ctx, void *ptr, std::size_t size) {
    count_call();
    return system_os->release(ctx, ptr, size);
  };
  os.commit = [](void *ctx, void *ptr, std::size_t size, bool *zeroed) {
    count_call();
    return system_os->commit(ctx, ptr, size, zeroed);
  };
  os.purge = [](void *ctx, void *ptr, std::size_t size) {
    count_call();
    return system_os->purge(ctx, ptr, size);
  };
  os.remap = [](void *ctx, void *ptr, std::size_t old_size, std::size_t size) {
    count_call();
    return system_os->remap(ctx, ptr, old_size, size);
  };
  return os;
}

// ---- Reports ----------------------------------------------------------------------

struct reports {
  std::mutex lock;
  unsigned leaks = 0, others = 0;

  static void receive(const hak_error_info_t *info, void *ctx) {
    auto *self = static_cast<reports *>(ctx);
    std::lock_guard<std::mutex> guard(self->lock);
    (info->error == HAK_ERROR_LEAK ? self->leaks : self->others)++;
    std::printf("report: %s: %s\n", info->function, info->text);
  }
};

// ---- A part of the engine: a budget, and a cache that gives way -------------------

class part {
 public:
  part(const char *name, const hak::heap &engine, std::size_t soft, std::size_t hard) {
    hak_heap_config_t config = hak::heap_config();
    config.name = name;
    config.parent = engine.get();
    config.soft_limit = soft;
    config.hard_limit = hard;
    config.on_pressure = &part::pressure;
    config.ctx = this;
    heap_ = hak::heap(config);
  }

  // The allocation may evict, on this thread: so it comes before the lock.
  bool cache(std::size_t bytes) {
    void *block = heap_.alloc(bytes);
    if (block == nullptr) return false;
    std::memset(block, 1, bytes);
    std::lock_guard<std::mutex> guard(lock_);
    entries_.push_back({block, bytes});
    return true;
  }

  std::size_t evict(std::size_t bytes) {
    std::lock_guard<std::mutex> guard(lock_);
    std::size_t freed = 0;
    for (; freed < bytes && !entries_.empty(); entries_.pop_front()) {
      freed += entries_.front().bytes;
      hak_free_sized(entries_.front().block, entries_.front().bytes);
      evicted_++;
    }
    return freed;
  }

  const hak::heap &heap() const { return heap_; }
  unsigned evicted() const { return evicted_; }

 private:
  static int pressure(hak_heap_t *, std::size_t needed, int, void *ctx) {
    return static_cast<part *>(ctx)->evict(needed) > 0;
  }

  struct entry {
    void *block;
    std::size_t bytes;
  };

  hak::heap heap_ = nullptr;
  std::mutex lock_;
  std::deque<entry> entries_;
  unsigned evicted_ = 0;
};

// ---- Jobs -------------------------------------------------------------------------

class jobs {
 public:
  explicit jobs(unsigned count) {
    for (unsigned i = 0; i < count; i++) threads_.emplace_back([this] { run(); });
  }

  ~jobs() {
    {
      std::lock_guard<std::mutex> guard(lock_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto &thread : threads_) thread.join();
  }

  void parallel_for(unsigned count, const std::function<void(unsigned)> &job) {
    std::unique_lock<std::mutex> guard(lock_);
    job_ = &job;
    next_ = 0;
    total_ = left_ = count;
    wake_.notify_all();
    done_.wait(guard, [this] { return left_ == 0; });
    job_ = nullptr;
  }

 private:
  void run() {
    std::unique_lock<std::mutex> guard(lock_);
    while (!stop_) {
      if (job_ == nullptr || next_ == total_) {
        wake_.wait(guard);
        continue;
      }
      const unsigned number = next_++;
      const auto *job = job_;
      guard.unlock();
      (*job)(number);
      guard.lock();
      if (--left_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> threads_;
  std::mutex lock_;
  std::condition_variable wake_, done_;
  const std::function<void(unsigned)> *job_ = nullptr;
  unsigned next_ = 0, total_ = 0, left_ = 0;
  bool stop_ = false;
};

// ---- Streaming: one thread loads, the main thread frees ---------------------------

class stream {
 public:
  stream(const hak::heap &heap, unsigned count)
      : heap_(heap), thread_([this, count] { load(count); }) {}
  ~stream() { thread_.join(); }

  // Frees what was loaded; false once all of it is.
  bool poll() {
    const bool last = finished_;
    std::lock_guard<std::mutex> guard(lock_);
    for (; !loaded_.empty(); loaded_.pop_front()) {
      const asset &next = loaded_.front();
      check(next.data[0] == next.data[next.bytes - 1],
            "an asset arrives as it was loaded");
      bytes_ += next.bytes;
      hak_free(next.data);
    }
    return !last;
  }

  std::size_t bytes() const { return bytes_; }
  unsigned refused() const { return refused_; }

 private:
  struct asset {
    unsigned char *data;
    std::size_t bytes;
  };

  void load(unsigned count) {
    std::minstd_rand random(7);
    for (unsigned i = 0; i < count;) {
      const std::size_t bytes = std::size_t{65536} << random() % 8;  // to 8 MiB
      auto *data =
          static_cast<unsigned char *>(hak_heap_aligned_alloc(heap_.get(), 4096, bytes));
      if (data == nullptr) {  // the budget is full: wait until some are shown and freed
        refused_++;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      data[0] = data[bytes - 1] = static_cast<unsigned char>(i++);
      std::lock_guard<std::mutex> guard(lock_);
      loaded_.push_back({data, bytes});
    }
    finished_ = true;
  }

  const hak::heap &heap_;
  std::mutex lock_;
  std::deque<asset> loaded_;
  std::atomic<bool> finished_{false};
  std::atomic<unsigned> refused_{0};
  std::size_t bytes_ = 0;
  std::thread thread_;
};

// ---- Scripts and audio ------------------------------------------------------------

bool run_script(const hak::heap &heap, unsigned seed) {
  std::minstd_rand random(seed);
  std::array<void *, 128> values{};
  for (int i = 0; i < 20000; i++) {
    const std::size_t at = random() % values.size(), size = random() % 600;
    values[at] = hak_hook_resize(heap.get(), values[at], 0, size);
    if (values[at] == nullptr && size != 0) return false;
    if (size != 0) std::memset(values[at], static_cast<int>(at), size);
  }
  return true;  // what is left goes with the heap
}

void run_scripts(const hak::heap &engine) {
  for (unsigned i = 0; i < 8; i++) {
    const hak::heap script = make_heap("script", engine, mib, HAK_HEAP_SERIAL);
    check(run_script(script, i + 1), "a script runs in a MiB");
    check(stats(script.get()).peak_committed_bytes <= mib, "and takes no more");
  }
}

void mix(const hak::heap &heap) {
  check(hak_heap_prewarm(heap.get(), 1024, 512) == 512 &&
            hak_heap_prewarm(heap.get(), 64, 512) == 512,
        "voices are ready");
  std::vector<void *> voices(512);
  in_real_time = true;
  unsigned missing = 0;
  for (int buffer = 0; buffer < 200; buffer++) {
    const std::size_t size = buffer % 2 == 0 ? 1024 : 64;
    for (auto *&voice : voices) {
      voice = hak_allocx(heap.get(), size, 0, HAK_NO_GROW, nullptr);
      missing += voice == nullptr;
    }
    for (auto *voice : voices) hak_free(voice);
  }
  in_real_time = false;
  check(missing == 0, "no voice is missing");
}

// ---- The engine -------------------------------------------------------------------

struct engine {
  hak::heap heap = make_heap("engine", nullptr, 160 * mib);
  part render{"render", heap, 24 * mib, 32 * mib};
  part physics{"physics", heap, 6 * mib, 8 * mib};
  hak::heap audio = make_heap("audio", heap, 8 * mib, HAK_HEAP_NO_PURGE);
  hak::heap frame = make_heap("frame", heap, 0);
  hak::heap assets = make_heap("assets", heap, 48 * mib);
  jobs workers{4};

  void draw_frame() {
    workers.parallel_for(16, [this](unsigned job) {
      std::minstd_rand random(job + 1);
      for (int i = 0; i < 500; i++) {
        const std::size_t size = 16 + random() % 1000;
        void *block = frame.alloc(size);
        check(block != nullptr, "a frame has memory");
        if (block != nullptr) std::memset(block, 7, size);
      }
      check(render.cache(20000 + job * 1000) && physics.cache(3000),
            "caches make room for what is new");
    });
    check(frame.reset() == 0, "a frame goes at once");
    hak_collect(nullptr, mib, 0);
  }

  void play_level(const char *name) {
    hak::heap level = make_heap(name, heap, 0, HAK_HEAP_REPORT_LEAKS);
    {
      using text =
          std::basic_string<char, std::char_traits<char>, hak::heap_allocator<char>>;
      std::vector<text, hak::heap_allocator<text>> names(level);
      hak::memory_resource memory(level);
      std::pmr::vector<std::pmr::vector<float>> meshes(&memory);
      for (std::size_t i = 0; i < 2000; i++) {
        names.emplace_back("an entity with a name that needs the heap", level);
        meshes.emplace_back(i % 100, 1.0f);
      }
      std::thread mixer([this] { mix(audio); });
      stream streaming(assets, 50);
      bool more = true;
      for (int i = 0; i < 100 || more; i++) {
        draw_frame();
        more = streaming.poll();
      }
      mixer.join();
      std::printf("%s: %zu MiB streamed, %u refused for a while\n", name,
                  streaming.bytes() / mib, streaming.refused());
    }
    check(level.alloc(333) != nullptr && level.alloc(4000) != nullptr,
          "two that are lost");
    check(stats(level.get()).live_blocks == 2, "all else was freed");
    check(level.destroy() == 0, "a level ends");
  }

  void show() const {
    for (const hak::heap *each :
         {&heap, &render.heap(), &physics.heap(), &audio, &frame, &assets}) {
      const hak_stats_t s = stats(each->get());
      std::printf("%-8s live %8llu, most %9llu of %9llu bytes\n",
                  hak_heap_name(each->get()),
                  static_cast<unsigned long long>(s.live_bytes),
                  static_cast<unsigned long long>(s.peak_committed_bytes),
                  static_cast<unsigned long long>(s.hard_limit));
      check(s.hard_limit == 0 || s.peak_committed_bytes <= s.hard_limit, "limits hold");
    }
  }
};

}  // namespace

int main() {
  const hak_os_t os = counting_hooks();
  hak_config_t config = HAK_CONFIG_INIT;
  config.os = &os;
  check(hak_init(&config) == 0, "the library starts");
  reports heard;
  hak_set_error_handler(&reports::receive, &heard);
  {
    engine game;
    for (const char *name : {"level 1", "level 2"}) game.play_level(name);
    run_scripts(game.heap);
    game.show();
    check(game.render.evicted() > 0, "the cache of what is drawn gave way");
    game.render.evict(SIZE_MAX);
    game.physics.evict(SIZE_MAX);
  }
  check(heard.leaks == 4 && heard.others == 0,
        "the levels' leaks are named, and no more");
  check(calls_in_real_time == 0, "the audio thread never asks the system");
  check(hak_check(nullptr) == 0 && stats(nullptr).live_blocks == 0, "nothing is left");
  std::printf("%u calls to the system, %u of them by the audio thread\n", calls.load(),
              calls_in_real_time.load());
  check(hak_shutdown(0) == 0, "the library ends");
  return failures == 0 ? 0 : 1;
}
