/* memory_linux.c - memory on Linux: the default hooks, and the hints of memory.h.
 *
 * Pages are mapped readable and writable without reservation, so commit is
 * accounting: the first touch makes the page. Purge is MADV_DONTNEED, because
 * memory given back must leave the resident set at once and read as zero.
 *
 * Where the process locks all memory that it maps (mlockall with MCL_FUTURE), a range
 * would be resident as soon as it is mapped. Ranges are then locked page by page, as
 * pages are touched: what is in use is locked as the program wanted it, and what is only
 * reserved takes no memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/sys.h"
#include "os/memory.h"
#include "os/os.h"

#define PROTECTION (PROT_READ | PROT_WRITE)
#define MAPPING (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

/* Older headers do not have them, older kernels refuse them. */
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

static void *map_as(void *hint, size_t size, int protection) {
  void *ptr = mmap(hint, size, protection, MAPPING, -1, 0);
  return ptr == MAP_FAILED ? NULL : ptr;
}

/* --- memory that is locked as it is mapped ----------------------------------------- */

enum {
  NOT_LOCKING,
  LOCKING,
  UNKNOWN /* the system calls resident what cannot be */
};
/* [any] Ranges became resident as they were mapped. Relaxed: who does not know yet finds
 * out. */
static hak_atomic_u32_t locking;

static size_t default_page_size(void) { return hak_os_default()->page_size; }

/* Nobody has touched the range, but its last page is there. */
static bool is_populated(const char *ptr, size_t size) {
  size_t page = default_page_size();
  unsigned char there = 0;
  void *last = (void *)(uintptr_t)(ptr + size - page);
  return mincore(last, page, &there) == 0 && (there & 1) != 0;
}

/* A new page with this protection is resident. */
static bool is_page_populated(int protection) {
  size_t page = default_page_size();
  char *probe = map_as(NULL, page, protection);
  if (probe == NULL) return false;
  bool populated = is_populated(probe, page);
  munmap(probe, page);
  return populated;
}

static void note_locking(void) {
  bool wrong = is_page_populated(PROT_NONE);
  hak_store_relaxed(&locking, wrong ? UNKNOWN : LOCKING);
}

/* The program may have unlocked its memory since. */
static bool is_locking(void) {
  if (HAK_LIKELY(hak_load_relaxed(&locking) != LOCKING)) return false;
  bool still = is_page_populated(PROTECTION);
  if (!still) hak_store_relaxed(&locking, NOT_LOCKING);
  return still;
}

/* A range that may not be touched yet is locked, and gets no pages. Locked that way it
 * gets none either when it may be. */
static void *map_unpopulated(void *hint, size_t size) {
  void *ptr = map_as(hint, size, PROT_NONE);
  if (ptr == NULL) return NULL;
  if (mlock2(ptr, size, MLOCK_ONFAULT) == 0 && mprotect(ptr, size, PROTECTION) == 0) {
    return ptr;
  }
  munmap(ptr, size);
  return map_as(hint, size, PROTECTION);
}

static void *map_at(void *hint, size_t size) {
  enum {
    LEAST = 128 << 10 /* bytes; smaller ranges are as good as committed */
  };
  if (size < LEAST) return map_as(hint, size, PROTECTION);
  if (is_locking()) return map_unpopulated(hint, size);
  void *ptr = map_as(hint, size, PROTECTION);
  if (ptr == NULL || hak_load_relaxed(&locking) == UNKNOWN || !is_populated(ptr, size)) {
    return ptr;
  }
  note_locking();
  if (!is_locking() || munmap(ptr, size) != 0) return ptr;
  return map_unpopulated(hint, size);
}

/* --- strays: what the system does not take back ------------------------------------ */

/* A piece that was mapped for the sake of alignment and could not be unmapped, because
 * the process has as many mappings as it may have. It names itself. */
typedef struct stray {
  struct stray *next;
  size_t size;
} stray_t;
static _Atomic(stray_t *) strays; /* [any] */

static void add_strays(stray_t *first, stray_t *last) {
  stray_t *before = hak_load_relaxed(&strays);
  do {
    last->next = before;
    /* Release: pairs with retry_strays, which reads the pieces. */
  } while (!hak_cas_release(&strays, &before, first));
}

static void drop(void *ptr, size_t size) {
  if (size == 0 || munmap(ptr, size) == 0) return;
  hak_add_relaxed(&hak_os_counts.stray_bytes, size);
  stray_t *stray = ptr;
  stray->size = size;
  add_strays(stray, stray);
}

/* Called where another range could be unmapped. */
static HAK_SLOW void retry_strays(void) {
  /* Acquire: pairs with add_strays. In the child of a fork what another thread had taken
   * out is left mapped. */
  stray_t *stray = hak_exchange_acquire(&strays, NULL);
  while (stray != NULL) {
    stray_t *next = stray->next;
    size_t size = stray->size;
    if (munmap(stray, size) != 0) break;
    hak_sub_relaxed(&hak_os_counts.stray_bytes, size);
    stray = next;
  }
  if (stray == NULL) return;
  stray_t *last = stray;
  while (last->next != NULL) last = last->next;
  add_strays(stray, last);
}

/* --- the default hooks ------------------------------------------------------------- */

/* Where all that is mapped is locked, that is limited too, but for processes with the
 * right to lock what they like: these can map more than the limit says. */
static HAK_SLOW bool is_bound(size_t limit) {
  void *more = map_as(NULL, limit, PROT_NONE);
  return more == NULL || munmap(more, limit) != 0;
}

/* The lesser of `least` and a limit of the process, if it is known; RLIM_INFINITY is not
 * less. */
static size_t lesser(size_t least, bool known, const struct rlimit *limit) {
  return known && limit->rlim_cur < least ? limit->rlim_cur : least;
}

size_t hak_memory_limit(void) {
  int saved = errno;
  struct rlimit limit;
  size_t least = lesser(SIZE_MAX, getrlimit(RLIMIT_AS, &limit) == 0, &limit);
  least = lesser(least, getrlimit(RLIMIT_DATA, &limit) == 0, &limit);
  if (HAK_UNLIKELY(is_locking())) {
    size_t locked = lesser(least, getrlimit(RLIMIT_MEMLOCK, &limit) == 0, &limit);
    if (locked < least && is_bound(locked)) least = locked;
  }
  errno = saved;
  return least;
}

size_t hak_memory_total(void) {
  struct sysinfo info;
  int saved = errno;
  bool known = sysinfo(&info) == 0;
  errno = saved;
  size_t units, bytes;
  if (!known || __builtin_add_overflow(info.totalram, info.totalswap, &units) ||
      __builtin_mul_overflow(units, (size_t)info.mem_unit, &bytes)) {
    return SIZE_MAX;
  }
  return bytes;
}

/* A range from where the system would put the next one down to the next aligned place: it
 * is free most often. NULL if it is not. */
static char *map_below(char *ptr, size_t size, size_t alignment) {
  char *want = (char *)hak_align_down((uintptr_t)ptr, alignment);
  char *got = map_at(want, size);
  if (hak_is_aligned((uintptr_t)got, alignment)) return got;
  drop(got, size);
  return NULL;
}

/* Maps more than is wanted and cuts off what is too much. As much as is wanted could be
 * mapped, so the sum is no less. */
static char *map_around(size_t size, size_t alignment) {
  char *ptr = map_at(NULL, size + alignment);
  if (ptr == NULL) return NULL;
  char *aligned = (char *)hak_align_up((uintptr_t)ptr, alignment);
  size_t before = (size_t)(aligned - ptr);
  drop(ptr, before);
  drop(aligned + size, alignment - before);
  return aligned;
}

/* Where address space is limited a large block that outgrows its range could not be
 * moved, as the old range and the new one would have to fit together: so its range comes
 * to lie where as much is free behind it. The system fills that space from the other
 * end. */
enum {
  APART = 8 << 20 /* bytes, from which on that is done */
};

static HAK_SLOW void *linux_reserve(void *ctx, size_t size, size_t alignment) {
  (void)ctx;
  char *ptr = map_at(NULL, size);
  if (ptr == NULL) return NULL;
  size_t apart = size >= APART && hak_memory_limit() != SIZE_MAX ? size : 0;
  if (apart == 0 && hak_is_aligned((uintptr_t)ptr, alignment)) return ptr;
  drop(ptr, size);
  char *below = NULL;
  if (apart != 0 && (uintptr_t)ptr > apart)
    below = map_below(ptr - apart, size, alignment);
  if (below == NULL) below = map_below(ptr, size, alignment);
  return below != NULL ? below : map_around(size, alignment);
}

static int linux_release(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  if (munmap(ptr, size) != 0) return errno;
  if (HAK_UNLIKELY(hak_load_relaxed(&strays) != NULL)) retry_strays();
  return 0;
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
  if (madvise(ptr, size, MADV_DONTNEED) == 0) return 0;
  /* Locked pages are refused to that call. */
  if (errno == EINVAL && madvise(ptr, size, MADV_DONTNEED_LOCKED) == 0) return 0;
  return errno;
}

static void *linux_remap(void *ctx, void *ptr, size_t old_size, size_t new_size) {
  if (mremap(ptr, old_size, new_size, 0) != MAP_FAILED) return ptr;
  /* The range is several mappings to the kernel. Some kernels unmap the place to move to
   * before they look. */
  if (errno == EFAULT) return NULL;
  void *to = linux_reserve(ctx, new_size, HAK_OS_REMAP_ALIGNMENT);
  if (to == NULL) return NULL;
  void *moved = mremap(ptr, old_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
  if (moved != MAP_FAILED) return moved;
  drop(to, new_size);
  return NULL;
}

uint64_t hak_memory_now_ns(void *ctx) {
  (void)ctx;
  struct timespec now = {0}; /* it may be refused */
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
                              hak_memory_now_ns};

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

bool hak_memory_guard(void *ptr, size_t size) {
  int saved = errno;
  bool ok = mprotect(ptr, size, PROT_NONE) == 0;
  errno = saved;
  return ok;
}

bool hak_memory_open(void *ptr, size_t size) {
  int saved = errno;
  bool ok = mprotect(ptr, size, PROTECTION) == 0;
  errno = saved;
  return ok;
}

bool hak_memory_close(void *ptr, size_t size, bool *emptied) {
  int saved = errno;
  bool ok = hak_memory_guard(ptr, size);
  *emptied = ok && linux_purge(NULL, ptr, size) == 0;
  errno = saved;
  return ok;
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
  int cancel = hak_sys_forbid_cancel();
  pthread_once(&once, find_huge_setting);
  hak_sys_allow_cancel(cancel);
  return huge_unasked;
}
