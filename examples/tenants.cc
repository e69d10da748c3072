// tenants.cc - a server of a thousand tenants over loopback, once with a thread for each
// connection and once with an event loop: a heap with a limit for each tenant, a heap for
// each request that is reset, out of memory is an answer, children of forks go on with
// what they inherited.
//
// Prints what it proves; ends with 1 if a claim did not hold.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <hakmem/hakmem.hpp>
#include <memory_resource>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "whole_program.hpp"

namespace {

constexpr std::size_t tenant_limit = std::size_t{1} << 20;
constexpr std::uint32_t body_most = 1 << 20;
constexpr unsigned tenants = 1000, clients = 8, connections = 25, requests = 20;

// ---- Tenants ----------------------------------------------------------------------

struct tenant {
  explicit tenant(hak::heap &&its) : heap(std::move(its)) {}

  // Keeps a copy; false if the tenant has no room: then it forgets its older half.
  bool keep(const char *body, std::size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    auto *value = static_cast<char *>(heap.alloc(bytes));
    if (value == nullptr) {
      for (std::size_t i = values.size() / 2; i > 0; i--) forget_oldest();
      return false;
    }
    std::memcpy(value, body, bytes);
    values.push_back({value, bytes});
    return true;
  }

  void forget_oldest() {
    hak_free_sized(values.front().first, values.front().second);
    values.pop_front();
  }

  hak::heap heap;
  std::mutex lock;
  std::deque<std::pair<char *, std::size_t>> values;
};

// What a client sends, with `size` bytes behind it; the answer is a line.
struct request {
  std::uint32_t tenant, size;
};
constexpr std::size_t answer_size = 4;

struct server {
  server() {
    for (unsigned i = 0; i < tenants; i++) {
      const std::string name = "tenant " + std::to_string(i);
      all.emplace_back(
          make_heap(name.c_str(), heap, tenant_limit, HAK_HEAP_REPORT_LEAKS));
    }
  }

  hak::heap request_heap() const { return make_heap("request", heap, 8 << 20); }

  bool is_sane(const request &r) const {
    return r.tenant < all.size() && r.size > 0 && r.size <= body_most;
  }

  const char *handle(const request &r, const char *body, hak::heap &scratch) {
    bool ok = count_words(r, body, scratch) && all[r.tenant].keep(body, r.size);
    check(scratch.reset() == 0, "a request's memory goes at once");
    (ok ? served : refused)++;
    return ok ? "200\n" : "503\n";
  }

  static bool count_words(const request &r, const char *body, const hak::heap &scratch) {
    hak::memory_resource memory(scratch);
    try {
      std::pmr::unordered_map<std::pmr::string, int> words(&memory);
      for (std::uint32_t at = 0; at + 40 < r.size; at += 97) {
        words[std::pmr::string(body + at, 40, &memory)]++;
      }
    } catch (const std::bad_alloc &) {
      return false;
    }
    return true;
  }

  hak::heap heap = make_heap("server", nullptr, std::size_t{1} << 30);
  std::deque<tenant> all;
  std::atomic<unsigned> served{0}, refused{0};
  std::atomic<unsigned> ended{0};  // connections
};

// ---- A thread for each connection -------------------------------------------------

bool read_all(int fd, void *to, std::size_t size) {
  for (auto *at = static_cast<char *>(to); size > 0;) {
    const ssize_t got = read(fd, at, size);
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

void serve_connection(server &all, int fd) {
  hak::heap scratch = all.request_heap();
  request r{};
  while (read_all(fd, &r, sizeof r) && all.is_sane(r)) {
    auto *body = static_cast<char *>(scratch.alloc(r.size));
    if (body == nullptr || !read_all(fd, body, r.size)) break;
    const char *answer = all.handle(r, body, scratch);
    if (write(fd, answer, answer_size) != static_cast<ssize_t>(answer_size)) break;
    hak_thread_idle();  // about to wait for the next one
  }
  close(fd);
  all.ended++;
}

void serve_by_threads(server &all, int listener) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < clients * connections; i++) {
    const int fd = accept(listener, nullptr, nullptr);
    check(fd >= 0, "a connection comes");
    threads.emplace_back(serve_connection, std::ref(all), fd);
  }
  for (auto &thread : threads) thread.join();
}

// ---- An event loop ----------------------------------------------------------------

struct connection {
  explicit connection(int its) : fd(its) {}
  int fd;
  request head{};
  std::size_t got = 0;  // bytes of the head and the body
  char *body = nullptr;
};

class loop {
 public:
  loop(server &all, int listener) : all_(all), listener_(listener) {
    watch(listener, nullptr);
  }
  ~loop() { close(poll_); }

  void run() {
    std::array<epoll_event, 64> ready{};
    while (all_.ended < clients * connections) {
      // As long as nothing is due: at most so long, then what is due goes back.
      const int due = hak_purge_due(), wait = due < 0 ? 20 : std::min(due, 20);
      const int count =
          epoll_wait(poll_, ready.data(), static_cast<int>(ready.size()), wait);
      if (count == 0) hak_collect(nullptr, 4 << 20, 0);
      for (int i = 0; i < count; i++) {
        auto *c = static_cast<connection *>(ready[static_cast<std::size_t>(i)].data.ptr);
        if (c == nullptr)
          accept_one();
        else if (!serve(*c))
          drop(c);
      }
    }
  }

 private:
  void watch(int fd, connection *c) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = c;
    check(epoll_ctl(poll_, EPOLL_CTL_ADD, fd, &event) == 0, "a socket is watched");
  }

  void accept_one() {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
    if (fd < 0) return;
    auto c = hak::try_make_unique_in<connection>(heap_, fd);
    check(static_cast<bool>(c), "a connection has memory");
    if (c) watch(fd, c.release());
  }

  // What has arrived; false at the end of the connection.
  bool serve(connection &c) {
    for (;;) {
      const bool head = c.got < sizeof c.head;
      const std::size_t have = head ? c.got : c.got - sizeof c.head;
      char *to = head ? reinterpret_cast<char *>(&c.head) : c.body;
      const ssize_t got =
          read(c.fd, to + have, (head ? sizeof c.head : c.head.size) - have);
      if (got < 0 && errno == EAGAIN) return true;
      if (got <= 0) return false;
      c.got += static_cast<std::size_t>(got);
      if (c.got == sizeof c.head && !begin_body(c)) return false;
      if (c.got == sizeof c.head + c.head.size && !answer(c)) return false;
    }
  }

  bool begin_body(connection &c) {
    if (!all_.is_sane(c.head)) return false;
    c.body = static_cast<char *>(heap_.alloc(c.head.size));
    return c.body != nullptr;
  }

  bool answer(connection &c) {
    const char *line = all_.handle(c.head, c.body, scratch_);
    heap_.free(c.body);
    c.body = nullptr;
    c.got = 0;
    return write(c.fd, line, answer_size) == static_cast<ssize_t>(answer_size);
  }

  void drop(connection *c) {
    epoll_ctl(poll_, EPOLL_CTL_DEL, c->fd, nullptr);  // a child may still have it open
    close(c->fd);
    heap_.free(c->body);
    hak::unique_ptr<connection> gone(c);
    all_.ended++;
  }

  server &all_;
  int listener_, poll_ = epoll_create1(0);
  hak::heap scratch_ = all_.request_heap();
  hak::heap heap_ = make_heap("connections", all_.heap, 0);
};

// ---- Clients, and children --------------------------------------------------------

void be_a_client(std::uint16_t port, unsigned seed) {
  std::minstd_rand random(seed);
  const std::vector<char> body(1 << 16, 'x');
  for (unsigned i = 0; i < connections; i++) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0,
          "a client is let in");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (unsigned k = 0; k < requests; k++) {
      // One tenant is asked for more than its share.
      const bool greedy = i % 5 == 0;
      const request r{
          greedy ? 7 : static_cast<std::uint32_t>(random() % tenants),
          static_cast<std::uint32_t>(16 + random() % (greedy ? 60000 : 4000))};
      char answer[answer_size];
      check(write(fd, &r, sizeof r) == sizeof r &&
                write(fd, body.data(), r.size) == static_cast<ssize_t>(r.size) &&
                read_all(fd, answer, sizeof answer) &&
                (std::memcmp(answer, "200\n", 4) == 0 ||
                 (r.tenant == 7 && answer[0] == '5')),
            "a client is served");
    }
    close(fd);
  }
}

// A child with a snapshot may use what it inherited.
void fork_a_child(server &all) {
  const pid_t child = fork();
  if (child == 0) {
    bool ok = hak_check(nullptr) == 0;
    for (auto &each : all.all) {
      void *block = each.heap.alloc(100);
      ok = ok && (block != nullptr || stats(each.heap.get()).budget_refused > 0);
      each.heap.free(block);
    }
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  check(child > 0 && waitpid(child, &status, 0) == child && status == 0,
        "a child goes on with what it inherited");
}

void run(const char *how, void (*serve)(server &, int)) {
  server all;
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  check(bind(listener, reinterpret_cast<sockaddr *>(&address), length) == 0 &&
            listen(listener, 256) == 0 &&
            getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length) == 0,
        "the server listens");
  std::thread serving(serve, std::ref(all), listener);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < clients; i++) {
    threads.emplace_back(be_a_client, ntohs(address.sin_port), i + 1);
  }
  for (int i = 0; i < 2; i++) fork_a_child(all);
  for (auto &thread : threads) thread.join();
  serving.join();
  close(listener);

  std::uint64_t most = 0;
  for (auto &each : all.all) {
    const hak_stats_t s = stats(each.heap.get());
    most = std::max(most, s.peak_committed_bytes);
    check(s.budget_refused == 0 || &each == &all.all[7], "one tenant's limit is its own");
    while (!each.values.empty()) each.forget_oldest();
  }
  check(most <= tenant_limit && all.refused > 0, "limits hold");
  std::printf("%s: %u served, %u refused; at most %llu of %zu KiB for a tenant\n", how,
              all.served.load(), all.refused.load(),
              static_cast<unsigned long long>(most >> 10), tenant_limit >> 10);
}

}  // namespace

int main() {
  std::signal(SIGPIPE, SIG_IGN);
  static unsigned reports = 0;
  hak_set_error_handler([](const hak_error_info_t *, void *) { reports++; }, nullptr);
  run("threads", serve_by_threads);
  run("event loop", [](server &all, int listener) { loop(all, listener).run(); });
  check(reports == 0, "nothing is lost");
  check(hak_check(nullptr) == 0 && stats(nullptr).live_blocks == 0, "nothing is left");
  hak_collect(nullptr, SIZE_MAX, HAK_COLLECT_ALL);
  std::printf("at the end: %llu KiB committed\n",
              static_cast<unsigned long long>(stats(nullptr).committed_bytes >> 10));
  check(hak_shutdown(0) == 0, "the library ends");
  return failures == 0 ? 0 : 1;
}
