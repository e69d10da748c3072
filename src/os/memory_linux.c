/* memory_linux.c - memory on Linux: the default hooks, and the hints of memory.h.
 *
 * Pages are mapped readable and writable without reservation, so commit is
 * accounting: the first touch makes the page. Purge is MADV_DONTNEED, because
 * memory given back must leave the resident set at once and read as zero.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "os/memory.h"
#include "os/os.h"

#define PROTECTION (PROT_READ | PROT_WRITE)
#define MAPPING (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

static void *map(size_t size) {
  void *ptr = mmap(NULL, size, PROTECTION, MAPPING, -1, 0);
  return ptr == MAP_FAILED ? NULL : ptr;
}

static void *linux_reserve(void *ctx, size_t size, size_t alignment) {
  (void)ctx;
  char *ptr = map(size);
  if (ptr == NULL || hak_is_aligned((uintptr_t)ptr, alignment)) return ptr;
  munmap(ptr, size);
  if (size + alignment < size) return NULL;
  ptr = map(size + alignment);
  if (ptr == NULL) return NULL;
  char *aligned = (char *)hak_align_up((uintptr_t)ptr, alignment);
  size_t before = (size_t)(aligned - ptr), after = alignment - before;
  if (before > 0) munmap(ptr, before);
  if (after > 0) munmap(aligned + size, after);
  return aligned;
}

static int linux_release(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  return munmap(ptr, size) == 0 ? 0 : errno;
}

static int linux_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  (void)ctx;
  (void)ptr;
  (void)size;
  *zeroed = true;
  return 0;
}

static int linux_purge(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  return madvise(ptr, size, MADV_DONTNEED) == 0 ? 0 : errno;
}

static void *linux_remap(void *ctx, void *ptr, size_t old_size, size_t new_size) {
  if (mremap(ptr, old_size, new_size, 0) != MAP_FAILED) return ptr;
  void *to = linux_reserve(ctx, new_size, HAK_OS_REMAP_ALIGNMENT);
  if (to == NULL) return NULL;
  void *moved = mremap(ptr, old_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
  if (moved != MAP_FAILED) return moved;
  munmap(to, new_size);
  return NULL;
}

static uint64_t linux_now_ns(void *ctx) {
  (void)ctx;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static hak_os_t default_os = {sizeof(hak_os_t),
                              0,
                              0,
                              0,
                              NULL,
                              linux_reserve,
                              linux_release,
                              linux_commit,
                              linux_purge,
                              linux_remap,
                              linux_now_ns};

/* The page size is only known at run time. */
static void find_page_size(void) {
  default_os.page_size = (size_t)sysconf(_SC_PAGESIZE);
  default_os.granularity = default_os.page_size;
}

const hak_os_t *hak_os_default(void) {
  /* Begins anew in the child of a fork that came in between. */
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, find_page_size);
  return &default_os;
}

void hak_memory_advise_huge(void *ptr, size_t size) { madvise(ptr, size, MADV_HUGEPAGE); }

void hak_memory_advise_small(void *ptr, size_t size) {
  madvise(ptr, size, MADV_NOHUGEPAGE);
}

/* Older headers do not have it, older kernels refuse it. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

void hak_memory_collapse(void *ptr, size_t size) { madvise(ptr, size, MADV_COLLAPSE); }

int64_t hak_memory_resident(void *ptr, size_t size) {
  unsigned char pages[512];
  size_t page = default_os.page_size;
  int64_t resident = 0;
  for (size_t done = 0; done < size;) {
    size_t part = size - done;
    if (part > sizeof pages * page) part = sizeof pages * page;
    if (mincore((char *)ptr + done, part, pages) != 0) return -1;
    for (size_t i = 0; i < part / page; i++) resident += (pages[i] & 1) != 0;
    done += part;
  }
  return resident * (int64_t)page;
}

static bool huge_unasked;

static void find_huge_setting(void) {
  char text[64];
  int file = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0) return;
  text[length] = 0;
  huge_unasked = strstr(text, "[always]") != NULL;
}

bool hak_memory_is_huge_unasked(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, find_huge_setting);
  return huge_unasked;
}
