#include "compare/program.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "support/bench.h"

namespace bench {

void execute(const Program &program) {
  for (const auto &[name, value] : program.environment) {
    setenv(name.c_str(), value.c_str(), 1);
  }
  std::vector<char *> argv{const_cast<char *>(program.path.c_str())};
  for (const std::string &argument : program.arguments) {
    argv.push_back(const_cast<char *>(argument.c_str()));
  }
  argv.push_back(nullptr);
  execv(program.path.c_str(), argv.data());
  std::fprintf(stderr, "%s: %s\n", program.path.c_str(), std::strerror(errno));
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) {
    int number = WTERMSIG(status);
    return "ended with signal " + std::to_string(number) + " (" + strsignal(number) + ")";
  }
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

/* The program runs in a process group of its own, so that a signal from the keyboard
 * reaches the runner alone, which hands it on. */
static volatile sig_atomic_t running_group;

static void end_with_the_group(int number) {
  if (running_group > 0) kill(-static_cast<pid_t>(running_group), SIGKILL);
  signal(number, SIG_DFL);
  raise(number);
}

static pid_t start(const Program &program, int ends[2]) {
  signal(SIGINT, end_with_the_group);
  signal(SIGTERM, end_with_the_group);
  std::fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execute(program);
    _exit(127);
  }
  if (child > 0) {
    setpgid(child, child); /* whoever comes first */
    running_group = child;
  }
  return child;
}

namespace {

class Deadline {
 public:
  explicit Deadline(double seconds)
      : at_(seconds > 0 ? bench_now_ns() + static_cast<uint64_t>(seconds * 1e9) : 0) {}

  bool passed() const { return at_ != 0 && bench_now_ns() >= at_; }

  int milliseconds_left() const {
    if (at_ == 0) return -1;
    uint64_t now = bench_now_ns();
    return now >= at_ ? 0 : static_cast<int>((at_ - now) / 1000000 + 1);
  }

 private:
  uint64_t at_;
};

}  // namespace

/* False if the deadline passed first. */
static bool read_all(int end, const Deadline &deadline, std::string *output) {
  char text[65536];
  while (!deadline.passed()) {
    pollfd ready = {end, POLLIN, 0};
    int found = poll(&ready, 1, deadline.milliseconds_left());
    if (found < 0 && errno != EINTR) return true;
    if (found <= 0) continue;
    ssize_t got = read(end, text, sizeof text);
    if (got == 0 || (got < 0 && errno != EINTR)) return true;
    if (got > 0) output->append(text, static_cast<size_t>(got));
  }
  return false;
}

/* A program may close its output and go on. */
static bool wait_for_end(pid_t child, const Deadline &deadline, int *status) {
  for (useconds_t pause = 50;; pause = std::min<useconds_t>(2 * pause, 10000)) {
    pid_t ended = waitpid(child, status, deadline.milliseconds_left() < 0 ? 0 : WNOHANG);
    if (ended == child) return true;
    if (ended < 0 && errno != EINTR) return false;
    if (deadline.passed()) return false;
    if (ended == 0) usleep(pause);
  }
}

bool run_program(const Program &program, double seconds, std::string *output,
                 std::string *reason) {
  int ends[2];
  if (pipe(ends) != 0) {
    *reason = "no pipe";
    return false;
  }
  pid_t child = start(program, ends);
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    *reason = "no process";
    return false;
  }
  Deadline deadline(seconds);
  int status = 0;
  bool in_time =
      read_all(ends[0], deadline, output) && wait_for_end(child, deadline, &status);
  close(ends[0]);
  /* What is left of the group, if anything, would disturb the next run. */
  kill(-child, SIGKILL);
  running_group = 0;
  if (!in_time) {
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    char text[64];
    std::snprintf(text, sizeof text, "did not end within %g s", seconds);
    *reason = text;
    return false;
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  *reason = "the run " + how_it_ended(status);
  return false;
}

}  // namespace bench
