/* pages_cell.c - cells of guarded blocks: what is remembered of them, what they take, and
 * what becomes of them where the system refuses. Linked with --wrap for mmap, munmap,
 * madvise and mprotect. */
#include "child.h"
#include "guard.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/memory.h"
#include "os/os.h"
#include "pages/idle.h"
#include "pages/mapping_lists.h"

#define RANGE ((size_t)HAK_CELLS * HAK_SUPERSLAB_SIZE)

/* --- the system -----------------------------------------------------------------------
 */

static struct {
  bool refuse_range;          /* no range of that size is to be had */
  int protects, madvises;     /* calls */
  int no_protect, no_madvise; /* calls from now on until one is refused; 0 = none */
  int given, taken;           /* ranges of that size */
} g;

void *__real_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t at);
void *__wrap_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t at);
void *__wrap_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t at) {
  if (size >= RANGE && g.refuse_range) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void *ptr = __real_mmap(hint, size, protection, flags, fd, at);
  if (ptr != MAP_FAILED && size >= RANGE) g.taken++;
  return ptr;
}

int __real_munmap(void *ptr, size_t size);
int __wrap_munmap(void *ptr, size_t size);
int __wrap_munmap(void *ptr, size_t size) {
  CHECK(ptr != NULL);
  if (size >= RANGE) g.given++;
  return __real_munmap(ptr, size);
}

static bool refuses(int *calls, int *until) {
  ++*calls;
  if (*until == 0 || --*until != 0) return false;
  errno = ENOMEM;
  return true;
}
int __real_mprotect(void *ptr, size_t size, int protection);
int __wrap_mprotect(void *ptr, size_t size, int protection);
int __wrap_mprotect(void *ptr, size_t size, int protection) {
  if (refuses(&g.protects, &g.no_protect)) return -1;
  return __real_mprotect(ptr, size, protection);
}
int __real_madvise(void *ptr, size_t size, int advice);
int __wrap_madvise(void *ptr, size_t size, int advice);
int __wrap_madvise(void *ptr, size_t size, int advice) {
  if (refuses(&g.madvises, &g.no_madvise)) return -1;
  return __real_madvise(ptr, size, advice);
}

enum {
  LARGE = 9000 /* bytes; no bin has such a block */
};

/* The library runs, and has no cells yet. */
static void begin(void) {
  hak_free(hak_alloc(LARGE));
  memset(&g, 0, sizeof g);
  test_guard(1);
}
static char *guarded(size_t size) {
  char *block = hak_alloc(size);
  CHECK(block != NULL && test_is_guarded(block));
  return block;
}
/* Keeps the block: a bin that had it would serve the next request. */
static bool gets_one(void) {
  void *block = hak_alloc(LARGE);
  CHECK(block != NULL);
  return test_is_guarded(block);
}

/* --- the range ------------------------------------------------------------------------
 */

TEST_IN_CHILD(range__that_is_refused_leaves_nothing_and_comes_later, 30) {
  begin();
  g.refuse_range = true;
  for (int i = 0; i < 10; i++) CHECK(!gets_one());
  CHECK(g.protects == 0 && g.given == 0);
  g.refuse_range = false;
  for (int i = 0; !gets_one(); i++) CHECK(i < 3000);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Blocks do not lie where those beside them may be touched. */
TEST_IN_CHILD(range__that_cannot_be_guarded_serves_nobody, 30) {
  begin();
  g.no_protect = 1;
  CHECK(!gets_one());
  CHECK(g.protects == 1 && g.taken > 0 && g.given == g.taken);
  for (int i = 0; !gets_one(); i++) CHECK(i < 3000);
  CHECK_EQ(hak_check(NULL), 0);
}

/* --- a block --------------------------------------------------------------------------
 */

TEST_IN_CHILD(cell__is_for_small_blocks, 30) {
  hak_cell_ask_t ask = {.os = hak_os_default(),
                        .size = HAK_CELL_SIZE_MOST + 1,
                        .usable = HAK_CELL_SIZE_MOST + 1,
                        .alignment = 16};
  begin();
  CHECK(hak_cell_begin(&ask) == NULL);
  ask.size = 16;
  ask.alignment = 2 * ask.os->page_size;
  CHECK(hak_cell_begin(&ask) == NULL);
  CHECK(g.protects == 0 && g.taken == 0);
}

/* Also where the cell has had another one: what the system took is not cleared. */
TEST_IN_CHILD(block__takes_the_pages_that_are_touched, 30) {
  size_t size = 60000, page = hak_os_default()->page_size;
  begin();
  for (int i = 0; i < 2 * HAK_CELLS; i++) {
    char *block = guarded(size);
    char *pages = (char *)((uintptr_t)block & ~(uintptr_t)(page - 1));
    size_t all = (size + page - 1) & ~(page - 1);
    int64_t resident = hak_memory_resident(pages, all);
    CHECK_MSG(resident <= (int64_t)(2 * page), "block %d: %lld", i, (long long)resident);
    hak_free(block);
  }
}

/* What the system kept is cleared. */
TEST_IN_CHILD(block__is_of_zeroes_where_pages_could_not_be_given, 30) {
  size_t size = 60000;
  begin();
  for (int i = 0; i < 2 * HAK_CELLS; i++) {
    char *block = guarded(size);
    CHECK(test_is_zero(block, size));
    memset(block, 1, size);
    g.no_madvise = 1;
    hak_free(block);
    CHECK_EQ(g.no_madvise, 0);
  }
}

TEST_IN_CHILD(cell__that_cannot_be_closed_is_free, 30) {
  begin();
  char *block = guarded(LARGE);
  g.no_protect = 1;
  hak_free(block);
  CHECK_EQ(g.no_protect, 0);
  /* It may be touched still: so it says nothing of who does. */
  hak_cell_facts_t facts;
  CHECK_EQ(hak_cell_look(block, &facts), HAK_CELL_FREE);
  CHECK_EQ(hak_check(NULL), 0);
  char *other = guarded(LARGE);
  hak_free(other);
  CHECK_EQ(hak_cell_look(other, &facts), HAK_CELL_WAITING);
}

/* --- what is remembered ---------------------------------------------------------------
 */

TEST_IN_CHILD(facts__are_of_the_block_and_of_its_first_free, 30) {
  static const hak_calls_t first = {.thread = 11}, second = {.thread = 22};
  hak_cell_facts_t facts;
  begin();
  char *block = guarded(LARGE);
  hak_cell_set_origin(block, 7);
  hak_cell_set_origin(block + 1, 8); /* no block's start */
  hak_cell_set_free(block, &first);
  hak_cell_set_free(block, &second);
  hak_cell_set_free(block + 1, &second);
  CHECK_EQ(hak_cell_look(block + 1, &facts), HAK_CELL_USED);
  CHECK(facts.block == block && facts.origin == 7 && facts.free.thread == 11);
  hak_free(block);
  hak_cell_set_origin(block, 8);
  hak_cell_set_free(block, &second);
  CHECK_EQ(hak_cell_margins(block), HAK_CELL_WHOLE);
  CHECK_EQ(hak_cell_look(block, &facts), HAK_CELL_WAITING);
  CHECK(facts.block == block && facts.origin == 7 && facts.free.thread == 11);
}

TEST_IN_CHILD(facts__of_nothing_are_not_written, 30) {
  hak_cell_facts_t facts, before;
  memset(&before, 0x55, sizeof before);
  facts = before;
  begin();
  CHECK_EQ(hak_cell_look(&g, &facts), HAK_CELL_FREE);
  hak_free(guarded(LARGE));
  /* One cell after the other serves: the last has had no block. */
  const char *base = (const char *)(uintptr_t)hak_load_relaxed(&hak_cells_base);
  CHECK_EQ(hak_cell_look(base + RANGE - HAK_SUPERSLAB_SIZE / 2, &facts), HAK_CELL_FREE);
  CHECK_EQ(hak_cell_look(base + RANGE, &facts), HAK_CELL_FREE);
  CHECK_EQ(hak_cell_look(&g, &facts), HAK_CELL_FREE);
  CHECK(memcmp(&facts, &before, sizeof facts) == 0);
}

/* A crash handler may have stopped the thread that has the lock. */
TEST_IN_CHILD(look__does_not_wait_for_a_lock_for_long, 30) {
  hak_cell_facts_t facts;
  begin();
  char *block = guarded(LARGE);
  hak_lock_acquire(&hak_mappings.lock);
  CHECK_EQ(hak_cell_look(block, &facts), HAK_CELL_FREE);
  hak_lock_release(&hak_mappings.lock);
  CHECK_EQ(hak_cell_look(block, &facts), HAK_CELL_USED);
}

/* They end with their range, and nothing of them is left in the lists. */
TEST_IN_CHILD(shutdown__with_blocks_in_use_takes_them_along, 30) {
  begin();
  for (int i = 0; i < 4; i++) (void)guarded(LARGE);
  char *large = hak_alloc(64 * MIB); /* a mapping too */
  CHECK(large != NULL);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK(hak_mappings.used == NULL && hak_mappings.passing == NULL);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), 0);
  CHECK_EQ(g.given, g.taken);
  CHECK_EQ(hak_init(NULL), 0);
  for (int i = 0; i < 4; i++) hak_free(hak_alloc(64 * MIB));
}

TEST_MAIN_FRESH(T(range__that_is_refused_leaves_nothing_and_comes_later),
                T(range__that_cannot_be_guarded_serves_nobody),
                T(cell__is_for_small_blocks), T(block__takes_the_pages_that_are_touched),
                T(block__is_of_zeroes_where_pages_could_not_be_given),
                T(cell__that_cannot_be_closed_is_free),
                T(facts__are_of_the_block_and_of_its_first_free),
                T(facts__of_nothing_are_not_written),
                T(look__does_not_wait_for_a_lock_for_long),
                T(shutdown__with_blocks_in_use_takes_them_along))
