/* kinds.c - each kind of misuse in each tier, in a child whose handler returns: when it
 * is found, and what is said. SECURITY.md has the table that this one prints.
 *
 *   kinds --table            the rows of SECURITY.md
 *   kinds [<kind> <size>]    runs one case and shows what it says
 */
#include "child.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef TEST_CHECKS
#define TEST_CHECKS \
  1 /* HAKMEM_CHECKS of the library: 0 off, 1 default, 2 full, 3 hardened */
#endif

/* When a kind is found, a letter for each size. */
typedef enum found {
  AT_CALL = 'c',  /* named by the call that misuses */
  LATER = 'l',    /* named by a later call, before anything has two owners */
  REFUSED = 'r',  /* the call gives an error */
  SILENT = '-',   /* not found; nothing had two owners */
  TWO = '2',      /* something may have two owners before it is found */
  ATTACKED = 'A', /* an address that the attacker chose was given out */
  NOT_MADE = ' '  /* the kind is not for this size */
} found_t;

/* Sizes of each tier: to 1 KiB, to 56 KiB, a span to itself, and large. */
static const size_t sizes[] = {64, 2000, 40000, 200000, 3 << 20};
enum {
  SIZES = 5,
  AFTER = 600,
  MOST_BYTES = 64 << 20
};

/* --- the process
 * ------------------------------------------------------------------------- */

static size_t g_size;
static char *g_live[4 * AFTER];
static size_t g_count;
static char *g_kept[4]; /* what the program had when it misused something */
static size_t g_kept_count;
static hak_heap_t *g_heap;
static bool g_refused, g_not_made;
static char *g_target; /* what an attacker wants to be given */
static size_t g_target_size;
static bool g_two;
static char g_said[160]; /* the first report */

static void listen(const hak_error_info_t *info, void *ctx) {
  (void)ctx;
  if (g_said[0] != '\0') return;
  snprintf(g_said, sizeof g_said, "%s in %s: %s", hak_error_text(info->error),
           info->function, info->text);
}

static void tell(found_t found) { fprintf(stderr, "%c %s\n", (char)found, g_said); }

static char *get(void) {
  char *block = hak_heap_alloc(g_heap, g_size);
  CHECK(block != NULL);
  if (g_target != NULL && test_is_within(block, g_target, g_target_size)) {
    tell(ATTACKED);
    _exit(0);
  }
  memset(block, 0x33, g_size < 64 ? g_size : 64);
  return block;
}
static void keep(char *block) { g_live[g_count++] = block; }

static int by_address(const void *a, const void *b) {
  const char *const *x = a, *const *y = b;
  return *x < *y ? -1 : *x > *y;
}

static void look_for_two_owners(void) {
  qsort(g_live, g_count, sizeof *g_live, by_address);
  for (size_t i = 1; i < g_count; i++) {
    if (g_live[i - 1] + g_size > g_live[i] && g_said[0] == '\0') g_two = true;
  }
}

/* As a program goes on. */
static void go_on(void) {
  size_t count = MOST_BYTES / g_size < AFTER ? MOST_BYTES / g_size : AFTER;
  for (int round = 0; round < 2; round++) {
    char *fresh[AFTER];
    for (size_t i = 0; i < count; i++) keep(fresh[i] = get());
    look_for_two_owners();
    if (round == 1 || g_two) return;
    g_count = 0;
    for (size_t i = 0; i < count; i++) hak_free(fresh[i]);
    hak_thread_idle();
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  }
}

/* In the end a program gives its blocks back. Only hardened builds look at what lies
 * behind one then. */
static void give_back(void) {
  if (TEST_CHECKS < 3) return;
  for (size_t i = 0; i < g_kept_count; i++) hak_free(g_kept[i]);
}

/* A heap, or a thread, that has worked with the size before. */
static void warm_up(hak_heap_t *heap) {
  for (int i = 0; i < 20; i++) hak_free(hak_heap_alloc(heap, g_size));
}
/* And so often that its bins keep blocks over 56 KiB; some pauses do no harm. */
static void work(hak_heap_t *heap) {
  for (int i = 0; i < 100; i++) warm_up(heap);
}
static void *free_thread(void *block) {
  warm_up(NULL);
  hak_free(block);
  return NULL;
}
static void elsewhere(void *block) { test_thread_run(free_thread, block); }

/* --- the kinds
 * --------------------------------------------------------------------------- */

static void twice(void) {
  work(NULL);
  char *a = get();
  hak_free(a);
  hak_free(a);
}
static void twice_another_between(void) {
  work(NULL);
  char *a = get(), *b = get();
  hak_free(a);
  hak_free(b);
  hak_free(a);
}
static void twice_elsewhere(void) {
  char *a = get();
  elsewhere(a);
  elsewhere(a);
}
static void twice_elsewhere_then_here(void) {
  char *a = get();
  elsewhere(a);
  hak_free(a);
}
static void twice_here_then_elsewhere(void) {
  char *a = get();
  hak_free(a);
  elsewhere(a);
}
static void twice_sized(void) {
  work(NULL);
  char *a = get();
  hak_free_sized(a, g_size);
  hak_free_sized(a, g_size);
}
static void twice_with_heap(void) {
  work(g_heap = test_heap(0, NULL, NULL));
  char *a = get();
  hak_heap_free(g_heap, a);
  hak_heap_free(g_heap, a);
}
static void twice_serial(void) {
  warm_up(g_heap = test_heap(HAK_HEAP_SERIAL, NULL, NULL));
  char *a = get();
  hak_heap_free(g_heap, a);
  hak_heap_free(g_heap, a);
}
static char *all_home(void) {
  static char *blocks[4096];
  size_t count = MOST_BYTES / g_size < 4096 ? MOST_BYTES / g_size : 4096;
  for (size_t i = 0; i < count; i++) blocks[i] = get();
  for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
  hak_thread_idle();
  return blocks[count / 2];
}
static void twice_after_the_slab_went_home(void) { hak_free(all_home()); }
static void twice_after_the_purge(void) {
  char *a = all_home();
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_free(a);
}
static pthread_barrier_t g_barrier;
static void *race_thread(void *block) {
  warm_up(NULL);
  pthread_barrier_wait(&g_barrier);
  hak_free(block);
  return NULL;
}
static void twice_at_once(void) {
  pthread_t a, b;
  char *block = get();
  pthread_barrier_init(&g_barrier, NULL, 2);
  pthread_create(&a, NULL, race_thread, block);
  pthread_create(&b, NULL, race_thread, block);
  pthread_join(a, NULL);
  pthread_join(b, NULL);
}
static void realloc_of_freed(void) {
  work(NULL);
  char *a = get();
  hak_free(a);
  char *b = hak_realloc(a, 2 * g_size);
  if (b == NULL) g_refused = true;
}
static void usable_of_freed(void) {
  work(NULL);
  char *a = get();
  hak_free(a);
  g_refused = hak_usable_size(a) == 0;
}
static void resize_of_freed(void) {
  work(NULL);
  char *a = get();
  hak_free(a);
  g_refused = hak_resize_in_place(a, g_size / 2 + 1, g_size) == 0;
}
static void inside(void) {
  char *a = get();
  keep(a);
  hak_free(a + 16);
}
static void inside_elsewhere(void) {
  char *a = get();
  keep(a);
  elsewhere(a + 16);
}
static void inside_neighbour(void) {
  char *a = get();
  keep(a);
  keep(get());
  hak_free(a + hak_usable_size(a) + 16);
}
/* At an address that might be a block's, from its low bits: classes to 56 KiB that are no
 * power of two, and the greatest one that divides them. */
static void inside_aligned(void) {
  static const struct {
    size_t size, factor;
  } of[SIZES] = {{48, 16}, {1600, 128}, {40000, 8192}};
  size_t factor = 256;
  for (size_t i = 0; i < SIZES && of[i].size != 0; i++) {
    if (g_size != sizes[i]) continue;
    g_size = of[i].size;
    factor = of[i].factor;
    break;
  }
  char *a = get();
  keep(a);
  hak_free(a + factor);
}
/* In the middle of the largest block of a class; of 1 KiB the smallest one here. */
static void inside_middle(void) {
  if (g_size == sizes[0]) g_size = 1000;
  g_size = hak_good_size(g_size);
  char *a = get();
  keep(a);
  hak_free(a + (g_size / 2 + 15) / 16 * 16);
}
static void realloc_inside(void) {
  char *a = get();
  keep(a);
  g_refused = hak_realloc(a + 16, 2 * g_size) == NULL;
}
static void on_stack(void) {
  char text[64];
  hak_free(text + 16);
}
static void of_mmap(void) {
  char *p =
      mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  hak_free(p + 4096);
}
static void of_malloc(void) {
  char *p = malloc(g_size);
  hak_free(p);
}
static void wild(void) { hak_free((void *)(uintptr_t)0x123456789ab0); }
static void non_canonical(void) { hak_free((void *)(uintptr_t)0xdeadbeefcafef00d); }
static void wrong_size(void) {
  char *a = get();
  keep(a);
  hak_free_sized(a, hak_usable_size(a) + 1);
}
static void wrong_alignment(void) {
  char *a = get(), *b = get();
  char *askew = (uintptr_t)a % (8 << 20) != 0 ? a : b;
  keep(a);
  keep(b);
  hak_free_aligned_sized(askew, 8 << 20, g_size);
}
static void wrong_heap(void) {
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  char *a = get();
  keep(a);
  hak_heap_free(heap, a);
}
static void stale_alloc(void) {
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  g_refused = hak_heap_alloc(heap, g_size) == NULL;
}
static void stale_free(void) {
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  char *a = hak_heap_alloc(heap, g_size);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  hak_free(a);
}
static void destroyed_twice(void) {
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  g_refused = hak_heap_destroy(heap) == EINVAL;
}
static void after_shutdown(void) {
  char *a = get();
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  hak_free(a);
  test_restart();
}
static void write_after_free(void) {
  char *a = get();
  hak_free(a);
  memset(a, 0x41, 16);
}
static void write_after_free_elsewhere(void) {
  char *a = get();
  elsewhere(a);
  memset(a, 0x41, 16);
}
static void write_after_free_further_on(void) {
  char *a = get();
  hak_free(a);
  memset(a + g_size / 2, 0x41, 8);
}
/* Two blocks side by side, in order of address; else the kind is not made. In hardened
 * builds a canary lies between what the two may use. */
typedef struct pair {
  char *low, *high;
} pair_t;
static pair_t neighbours(void) {
  enum {
    TRIES = 512
  };
  size_t canary = TEST_CHECKS == 3 ? 8 : 0;
  char *blocks[TRIES];
  size_t count = MOST_BYTES / g_size < TRIES ? MOST_BYTES / g_size : TRIES;
  pair_t pair = {NULL, NULL};
  for (size_t i = 0; i < count; i++) blocks[i] = get();
  qsort(blocks, count, sizeof *blocks, by_address);
  for (size_t i = 1; i < count && pair.low == NULL; i++) {
    char *end = blocks[i - 1] + hak_usable_size(blocks[i - 1]) + canary;
    if (end == blocks[i]) pair = (pair_t){blocks[i - 1], blocks[i]};
  }
  for (size_t i = 0; i < count; i++) {
    if (blocks[i] != pair.low && blocks[i] != pair.high) hak_free(blocks[i]);
  }
  g_not_made = pair.low == NULL;
  return pair;
}
/* The second of the two is free. */
static char *before_a_free_one(void) {
  pair_t pair = neighbours();
  if (g_not_made) return NULL;
  keep(pair.low);
  hak_free(pair.high);
  return pair.low;
}
static void over_by_one(void) {
  char *a = before_a_free_one();
  if (!g_not_made) a[hak_usable_size(a)] ^= 0x41;
}
static void over_by_eight(void) {
  char *a = before_a_free_one();
  if (!g_not_made) memset(a + hak_usable_size(a), 0x41, 8);
}
static void over_by_many(void) {
  char *a = before_a_free_one();
  if (!g_not_made) memset(a + hak_usable_size(a), 0x41, 32);
}
static void over_by_a_zero(void) {
  pair_t pair = neighbours();
  if (g_not_made) return;
  keep(pair.low);
  keep(pair.high);
  pair.low[hak_usable_size(pair.low)] = 0;
}
static void over_a_live_one(void) {
  pair_t pair = neighbours();
  if (g_not_made) return;
  keep(pair.low);
  keep(pair.high);
  memset(pair.low + hak_usable_size(pair.low), 0x41, 8);
}
static void under_by_eight(void) {
  pair_t pair = neighbours();
  if (g_not_made) return;
  keep(pair.high);
  hak_free(pair.low);
  memset(pair.high - 8, 0x41, 8);
}
static void under_a_live_one(void) {
  pair_t pair = neighbours();
  if (g_not_made) return;
  keep(pair.low);
  keep(pair.high);
  memset(pair.high - 8, 0x41, 8);
}

/* Links of freed blocks that lead where an attacker wants. */
static void want(void) {
  enum {
    ALIGNMENT = 65536 /* as that of any block: others are refused by their addresses */
  };
  g_target_size = 4 * g_size;
  char *memory = mmap(NULL, g_target_size + ALIGNMENT, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  g_target = memory + (-(uintptr_t)memory & (ALIGNMENT - 1));
  memset(g_target, 0, g_target_size);
}
static void forged(void) {
  want();
  char *a = get(), *b = get();
  hak_free(a);
  hak_free(b);
  uint64_t link = (uintptr_t)g_target;
  memcpy(b, &link, sizeof link);
}
/* The link of one block, and the address that it stands for, give the secret of links.
 * What its mark says of another block's is tried as if marks hung together by xor. */
static void forged_knowing_one(void) {
  want();
  char *a = get(), *b = get();
  hak_free(a);
  hak_free(b);
  uint64_t of_b[2], secret, link;
  memcpy(of_b, b, sizeof of_b);
  secret = of_b[0] ^ (uintptr_t)a;
  /* A free block, as one would look there, whose link leads to itself. */
  link = (uintptr_t)g_target ^ secret;
  uint64_t block[2] = {link, of_b[1] ^ (uintptr_t)b ^ (uintptr_t)g_target};
  memcpy(g_target, block, sizeof block);
  memcpy(b, &link, sizeof link);
}

/* Freed blocks of a hardened build have no links while they wait. */
static void no_quarantine(void) {
  if (TEST_CHECKS == 3) CHECK_EQ(hak_option_set(HAK_OPTION_QUARANTINE_BYTES, 0), 0);
}
/* The memory of a free block is the system's: the program's own write would end it. */
static bool is_gone(void) { return test_is_strict() && g_size > ((size_t)1 << 20); }

/* Of two blocks, of which the first one's link led to the second when both were free, the
 * first is free again and the second in use: the attacker puts the words back that both
 * had. */
static void replayed(void) {
  no_quarantine();
  char *a = get(), *b = get();
  uint64_t of_a[2], of_b[2];
  hak_free(a);
  hak_free(b);
  if ((g_not_made = is_gone())) return;
  memcpy(of_a, a, sizeof of_a);
  memcpy(of_b, b, sizeof of_b);
  bool has_a = false, has_b = false;
  for (int i = 0; i < AFTER && !(has_a && has_b); i++) {
    char *c = get();
    has_a = has_a || c == a;
    has_b = has_b || c == b;
  }
  g_not_made = !has_a || !has_b;
  if (g_not_made) return;
  keep(a);
  memcpy(a, of_a, sizeof of_a);
  hak_free(b);
  memcpy(b, of_b, sizeof of_b);
}
/* The words of one free block are copied into another. */
static void copied(void) {
  no_quarantine();
  char *a = get(), *b = get();
  hak_free(a);
  hak_free(b);
  if ((g_not_made = is_gone())) return;
  memcpy(a, b, 16);
}

typedef struct kind {
  const char *name;
  void (*commit)(void);
  const char *by_default, *full, *hardened; /* a letter for each size, or one for all */
  const char *said; /* by the call, one of these; parts end with a bar */
} kind_t;

#define GONE "no block is there any more|"
#define FREE "the block is free already|"
#define IN_BLOCK "the address is inside a block, not its start|"
#define FOREIGN "the address is in no block of ours|"

static const kind_t kinds[] = {
    {"double free", twice, "llllc", "ccccc", "ccccc", FREE GONE},
    {"double free, another free between", twice_another_between, "llllc", "ccccc",
     "ccccc", FREE GONE},
    {"double free by another thread", twice_elsewhere, "llllc", "ccccc", "ccccc",
     FREE GONE},
    {"double free, by another thread and then here", twice_elsewhere_then_here, "lllcc",
     "ccccc", "ccccc", FREE GONE},
    {"double free, here and then by another thread", twice_here_then_elsewhere, "llllc",
     "ccccc", "ccccc", FREE GONE},
    {"double free by two threads at once", twice_at_once, "lllcc", "ccccc", "ccccc",
     FREE GONE},
    {"double sized free", twice_sized, "llllc", "ccccc", "ccccc", FREE GONE},
    {"double free with the heap named", twice_with_heap, "llllc", "ccccc", "ccccc",
     FREE GONE},
    {"double free in a serial heap", twice_serial, "llllc", "ccccc", "ccccc", FREE GONE},
    /* On a busy machine the memory has been given back by then, too. */
    {"double free after the slab went home", twice_after_the_slab_went_home, "ccccc",
     "ccccc", "ccccc", FREE GONE FOREIGN},
    {"double free after the memory was given back", twice_after_the_purge, "ccccc",
     "ccccc", "ccccc", FREE GONE FOREIGN},
    {"realloc of a freed block", realloc_of_freed, "llllc", "ccccc", "ccccc", FREE GONE},
    {"usable size of a freed block", usable_of_freed, "----c", "ccccc", "ccccc",
     FREE GONE},
    {"resize in place of a freed block", resize_of_freed, "----c", "ccccc", "ccccc",
     FREE GONE},
    {"free of an address inside a block", inside, "ccccc", "ccccc", "ccccc", IN_BLOCK},
    {"the same by another thread", inside_elsewhere, "ccccc", "ccccc", "ccccc", IN_BLOCK},
    {"the same inside the next block", inside_neighbour, "ccccc", "ccccc", "ccccc",
     IN_BLOCK GONE},
    {"the same at an address that is aligned as blocks are", inside_aligned, "222cc",
     "ccccc", "ccccc", IN_BLOCK},
    {"the same in the middle of a block", inside_middle, "ccccc", "ccccc", "ccccc",
     IN_BLOCK},
    {"realloc of an address inside a block", realloc_inside, "ccccc", "ccccc", "ccccc",
     IN_BLOCK},
    {"free of an address on the stack", on_stack, "c", "c", "c", FOREIGN},
    {"free of a mapping of the program's", of_mmap, "c", "c", "c", FOREIGN},
    {"free of a block of malloc's", of_malloc, "c", "c", "c", FOREIGN},
    {"free of a wild address", wild, "c", "c", "c", FOREIGN},
    {"free of a non-canonical address", non_canonical, "c", "c", "c", FOREIGN},
    {"sized free, size too large", wrong_size, "ccccc", "ccccc", "ccccc",
     "the size given is larger than the block|"},
    {"sized free, wrong alignment", wrong_alignment, "ccccc", "ccccc", "ccccc",
     "the block does not have the alignment given|"},
    {"free with another heap named", wrong_heap, "ccccc", "ccccc", "ccccc",
     "the block is of another heap|"},
    {"allocation from a heap that ended", stale_alloc, "c", "c", "c",
     "the heap was destroyed or released|"},
    {"free of a block whose heap ended", stale_free, "ccccc", "ccccc", "ccccc",
     GONE FOREIGN},
    {"end of a heap that ended", destroyed_twice, "r", "r", "r", ""},
    {"free after shutdown", after_shutdown, "ccccc", "ccccc", "ccccc",
     "the library was shut down|"},
    {"write after free", write_after_free, "lll--", "lll--", "lllll", ""},
    {"write after free by another thread", write_after_free_elsewhere, "lll--", "lll--",
     "lllll", ""},
    {"write after free, not to the first bytes", write_after_free_further_on, "-----",
     "-----", "lllll", ""},
    {"overflow by one byte into a free block", over_by_one, "lll--", "lll--", "lllll",
     ""},
    {"overflow by eight bytes into a free block", over_by_eight, "lll--", "lll--",
     "lllll", ""},
    {"overflow by 32 bytes into a free block", over_by_many, "lll--", "lll--", "lllll",
     ""},
    {"overflow by a zero byte into a block in use", over_by_a_zero, "-----", "-----",
     "lllll", ""},
    {"overflow by eight bytes into a block in use", over_a_live_one, "-----", "-----",
     "lllll", ""},
    {"underflow by eight bytes into a free block", under_by_eight, "-----", "-----",
     "lllll", ""},
    {"underflow by eight bytes into a block in use", under_a_live_one, "-----", "-----",
     "lllll", ""},
    {"forged link in a freed block", forged, "lll--", "lll--", "lllll", ""},
    {"the same by one who knows a link and its address", forged_knowing_one, "AAA--",
     "lll--", "lllll", ""},
    {"a link of one freed block copied into another", copied, "lll--", "lll--", "lll--",
     ""},
    {"links of blocks put back as they were before", replayed, "222l-", "222l-", "llll-",
     ""},
};

/* --- all of it
 * ----------------------------------------------------------------------------- */

typedef struct misuse {
  const kind_t *kind;
  size_t size;
} misuse_t;

static int child_of(void *ctx) {
  const misuse_t *m = ctx;
  g_size = m->size;
  test_start();
  hak_set_error_handler(listen, NULL);
  keep(get());
  m->kind->commit();
  while (g_kept_count < g_count && g_kept_count < TEST_COUNT(g_kept)) {
    g_kept[g_kept_count] = g_live[g_kept_count];
    g_kept_count++;
  }
  found_t found = g_said[0] != '\0' ? AT_CALL : g_refused ? REFUSED : SILENT;
  /* By the end of the thread that freed it. */
  if (strstr(g_said, " in hak_thread_exit: ") != NULL) found = LATER;
  if (!g_not_made) {
    go_on();
    give_back();
  }
  if (found == SILENT && g_said[0] != '\0') found = LATER;
  if (g_two) found = TWO;
  tell(g_not_made ? NOT_MADE : found);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static bool is_expected(const kind_t *kind, size_t s, const test_child_t *child) {
  const char *row = TEST_CHECKS == 3   ? kind->hardened
                    : TEST_CHECKS == 2 ? kind->full
                                       : kind->by_default;
  char want_letter = row[1] == '\0' ? row[0] : row[s], got = child->output[0];
  /* The attacker's address is followed, or what lies there is no block after all. */
  bool crashed = child->signal == SIGSEGV || strstr(child->output, "Segmentation fault");
  if (want_letter == ATTACKED && crashed) return true;
  if (child->timed_out || child->signal != 0 || child->status != 0) return false;
  if (got == NOT_MADE) return true;
  if (got != want_letter) return false;
  if (got != AT_CALL) return true;
  const char *text = strstr(child->output, ": ");
  char line[160];
  if (text == NULL) return false;
  snprintf(line, sizeof line, "%.*s|", (int)strcspn(text + 2, "\n"), text + 2);
  return strstr(kind->said, line) != NULL;
}

static void misuse__of_each_kind_is_found_when_the_table_says(void **state) {
  (void)state;
  if (TEST_CHECKS == 0) skip();
  unsigned bad = 0;
  for (size_t k = 0; k < TEST_COUNT(kinds); k++) {
    bool once = kinds[k].full[1] == '\0';
    for (size_t s = 0; s < (once ? 1 : SIZES); s++) {
      misuse_t m = {&kinds[k], sizes[s]};
      test_child_t child = test_child_run(child_of, &m, 20);
      if (is_expected(&kinds[k], s, &child)) continue;
      bad++;
      printf("%s, %zu: %s, signal %d, said: %s\n", kinds[k].name, sizes[s],
             child.timed_out ? "hangs" : "ended", child.signal, child.output);
    }
  }
  CHECK_EQ(bad, 0);
}

/* --- the table of SECURITY.md
 * ---------------------------------------------------------------- */

static const char *word(char letter) {
  switch (letter) {
    case AT_CALL:
      return "at the call";
    case LATER:
      return "later";
    case REFUSED:
      return "refused";
    case TWO:
      return "late";
    case ATTACKED:
      return "**no**";
    default:
      return "no";
  }
}

/* Sizes that are alike stand together. */
static void print_cell(const char *row) {
  static const char *const names[SIZES] = {"to 1 KiB", "to 32 KiB", "to 56 KiB",
                                           "to 1 MiB", "larger"};
  size_t count = strlen(row);
  for (size_t from = 0, to; from < count; from = to) {
    for (to = from + 1; to < count && row[to] == row[from]; to++) {}
    if (from > 0) printf("; ");
    if (from > 0 || to < count) printf("%s ", names[to - 1]);
    printf("%s", word(row[from]));
  }
}

static int print_table(void) {
  for (size_t k = 0; k < TEST_COUNT(kinds); k++) {
    printf("| %s | ", kinds[k].name);
    print_cell(kinds[k].by_default);
    printf(" | ");
    print_cell(kinds[k].full);
    printf(" | ");
    print_cell(kinds[k].hardened);
    printf(" |\n");
  }
  return 0;
}

int main(int argc, char **argv) {
  test_begin();
  if (argc == 2 && strcmp(argv[1], "--table") == 0) return print_table();
  if (argc == 3) {
    misuse_t m = {&kinds[(size_t)atoi(argv[1]) % TEST_COUNT(kinds)],
                  (size_t)atol(argv[2])};
    return child_of(&m);
  }
  const struct CMUnitTest tests[] = {
      T(misuse__of_each_kind_is_found_when_the_table_says)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
