/* os_memory_calls.c - what the default hooks ask the system for, and what becomes of
 * ranges where it refuses, gives others than were wanted, or locks all that is mapped.
 * The system is played: linked with --wrap for each of its calls. */
#include "child.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "os/memory.h"
#include "os/os.h"

/* --- the system -----------------------------------------------------------------------
 */

typedef enum call {
  MMAP,
  MUNMAP,
  MINCORE,
  MREMAP,
  MADVISE,
  MLOCK2,
  MPROTECT,
  CALLS
} call_t;

typedef enum memory_kind {
  ORDINARY, /* a page comes with the first touch */
  LOCKED,   /* what is mapped is resident, unless it may not be touched */
  STRANGE   /* everything is called resident */
} memory_kind_t;

typedef struct piece {
  uintptr_t at;
  size_t size;
  bool resident;
} piece_t;

enum {
  AS_WANTED = 1, /* a place: the one that is asked for */
  MOST = 16
};
#define TOP ((uintptr_t)1 << 47)
#define PROBES ((uintptr_t)1 << 45) /* where single pages are mapped */
#define HERE ((uintptr_t)1 << 40)

/* Pieces are numbers, and nothing lies there, but where a test says so. */
static struct {
  bool on;
  memory_kind_t kind;
  piece_t pieces[MOST]; /* what is mapped */
  size_t count;
  const uintptr_t *places; /* where the next ranges come to lie; 0 = refused */
  size_t calls[CALLS];
  /* Of calls of that kind the one of this number is refused, and so many after it. */
  size_t refused_from[CALLS], refused_count[CALLS];
  int error;
  size_t populated; /* bytes that became resident as they were mapped, in ranges */
  struct rlimit limit;
} g;

static size_t page(void) { return hak_os_default()->page_size; }

static bool refuses(call_t call) {
  size_t number = ++g.calls[call], from = g.refused_from[call];
  if (number < from || number - from >= g.refused_count[call]) return false;
  errno = g.error;
  return true;
}
static void refuse(call_t call, size_t from, size_t count, int error) {
  g.refused_from[call] = g.calls[call] + from;
  g.refused_count[call] = count;
  g.error = error;
}

static piece_t *piece_of(uintptr_t at, size_t size) {
  for (size_t i = 0; i < g.count; i++) {
    piece_t *piece = &g.pieces[i];
    if (at >= piece->at && at - piece->at + size <= piece->size) return piece;
  }
  test_fail(__FILE__, __LINE__, "%zu bytes at %#zx are not mapped", size, (size_t)at);
}
static void add(uintptr_t at, size_t size, bool resident) {
  if (size == 0) return;
  CHECK(g.count < MOST);
  g.pieces[g.count++] = (piece_t){at, size, resident};
}
static void cut(uintptr_t at, size_t size) {
  piece_t *piece = piece_of(at, size), old = *piece;
  *piece = g.pieces[--g.count];
  add(old.at, at - old.at, old.resident);
  add(at + size, old.at + old.size - at - size, old.resident);
}
static size_t mapped(void) {
  size_t sum = 0;
  for (size_t i = 0; i < g.count; i++) sum += g.pieces[i].size;
  return sum;
}

void *__real_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t at);
void *__wrap_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t at);
void *__wrap_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t at) {
  if (!g.on) return __real_mmap(hint, size, protection, flags, fd, at);
  CHECK((uintptr_t)hint < TOP);
  uintptr_t place = PROBES;
  bool resident = g.kind == LOCKED && protection != PROT_NONE;
  if (size > page()) {
    place = *g.places++;
    if (resident) g.populated += size;
  }
  if (place == AS_WANTED) place = (uintptr_t)hint;
  if (refuses(MMAP) || place == 0) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  add(place, size, resident);
  return (void *)place;
}

int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size) {
  if (!g.on) return __real_munmap(at, size);
  if (refuses(MUNMAP)) return -1;
  if (size == 0) {
    errno = EINVAL;
    return -1;
  }
  cut((uintptr_t)at, size);
  return 0;
}

int __real_mincore(void *at, size_t size, unsigned char *there);
int __wrap_mincore(void *at, size_t size, unsigned char *there);
int __wrap_mincore(void *at, size_t size, unsigned char *there) {
  if (!g.on) return __real_mincore(at, size, there);
  if (refuses(MINCORE)) return -1;
  piece_t *piece = piece_of((uintptr_t)at, size);
  memset(there, g.kind == STRANGE || piece->resident, size / page());
  return 0;
}

void *__real_mremap(void *at, size_t old, size_t size, int flags, void *to);
void *__wrap_mremap(void *at, size_t old, size_t size, int flags, void *to);
void *__wrap_mremap(void *at, size_t old, size_t size, int flags, void *to) {
  if (!g.on) return __real_mremap(at, old, size, flags, to);
  if (refuses(MREMAP)) return MAP_FAILED;
  cut((uintptr_t)at, old);
  if ((flags & MREMAP_FIXED) != 0) cut((uintptr_t)to, size);
  void *now = (flags & MREMAP_FIXED) != 0 ? to : at;
  add((uintptr_t)now, size, false);
  return now;
}

int __real_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice) {
  if (!g.on) return __real_madvise(at, size, advice);
  return refuses(MADVISE) ? -1 : 0;
}

int __real_mlock2(const void *at, size_t size, unsigned flags);
int __wrap_mlock2(const void *at, size_t size, unsigned flags);
int __wrap_mlock2(const void *at, size_t size, unsigned flags) {
  if (!g.on) return __real_mlock2(at, size, flags);
  (void)piece_of((uintptr_t)at, size);
  return refuses(MLOCK2) ? -1 : 0;
}

int __real_mprotect(void *at, size_t size, int protection);
int __wrap_mprotect(void *at, size_t size, int protection);
int __wrap_mprotect(void *at, size_t size, int protection) {
  if (!g.on) return __real_mprotect(at, size, protection);
  (void)piece_of((uintptr_t)at, size);
  return refuses(MPROTECT) ? -1 : 0;
}

int __real_getrlimit(int which, struct rlimit *limit);
int __wrap_getrlimit(int which, struct rlimit *limit);
int __wrap_getrlimit(int which, struct rlimit *limit) {
  if (!g.on) return __real_getrlimit(which, limit);
  *limit = g.limit;
  return 0;
}

/* --- the hooks over it ----------------------------------------------------------------
 */

static void begin(memory_kind_t kind) {
  g.kind = kind;
  g.limit = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
  (void)page();
  g.on = true;
}

#define PLACES(...) \
  (const uintptr_t[]) { __VA_ARGS__, 0, 0, 0, 0 }

static void *reserve_at(size_t size, size_t alignment, const uintptr_t *places) {
  const hak_os_t *os = hak_os_default();
  g.places = places;
  memset(g.calls, 0, sizeof g.calls);
  memset(g.refused_count, 0, sizeof g.refused_count);
  return os->reserve(os->ctx, size, alignment);
}
static int release(void *ptr, size_t size) {
  const hak_os_t *os = hak_os_default();
  return os->release(os->ctx, ptr, size);
}
static void *remap(void *ptr, size_t old, size_t size) {
  const hak_os_t *os = hak_os_default();
  return os->remap(os->ctx, ptr, old, size);
}

/* --- where a range comes to lie -------------------------------------------------------
 */

TEST_IN_CHILD(range__that_lies_right_takes_two_calls_at_most, 10) {
  begin(ORDINARY);
  CHECK(reserve_at(MIB, MIB, PLACES(HERE)) == (void *)HERE);
  CHECK(g.calls[MMAP] == 1 && g.calls[MINCORE] == 1 && g.calls[MUNMAP] == 0);
  CHECK_EQ(release((void *)HERE, MIB), 0);
  CHECK(reserve_at(64 * KIB, 64 * KIB, PLACES(HERE)) == (void *)HERE);
  CHECK(g.calls[MMAP] == 1 && g.calls[MINCORE] == 0 && g.calls[MUNMAP] == 0);
  CHECK_EQ(release((void *)HERE, 64 * KIB), 0);
  /* A large one as well, where address space has no limit. */
  CHECK(reserve_at(16 * MIB, MIB, PLACES(HERE)) == (void *)HERE);
  CHECK(g.calls[MMAP] == 1 && g.calls[MUNMAP] == 0);
  CHECK_EQ(release((void *)HERE, 16 * MIB), 0);
  CHECK_EQ(mapped(), 0);
}

TEST_IN_CHILD(range__that_lies_wrong_is_tried_below_and_cut_out_of_more, 10) {
  uintptr_t wrong = HERE + 3 * page(), other = 2 * HERE + page();
  begin(ORDINARY);
  CHECK(reserve_at(MIB, MIB, PLACES(wrong, AS_WANTED)) == (void *)HERE);
  CHECK(mapped() == MIB && g.calls[MMAP] == 2);
  CHECK_EQ(release((void *)HERE, MIB), 0);
  /* The place below is taken, or nothing comes of it. */
  for (int taken = 0; taken < 2; taken++) {
    uintptr_t second = taken != 0 ? other : 0;
    for (size_t before = 0; before < MIB; before += 5 * MIB / 16) {
      uintptr_t around = 4 * HERE - before;
      void *ptr = reserve_at(MIB, MIB, PLACES(wrong, second, around));
      CHECK(ptr == (void *)(4 * HERE));
      CHECK(mapped() == MIB && g.calls[MMAP] == 3);
      CHECK_EQ(g.calls[MUNMAP], 2U + (taken != 0) + (before != 0));
      CHECK_EQ(release(ptr, MIB), 0);
    }
  }
  /* A large one is tried as often. */
  CHECK(reserve_at(16 * MIB, MIB, PLACES(wrong, 0, other)) != NULL);
  CHECK(mapped() == 16 * MIB && g.calls[MMAP] == 3);
}

TEST_IN_CHILD(refused_ranges__leave_nothing, 10) {
  uintptr_t wrong = HERE + page();
  begin(ORDINARY);
  for (int limited = 0; limited < 2; limited++) {
    for (size_t size = 64 * KIB; size <= 16 * MIB; size *= 4) {
      CHECK(reserve_at(size, MIB, PLACES(0)) == NULL);
      CHECK(g.calls[MMAP] == 1 && g.calls[MUNMAP] == 0 && g.calls[MINCORE] == 0);
      CHECK(reserve_at(size, MIB, PLACES(wrong, 0, 0)) == NULL);
      CHECK_EQ(g.calls[MUNMAP], 1);
      CHECK_EQ(mapped(), 0);
    }
    g.limit.rlim_cur = GIB;
  }
}

/* Where address space is limited, as much is free behind a large range. */
TEST_IN_CHILD(large_range__has_room_where_space_is_limited, 10) {
  size_t size = 16 * MIB;
  begin(ORDINARY);
  g.limit.rlim_cur = GIB;
  CHECK(reserve_at(size, MIB, PLACES(HERE, AS_WANTED)) == (void *)(HERE - size));
  CHECK(mapped() == size && g.calls[MMAP] == 2);
  CHECK_EQ(release((void *)(HERE - size), size), 0);
  CHECK(reserve_at(size, MIB, PLACES(HERE, 0, AS_WANTED)) == (void *)HERE);
  CHECK(mapped() == size && g.calls[MMAP] == 3);
  CHECK_EQ(release((void *)HERE, size), 0);
  /* There is not as much below it. */
  CHECK(reserve_at(size, MIB, PLACES(size, AS_WANTED)) == (void *)(uintptr_t)size);
  CHECK(mapped() == size && g.calls[MMAP] == 2);
  CHECK_EQ(release((void *)(uintptr_t)size, size), 0);
  CHECK(reserve_at(MIB, MIB, PLACES(HERE)) == (void *)HERE);
  CHECK_EQ(g.calls[MMAP], 1); /* a small one lies anywhere */
}

/* --- memory that is locked ------------------------------------------------------------
 */

TEST_IN_CHILD(locked_process__has_one_range_resident_for_a_moment, 10) {
  begin(LOCKED);
  void *first = reserve_at(MIB, MIB, PLACES(HERE, 2 * HERE));
  CHECK(first == (void *)(2 * HERE) && mapped() == MIB);
  CHECK(!piece_of(2 * HERE, MIB)->resident && g.calls[MLOCK2] == 1);
  CHECK_EQ(g.populated, MIB);
  void *second = reserve_at(MIB, MIB, PLACES(HERE));
  CHECK(second == (void *)HERE && mapped() == 2 * MIB);
  CHECK(!piece_of(HERE, MIB)->resident && g.calls[MLOCK2] == 1);
  void *third = reserve_at(MIB, MIB, PLACES(4 * HERE));
  CHECK(third == (void *)(4 * HERE) && mapped() == 3 * MIB);
  CHECK_EQ(g.populated, MIB);
  /* The program unlocks its memory: that is seen, and not asked about again. */
  g.kind = ORDINARY;
  CHECK(reserve_at(MIB, MIB, PLACES(8 * HERE)) != NULL);
  CHECK_EQ(g.calls[MLOCK2], 0);
  CHECK(reserve_at(MIB, MIB, PLACES(16 * HERE)) != NULL);
  CHECK(g.calls[MMAP] == 1 && g.calls[MINCORE] == 1 && g.calls[MUNMAP] == 0);
  CHECK_EQ(mapped(), 5 * MIB);
}

TEST_IN_CHILD(locked_process__that_is_refused_has_resident_ranges, 10) {
  begin(LOCKED);
  CHECK(reserve_at(MIB, MIB, PLACES(HERE, 2 * HERE)) != NULL);
  static const call_t calls[] = {MLOCK2, MPROTECT};
  for (size_t i = 0; i < TEST_COUNT(calls); i++) {
    refuse(calls[i], 1, 1, EAGAIN);
    g.places = PLACES(4 * HERE, 8 * HERE);
    const hak_os_t *os = hak_os_default();
    void *ptr = os->reserve(os->ctx, MIB, MIB);
    CHECK(ptr == (void *)(8 * HERE) && mapped() == 2 * MIB);
    CHECK_EQ(release(ptr, MIB), 0);
  }
  /* A range that cannot be unmapped is used as it is. */
  g.kind = ORDINARY;
  CHECK_EQ(release(reserve_at(MIB, MIB, PLACES(HERE)), MIB), 0);
  g.kind = LOCKED;
  memset(g.calls, 0, sizeof g.calls);
  refuse(MUNMAP, 3, 1, ENOMEM); /* after two probes */
  g.places = PLACES(HERE);
  const hak_os_t *os = hak_os_default();
  CHECK(os->reserve(os->ctx, MIB, MIB) == (void *)HERE);
  CHECK_EQ(mapped(), 2 * MIB);
  CHECK(reserve_at(MIB, MIB, PLACES(0)) == NULL);
  CHECK_EQ(g.calls[MLOCK2], 0);
}

/* A system, or an emulator, that calls resident what cannot be is asked once. */
TEST_IN_CHILD(system__that_says_nothing_of_pages_is_not_asked_again, 10) {
  begin(STRANGE);
  CHECK(reserve_at(MIB, MIB, PLACES(HERE)) == (void *)HERE);
  CHECK(reserve_at(MIB, MIB, PLACES(2 * HERE)) == (void *)(2 * HERE));
  CHECK(g.calls[MMAP] == 1 && g.calls[MINCORE] == 0 && g.calls[MUNMAP] == 0);
  CHECK_EQ(mapped(), 2 * MIB);
}

/* --- refused releases -----------------------------------------------------------------
 */

static uint64_t strays(void) { return hak_load_relaxed(&hak_os_counts.stray_bytes); }

TEST_IN_CHILD(pieces__that_cannot_be_unmapped_go_later, 10) {
  /* Memory that is there, as such pieces name themselves. */
  char *memory = __real_mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  uintptr_t at = ((uintptr_t)memory + 2 * MIB) & ~(uintptr_t)(MIB - 1);
  begin(ORDINARY);
  const hak_os_t *os = hak_os_default();
  memset(g.calls, 0, sizeof g.calls);
  refuse(MUNMAP, 2, 2, ENOMEM);
  g.places = PLACES(HERE + page(), 0, at - MIB / 4);
  void *ptr = os->reserve(os->ctx, MIB, MIB);
  CHECK(ptr == (void *)at && mapped() == 2 * MIB && strays() == MIB);
  CHECK(test_is_zero(ptr, MIB));
  /* A release that is refused is told, and nothing else is tried. */
  refuse(MUNMAP, 1, 1, EPERM);
  CHECK_EQ(release(ptr, MIB), EPERM);
  CHECK(mapped() == 2 * MIB && strays() == MIB);
  /* Both are refused again; one is; none. */
  refuse(MUNMAP, 2, 1, ENOMEM);
  CHECK_EQ(release(ptr, MIB), 0);
  CHECK(mapped() == MIB && strays() == MIB);
  CHECK(reserve_at(MIB, MIB, PLACES(HERE)) != NULL);
  refuse(MUNMAP, 3, 1, ENOMEM);
  CHECK_EQ(release((void *)HERE, MIB), 0);
  CHECK(strays() != 0 && strays() < MIB && mapped() == strays());
  CHECK(reserve_at(MIB, MIB, PLACES(HERE)) != NULL);
  CHECK_EQ(release((void *)HERE, MIB), 0);
  CHECK(mapped() == 0 && strays() == 0);
}

/* --- ranges that grow -----------------------------------------------------------------
 */

TEST_IN_CHILD(remap__that_is_refused_leaves_the_range, 10) {
  begin(ORDINARY);
  void *ptr = reserve_at(MIB, MIB, PLACES(HERE));
  refuse(MREMAP, 1, 9, EFAULT); /* several mappings: nothing else is of use */
  CHECK(remap(ptr, MIB, 2 * MIB) == NULL);
  CHECK(g.calls[MREMAP] == 1 && g.calls[MMAP] == 1);
  refuse(MREMAP, 1, 9, ENOMEM);
  g.places = PLACES(0);
  CHECK(remap(ptr, MIB, 2 * MIB) == NULL);
  CHECK(g.calls[MREMAP] == 2 && g.calls[MUNMAP] == 0);
  refuse(MREMAP, 1, 9, ENOMEM);
  g.places = PLACES(2 * HERE);
  CHECK(remap(ptr, MIB, 2 * MIB) == NULL);
  CHECK(g.calls[MREMAP] == 4 && mapped() == MIB);
  refuse(MREMAP, 1, 1, ENOMEM);
  g.places = PLACES(2 * HERE);
  CHECK(remap(ptr, MIB, 2 * MIB) == (void *)(2 * HERE));
  CHECK_EQ(mapped(), 2 * MIB);
  CHECK(remap((void *)(2 * HERE), 2 * MIB, 4 * MIB) == (void *)(2 * HERE));
  CHECK(mapped() == 4 * MIB && g.calls[MUNMAP] == 1);
}

/* --- pages ----------------------------------------------------------------------------
 */

TEST_IN_CHILD(purge__that_is_refused_is_told, 10) {
  begin(ORDINARY);
  const hak_os_t *os = hak_os_default();
  void *ptr = reserve_at(MIB, MIB, PLACES(HERE));
  CHECK_EQ(os->purge(os->ctx, ptr, MIB), 0);
  CHECK_EQ(g.calls[MADVISE], 1);
  refuse(MADVISE, 1, 1, EINVAL); /* locked pages have a call of their own */
  CHECK_EQ(os->purge(os->ctx, ptr, MIB), 0);
  CHECK_EQ(g.calls[MADVISE], 3);
  refuse(MADVISE, 1, 2, EINVAL);
  CHECK_EQ(os->purge(os->ctx, ptr, MIB), EINVAL);
  refuse(MADVISE, 1, 1, ENOMEM);
  CHECK_EQ(os->purge(os->ctx, ptr, MIB), ENOMEM);
  CHECK_EQ(g.calls[MADVISE], 6);
}

TEST_IN_CHILD(pages__that_cannot_be_closed_keep_what_is_in_them, 10) {
  begin(ORDINARY);
  void *ptr = reserve_at(MIB, MIB, PLACES(HERE));
  bool emptied = false;
  errno = TEST_ERRNO;
  CHECK(hak_memory_close(ptr, MIB, &emptied) && emptied);
  refuse(MADVISE, 1, 1, ENOMEM);
  CHECK(hak_memory_close(ptr, MIB, &emptied) && !emptied);
  refuse(MPROTECT, 1, 3, ENOMEM);
  size_t purges = g.calls[MADVISE];
  CHECK(!hak_memory_close(ptr, MIB, &emptied) && !emptied);
  CHECK_EQ(g.calls[MADVISE], purges);
  CHECK(!hak_memory_open(ptr, MIB) && !hak_memory_guard(ptr, MIB));
  CHECK(hak_memory_open(ptr, MIB));
  refuse(MINCORE, 1, 1, ENOMEM);
  CHECK_EQ(hak_memory_resident(ptr, MIB), -1);
  CHECK_EQ(hak_memory_resident(ptr, MIB), 0);
  g.on = false; /* what follows in the process is not played */
}

TEST_MAIN_FRESH(T(range__that_lies_right_takes_two_calls_at_most),
                T(range__that_lies_wrong_is_tried_below_and_cut_out_of_more),
                T(refused_ranges__leave_nothing),
                T(large_range__has_room_where_space_is_limited),
                T(locked_process__has_one_range_resident_for_a_moment),
                T(locked_process__that_is_refused_has_resident_ranges),
                T(system__that_says_nothing_of_pages_is_not_asked_again),
                T(pieces__that_cannot_be_unmapped_go_later),
                T(remap__that_is_refused_leaves_the_range),
                T(purge__that_is_refused_is_told),
                T(pages__that_cannot_be_closed_keep_what_is_in_them))
