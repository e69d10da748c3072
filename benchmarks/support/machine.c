#include "support/machine.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#include "support/bench.h"

#if defined(__clang__)
#define COMPILER __VERSION__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

/* The rest of the line behind the first `key` of a text; empty if it is not there. */
static void rest_of_line(const char *text, const char *key, char *out, size_t capacity) {
  const char *found = strstr(text, key);
  const char *start = found != NULL ? found + strlen(key) : "";
  start += strspn(start, " \t:");
  snprintf(out, capacity, "%.*s", (int)strcspn(start, "\n"), start);
}

/* x86 has the processor's name there, other architectures have numbers at best. */
static void print_processor(void) {
  char text[4096], name[256];
  bench_read_text("/proc/cpuinfo", text, sizeof text);
  static const char *const keys[] = {"model name", "uarch", "Model", "CPU part"};
  name[0] = '\0';
  for (size_t i = 0; i < sizeof keys / sizeof keys[0] && name[0] == '\0'; i++) {
    rest_of_line(text, keys[i], name, sizeof name);
  }
  printf("note cpu %s\n", name[0] != '\0' ? name : "unknown");
}

static void print_cores(void) {
  cpu_set_t set;
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  int usable = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
  printf("note cores %d usable of %ld\n", usable, online);
}

static void print_system(void) {
  struct utsname system;
  char thp[128], defrag[128];
  if (uname(&system) == 0) {
    printf("note kernel %s %s %s\n", system.sysname, system.release, system.machine);
  }
  const char *folder = "/sys/kernel/mm/transparent_hugepage/";
  char path[96];
  snprintf(path, sizeof path, "%senabled", folder);
  bench_read_text(path, thp, sizeof thp);
  snprintf(path, sizeof path, "%sdefrag", folder);
  bench_read_text(path, defrag, sizeof defrag);
  thp[strcspn(thp, "\n")] = defrag[strcspn(defrag, "\n")] = '\0';
  printf("note thp %s; defrag %s\n", thp[0] != '\0' ? thp : "none",
         defrag[0] != '\0' ? defrag : "none");
  printf("note page %ld bytes\n", sysconf(_SC_PAGESIZE));
#ifdef __GLIBC__
  printf("note libc glibc %s\n", gnu_get_libc_version());
#else
  printf("note libc unknown\n");
#endif
}

void bench_print_machine(void) {
  printf("note compiler %s\n", COMPILER);
  printf("note flags %s\n", BENCH_FLAGS);
  print_processor();
  print_cores();
  print_system();
  fflush(stdout);
}
