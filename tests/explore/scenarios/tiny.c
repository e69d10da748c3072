/* tiny.c - slabs, their words, partial lists, magazines: what threads hand each other. */
#include "hakmem/hakmem.h"
#include "heap/thread.h"
#include "scenarios.h"
#include "tiny/capacity.h"
#include "tiny/depot.h"
#include "tiny/flush.h"
#include "tiny/hold.h"
#include "tiny/home.h"
#include "tiny/partial_list.h"
#include "tiny/refill.h"
#include "tiny/transfer.h"

enum {
  SIZE = 8192, /* of blocks */
  CAPACITY = HAK_SLAB_SIZE / SIZE
};

static uint32_t cls;
static hak_central_t *central;
static hak_slab_t *slab; /* in the beginning thread 0 holds it, and all blocks are out */
static const hak_cache_t *caches[EXPLORE_THREADS];
static hak_thread_t *threads[EXPLORE_THREADS];

static hak_thread_t *me(void) { return hak_thread_self; }
static const hak_cache_t *mine(void) { return &hak_thread_self->cache; }

static void attach(void) { EXPLORE_CHECK(hak_thread_init() == 0); }
static void make_slab(void) {
  attach();
  slab = hak_hold_new(me(), mine(), cls);
  EXPLORE_CHECK(slab != NULL);
  hak_slab_carve(slab, hak_slab_capacity(slab));
  EXPLORE_CHECK(hak_slab_capacity(slab) == CAPACITY);
}
static void note_0(void) { caches[0] = mine(), threads[0] = me(); }

static void start(void) {
  EXPLORE_CHECK(hak_init(NULL) == 0);
  cls = hak_class_of(SIZE);
  central = &hak_heap_get_default()->store->centrals[cls];
  explore_as(0, make_slab);
  explore_as(0, note_0);
  explore_as(1, attach);
  explore_as(2, attach);
}

static char *block(uint32_t i) { return hak_slab_start(slab) + (size_t)i * SIZE; }
/* Blocks are of those who have them, who write to all of them, links included. */
static void use(uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) {
    ((uint64_t *)(void *)block(i))[0] = 0x1234;
    ((uint64_t *)(void *)block(i))[1] = i;
  }
}
static hak_batch_t batch(uint32_t from, uint32_t to) {
  use(from, to);
  for (uint32_t i = from; i < to; i++) {
    hak_link_write(&me()->key, block(i), i + 1 < to ? block(i + 1) : HAK_LINK_END);
  }
  return (hak_batch_t){slab, block(from), block(to - 1), to - from};
}
/* Walks a list of this slab, and uses its blocks. */
static uint32_t walk(void *list) {
  uint32_t n = 0;
  void *at;
  for (; list != HAK_LINK_END; n++) {
    EXPLORE_CHECK(n < CAPACITY);
    EXPLORE_CHECK(!hak_list_take_fails(me(), mine(), &list, &at));
    ((uint64_t *)at)[1] = 99;
  }
  return n;
}

/* --- others push, the holder takes ---------------------------------------------------
 */

static uint32_t taken;

static void push_some(uint32_t from, uint32_t to) {
  hak_batch_t run = batch(from, to);
  uint64_t word = hak_load_relaxed(&slab->word);
  EXPLORE_CHECK(hak_slab_push_remote(me(), mine(), &run, &word));
}
static void push_two(void) { push_some(0, 2); }
static void push_one(void) { push_some(2, 3); }
static void push_one_and_one(void) {
  push_some(0, 1);
  push_some(1, 2);
}
static void take_once(void) {
  uint32_t count;
  void *list = hak_slab_take_remote(me(), mine(), slab, &count);
  if (list == NULL) return;
  EXPLORE_CHECK(walk(list) == count);
  taken += count;
}
static void take_twice(void) {
  take_once();
  take_once();
}
static void all_pushed(void) {
  EXPLORE_CHECK(taken + hak_word_remote_count(hak_load_relaxed(&slab->word)) == 3);
  EXPLORE_CHECK(hak_word_state(hak_load_relaxed(&slab->word)) == HAK_SLAB_HELD);
}
const explore_scenario_t slab_push = {.name = "slab.push",
                                      .setup = start,
                                      .thread = {take_twice, push_two, push_one},
                                      .check = all_pushed};
const explore_scenario_t slab_push_twice = {
    .name = "slab.push_twice",
    .setup = start,
    .thread = {take_twice, push_one_and_one, push_one},
    .check = all_pushed};

/* --- the holder lets go, others bring blocks home -------------------------------------
 */

static void home(uint32_t from, uint32_t to) {
  bool locked = false;
  hak_hold_home_any(me(), mine(), cls, batch(from, to), &locked);
  if (locked) hak_lock_release(&central->lock);
}
static void home_two(void) { home(0, 2); }
static void home_one(void) { home(2, 3); }
static void let_go(void) {
  use(3, CAPACITY);
  hak_hold_let_go(me(), mine(), slab, cls);
}
static void let_go_and_home(void) {
  let_go();
  home(3, 4);
}
static void give_up(void) {
  let_go();
  hak_hold_list_all(me(), mine(), cls);
}
static void home_all_but(void) {
  home(3, CAPACITY);
  hak_hold_list_all(me(), mine(), cls);
}

/* Wherever the blocks are, none is missing: the slab is in the list of its state, and
 * what is out, listed and in the word is all. */
static void whole(uint32_t came_home) {
  uint64_t word = hak_load_relaxed(&slab->word);
  if (hak_word_state(word) == HAK_SLAB_FREE) {
    EXPLORE_CHECK(came_home == CAPACITY);
    return;
  }
  uint32_t listed = CAPACITY - hak_slab_out(slab);
  EXPLORE_CHECK(listed + hak_word_remote_count(word) == came_home);
  EXPLORE_CHECK((hak_word_state(word) == HAK_SLAB_PARTIAL) ==
                (slab->queue == HAK_QUEUE_PARTIAL));
  EXPLORE_CHECK(central->listed == (hak_word_state(word) == HAK_SLAB_PARTIAL));
  uint32_t n = 0;
  for (void *at = slab->list.head; at != HAK_LINK_END && n <= CAPACITY; n++) {
    at = hak_link_read(&threads[0]->key, at);
  }
  EXPLORE_CHECK(n == listed);
}
static void three_home(void) { whole(3); }
static void four_home(void) { whole(4); }
static void all_home(void) { whole(CAPACITY); }

const explore_scenario_t slab_let_go = {.name = "slab.let_go",
                                        .setup = start,
                                        .thread = {let_go, home_two, home_one},
                                        .check = three_home};
/* The first holder has credit, and claims the slab that it let go. */
const explore_scenario_t slab_claim = {.name = "slab.claim",
                                       .setup = start,
                                       .thread = {let_go_and_home, home_two, home_one},
                                       .check = four_home};
const explore_scenario_t slab_give_up = {.name = "slab.give_up",
                                         .setup = start,
                                         .thread = {give_up, home_two, home_one},
                                         .check = three_home};
/* The last block comes home to a slab without a holder, which goes to the pool. */
const explore_scenario_t slab_last = {.name = "slab.last",
                                      .setup = start,
                                      .thread = {home_all_but, home_two, home_one},
                                      .check = all_home};

/* What the holder wrote to the slab before it let go is seen by who gets it next, by the
 * lock of the partial list or, with credit, without it. */
static void take_and_let_go(void) {
  void *list = hak_slab_take_list(slab);
  EXPLORE_CHECK(list == HAK_LINK_END);
  let_go();
}
static void have_credit(void) { mine()->holds[cls].credit = 1; }
static void start_credit(void) {
  start();
  explore_as(1, have_credit);
}
static void two_home(void) { whole(2); }
const explore_scenario_t slab_to_list = {.name = "slab.to_list",
                                         .setup = start,
                                         .thread = {take_and_let_go, home_two},
                                         .check = two_home};
const explore_scenario_t slab_to_other = {.name = "slab.to_other",
                                          .setup = start_credit,
                                          .thread = {take_and_let_go, home_two},
                                          .check = two_home};

/* --- a refill takes what the partial list has ------------------------------------------
 */

static void take_from_list(void) {
  void *got = hak_refill_bin(me(), mine(), cls);
  EXPLORE_CHECK(got != NULL);
  ((uint64_t *)got)[0] = 5;
}
static void list_it(void) {
  let_go();
  home(3, 6);
  hak_hold_list_all(me(), mine(), cls);
}
static void start_listed(void) {
  start();
  explore_as(0, list_it);
}
static void start_listed_credit(void) {
  start_listed();
  explore_as(1, have_credit);
}
static void home_rest(void) { home(6, CAPACITY); }
const explore_scenario_t partial_refill = {
    .name = "partial.refill",
    .setup = start_listed,
    .thread = {take_from_list, take_from_list, home_two}};
const explore_scenario_t partial_refill_last = {
    .name = "partial.refill_last",
    .setup = start_listed,
    .thread = {take_from_list, home_rest, home_two}};

/* The refill leaves a slab whose blocks are all out; without the lock another has it. */
const explore_scenario_t partial_refill_claim = {.name = "partial.refill_claim",
                                                 .setup = start_listed_credit,
                                                 .thread = {take_from_list, home_two}};

/* --- magazines ------------------------------------------------------------------------
 */

static hak_atomic_u32_t arrived;

static void fill(uint32_t from, uint32_t to) {
  use(from, to);
  for (uint32_t i = from; i < to; i++) hak_transfer_add(me(), mine(), cls, block(i));
}
/* Magazines of two blocks, of which the first is there. */
static void short_magazine(uint32_t i) {
  EXPLORE_CHECK(hak_load_relaxed(&mine()->holds[cls].magazine) == NULL);
  hak_capacity_begin(mine(), cls);
  mine()->holds[cls].magazine_blocks = 2;
  fill(i, i + 1);
}
static void first_of_1(void) { short_magazine(0); }
static void first_of_2(void) { short_magazine(2); }
static void start_magazines(void) {
  start();
  explore_as(1, first_of_1);
  explore_as(2, first_of_2);
}
static void second_of_1(void) { fill(1, 2); }
static void second_of_2(void) { fill(3, 4); }
static void unpack(hak_magazine_t *magazine) {
  if (magazine == NULL) return;
  uint32_t count = hak_load_relaxed(&magazine->count);
  EXPLORE_CHECK(count == 2);
  for (uint32_t i = 0; i < count; i++) ((uint64_t *)magazine->blocks[i])[1] = 7;
  hak_add_relaxed(&arrived, count);
  hak_magazine_put(me(), magazine);
}
static void take_magazines(void) {
  unpack(hak_transfer_take(mine(), cls));
  unpack(hak_transfer_take(mine(), cls));
}
static void take_any_magazine(void) { unpack(hak_transfer_take_any(central)); }
static uint32_t waiting(void) {
  uint32_t count = 0;
  for (int i = 0; i < HAK_TRANSFER_PLACES; i++) {
    hak_magazine_t *magazine = hak_load_relaxed(&central->places[i]);
    if (magazine != NULL) count += hak_load_relaxed(&magazine->count);
  }
  return count;
}
static void magazines_whole(void) {
  EXPLORE_CHECK(hak_load_relaxed(&arrived) + waiting() == 4);
}
const explore_scenario_t transfer_take = {
    .name = "transfer.take",
    .setup = start_magazines,
    .thread = {take_magazines, second_of_1, second_of_2},
    .check = magazines_whole};
const explore_scenario_t transfer_take_any = {
    .name = "transfer.take_any",
    .setup = start_magazines,
    .thread = {take_any_magazine, second_of_1, second_of_2},
    .check = magazines_whole};

/* Both magazines are there, and two threads take them: each goes to one of the two. */
static void start_two_there(void) {
  start_magazines();
  explore_as(1, second_of_1);
  explore_as(2, second_of_2);
}
static void take_magazine(void) { unpack(hak_transfer_take(mine(), cls)); }
const explore_scenario_t transfer_two_take = {
    .name = "transfer.two_take",
    .setup = start_two_there,
    .thread = {take_magazines, take_magazine, take_any_magazine},
    .check = magazines_whole};

/* One place is open, and nobody takes what is there: who finds it filled shuts it, and
 * sends the blocks home to thread 0's slab. */
static void start_one_place(void) {
  start_magazines();
  hak_store_relaxed(&central->shut, HAK_TRANSFER_PLACES - 1);
}
static void use_two(void) { use(6, 8); }
static void magazines_or_home(void) {
  uint32_t home_again = CAPACITY - hak_slab_out(slab) +
                        hak_word_remote_count(hak_load_relaxed(&slab->word));
  EXPLORE_CHECK(waiting() + home_again == 4);
}
const explore_scenario_t transfer_shut = {.name = "transfer.shut",
                                          .setup = start_one_place,
                                          .thread = {use_two, second_of_1, second_of_2},
                                          .check = magazines_or_home};

/* --- depots
 * ------------------------------------------------------------------------------
 */

static void start_depot(void) {
  start();
  central->depot_room = CAPACITY;
}
/* Blocks that find no room go home, as a full bin's do. */
static void put_list(uint32_t from, uint32_t to) {
  hak_batch_t run = batch(from, to);
  hak_depot_list_t list = {run.first, run.count};
  if (hak_depot_put(me(), mine(), cls, list)) return;
  hak_home_list(me(), mine(), cls, list.list, list.count);
}
static void put_two(void) { put_list(0, 2); }
static void put_other_two(void) { put_list(2, 4); }
static void start_one_stored(void) {
  start_depot();
  explore_as(1, put_two);
}
static void take_list(uint32_t most) {
  hak_depot_list_t list = hak_depot_take(me(), mine(), cls, most);
  EXPLORE_CHECK(list.count <= most && walk(list.list) == list.count);
  hak_add_relaxed(&arrived, list.count);
}
static void take_lists(void) {
  take_list(2);
  take_list(2);
}
static void take_half(void) { take_list(1); }
static void send_depot(void) { hak_depot_send_home(me(), mine(), cls); }
static void send_part(void) {
  size_t work = 1;
  hak_depot_send_some(me(), mine(), cls, &work);
}

/* What is in the depot by the count is what its lists have. */
static uint32_t stored(void) {
  uint32_t count = 0, lists = 0;
  for (int i = 0; i < HAK_DEPOT_STACKS; i++) {
    hak_magazine_t *magazine = central->depot[i];
    for (; magazine != NULL; magazine = magazine->next) {
      lists += hak_load_relaxed(&magazine->count);
      for (uint32_t k = 0; k < hak_load_relaxed(&magazine->count); k++) {
        count += hak_depot_unpack(magazine->blocks[k]).count;
      }
    }
  }
  EXPLORE_CHECK(count == hak_load_relaxed(&central->stored) && lists == central->lists);
  return count;
}
static void depot_whole(uint32_t blocks) {
  uint32_t home_again = CAPACITY - hak_slab_out(slab) +
                        hak_word_remote_count(hak_load_relaxed(&slab->word));
  EXPLORE_CHECK(hak_load_relaxed(&arrived) + stored() + home_again == blocks);
}
static void two_in_all(void) { depot_whole(2); }
static void four_in_all(void) { depot_whole(4); }

const explore_scenario_t depot_take = {.name = "depot.take",
                                       .setup = start_depot,
                                       .thread = {take_lists, put_two, put_other_two},
                                       .check = four_in_all};
/* Two threads take from one list, a part each. */
const explore_scenario_t depot_cut = {.name = "depot.cut",
                                      .setup = start_one_stored,
                                      .thread = {take_half, take_half},
                                      .check = two_in_all};
/* One thread sends home what others put there and take. */
const explore_scenario_t depot_home = {.name = "depot.home",
                                       .setup = start_one_stored,
                                       .thread = {send_depot, put_other_two, take_half},
                                       .check = four_in_all};
const explore_scenario_t depot_part = {.name = "depot.part",
                                       .setup = start_one_stored,
                                       .thread = {send_part, take_half, send_part},
                                       .check = two_in_all};
