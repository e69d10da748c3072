/* api_limits.c - the system's own limits are met: address space, data, locked memory,
 * mappings, a group's memory. Each tier of heaps of each kind is asked until it has no
 * more; what it had is whole, goes back, and all serves again once the limit is gone.
 * Each limit is met in a child of its own. */
#include "child.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  BLOCKS = 14000,
  ROOM = 12 << 20, /* bytes that a limit leaves */
  MOST = 32 << 20, /* bytes that are asked for, if there are so many */
  HEAPS = 5
};

static const size_t tiers[] = {
    48, 3000, 40 << 10, 300 << 10, 3 << 20, 40 << 20,
};

static hak_heap_t *g_heaps[HEAPS];

/* The default heap, one of each kind, and one in a budget of its parent's. */
static void make_heaps(void) {
  hak_heap_config_t budget = HAK_HEAP_CONFIG_INIT;
  g_heaps[0] = hak_heap_default();
  g_heaps[1] = test_heap(HAK_HEAP_SERIAL, "serial", NULL);
  g_heaps[2] = test_heap(HAK_HEAP_NO_PURGE, "kept", NULL);
  budget.hard_limit = 512 * MIB;
  g_heaps[3] = test_heap_make(budget);
  g_heaps[4] = test_heap(HAK_HEAP_WATCHED, "child", g_heaps[3]);
}

/* Blocks of one size until there are no more; how many there were. */
static size_t fill(hak_heap_t *heap, size_t size, void **blocks) {
  size_t count = 0;
  while (count < BLOCKS && count * size < MOST) {
    errno = TEST_ERRNO;
    void *block = hak_heap_alloc(heap, size);
    if (block == NULL) {
      CHECK_EQ(errno, ENOMEM);
      break;
    }
    test_fill_sparse(block, size, count);
    blocks[count++] = block;
  }
  return count;
}

/* All tiers of all heaps; how often there was no more memory. */
static unsigned use_all(void) {
  static void *blocks[BLOCKS];
  unsigned refused = 0;
  for (size_t i = 0; i < HEAPS * TEST_COUNT(tiers); i++) {
    hak_heap_t *heap = g_heaps[i % HEAPS];
    size_t size = tiers[i / HEAPS];
    size_t count = fill(heap, size, blocks);
    refused += count < BLOCKS && count * size < MOST;
    if (count > 1) {
      void *grown = hak_realloc(blocks[0], size * 2);
      blocks[0] = grown != NULL ? grown : blocks[0];
    }
    for (size_t k = 0; k < count; k++) {
      CHECK(test_verify_sparse(blocks[k], size, k));
      hak_free(blocks[k]);
    }
    (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  }
  return refused;
}

/* Nothing is left of what the limit met, in any budget. */
static void require_service(void) {
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(use_all(), 0);
  for (size_t i = HEAPS; i-- > 1;) {
    CHECK_EQ(test_heap_live_blocks(g_heaps[i]), 0);
    CHECK_EQ(test_heap_stats(g_heaps[i]).committed_bytes != 0 && i != 2, 0);
    CHECK_EQ(hak_heap_destroy(g_heaps[i]), 0);
  }
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(test_stats().unreleased_bytes, 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(0), 0);
}

/* A figure of /proc/self/status in bytes. */
static size_t status_bytes(const char *name) {
  char line[256];
  unsigned long kib = 0;
  FILE *file = fopen("/proc/self/status", "r");
  CHECK(file != NULL);
  while (kib == 0 && fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, name, strlen(name)) == 0) {
      kib = strtoul(line + strlen(name), NULL, 10);
    }
  }
  fclose(file);
  return kib * KIB;
}

static void set_limit(int resource, size_t bytes) {
  struct rlimit limit;
  CHECK_EQ(getrlimit((__rlimit_resource_t)resource, &limit), 0);
  limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
  CHECK_EQ(setrlimit((__rlimit_resource_t)resource, &limit), 0);
}

TEST_IN_CHILD(limit__of_address_space, 60) {
  make_heaps();
  set_limit(RLIMIT_AS, status_bytes("VmSize:") + ROOM);
  CHECK(use_all() > 0);
  set_limit(RLIMIT_AS, RLIM_INFINITY);
  require_service();
}

TEST_IN_CHILD(limit__of_data, 60) {
  make_heaps();
  set_limit(RLIMIT_DATA, status_bytes("VmData:") + ROOM);
  CHECK(use_all() > 0);
  set_limit(RLIMIT_DATA, RLIM_INFINITY);
  require_service();
}

enum {
  FILLERS = 100
};
static pthread_barrier_t g_begin, g_full;
static atomic_size_t g_filled; /* bytes */

/* Blocks until there are no more, which live until all threads have what they get. */
static void *fill_to_the_end(void *ctx) {
  enum {
    SIZE = 1024
  };
  void *all = NULL;
  size_t bytes = 0;
  (void)ctx;
  pthread_barrier_wait(&g_begin);
  for (void **block; (block = hak_alloc(SIZE)) != NULL;) {
    *block = all;
    all = block;
    bytes += hak_usable_size(block);
  }
  atomic_fetch_add(&g_filled, bytes);
  pthread_barrier_wait(&g_full);
  while (all != NULL) {
    void *next = *(void **)all;
    hak_free(all);
    all = next;
  }
  return NULL;
}

/* What threads have of their own must not come to be most of a limit. */
TEST_IN_CHILD(limit__of_data_goes_to_blocks_of_many_threads, 60) {
  static pthread_t threads[FILLERS];
  size_t room = 256 * MIB;
  CHECK_EQ(pthread_barrier_init(&g_begin, NULL, FILLERS + 1), 0);
  CHECK_EQ(pthread_barrier_init(&g_full, NULL, FILLERS + 1), 0);
  hak_free(hak_alloc(1));
  for (size_t i = 0; i < FILLERS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, fill_to_the_end, NULL), 0);
  }
  set_limit(RLIMIT_DATA, status_bytes("VmData:") + room);
  pthread_barrier_wait(&g_begin);
  pthread_barrier_wait(&g_full);
  set_limit(RLIMIT_DATA, RLIM_INFINITY);
  for (size_t i = 0; i < FILLERS; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  size_t filled = atomic_load(&g_filled);
  /* In a hardened build blocks are of the next class, which leaves 1 KiB of each slab,
   * and have a canary each: 2.3 per cent. */
  size_t least = TEST_CHECKS == 3 ? 82 : 85;
  CHECK_MSG(filled >= room / 100 * least, "%zu of %zu bytes", filled, room);
  CHECK_EQ(test_live_blocks(), 0);
}

/* All memory of the process is locked, which only a privileged one may do without end. */
TEST_IN_CHILD(limit__of_locked_memory, 60) {
  if (geteuid() == 0) CHECK_EQ(setuid(65534), 0);
  make_heaps();
  set_limit(RLIMIT_MEMLOCK, status_bytes("VmSize:") + ROOM);
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    fprintf(stderr, "not tried: the system lets this process lock too little memory\n");
  } else {
    CHECK(use_all() > 0);
    CHECK_EQ(munlockall(), 0);
  }
  require_service();
}

/* What a process may lock where nobody has said otherwise: what is reserved counts, so it
 * has to be little. Hardened builds, where a region's record lies apart, need more. */
TEST_IN_CHILD(limit__of_locked_memory_leaves_room_for_blocks, 60) {
  enum {
    SIZE = 1024
  };
  if (TEST_CHECKS == 3) {
    fprintf(stderr, "not tried: 8 MiB are too little for hardened builds\n");
    return;
  }
  if (geteuid() == 0) CHECK_EQ(setuid(65534), 0);
  (void)hak_shutdown(HAK_SHUTDOWN_FORCE);
  set_limit(RLIMIT_MEMLOCK, 8 * MIB);
  if (mlockall(MCL_FUTURE) != 0) {
    fprintf(stderr, "not tried: the system lets this process lock too little memory\n");
    return;
  }
  size_t filled = 0;
  void *all = NULL;
  for (void **block; (block = hak_alloc(SIZE)) != NULL; filled += SIZE) {
    CHECK(filled < 8 * MIB);
    *block = all;
    all = block;
  }
  CHECK_MSG(filled >= 2 * MIB - 64 * KIB, "%zu bytes", filled);
  while (all != NULL) {
    void *next = *(void **)all;
    hak_free(all);
    all = next;
  }
  CHECK_EQ(munlockall(), 0);
  all = hak_alloc(20 * MIB);
  CHECK(all != NULL);
  hak_free(all);
}

/* Single pages with other rights than their neighbours: each takes a mapping. */
static size_t use_up_mappings(char **pages, size_t most) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
  *pages = mmap(NULL, most * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
  CHECK(*pages != MAP_FAILED);
  while (count < most && mprotect(*pages + count * page, page, PROT_READ) == 0) {
    count += 2;
  }
  return count;
}

TEST_IN_CHILD(limit__of_mappings, 60) {
  unsigned long most = 0;
  FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
  if (file == NULL || fscanf(file, "%lu", &most) != 1 || most > 300000) {
    fprintf(stderr, "not tried: so many mappings take too long\n");
    return;
  }
  fclose(file);
  char *pages;
  size_t size = ((size_t)most + 100) * (size_t)sysconf(_SC_PAGESIZE);
  make_heaps();
  CHECK(use_up_mappings(&pages, most + 100) < most + 100);
  CHECK(use_all() > 0);
  CHECK_EQ(munmap(pages, size), 0);
  require_service();
}

/* ---- A group's memory ------------------------------------------------- */

static bool write_text(const char *folder, const char *name, const char *text) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  int fd = open(path, O_WRONLY);
  bool wrote = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  if (fd >= 0) close(fd);
  return wrote;
}

/* Puts this process into a group of its own that may have so many bytes; false where the
 * system or its rights do not let it. */
static bool enter_group(const char *const *folders, size_t count, const char *limit,
                        char *folder, size_t size) {
  for (size_t i = 0; i < count; i++) {
    snprintf(folder, size, "%s/hakmem_limits_%d", folders[i], (int)getppid());
    if (mkdir(folder, 0700) != 0) continue;
    bool limited = write_text(folder, "memory.max", limit) ||
                   write_text(folder, "memory.limit_in_bytes", limit);
    if (limited && write_text(folder, "cgroup.procs", "0")) return true;
    rmdir(folder);
  }
  return false;
}

/* The system kills whoever passes the limit: what one tier gave back serves the next. */
static int stay_in_group(void *ctx) {
  static const char *const folders[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/memory"};
  static void *blocks[BLOCKS];
  char folder[200];
  (void)ctx;
  if (!enter_group(folders, TEST_COUNT(folders), "201326592", folder, sizeof folder)) {
    fprintf(stderr, "not tried: no group can be made\n");
    return 2;
  }
  for (size_t round = 0; round < 24; round++) {
    size_t size = tiers[round % TEST_COUNT(tiers)], count = 0;
    for (; count < BLOCKS && count * size < 40 * MIB; count++) {
      blocks[count] = hak_alloc(size);
      CHECK(blocks[count] != NULL);
      memset(blocks[count], 1, size);
    }
    while (count > 0) hak_free(blocks[--count]);
  }
  return 0;
}

static void limit__of_a_group(void **state) {
  (void)state;
  test_child_t child = test_child_run(stay_in_group, NULL, 60);
  char folder[200];
  for (int v1 = 0; v1 < 2; v1++) {
    snprintf(folder, sizeof folder, "/sys/fs/cgroup%s/hakmem_limits_%d",
             v1 != 0 ? "/memory" : "", (int)getpid());
    (void)rmdir(folder);
  }
  if (child.status == 2) {
    printf("%s", child.output);
    skip();
  }
  CHECK_MSG(child.signal == 0 && child.status == 0, "signal %d: %s", child.signal,
            child.output);
}

TEST_MAIN_FRESH(T(limit__of_address_space), T(limit__of_data),
                T(limit__of_data_goes_to_blocks_of_many_threads),
                T(limit__of_locked_memory),
                T(limit__of_locked_memory_leaves_room_for_blocks), T(limit__of_mappings),
                T(limit__of_a_group))
