#!/bin/sh
# platform.sh ROOT - what differs from system to system is behind src/os: elsewhere
# in the library
#
#   - includes in angle brackets name headers of C that are listed below, or the public
#     ones of the library;
#   - no function of the system is called and no variable of it is used, with a
#     declaration of one's own either; nor those of C that allocate, end the process,
#     read the environment or tell the time;
#   - no function runs by itself when the program starts or ends;
#   - no code is for one system (`__linux__`, `_WIN32`), but for the one line that says
#     which systems are served. Processors are another matter.
#
# Within src/os that is for files x_SYSTEM.c alone. Its other files, too, are for every
# system; leak.h may include what LeakSanitizer needs.
set -eu
root=$1
HAKMEM_ROOT=$root
. "$(dirname -- "$0")/../../tools/source-files.sh"

files=$(source_files c h def | grep '^src/' |
  grep -vE '^src/os/[a-z_]+_(linux|macos|windows)\.c$' || true)
if [ -z "$files" ]; then
  echo "FAIL: platform: no files under $root/src"
  exit 1
fi

cd "$root"
# No file's name has a space in it.
awk '
  function fail(why) {
    printf "FAIL: platform: %s:%d: %s\n", FILENAME, FNR, why
    bad[FILENAME] = 1
  }
  # The line without strings and comments; what begins a comment goes on in `inside`.
  function code(line,    out, at) {
    gsub(/\\./, "", line)
    gsub(/"[^"]*"/, "\"\"", line)
    while (line != "") {
      if (inside) {
        at = index(line, "*/")
        if (at == 0) return out
        line = substr(line, at + 2)
        inside = 0
      } else {
        at = index(line, "/*")
        if (at == 0) break
        out = out substr(line, 1, at - 1) " "
        line = substr(line, at + 2)
        inside = 1
      }
    }
    sub(/\/\/.*/, "", line)
    return out line
  }
  # The first of the names that stands in the line as a word, with `after` behind it; ""
  # if none does. Not where it is reached through a pointer: that is a hook of this name.
  function word(line, names, after,    found) {
    line = " " line
    gsub(/(->|\.)[ \t]*[A-Za-z0-9_]+/, " ", line)
    gsub(/\(\*[A-Za-z0-9_]+\)/, " ", line)
    if (!match(line, "[^A-Za-z0-9_](" names ")" after)) return ""
    found = substr(line, RSTART + 1, RLENGTH - 1)
    sub(/[^A-Za-z0-9_].*/, "", found)
    return found
  }
  # Functions with short names that only a header of the system declares, as read() and
  # time(), are not among these: a static function may be called so.
  BEGIN {
    n = split("assert errno float inttypes limits stdalign stdarg stdatomic stdbool " \
              "stddef stdint stdio stdlib stdnoreturn string", list, " ")
    for (i = 1; i <= n; i++) is_c[list[i] ".h"] = 1
    threads = "pthread_[a-z_]+|sem_[a-z]+|thrd_[a-z]+|mtx_[a-z]+|cnd_[a-z]+|tss_[a-z]+|" \
              "call_once|sched_[a-z]+|futex|syscall|gettid"
    waits = "nanosleep|clock_[a-z]+|usleep|gettimeofday|timespec_get"
    process = "fork|vfork|_Fork|getpid|getppid|signal|sigaction|sigprocmask|abort|exit|_exit|" \
              "_Exit|atexit|at_quick_exit|system|getenv|secure_getenv|setenv|putenv|getauxval|" \
              "sysconf|getpagesize|getrlimit|dl[a-z]+|dl_[a-z]+"
    file = "fopen|fdopen|fcntl|ioctl|getrandom|getentropy"
    memory = "mmap|munmap|mremap|madvise|mprotect|mincore|mlock|brk|sbrk|malloc|calloc|" \
             "realloc|free|aligned_alloc|posix_memalign"
    calls = threads "|" waits "|" process "|" file "|" memory
    variables = "environ|__environ|stdin|stdout"
    place = "belongs in src/os/*_SYSTEM.c, behind base/sys.h or os/memory.h"
    systems = "__linux__|linux|__APPLE__|_WIN32|_WIN64|__unix__|__ANDROID__|__FreeBSD__|" \
              "__NetBSD__|__OpenBSD__|__GLIBC__|__MACH__"
  }
  FNR == 1 { inside = 0 }
  /^[ \t]*#[ \t]*include[ \t]*</ {
    split($0, angle, /[<>]/)
    if (angle[2] in is_c || angle[2] ~ /^hakmem\//) next
    if (FILENAME == "src/os/leak.h" && angle[2] == "sanitizer/lsan_interface.h") next
    fail("<" angle[2] "> " place)
    next
  }
  {
    line = code($0)
    found = word(line, calls, "[ \t]*\\(")
    if (found != "") fail(found "() " place)
    found = word(line, variables, "([^A-Za-z0-9_]|$)")
    if (found != "") fail(found " belongs in src/os/*_SYSTEM.c")
    if (line ~ /__attribute__.*[^a-z](con|de)structor/) {
      fail("what runs by itself belongs in src/os/*_SYSTEM.c")
    }
    if (line ~ /^[ \t]*#/) {
      if (FILENAME == "src/base/compiler.h" && line ~ /^#if !defined\(__linux__\)/) next
      found = word(line, systems, "([^A-Za-z0-9_]|$)")
      if (found != "") fail("code for one system (" found ") belongs in src/os/*_SYSTEM.c")
    }
  }
  END {
    count = 0
    for (file in bad) count++
    if (count > 0) {
      printf "FAIL: platform: %d files know the system\n", count
      exit 1
    }
  }' $files || exit 1
echo "ok: platform: $(printf '%s\n' "$files" | wc -l) files know no system"
