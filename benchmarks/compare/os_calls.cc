#include "compare/os_calls.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace bench {

static const struct Kind {
  unsigned number;
  const char *name;
} kinds[] = {
    {SYS_mmap, "mmap"},         {SYS_munmap, "munmap"},   {SYS_mremap, "mremap"},
    {SYS_mprotect, "mprotect"}, {SYS_madvise, "madvise"}, {SYS_brk, "brk"},
};
constexpr unsigned KINDS = sizeof kinds / sizeof kinds[0];

long sum_of(const OsCalls &calls) {
  long sum = 0;
  for (const auto &[name, count] : calls) sum += count;
  return sum;
}

/* In the child: lets itself be traced, and stops at memory calls from now on. The
 * filter hands the tracer the call's place in `kinds`. */
static bool ask_to_be_traced() {
  sock_filter filter[2 + 2 * KINDS] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  unsigned short length = 1;
  for (unsigned i = 0; i < KINDS; i++) {
    filter[length++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kinds[i].number, 0, 1);
    filter[length++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | i);
  }
  filter[length++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  sock_fprog program = {length, filter};
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return false;
  raise(SIGSTOP); /* until the tracer has set its options */
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool is_event(int status, int event) {
  return status >> 8 == (SIGTRAP | event << 8);
}

/* Signals that tracing itself makes are swallowed, the program's own passed on. */
static int signal_to_deliver(int status) {
  int signal = WSTOPSIG(status);
  return status >> 16 != 0 || signal == SIGTRAP || signal == SIGSTOP ? 0 : signal;
}

static void count_call(pid_t thread, OsCalls *calls) {
  unsigned long kind = 0;
  ptrace(PTRACE_GETEVENTMSG, thread, nullptr, &kind);
  if (kind < KINDS) (*calls)[kinds[kind].name]++;
}

static volatile sig_atomic_t time_is_over;

static void end_of_time(int) { time_is_over = 1; }

/* Lets the program run to its end. All that it started dies with it: the tracer's
 * wait goes on until nobody is left. */
static bool trace(pid_t child, OsCalls *calls, std::string *reason) {
  int end = 0;
  bool has_ended = false, killed = false;
  for (;;) {
    int status = 0;
    pid_t thread = waitpid(-1, &status, __WALL);
    if (time_is_over && !killed) {
      killed = true;
      kill(-child, SIGKILL);
    }
    if (thread < 0 && errno == EINTR) continue;
    if (thread < 0) break;
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (thread != child) continue;
      end = status;
      has_ended = true;
      kill(-child, SIGKILL);
      continue;
    }
    if (is_event(status, PTRACE_EVENT_SECCOMP)) count_call(thread, calls);
    ptrace(PTRACE_CONT, thread, nullptr, static_cast<long>(signal_to_deliver(status)));
  }
  if (killed) {
    *reason = "did not end in time";
  } else if (!has_ended || !WIFEXITED(end) || WEXITSTATUS(end) != 0) {
    *reason = has_ended ? "the traced run " + how_it_ended(end) : "was lost";
  }
  return reason->empty();
}

/* A timer that goes off again and again: the first may come before the wait. */
static void set_timer(double seconds) {
  auto whole = static_cast<time_t>(seconds);
  auto rest = static_cast<suseconds_t>((seconds - static_cast<double>(whole)) * 1e6);
  itimerval timer = {{seconds > 0 ? 1 : 0, 0}, {whole, rest}};
  struct sigaction action = {};
  action.sa_handler = end_of_time; /* without SA_RESTART: it ends the wait */
  sigaction(SIGALRM, &action, nullptr);
  time_is_over = 0;
  setitimer(ITIMER_REAL, &timer, nullptr);
}

bool count_os_calls(const Program &program, double seconds, OsCalls *calls,
                    std::string *reason) {
  reason->clear();
  calls->clear();
  for (const Kind &kind : kinds) (*calls)[kind.name] = 0;
  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0 || dup2(nowhere, STDOUT_FILENO) < 0 || !ask_to_be_traced())
      _exit(126);
    execute(program);
    _exit(127);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
    *reason = "tracing is not allowed here";
    return false;
  }
  long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                 PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, child, nullptr, options) != 0) {
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    *reason = "tracing is not allowed here";
    return false;
  }
  set_timer(seconds);
  ptrace(PTRACE_CONT, child, nullptr, nullptr);
  bool good = trace(child, calls, reason);
  set_timer(0);
  return good;
}

}  // namespace bench
