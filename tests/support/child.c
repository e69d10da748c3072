/* child.c - see child.h */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where coverage is counted, _exit would lose what the child counted. */
void __gcov_dump(void) __attribute__((weak));

static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGABRT};

_Noreturn static void run_child(int (*function)(void *ctx), void *ctx, int output) {
  for (size_t i = 0; i < TEST_COUNT(fault_signals); i++) {
    /* A sanitizer's own handlers say more than a bare signal. */
    if (!TEST_ASAN && !TEST_TSAN) {
      signal(fault_signals[i], SIG_DFL);
    }
  }
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  dup2(output, STDERR_FILENO);
  close(output);
  int status = function(ctx);
  fflush(NULL);
  if (__gcov_dump != NULL) {
    __gcov_dump();
  }
  _exit(status);
}

/* Seconds that a process was ready to run while others had the processors; 0 where the
 * system does not say. */
static double starved(pid_t pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
  FILE *file = fopen(path, "r");
  unsigned long long ran = 0, waited = 0;
  if (file == NULL) {
    return 0;
  }
  bool known = fscanf(file, "%llu %llu", &ran, &waited) == 2;
  fclose(file);
  return known ? (double)waited * 1e-9 : 0;
}

/* What is left of a child's time. It hangs if it sleeps or runs for so long, but not if
 * the machine is busy. */
static double time_left(pid_t pid, double deadline) {
  double left = deadline - test_seconds();
  return left > 0 ? left : left + starved(pid);
}

/* Reads until the other end closes or the time is over. */
static bool collect_output(int fd, pid_t pid, test_child_t *child, double deadline) {
  for (;;) {
    double left = time_left(pid, deadline);
    if (left <= 0) {
      return false;
    }
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int ready = poll(&wait, 1, (int)(left * 1000) + 1);
    if (ready == 0 || (ready < 0 && errno == EINTR)) {
      continue;
    }
    if (ready < 0) {
      return false;
    }
    char piece[1024];
    ssize_t got = read(fd, piece, sizeof piece);
    if (got <= 0) {
      return true;
    }
    size_t room = sizeof child->output - 1 - child->length;
    size_t keep = (size_t)got < room ? (size_t)got : room;
    memcpy(child->output + child->length, piece, keep);
    child->length += keep;
  }
}

test_child_t test_child_run(int (*function)(void *ctx), void *ctx, double seconds) {
  test_child_t child;
  memset(&child, 0, sizeof child);
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  fflush(NULL);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    close(ends[0]);
    run_child(function, ctx, ends[1]);
  }
  close(ends[1]);
  if (TEST_TSAN || TEST_ASAN) {
    seconds *= 5;
  }
  double deadline = test_seconds() + seconds;
  bool closed = collect_output(ends[0], pid, &child, deadline);
  close(ends[0]);
  int status = 0;
  /* A child may close its stderr long before it ends. */
  pid_t ended = 0;
  while (closed && (ended = waitpid(pid, &status, WNOHANG)) == 0) {
    if (time_left(pid, deadline) <= 0) {
      break;
    }
    usleep(500);
  }
  if (ended != pid) {
    child.timed_out = true;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
  } else if (WIFSIGNALED(status)) {
    child.signal = WTERMSIG(status);
  } else {
    child.status = WEXITSTATUS(status);
  }
  return child;
}

void test_child_must_succeed(int (*function)(void *ctx), void *ctx, double seconds) {
  test_child_t child = test_child_run(function, ctx, seconds);
  if (child.timed_out || child.signal != 0 || child.status != 0) {
    fprintf(stderr, "%s", child.output);
    test_fail(__FILE__, __LINE__, "child: %s, signal %d, status %d",
              child.timed_out ? "timed out" : "ended", child.signal, child.status);
  }
}

void test_child_must_abort(int (*function)(void *ctx), void *ctx, ...) {
  test_child_t child = test_child_run(function, ctx, 20);
  CHECK_MSG(!child.timed_out && child.signal == SIGABRT,
            "child: %s, signal %d, status %d, said: %s",
            child.timed_out ? "timed out" : "ended", child.signal, child.status,
            child.output);
  va_list texts;
  va_start(texts, ctx);
  for (;;) {
    const char *text = va_arg(texts, const char *);
    if (text == NULL) {
      break;
    }
    CHECK_MSG(strstr(child.output, text) != NULL, "'%s' is not in: %s", text,
              child.output);
  }
  va_end(texts);
}

pid_t test_fork(void) {
  fflush(NULL);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) alarm(TEST_TSAN || TEST_ASAN ? 120 : 60);
  return pid;
}

void test_fork_end(pid_t child) {
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: status 0x%x",
            (unsigned)status);
}
