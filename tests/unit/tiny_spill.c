/* tiny_spill.c - what a full bin does with its lists, and with blocks that are not its
 * thread's. */
#include "slab_fixture.h"

#include "child.h"
#include "strict_os.h"
#include "superslab/locate.h"
#include "threads.h"
#include "tiny/flush.h"
#include "tiny/spill.h"

#include <stdatomic.h>

enum {
  SIZE = 1024,
  CAPACITY = 64,
  BIN = 32 /* blocks of each list of the bin */
};

/* --- a bin that fills ------------------------------------------------------------- */

static void lists__fill_one_after_the_other_and_the_oldest_goes_home(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0); /* see tiny_lean.c */
  hak_slab_t *slabs[3] = {test_slab_full(), test_slab_full(), test_slab_full()};
  CHECK_EQ(hak_bin_capacity(test_bin()), BIN);
  test_slab_free(slabs[0], 0, BIN);
  test_bin_expect(BIN, 0, 0);
  test_slab_free(slabs[0], BIN, BIN + 1); /* the full list is ready now */
  test_bin_expect(1, BIN, 0);
  test_slab_free(slabs[0], BIN + 1, 2 * BIN);
  test_bin_expect(BIN, BIN, 0);
  /* The next full list is the spare one, but for a block, with which its slab becomes
   * one to which frees go straight. */
  test_slab_free(slabs[1], 0, 1);
  test_bin_expect(1, BIN, BIN - 1);
  CHECK_EQ(hak_slab_out(slabs[0]), CAPACITY - 1);
  CHECK_EQ(test_bin()->spilling, 0);
  test_slab_free(slabs[1], 1, BIN);
  test_bin_expect(BIN, BIN, BIN - 1);
  /* From here on the older spare list goes home, and the bin has an eighth of its room.
   */
  test_slab_free(slabs[1], BIN, BIN + 1);
  test_bin_expect(1, BIN, BIN);
  CHECK_EQ(hak_slab_out(slabs[0]), CAPACITY - BIN);
  CHECK_EQ(hak_load_relaxed(&test_bin()->armed), BIN / 8);
  CHECK(test_bin()->spilling > 0 && test_bin()->spilling != HAK_BIN_GATHERS);
  CHECK(hak_hold_is_valid(g_me, g_cache));
  hak_flush_class(g_me, g_cache, g_class);
  test_slab_home(slabs[1], BIN + 1, CAPACITY);
  test_slab_home(slabs[2], 0, CAPACITY);
}

/* Blocks of slabs that somebody else has: the bin takes no more of them. */
static void *alloc_main(void *ctx) {
  void **blocks = ctx;
  for (size_t i = 0; i < 4 * CAPACITY; i++) blocks[i] = hak_alloc(SIZE);
  return NULL;
}

static void bin__that_only_gets_foreign_blocks_gathers_them_in_a_magazine(void **state) {
  (void)state;
  static void *blocks[4 * CAPACITY];
  test_thread_run(alloc_main, blocks); /* whose slabs are full, and nobody holds them */
  for (size_t i = 0; i < 3 * BIN; i++) hak_free(blocks[i]);
  test_bin_expect(BIN, BIN, BIN);
  CHECK(hak_load_relaxed(&test_hold()->magazine) == NULL);
  hak_free(blocks[3 * BIN]);
  CHECK_EQ(test_bin()->spilling, HAK_BIN_GATHERS);
  CHECK_EQ(hak_load_relaxed(&test_bin()->list.room), 0);
  test_bin_expect(0, 0, 0);
  hak_magazine_t *magazine = hak_load_relaxed(&test_hold()->magazine);
  CHECK(magazine != NULL);
  uint32_t count = hak_load_relaxed(&magazine->count);
  hak_free(blocks[3 * BIN + 1]);
  CHECK_EQ(hak_load_relaxed(&magazine->count), count + 1);
  CHECK(magazine->blocks[count] == blocks[3 * BIN + 1]);
  test_bin_expect(0, 0, 0);
  void *block = hak_alloc(SIZE); /* it allocates of the class: that is over */
  CHECK_EQ(test_bin()->spilling, 0);
  hak_free(block);
  for (size_t i = 3 * BIN + 2; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
}

/* What a magazine gathers are blocks of a class of which the thread has nothing else. */
static void magazine__gathers_nothing_for_a_thread_that_has_slabs_of_the_class(
    void **state) {
  (void)state;
  static void *blocks[4 * CAPACITY];
  test_thread_run(alloc_main, blocks);
  for (size_t i = 0; i <= 3 * BIN; i++) hak_free(blocks[i]);
  hak_bin_t *bin = test_bin();
  hak_hold_t *hold = test_hold();
  CHECK_EQ(bin->spilling, HAK_BIN_GATHERS);
  CHECK(hold->current == NULL && hold->first == NULL && hold->credit <= 0);
  void *block = blocks[3 * BIN + 1];
  hak_slab_t *slab = hak_slab_of(block);
  const hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
  uint32_t count = hak_load_relaxed(&magazine->count);
  bin->spilling = 1;
  CHECK(!hak_spill_gathers(g_me, bin, block));
  bin->spilling = HAK_BIN_GATHERS;
  int32_t credit = hold->credit;
  hold->credit = 1;
  CHECK(!hak_spill_gathers(g_me, bin, block));
  hold->credit = credit;
  hold->current = slab;
  CHECK(!hak_spill_gathers(g_me, bin, block));
  hold->current = NULL;
  hold->first = slab;
  CHECK(!hak_spill_gathers(g_me, bin, block));
  hold->first = NULL;
  uint32_t full = hold->magazine_blocks;
  hold->magazine_blocks = count + 1;
  CHECK(!hak_spill_gathers(g_me, bin, block));
  hold->magazine_blocks = full;
  CHECK_EQ(hak_load_relaxed(&magazine->count), count);
  CHECK(hak_spill_gathers(g_me, bin, block));
  CHECK_EQ(hak_load_relaxed(&magazine->count), count + 1);
  for (size_t i = 3 * BIN + 2; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
}

typedef struct holder {
  void *blocks[16 * CAPACITY]; /* those of slabs that the holder holds come first */
  size_t held;
  pthread_barrier_t turn; /* of main's thread and the holder */
} holder_t;

/* Frees nine of ten blocks, so that lists go home and frees go straight to slabs. */
static void *hold_slabs(void *ctx) {
  holder_t *holder = ctx;
  void *out[TEST_COUNT(holder->blocks)];
  size_t count = 0;
  for (size_t i = 0; i < TEST_COUNT(out); i++) out[i] = hak_alloc(SIZE);
  for (size_t i = 0; i < TEST_COUNT(out); i++) {
    if (i % 10 != 0) hak_free(out[i]);
  }
  for (size_t i = 0; i < TEST_COUNT(out); i += 10) {
    uint64_t word = hak_load_relaxed(&hak_slab_of(out[i])->word);
    size_t at = hak_word_state(word) == HAK_SLAB_HELD ? holder->held++ : count;
    holder->blocks[count++] = holder->blocks[at];
    holder->blocks[at] = out[i];
  }
  pthread_barrier_wait(&holder->turn);
  pthread_barrier_wait(&holder->turn);
  for (size_t i = holder->held; i < count; i++) hak_free(holder->blocks[i]);
  return NULL;
}

static void holder_begin(holder_t *holder, pthread_t *thread) {
  CHECK_EQ(pthread_barrier_init(&holder->turn, NULL, 2), 0);
  test_threads_begin(thread, 1, hold_slabs, holder);
  pthread_barrier_wait(&holder->turn);
  CHECK(holder->held > 0);
}
static void holder_end(holder_t *holder, pthread_t *thread) {
  CHECK_EQ(hak_check(NULL), 0);
  pthread_barrier_wait(&holder->turn);
  test_threads_end(thread, 1);
  CHECK_EQ(pthread_barrier_destroy(&holder->turn), 0);
}

static void bin__that_has_others_passes_blocks_of_held_slabs_on(void **state) {
  (void)state;
  static holder_t holder;
  pthread_t thread;
  holder_begin(&holder, &thread);
  enum {
    SOME = 32 /* fewer than fit into a magazine */
  };
  CHECK(holder.held > SOME);
  /* The first goes to the bin, as there is no other. */
  test_bin_expect(0, 0, 0);
  hak_free(holder.blocks[0]);
  test_bin_expect(1, 0, 0);
  for (size_t i = 1; i < SOME; i++) hak_free(holder.blocks[i]);
  test_bin_expect(1, 0, 0);
  hak_magazine_t *magazine = hak_load_relaxed(&test_hold()->magazine);
  CHECK(magazine != NULL);
  CHECK_EQ(hak_load_relaxed(&magazine->count), SOME - 1);
  /* Blocks of slabs that this thread holds are not, nor any once the bin has none. */
  hak_slab_t *mine = test_slab_full();
  CHECK(!hak_spill_passes_on(g_me, g_class, mine, test_slab_block(mine, 0)));
  hak_slab_t *others = hak_slab_of(holder.blocks[SOME]);
  void *list = test_bin()->list.head;
  test_bin()->list.head = HAK_LINK_END;
  CHECK(!hak_spill_passes_on(g_me, g_class, others, holder.blocks[SOME]));
  test_bin()->list.head = list;
  CHECK_EQ(hak_load_relaxed(&magazine->count), SOME - 1);
  CHECK(hak_spill_passes_on(g_me, g_class, others, holder.blocks[SOME]));
  CHECK_EQ(hak_load_relaxed(&magazine->count), SOME);
  for (uint32_t i = 0; i < hak_slab_capacity(mine); i++)
    hak_free(test_slab_block(mine, i));
  for (size_t i = SOME + 1; i < holder.held; i++) hak_free(holder.blocks[i]);
  holder_end(&holder, &thread);
}

/* Such frees find the slab by the registry, past the look of a list's. */
static void frees__inside_blocks_of_held_slabs_change_nothing(void **state) {
  (void)state;
  static holder_t holder;
  pthread_t thread;
  holder_begin(&holder, &thread);
  for (size_t i = 0; i < holder.held && HAK_CHECKS != 0; i++) {
    char *inside = (char *)holder.blocks[i] + SIZE / 2;
    test_reports_begin();
    hak_free(inside);
    test_bin_expect(0, 0, 0);
    test_reports_end_at(HAK_ERROR_INTERIOR_POINTER, inside);
  }
  for (size_t i = 0; i < holder.held; i++) hak_free(holder.blocks[i]);
  holder_end(&holder, &thread);
}

/* --- looks at what is idle ---------------------------------------------------------- */

static atomic_size_t g_clock_reads;
static uint64_t (*g_clock)(void *ctx);

static uint64_t counted_clock(void *ctx) {
  atomic_fetch_add(&g_clock_reads, 1);
  return g_clock(ctx);
}

TEST_IN_CHILD(frees__of_others_blocks_seldom_read_the_clock, 60) {
  static test_os_t os;
  static holder_t holder;
  pthread_t thread;
  test_os_open(&os, 0);
  g_clock = os.hooks.now_ns;
  os.hooks.now_ns = counted_clock;
  CHECK_EQ(test_os_init(&os), 0);
  /* All that is idle may go back once it is old. */
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  hak_free(hak_alloc(300 * KIB));
  CHECK_EQ(pthread_barrier_init(&holder.turn, NULL, 2), 0);
  test_threads_begin(&thread, 1, hold_slabs, &holder);
  pthread_barrier_wait(&holder.turn);
  CHECK_MSG(holder.held > 16, "%zu", holder.held);
  size_t before = atomic_load(&g_clock_reads);
  uint64_t slow = test_stats().slow_free;
  for (size_t i = 0; i < holder.held; i++) hak_free(holder.blocks[i]);
  CHECK(test_stats().slow_free >= slow + holder.held - 1);
  CHECK(atomic_load(&g_clock_reads) <= before + holder.held / 4);
  pthread_barrier_wait(&holder.turn);
  test_threads_end(&thread, 1);
  CHECK_EQ(pthread_barrier_destroy(&holder.turn), 0);
}

/* Else the room would be counted down until it wraps, and NULL be pushed onto the list.
 */
static void frees__of_null_leave_the_unowned_list_without_room(void **state) {
  (void)state;
  hak_free(hak_alloc(SIZE)); /* the thread has a state */
  for (int i = 0; i < 3; i++) hak_free(NULL);
  CHECK_EQ(hak_load_relaxed(&hak_thread_self->unowned.room), 0);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(lists__fill_one_after_the_other_and_the_oldest_goes_home),
                H(bin__that_only_gets_foreign_blocks_gathers_them_in_a_magazine),
                H(magazine__gathers_nothing_for_a_thread_that_has_slabs_of_the_class),
                H(bin__that_has_others_passes_blocks_of_held_slabs_on),
                H(frees__inside_blocks_of_held_slabs_change_nothing),
                T(frees__of_others_blocks_seldom_read_the_clock),
                T(frees__of_null_leave_the_unowned_list_without_room))
